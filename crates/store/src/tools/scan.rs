//! A walk over a table that puts the damaged pages between the rows around them.
//!
//! Used by the survey and by whatever reads rows. A row of a damaged page is given on only where its own checksum is
//! right and it stands where it belongs; where there is none the row of the commit before stands in.

use std::collections::BTreeMap;

use super::pages::{Met, Pages, Tree};

/// Keys that could not be read because of damaged pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GapRange {
    /// Where the pages begin in the file, as far as that is known.
    pub(crate) offsets: Vec<u64>,
    /// The last key before; `None` where there is none.
    pub(crate) after: Option<Vec<u8>>,
    /// The first key behind; `None` where there is none.
    pub(crate) before: Option<Vec<u8>>,
}

/// What a scan meets, in the order of keys.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// A row.
    Row {
        /// Its key.
        key: &'a [u8],
        /// Its value; whether it is right is still to be judged where its page is sound.
        value: &'a [u8],
        /// Whether it is of the last commit. Another one is right, but may be older.
        is_sound: bool,
    },
    /// Rows that cannot be read.
    Gap(GapRange),
}

/// A table of a commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    /// Its rows.
    pub(crate) tree: Tree,
    /// Its rows one commit before. They stand in for rows that cannot be read: most pages of a commit are those of the
    /// one before, and a page that was changed has its old copy.
    pub(crate) before: Option<Tree>,
    /// Judges a row of a damaged page.
    pub(crate) is_right: fn(&[u8], &[u8]) -> bool,
}

/// Walks over a table.
pub(crate) fn scan<E>(pages: &Pages, table: &Table, visit: &mut dyn FnMut(Seen<'_>) -> Result<(), E>) -> Result<(), E> {
    let mut last: Option<Vec<u8>> = None;
    let mut open: Option<Open> = None;
    pages.walk(&table.tree, &mut |met| match met {
        Met::Gap(gap) => {
            let open = open.get_or_insert_with(|| Open::behind(last.clone()));
            open.range.offsets.extend(gap.offset);
            Ok(())
        }
        Met::Row { key, value, is_sound: false } => {
            if let Some(open) = open.as_mut() {
                let rows = if (table.is_right)(key, value) { &mut open.torn } else { &mut open.broken };
                rows.insert(key.to_vec(), value.to_vec());
            }
            Ok(())
        }
        Met::Row { key, value, is_sound } => {
            if let Some(open) = open.take() {
                open.close(pages, table, Some(key), visit)?;
            }
            let place = last.get_or_insert_default();
            place.clear();
            place.extend_from_slice(key);
            visit(Seen::Row { key, value, is_sound })
        }
    })?;
    match open {
        Some(open) => open.close(pages, table, None, visit),
        None => Ok(()),
    }
}

/// A gap of which the end was not met yet.
#[derive(Debug)]
struct Open {
    range: GapRange,
    /// Rows of its pages that can still be read.
    torn: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Rows of its pages that are not right.
    broken: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Open {
    fn behind(after: Option<Vec<u8>>) -> Self {
        let range = GapRange { after, ..GapRange::default() };
        Self { range, torn: BTreeMap::new(), broken: BTreeMap::new() }
    }

    /// Tells of the gap, and then gives its rows, in order: those of its pages that can be read, and for the others
    /// those of the commit before. What is not right in its pages and is nowhere else comes last, to be named.
    fn close<E>(
        mut self,
        pages: &Pages,
        table: &Table,
        before: Option<&[u8]>,
        visit: &mut dyn FnMut(Seen<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.range.before = before.map(<[u8]>::to_vec);
        let Self { range, mut torn, mut broken } = self;
        torn.retain(|key, _| range.holds(key));
        broken.retain(|key, _| range.holds(key) && !torn.contains_key(key));
        visit(Seen::Gap(range.clone()))?;
        let mut give = |key: &[u8], value: &[u8]| visit(Seen::Row { key, value, is_sound: false });
        if let Some(tree) = &table.before {
            pages.walk(tree, &mut |met| match met {
                Met::Row { key, value, is_sound: true } if range.holds(key) && (table.is_right)(key, value) => {
                    broken.remove(key);
                    while let Some(first) = torn.first_entry().filter(|first| first.key().as_slice() <= key) {
                        let (torn, value) = first.remove_entry();
                        give(&torn, &value)?;
                        if torn == key {
                            return Ok(());
                        }
                    }
                    give(key, value)
                }
                _ => Ok(()),
            })?;
        }
        torn.iter().chain(&broken).try_for_each(|(key, value)| give(key, value))
    }
}

impl GapRange {
    /// Whether a key is within.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| after < key)
            && self.before.as_deref().is_none_or(|before| key < before)
    }
}
