//! A file of redb read page by page, trusting nothing: each page is held against the checksum that its parent has of
//! it.
//!
//! Used by the tools, which must read what redb refuses as a whole, must not write a byte, and must know which keys
//! could not be read. Never repairs and never guesses: a page that cannot be read is a gap in the walk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::bytes::{u16_at, u32_at, u64_at, u128_at};
use super::header::{Geometry, HEADER_BYTES, Header, HeaderError, PAGE_BYTES, Pointer, ROOT_BYTES, Slot};

/// A tree with the widest keys and the least filled pages is less high.
const DEPTH_MAX: u32 = 32;
/// A longer page than any value needs: MQTT carries at most 256 MiB.
const PAGE_BYTES_MAX: u64 = 1 << 30;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const NORMAL_TABLE: u8 = 3;

/// Why a file cannot be read at all.
#[derive(Debug)]
pub(crate) enum PagesError {
    /// Its first page.
    Header(HeaderError),
    /// The system.
    Io(io::Error),
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Pages {
    file: File,
    /// Where redb's part of the file begins.
    base: u64,
    /// Bytes from there on.
    len: u64,
    header: Header,
}

/// A tree and how its rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    root: Option<Pointer>,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    /// Rows it has.
    pub(crate) rows: u64,
}

/// A commit: what the file held at one moment.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Tables by name, in the order of names.
    pub(crate) tables: Vec<(String, Tree)>,
    /// Places in the list of tables that cannot be read: there may be further tables.
    pub(crate) gaps: Vec<Gap>,
}

/// A page that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Where it begins in the file; `None` when where it is cannot be known either.
    pub(crate) offset: Option<u64>,
}

/// What a walk meets, in the order of keys.
#[derive(Debug)]
pub(crate) enum Met<'a> {
    /// A row.
    Row {
        /// Its key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// Whether its page is what was written.
        is_sound: bool,
    },
    /// A damaged page. Those of its rows that can be told apart follow; others are missing.
    Gap(Gap),
}

