//! A store opened for reading by a tool: locked against a broker, and not changed by a byte.
//!
//! Used by all tools. Finds the tables of the store in its file, as far as they are there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::SystemTime;

use redb::TableHandle as _;

use super::damage::{Damage, DamageKind};
use super::error::ToolError;
use super::header::HeaderError;
use super::pages::{Commit, Gap, Met, Pages, PagesError, Tree};
use super::scan::Table;
use super::survey::plural;
use crate::engine::{BLOCKS, ROWS};
use crate::guard::{self, HEADER_BYTES, Header};
use crate::row::{self, RowKind, StateRow};

/// A store that is read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) pages: Pages,
    pub(crate) rows: Option<Table>,
    pub(crate) blocks: Option<Table>,
    /// What is damaged around the tables.
    pub(crate) damage: Vec<Damage>,
    /// Whether the last commit was cut off and is not in it; nobody was told that it had been made.
    pub(crate) is_cut: bool,
    pub(crate) file_bytes: u64,
    /// When the file was written last, in milliseconds since 1970.
    pub(crate) written_ms: u64,
}

impl Source {
    /// Opens the file of a store.
    pub(crate) fn open(directory: &Path, path: &Path) -> Result<Self, ToolError> {
        let reading = || ToolError::io(format!("cannot read {}", path.display()));
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ToolError::Missing { directory: directory.to_owned() },
            _ => reading()(error),
        })?;
        let metadata = file.metadata().map_err(reading())?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let written_ms = modified.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0);
        let mut damage = Vec::new();
        let header = read_header(&file, metadata.len()).map_err(reading())?;
        match header {
            Header::Empty => {
                return Err(ToolError::Unreadable { file: path.to_owned(), what: String::from("it is empty") });
            }
            Header::Store(version) if version > crate::FORMAT => {
                return Err(ToolError::TooNew { directory: directory.to_owned(), version });
            }
            Header::Store(_) => {}
            Header::Foreign => {
                damage.push(Damage::new(DamageKind::Engine, "the header of the file is not that of a store", NOTHING));
            }
        }
        let witnessed = witnessed(&file, metadata.len()).map_err(reading())?;
        let pages = match Pages::open(file, HEADER_BYTES) {
            Ok(pages) if has_tables(&pages) => pages,
            Ok(_) => salvage(path, "the list of tables", &mut damage)?,
            Err(PagesError::Header(error)) => salvage(path, header_error(error, path)?, &mut damage)?,
            Err(PagesError::Io(error)) => return Err(reading()(error)),
        };
        let mut source = Self::of(pages, witnessed, damage);
        if source.commits().is_some_and(|commits| commits < witnessed) {
            source = source.look_for_later(path, witnessed)?;
        }
        source.note_system();
        Ok(Self { file_bytes: metadata.len(), written_ms, ..source })
    }

    /// Takes the last commit, or the one before it where redb does so and nobody was told that the last had been made.
    fn of(pages: Pages, witnessed: u64, mut damage: Vec<Damage>) -> Self {
        let is_cut = pages.may_be_cut()
            && !pages.is_sound(0)
            && pages.is_sound(1)
            && pages.commit(1).and_then(|commit| commits_of(&pages, &commit)).is_some_and(|made| made >= witnessed);
        let (last, before) = match is_cut {
            true => (pages.commit(1), None),
            false => (pages.commit(0), pages.commit(1)),
        };
        let table = |name: &str, is_right| {
            let tree = |commit: &Option<Commit>| commit.as_ref().and_then(|commit| commit.table(name));
            let (last, before) = (tree(&last), tree(&before));
            last.or(before).map(|tree| Table { tree, before: before.filter(|before| *before != tree), is_right })
        };
        let rows = table(ROWS.name(), super::rows::is_right);
        let blocks = table(BLOCKS.name(), super::blocks::is_right);
        let gaps = last.map(|commit| commit.gaps).unwrap_or_default();
        let lost = match (rows.is_some(), blocks.is_some()) {
            (true, true) => "what the last commit had changed",
            (false, true) => "all sessions, subscriptions, wills and retained topics",
            (true, false) => "all messages",
            (false, false) => "everything",
        };
        damage.extend(gaps.iter().map(|gap| list_gap(*gap, lost)));
        if blocks.is_none() && gaps.is_empty() {
            damage.push(Damage::new(DamageKind::Messages, "the table of messages is not there", "all messages"));
        }
        Self { pages, rows, blocks, damage, is_cut, file_bytes: 0, written_ms: 0 }
    }

    /// How many commits had been made with the one that is read.
    fn commits(&self) -> Option<u64> {
        self.rows.as_ref().and_then(|rows| commits_in(&self.pages, &rows.tree))
    }

    /// Looks in the whole file for a commit that was made for sure and that the first page does not tell of.
    fn look_for_later(mut self, path: &Path, witnessed: u64) -> Result<Self, ToolError> {
        let mut damage = Vec::new();
        let later = salvage(path, "the place that says where the last commit is", &mut damage);
        let later = later.ok().map(|pages| Self::of(pages, witnessed, damage));
        if let Some(later) = later.filter(|later| later.commits() > self.commits()) {
            return Ok(later);
        }
        let lost = witnessed - self.commits().unwrap_or(0);
        let lost = format!("what came with {} that cannot be read", plural(lost, "later commit"));
        self.damage.push(Damage::new(DamageKind::Engine, "the last commit that can be read is not the last", lost));
        Ok(self)
    }

    fn note_system(&mut self) {
        if !self.is_cut && self.damage.is_empty() && !self.pages.is_system_sound() {
            self.damage.push(Damage::new(DamageKind::Engine, "what the storage engine keeps for itself", NOTHING));
        }
    }
}

