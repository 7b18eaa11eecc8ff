//! The first page of a file of redb: how the file is laid out, and the two commits it may begin from.
//!
//! Read by [`super::pages`]. Follows redb's own description of its format, version 3; every other version is refused.

use super::bytes::{u32_at, u64_at, u128_at};

/// Bytes at the start of a file that this reads.
pub(crate) const HEADER_BYTES: usize = 320;

/// The only size of a page that redb uses.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Bytes of a [`Pointer`] with the count of rows behind it.
pub(crate) const ROOT_BYTES: usize = 32;

const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
const VERSION: u8 = 3;
const SLOTS: [usize; 2] = [64, 192];
const SLOT_BYTES: usize = 128;
/// Pages that one region can address.
const REGION_PAGES_MAX: u32 = 1 << 20;

/// Why nothing can be read behind the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It does not begin as such a file does.
    NotAStore,
    /// Neither of its two commits is whole.
    NoCommit,
    /// A version of the format that is not known.
    Version(u8),
}

/// Where a page is, and the checksum of what should be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    /// redb's number of the page: its place in its region, the region, and its size as a power of two of pages.
    number: u64,
    /// XXH3-128 of its content.
    pub(crate) checksum: u128,
}

/// How the file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    region_header_pages: u32,
    region_pages: u32,
}

/// One commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Grows with each commit.
    pub(crate) transaction: u64,
    /// The list of tables.
    pub(crate) tables: Option<Pointer>,
    /// The list of redb's own tables.
    pub(crate) system: Option<Pointer>,
}

/// What the first page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// How the file is laid out.
    pub(crate) geometry: Geometry,
    /// Whether the file was not closed in order.
    pub(crate) is_unclean: bool,
    /// Whether the last commit was written in two steps, so that it cannot have been cut off.
    pub(crate) is_sealed: bool,
    /// The commits that are noted down whole, the one that holds first.
    pub(crate) slots: Vec<Slot>,
}

impl Header {
    /// Reads the first page.
    pub(crate) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(MAGIC) {
            return Err(HeaderError::NotAStore);
        }
        let flags = bytes[9];
        let geometry = Geometry { region_header_pages: u32_at(bytes, 16), region_pages: u32_at(bytes, 20) };
        let is_laid_out = (1..=REGION_PAGES_MAX).contains(&geometry.region_pages)
            && geometry.region_header_pages <= REGION_PAGES_MAX
            && u64::from(u32_at(bytes, 12)) == PAGE_BYTES;
        if !is_laid_out {
            return Err(HeaderError::NotAStore);
        }
        let primary = usize::from(flags & 1 != 0);
        let in_order = [SLOTS[primary], SLOTS[1 - primary]].map(|at| &bytes[at..at + SLOT_BYTES]);
        let whole: Vec<&[u8]> = in_order.into_iter().filter(|slot| is_whole(slot)).collect();
        let Some(first) = whole.first() else { return Err(HeaderError::NoCommit) };
        if first[0] != VERSION {
            return Err(HeaderError::Version(first[0]));
        }
        let is_sealed = flags & 4 != 0;
        let mut slots: Vec<Slot> = whole.into_iter().filter(|slot| slot[0] == VERSION).map(Slot::parse).collect();
        if !is_sealed {
            // Of two whole commits the later one holds, whichever is marked: the mark alone may have been written.
            slots.sort_by_key(|slot| std::cmp::Reverse(slot.transaction));
        }
        Ok(Self { geometry, is_unclean: flags & 2 != 0, is_sealed, slots })
    }
}

fn is_whole(slot: &[u8]) -> bool {
    let (content, checksum) = slot.split_at(SLOT_BYTES - 16);
    twox_hash::XxHash3_128::oneshot(content) == u128_at(checksum, 0)
}

impl Slot {
    fn parse(bytes: &[u8]) -> Self {
        let pointer = |flag: usize, at: usize| (bytes[flag] != 0).then(|| Pointer::parse(&bytes[at..]));
        Self { transaction: u64_at(bytes, 104), tables: pointer(1, 8), system: pointer(2, 40) }
    }
}

impl Pointer {
    /// Reads the number of a page and its checksum.
    ///
    /// # Panics
    /// There are less than 24 bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self { number: u64_at(bytes, 0), checksum: u128_at(bytes, 8) }
    }

    pub(crate) fn new(number: u64, checksum: u128) -> Self {
        Self { number, checksum }
    }
}

impl Geometry {
    /// How redb lays out every file it makes: regions of 4 GiB, without headers.
    pub(crate) const USUAL: Self = Self { region_header_pages: 0, region_pages: REGION_PAGES_MAX };

    /// The n-th page of the file, the first page being number 0, where regions have no headers.
    pub(crate) fn pointer(&self, n: u64, checksum: u128) -> Pointer {
        let (region, index) = ((n - 1) / u64::from(self.region_pages), (n - 1) % u64::from(self.region_pages));
        Pointer::new(region << 20 | index, checksum)
    }

    /// Where in the file the page begins and how many bytes it has; `None` where no page can be.
    pub(crate) fn place(&self, page: &Pointer, file_bytes: u64) -> Option<(u64, u64)> {
        let order = page.number >> 59;
        let index = page.number & (0xF_FFFF >> order.min(20));
        let region = (page.number >> 20) & 0xF_FFFF;
        let bytes = PAGE_BYTES.checked_shl(u32::try_from(order).ok()?).filter(|_| order <= 20)?;
        let header_bytes = u64::from(self.region_header_pages) * PAGE_BYTES;
        let region_bytes = header_bytes + u64::from(self.region_pages) * PAGE_BYTES;
        let start = PAGE_BYTES + region * region_bytes + header_bytes + index * bytes;
        (start + bytes <= file_bytes).then_some((start, bytes))
    }
}