impl Pages {
    /// Opens a file for reading; what is before `base` is not redb's.
    pub(crate) fn open(file: File, base: u64) -> Result<Self, PagesError> {
        let len = file.metadata().map_err(PagesError::Io)?.len().saturating_sub(base);
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, base).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PagesError::Header(HeaderError::NotAStore),
            _ => PagesError::Io(error),
        })?;
        let header = Header::parse(&bytes).map_err(PagesError::Header)?;
        Ok(Self { file, base, len, header })
    }

    /// Opens a file whose first page is of no use: every page that could be a list of tables is a commit that may
    /// hold. Most of them are old, and their pages were given to others since, which their checksums tell.
    pub(crate) fn salvage(file: File, base: u64) -> io::Result<Self> {
        let len = file.metadata()?.len().saturating_sub(base);
        let header = Header { geometry: Geometry::USUAL, is_unclean: true, is_sealed: true, slots: Vec::new() };
        let mut pages = Self { file, base, len, header };
        let mut page = vec![0; usize::try_from(PAGE_BYTES).unwrap_or_default()];
        for n in 1..len / PAGE_BYTES {
            // A page that cannot be read is no list.
            let is_read = pages.file.read_exact_at(&mut page, base + n * PAGE_BYTES).is_ok();
            if let Some(checksum) = list_checksum(&page).filter(|_| is_read) {
                let tables = Some(Geometry::USUAL.pointer(n, checksum));
                pages.header.slots.push(Slot { transaction: 0, tables, system: None });
            }
        }
        Ok(pages)
    }

    /// Puts the commits in an order: the one with the highest rank first, those without one not at all.
    pub(crate) fn rank(&mut self, rank: impl Fn(&Self, &Commit) -> Option<u64>) {
        let ranked = self.header.slots.iter().filter_map(|slot| {
            let transaction = rank(self, &self.list(slot.tables))?;
            Some(Slot { transaction, ..*slot })
        });
        let mut slots: Vec<Slot> = ranked.collect();
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.transaction));
        // The latest that is whole; of those that are not, the latest.
        if let Some(at) = slots.iter().position(|slot| self.are_tables_sound(slot.tables)) {
            slots.swap(0, at);
        }
        slots.truncate(1);
        self.header.slots = slots;
    }

    /// Whether the file was not closed in order.
    pub(crate) fn is_unclean(&self) -> bool {
        self.header.is_unclean
    }

    /// The last commit, or the one before it; `None` where the file tells of none.
    pub(crate) fn commit(&self, back: usize) -> Option<Commit> {
        self.header.slots.get(back).map(|slot| self.list(slot.tables))
    }

    /// Whether every page of a commit is what was written.
    pub(crate) fn is_sound(&self, back: usize) -> bool {
        let slot = self.header.slots.get(back);
        slot.is_some_and(|slot| self.are_tables_sound(slot.tables) && self.are_tables_sound(slot.system))
    }

    /// Whether the last commit may have been cut off, so that redb goes back to the one before it when it is not whole.
    pub(crate) fn may_be_cut(&self) -> bool {
        self.header.is_unclean && !self.header.is_sealed
    }

    /// Whether every page of redb's own tables is what was written. Nothing is lost with them, but redb refuses the
    /// file.
    pub(crate) fn is_system_sound(&self) -> bool {
        self.header.slots.first().is_some_and(|slot| self.are_tables_sound(slot.system))
    }

    /// Visits every row of a tree, and every page of it that is damaged, until `visit` fails.
    pub(crate) fn walk<E>(&self, tree: &Tree, visit: &mut dyn FnMut(Met<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some(root) = tree.root else { return Ok(()) };
        self.walk_page(&Step { page: root, depth: 0, must_be_sound: false }, tree, visit)
    }

    fn are_tables_sound(&self, list: Option<Pointer>) -> bool {
        let commit = self.list(list);
        let is_sound = |tree: &Tree| {
            let mut visit = |met: Met<'_>| if matches!(met, Met::Gap(_)) { Err(()) } else { Ok(()) };
            self.walk(tree, &mut visit).is_ok()
        };
        commit.gaps.is_empty() && commit.tables.iter().all(|(_, tree)| is_sound(tree))
    }

    fn list(&self, root: Option<Pointer>) -> Commit {
        let tree = Tree { root, key_bytes: None, value_bytes: None, rows: 0 };
        let mut commit = Commit { tables: Vec::new(), gaps: Vec::new() };
        let mut visit = |met: Met<'_>| -> Result<(), std::convert::Infallible> {
            match met {
                Met::Gap(gap) => commit.gaps.push(gap),
                Met::Row { key, value, .. } => commit.tables.extend(table(key, value)),
            }
            Ok(())
        };
        match self.walk(&tree, &mut visit) {
            Ok(()) => commit,
        }
    }

    fn walk_page<E>(&self, step: &Step, tree: &Tree, visit: &mut dyn FnMut(Met<'_>) -> Result<(), E>) -> Result<(), E> {
        let Some((offset, page)) = self.read(&step.page) else {
            let offset = self.header.geometry.place(&step.page, self.len).map(|(start, _)| start + self.base);
            return visit(Met::Gap(Gap { offset: offset.filter(|_| !step.must_be_sound) }));
        };
        let end = content_end(&page, tree);
        let is_sound = end.is_some_and(|end| twox_hash::XxHash3_128::oneshot(&page[..end]) == step.page.checksum);
        if !is_sound {
            visit(Met::Gap(Gap { offset: (!step.must_be_sound).then_some(offset) }))?;
            if step.must_be_sound {
                return Ok(());
            }
        }
        match page.first() {
            Some(&LEAF) => walk_leaf(&page, tree, is_sound, visit),
            Some(&BRANCH) if step.depth < DEPTH_MAX => {
                for child in children(&page) {
                    // What a damaged page says of a child is right where the child has the checksum that stands
                    // there.
                    let step = Step { page: child, depth: step.depth + 1, must_be_sound: !is_sound };
                    self.walk_page(&step, tree, visit)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(&self, page: &Pointer) -> Option<(u64, Vec<u8>)> {
        let (start, bytes) = self.header.geometry.place(page, self.len)?;
        let mut content = vec![0; usize::try_from(bytes).ok().filter(|_| bytes <= PAGE_BYTES_MAX)?];
        self.file.read_exact_at(&mut content, self.base + start).ok()?;
        Some((self.base + start, content))
    }
}

/// One page of a walk.
struct Step {
    page: Pointer,
    depth: u32,
    /// Whether its parent is damaged, so that only the checksum tells whether it was meant.
    must_be_sound: bool,
}

/// A table out of its row in the list of tables; `None` where it is of no kind that the store makes.
fn table(name: &[u8], definition: &[u8]) -> Option<(String, Tree)> {
    let name = std::str::from_utf8(name).ok()?.to_owned();
    let root_end = 10 + ROOT_BYTES;
    if definition.len() < root_end + 10 || definition[0] != NORMAL_TABLE {
        return None;
    }
    let width = |at: usize| (definition[at] != 0).then(|| u32_at(definition, at + 1) as usize);
    let root = (definition[9] != 0).then(|| Pointer::parse(&definition[10..root_end]));
    let (key_bytes, value_bytes) = (width(root_end), width(root_end + 5));
    Some((name, Tree { root, key_bytes, value_bytes, rows: u64_at(definition, 1) }))
}

/// The checksum of a page that is a list of tables and nothing else.
fn list_checksum(page: &[u8]) -> Option<u128> {
    let tree = Tree { root: None, key_bytes: None, value_bytes: None, rows: 0 };
    let leaf = Leaf::new(page, &tree);
    if page.first() != Some(&LEAF) || !(1..=16).contains(&leaf.count) {
        return None;
    }
    let is_table = |n| leaf.row(n).and_then(|(key, value)| table(key, value)).is_some();
    let end = content_end(page, &tree).filter(|_| (0..leaf.count).all(is_table))?;
    Some(twox_hash::XxHash3_128::oneshot(&page[..end]))
}

/// Where the content of a page ends: its checksum covers what is before.
fn content_end(page: &[u8], tree: &Tree) -> Option<usize> {
    let end = match page.first() {
        Some(&LEAF) => Leaf::new(page, tree).value_end(Leaf::new(page, tree).count.checked_sub(1)?),
        Some(&BRANCH) => {
            let keys = usize::from(u16_at(page, 2));
            let last = keys.checked_sub(1)?;
            let after_children = 8 + 24 * (keys + 1);
            match tree.key_bytes {
                Some(width) => after_children + width * keys,
                None => u32_at(page, after_children + 4 * last) as usize,
            }
        }
        _ => return None,
    };
    (end <= page.len()).then_some(end)
}

/// The children of a branch, as far as the page goes.
fn children(page: &[u8]) -> impl Iterator<Item = Pointer> + '_ {
    let count = usize::from(u16_at(page, 2)) + 1;
    let fits = 8 + 24 * count <= page.len();
    let child = move |n| Pointer::new(u64_at(page, 8 + 16 * count + 8 * n), u128_at(page, 8 + 16 * n));
    (0..if fits { count } else { 0 }).map(child)
}

/// A leaf: ends of keys, ends of values, keys, values; ends only where their width is not fixed.
struct Leaf<'a> {
    page: &'a [u8],
    count: usize,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
}

impl<'a> Leaf<'a> {
    fn new(page: &'a [u8], tree: &Tree) -> Self {
        let (key_bytes, value_bytes) = (tree.key_bytes, tree.value_bytes);
        Self { page, count: usize::from(u16_at(page, 2)), key_bytes, value_bytes }
    }

    fn keys_start(&self) -> usize {
        let columns = usize::from(self.key_bytes.is_none()) + usize::from(self.value_bytes.is_none());
        4 + 4 * self.count * columns
    }

    fn key_end(&self, n: usize) -> usize {
        match self.key_bytes {
            Some(width) => self.keys_start() + width * (n + 1),
            None => u32_at(self.page, 4 + 4 * n) as usize,
        }
    }

    fn value_end(&self, n: usize) -> usize {
        match self.value_bytes {
            Some(width) => self.key_end(self.count - 1) + width * (n + 1),
            None => {
                let before = if self.key_bytes.is_none() { 4 * self.count } else { 0 };
                u32_at(self.page, 4 + before + 4 * n) as usize
            }
        }
    }

    /// A row; `None` where it has no place in the page.
    fn row(&self, n: usize) -> Option<(&'a [u8], &'a [u8])> {
        let key_start = if n == 0 { self.keys_start() } else { self.key_end(n - 1) };
        let value_start = if n == 0 { self.key_end(self.count - 1) } else { self.value_end(n - 1) };
        Some((self.page.get(key_start..self.key_end(n))?, self.page.get(value_start..self.value_end(n))?))
    }
}

fn walk_leaf<E>(
    page: &[u8],
    tree: &Tree,
    is_sound: bool,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let leaf = Leaf::new(page, tree);
    for (key, value) in (0..leaf.count).filter_map(|n| leaf.row(n)) {
        visit(Met::Row { key, value, is_sound })?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

    use super::*;

    const WIDE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("wide");
    const FIXED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("fixed");
    const FIELDS: TableDefinition<'_, u64, u64> = TableDefinition::new("fields");

    type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

    /// Rows of all sizes, written over several commits, with some removed again.
    fn fill(database: &Database) {
        for round in 0..6_u64 {
            let write = database.begin_write().unwrap();
            {
                let mut wide = write.open_table(WIDE).unwrap();
                let mut fixed = write.open_table(FIXED).unwrap();
                let mut fields = write.open_table(FIELDS).unwrap();
                for n in (round * 80)..(round * 80 + 110) {
                    let key = format!("key-{n}-{}", "k".repeat(usize::try_from(n % 40).unwrap()));
                    let value = vec![u8::try_from(n % 251).unwrap(); usize::try_from(n * 37 % 7_000).unwrap()];
                    wide.insert(key.as_bytes(), &value[..]).unwrap();
                    fixed.insert(n, key.as_bytes()).unwrap();
                    fields.insert(n, n * n).unwrap();
                    if n % 3 == 0 {
                        fixed.remove(n / 2).unwrap();
                    }
                }
            }
            write.commit().unwrap();
        }
    }

    fn truth(database: &Database) -> Rows {
        let read = database.begin_read().unwrap();
        let mut rows = Rows::new();
        for row in read.open_table(WIDE).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            rows.insert((String::from("wide"), key.value().to_vec()), value.value().to_vec());
        }
        for row in read.open_table(FIXED).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            rows.insert((String::from("fixed"), key.value().to_le_bytes().to_vec()), value.value().to_vec());
        }
        for row in read.open_table(FIELDS).unwrap().iter().unwrap() {
            let (key, value) = row.unwrap();
            let value = value.value().to_le_bytes().to_vec();
            rows.insert((String::from("fields"), key.value().to_le_bytes().to_vec()), value);
        }
        rows
    }

    /// The commit that redb would take.
    fn chosen(pages: &Pages) -> Commit {
        let back = usize::from(pages.may_be_cut() && !pages.is_sound(0) && pages.is_sound(1));
        pages.commit(back).unwrap()
    }

    /// The sound rows of a file, the rows of damaged pages, and how many gaps there were.
    fn read(path: &Path) -> Result<(Rows, Rows, usize), PagesError> {
        let pages = Pages::open(File::open(path).unwrap(), 0)?;
        let commit = chosen(&pages);
        let (mut sound, mut torn, mut gaps) = (Rows::new(), Rows::new(), commit.gaps.len());
        for (name, tree) in &commit.tables {
            let mut visit = |met: Met<'_>| -> Result<(), std::convert::Infallible> {
                match met {
                    Met::Row { key, value, is_sound } => {
                        let rows = if is_sound { &mut sound } else { &mut torn };
                        rows.insert((name.clone(), key.to_vec()), value.to_vec());
                    }
                    Met::Gap(_) => gaps += 1,
                }
                Ok(())
            };
            match pages.walk(tree, &mut visit) {
                Ok(()) => {}
            }
        }
        Ok((sound, torn, gaps))
    }

    #[test]
    fn every_row_is_read_as_redb_reads_it_closed_in_order_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, killed) = (dir.path().join("store"), dir.path().join("killed"));
        let database = Database::create(&path).unwrap();
        fill(&database);
        let truth = truth(&database);
        fs::copy(&path, &killed).unwrap();
        drop(database);
        for path in [&path, &killed] {
            let (sound, torn, gaps) = read(path).unwrap();
            assert_eq!((torn.len(), gaps), (0, 0));
            assert!(sound == truth, "{} of {}", sound.len(), truth.len());
            assert!(Pages::open(File::open(path).unwrap(), 0).unwrap().is_system_sound());
        }
    }

    #[test]
    fn r20_a_damaged_block_costs_its_own_rows_and_is_always_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let database = Database::create(&path).unwrap();
        fill(&database);
        let truth = truth(&database);
        drop(database);
        let image = fs::read(&path).unwrap();
        let (mut seen, mut most) = (0, 0);
        for (block, how) in (1..image.len() / 4_096).step_by(9).zip([0_u8, 1, 2].into_iter().cycle()) {
            let mut image = image.clone();
            let page = &mut image[block * 4_096..][..4_096];
            match how {
                0 => page.fill(0),
                1 => page[(block * 13) % 600] ^= 1 << (block % 8),
                _ => page.reverse(),
            }
            fs::write(&path, &image).unwrap();
            let (sound, torn, gaps) = read(&path).unwrap();
            let wrong = sound.iter().filter(|(key, value)| truth.get(key) != Some(value)).count();
            assert_eq!(wrong, 0, "block {block}");
            let lost = truth.keys().filter(|key| !sound.contains_key(key)).count();
            assert!(lost == 0 || gaps > 0, "block {block}: {lost} rows are lost without a gap");
            assert!(gaps > 0 || torn.is_empty(), "block {block}");
            seen += usize::from(gaps > 0);
            most = most.max(lost);
        }
        assert!(seen > 10, "{seen}");
        assert!(most > 0 && most < truth.len() / 2, "{most} of {}", truth.len());
    }

    #[test]
    fn r20_what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let database = Database::create(&path).unwrap();
        fill(&database);
        drop(database);
        let image = fs::read(&path).unwrap();
        let refused = |image: &[u8]| {
            fs::write(&path, image).unwrap();
            match read(&path) {
                Err(PagesError::Header(error)) => Some(error),
                _ => None,
            }
        };
        assert_eq!(refused(&[]), Some(HeaderError::NotAStore));
        assert_eq!(refused(&vec![7; 9_000]), Some(HeaderError::NotAStore));
        let mut both = image.clone();
        both[100] ^= 1;
        both[230] ^= 1;
        assert_eq!(refused(&both), Some(HeaderError::NoCommit));
        let mut one = image.clone();
        one[100] ^= 1;
        assert_eq!(refused(&one), None);
        assert_eq!(refused(&image[..image.len() / 2]), None, "a file that was cut is read as far as it goes");
    }
}
