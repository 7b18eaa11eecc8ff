//! The disk as the storage engine sees it: behind a header of our own, and given up for good at the first error.
//!
//! Made by the engine around any [`StorageBackend`]. After a write or a sync has failed nobody knows what is on the
//! disk ("Can applications recover from fsync failures?", ATC 2020), so nothing is written any more, whatever is asked.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::codec::{Reader, checksum};
use crate::crash::{Crash, CrashName};

/// Bytes of our header; what the storage engine has begins behind it.
pub(crate) const HEADER_BYTES: u64 = 4_096;
const MAGIC: &[u8; 12] = b"motte store\n";
/// Magic, version, checksum: less than a sector, so that no power cut tears it.
const HEADER_USED: usize = MAGIC.len() + 4 + 4;
/// Where the header tells how many commits have returned; in a sector of its own.
const WITNESS_AT: u64 = 512;
const WITNESS: &[u8; 8] = b"commits\n";

/// What is at the front of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// There is nothing at all.
    Empty,
    /// A store of this version of the format.
    Store(u32),
    /// Something else.
    Foreign,
}

/// What is counted and remembered of a disk.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) written_bytes: AtomicU64,
    has_failed: AtomicBool,
    /// Whether requests are held back.
    is_holding: AtomicBool,
    held: Mutex<Vec<Held>>,
}

/// A request that is held back.
#[derive(Debug)]
enum Held {
    Write(u64, Box<[u8]>),
    SetLen(u64),
    Sync,
}

impl Meter {
    /// Holds back everything that would change the disk, until [`Meter::let_go`]: the storage engine writes to a file
    /// while it opens it, and one that is refused stays as it is. What is held back is read as if it were written.
    pub(crate) fn hold_back(&self) {
        self.is_holding.store(true, Ordering::Release);
    }