impl Commit {
    fn table(&self, name: &str) -> Option<Tree> {
        self.tables.iter().find(|(table, _)| table == name).map(|(_, tree)| *tree)
    }
}

fn has_tables(pages: &Pages) -> bool {
    [0, 1].into_iter().filter_map(|back| pages.commit(back)).any(|commit| !commit.tables.is_empty())
}

const NOTHING: &str = "nothing that was stored";

fn list_gap(gap: Gap, lost: &str) -> Damage {
    let at = gap.offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
    Damage::new(DamageKind::Page, format!("the list of tables{at}"), lost)
}

/// How many commits were made for sure.
fn witnessed(file: &File, len: u64) -> io::Result<u64> {
    let mut bytes = vec![0; usize::try_from(len.min(HEADER_BYTES)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(guard::parse_witness(&bytes))
}

fn read_header(file: &File, len: u64) -> io::Result<Header> {
    if len == 0 {
        return Ok(Header::Empty);
    }
    let mut bytes = vec![0; usize::try_from(len.min(HEADER_BYTES)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(guard::parse(&bytes))
}

fn header_error(error: HeaderError, path: &Path) -> Result<&'static str, ToolError> {
    match error {
        HeaderError::NotAStore => Ok("the first page of the storage engine"),
        HeaderError::NoCommit => Ok("both places that say where the last commit is"),
        HeaderError::Version(version) => {
            let what = format!("its storage engine has version {version} of its format, which is not known");
            Err(ToolError::Unreadable { file: path.to_owned(), what })
        }
    }
}

/// Looks for the last commit in the whole file, where nothing says where it is.
fn salvage(path: &Path, what: &'static str, damage: &mut Vec<Damage>) -> Result<Pages, ToolError> {
    let reading = || ToolError::io(format!("cannot read {}", path.display()));
    let file = File::open(path).map_err(reading())?;
    let mut pages = Pages::salvage(file, HEADER_BYTES).map_err(reading())?;
    pages.rank(commits_of);
    if !has_tables(&pages) {
        let what = format!("{what} is damaged, and no commit is found");
        return Err(ToolError::Unreadable { file: path.to_owned(), what });
    }
    let lost = format!("{NOTHING}, unless it came with the last commit");
    damage.push(Damage::new(DamageKind::Engine, what, lost));
    Ok(pages)
}

fn commits_of(pages: &Pages, commit: &Commit) -> Option<u64> {
    commits_in(pages, &commit.table(ROWS.name())?)
}

/// How many commits there had been when these rows were written: their first one says so.
fn commits_in(pages: &Pages, rows: &Tree) -> Option<u64> {
    let mut found = None;
    // The walk is given up at the first row.
    let _ = pages.walk(rows, &mut |met| {
        if let Met::Row { key, value, is_sound: true } = met {
            let state = row::body(key, value).ok().filter(|_| RowKind::of(key) == Some(RowKind::State));
            found = state.and_then(|body| StateRow::parse(body).ok()).map(|state| state.commits);
        }
        Err(())
    });
    found
}