    /// Asks the disk for everything that was held back, in order and with the syncs between.
    pub(crate) fn let_go(&self, disk: &impl StorageBackend) -> io::Result<()> {
        self.is_holding.store(false, Ordering::Release);
        let held = std::mem::take(&mut *self.held());
        held.into_iter().try_for_each(|held| match held {
            Held::Write(offset, data) => disk.write(offset + HEADER_BYTES, &data),
            Held::SetLen(len) => disk.set_len(len + HEADER_BYTES),
            Held::Sync => disk.sync_data(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request to be held back; gives it back where nothing is.
    fn hold(&self, request: impl FnOnce() -> Held) -> bool {
        let is_holding = self.is_holding.load(Ordering::Acquire);
        if is_holding {
            self.held().push(request());
        }
        is_holding
    }

    /// The length as what was held back leaves it.
    fn held_len(&self, len: u64) -> u64 {
        let last =
            self.held().iter().rev().find_map(|held| if let Held::SetLen(len) = held { Some(*len) } else { None });
        last.unwrap_or(len)
    }

    /// Puts what was held back over bytes that were read at `offset`.
    fn lay_over(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for held in &*self.held() {
            let Held::Write(at, data) = held else { continue };
            let (from, to) = ((*at).max(offset), (at + data.len() as u64).min(end));
            if from < to {
                out[index(from - offset)..index(to - offset)].copy_from_slice(&data[index(from - at)..index(to - at)]);
            }
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within bytes that are in memory")
}

/// A disk behind our header.
#[derive(Debug)]
pub(crate) struct Guard<D> {
    disk: Arc<D>,
    meter: Arc<Meter>,
    crash: Arc<Crash>,
}

impl<D: StorageBackend> Guard<D> {
    pub(crate) fn new(disk: Arc<D>, meter: Arc<Meter>, crash: Arc<Crash>) -> Self {
        Self { disk, meter, crash }
    }

    fn check(&self) -> io::Result<()> {
        if self.meter.has_failed.load(Ordering::Acquire) {
            return Err(io::Error::other("an earlier write failed"));
        }
        Ok(())
    }

    fn noting<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.meter.has_failed.store(true, Ordering::Release);
        }
        result
    }
}

impl<D: StorageBackend> StorageBackend for Guard<D> {
    fn len(&self) -> io::Result<u64> {
        let len = self.disk.len()?.saturating_sub(HEADER_BYTES);
        Ok(if self.meter.is_holding.load(Ordering::Acquire) { self.meter.held_len(len) } else { len })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.meter.is_holding.load(Ordering::Acquire) {
            return self.disk.read(offset + HEADER_BYTES, out);
        }
        // Behind the end of the disk there may be what was held back.
        let there = self.disk.len()?.saturating_sub(HEADER_BYTES).saturating_sub(offset).min(out.len() as u64);
        if offset + out.len() as u64 > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (read, behind) = out.split_at_mut(index(there));
        self.disk.read(offset + HEADER_BYTES, read)?;
        behind.fill(0);
        self.meter.lay_over(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        if self.meter.hold(|| Held::SetLen(len)) {
            return Ok(());
        }
        self.noting(self.disk.set_len(len + HEADER_BYTES))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        if self.meter.hold(|| Held::Sync) {
            return Ok(());
        }
        self.crash.pass(CrashName::BeforeFsync);
        self.noting(self.disk.sync_data())?;
        self.crash.pass(CrashName::AfterFsync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        if self.meter.hold(|| Held::Write(offset, data.into())) {
            return Ok(());
        }
        self.crash.pass(CrashName::BeforeWrite);
        self.noting(self.disk.write(offset + HEADER_BYTES, data))?;
        self.meter.written_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.crash.pass(CrashName::AfterWrite);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }
}

/// Reads the header. Writes nothing.
pub(crate) fn read_header(disk: &dyn StorageBackend) -> io::Result<Header> {
    let len = disk.len()?;
    if len == 0 {
        return Ok(Header::Empty);
    }
    let mut bytes = vec![0; usize::try_from(len.min(HEADER_BYTES)).unwrap_or(0)];
    disk.read(0, &mut bytes)?;
    Ok(parse(&bytes))
}

/// The header in these first bytes of a disk.
pub(crate) fn parse(bytes: &[u8]) -> Header {
    let mut reader = Reader::new(bytes);
    let is_ours = reader.take(MAGIC.len()).is_ok_and(|magic| magic == MAGIC);
    match (reader.u32(), reader.u32()) {
        (Ok(version), Ok(crc)) if is_ours && crc == checksum(MAGIC, &version.to_le_bytes()) => Header::Store(version),
        _ => Header::Foreign,
    }
}

/// Writes the header and syncs it: from then on the disk is a store.
pub(crate) fn write_header(disk: &dyn StorageBackend, version: u32) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEADER_USED);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&checksum(MAGIC, &version.to_le_bytes()).to_le_bytes());
    disk.write(0, &bytes)?;
    disk.sync_data()
}

/// Notes that so many commits have returned. Not synced: the next commit does that, or the system in its own time. It
/// is never ahead of what is on the disk, so it costs a commit nothing but a call.
pub(crate) fn write_witness(disk: &dyn StorageBackend, commits: u64) -> io::Result<()> {
    let count = commits.to_le_bytes();
    let crc = checksum(WITNESS, &count).to_le_bytes();
    disk.write(WITNESS_AT, &[&WITNESS[..], &count, &crc].concat())
}

/// How many commits have returned for sure; 0 where nothing tells. The storage engine goes back by one commit when the
/// last one does not verify: right after a power cut within it, and a loss where its pages were damaged later.
pub(crate) fn read_witness(disk: &dyn StorageBackend) -> io::Result<u64> {
    let mut bytes = vec![0; usize::try_from(disk.len()?.min(HEADER_BYTES)).unwrap_or(0)];
    disk.read(0, &mut bytes)?;
    Ok(parse_witness(&bytes))
}

/// The same in these first bytes of a disk.
pub(crate) fn parse_witness(bytes: &[u8]) -> u64 {
    let at = usize::try_from(WITNESS_AT).unwrap_or(usize::MAX);
    let mut reader = Reader::new(bytes.get(at..).unwrap_or_default());
    let is_ours = reader.take(WITNESS.len()).is_ok_and(|magic| magic == WITNESS);
    match (reader.u64(), reader.u32()) {
        (Ok(commits), Ok(crc)) if is_ours && crc == checksum(WITNESS, &commits.to_le_bytes()) => commits,
        _ => 0,
    }
}
