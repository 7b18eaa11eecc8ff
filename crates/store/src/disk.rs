//! A disk in memory that forgets, tears and fails: what the store is proven on.
//!
//! Used by the tests of the store, by the simulator and by the fuzz targets; the product never makes one.
//!
//! ```
//! use motte_store::disk::{Cut, SimDisk};
//!
//! let disk = SimDisk::new();
//! // Open the engine on `disk.clone()`; every clone is the same disk. Work, then cut the power:
//! let mut random = || 4; // Any source of numbers.
//! let left = SimDisk::from_image(disk.power_cut(&Cut::Sectors(512), &mut random));
//! // Open the engine on `left`. A process that was merely killed finds `disk.image()`.
//! ```

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a file system gives room in.
const BLOCK_BYTES: usize = 4_096;

/// Something that was asked of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// These bytes are to stand at this offset.
    Write(u64, Arc<[u8]>),
    /// The disk is to have this length.
    SetLen(u64),
    /// All before is to survive a power cut once this has been answered.
    Sync,
}

/// What a power cut leaves of the requests that were not synced. What was synced is always left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of them: a crash of the process alone.
    All,
    /// None.
    Nothing,
    /// Changes of length only: the file is longer than its data, which reads as zeros.
    Lengths,
    /// The one at this index.
    Only(usize),
    /// All but the one at this index.
    Without(usize),
    /// Each one or not, by chance.
    Some,
    /// Of each write each sector of so many bytes or not, of each change of length all or nothing, by chance.
    Sectors(usize),
}

/// Which call to the disk fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The calls that count, and can fail.
    pub calls: Calls,
    /// How many of them are answered before one fails.
    pub after: u64,
    /// How many fail in a row; `u64::MAX` is for ever.
    pub times: u64,
    /// How.
    pub failure: Failure,
}

/// Kinds of calls to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Any call.
    Any,
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Changes of length.
    SetLen,
    /// Syncs.
    Sync,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO, and nothing is done. After a failed sync the data that was not synced counts as clean and is dropped, which
    /// is what Linux file systems do ("Can applications recover from fsync failures?", ATC 2020).
    Io,
    /// ENOSPC, and nothing is done.
    NoSpace,
    /// EINTR, and nothing is done.
    Interrupted,
    /// A write stores its first half and then fails with EIO; another call is as [`Failure::Io`].
    Short,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What reads see: all requests applied.
    cached: Vec<u8>,
    /// What the platter holds for sure.
    synced: Vec<u8>,
    /// Requests since the last sync.
    pending: Vec<Request>,
    /// What the disk began with, and everything asked since, where that is recorded.
    trace: Option<Trace>,
    fault: Option<Fault>,
    /// Calls so far, reads and failed ones among them.
    calls: u64,
    failures: u64,
    capacity_bytes: Option<u64>,
    /// Which blocks were written to since the disk was last as short as to end before them; the rest takes no room.
    blocks: BTreeSet<usize>,
}

/// A recorded run of a disk.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    start: Vec<u8>,
    requests: Vec<Request>,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that holds these bytes for sure.
    #[must_use]
    pub fn from_image(image: Vec<u8>) -> Self {
        let disk = Self::new();
        disk.state().synced.clone_from(&image);
        disk.state().blocks = (0..image.len().div_ceil(BLOCK_BYTES)).collect();
        disk.state().cached = image;
        disk
    }

    /// Records every request from here on, for [`SimDisk::trace`].
    #[must_use]
    pub fn recorded(self) -> Self {
        let start = self.state().synced.clone();
        self.state().trace = Some(Trace { start, requests: Vec::new() });
        self
    }

    /// Refuses writes with ENOSPC that would take more than this. A change of length takes no room.
    pub fn limit(&self, capacity_bytes: Option<u64>) {
        self.state().capacity_bytes = capacity_bytes;
    }

    /// How many bytes are free, where the disk has a limit.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        let state = self.state();
        Some(state.capacity_bytes?.saturating_sub((state.blocks.len() * BLOCK_BYTES) as u64))
    }

    /// Lets calls fail from here on, or lets none fail again.
    pub fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// How many calls were made to fail so far, for want of room too.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// What is on the disk as long as the power stays: what a process finds after another was killed.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.state().cached.clone()
    }

    /// What a power cut now would leave.
    #[must_use]
    pub fn power_cut(&self, cut: &Cut, random: &mut dyn FnMut() -> u64) -> Vec<u8> {
        let state = self.state();
        survive(&state.synced, &state.pending, cut, random)
    }

    /// How many requests were recorded so far: the place in the trace at which a test notes what it knows.
    #[must_use]
    pub fn recorded_count(&self) -> usize {
        self.state().trace.as_ref().map_or(0, |trace| trace.requests.len())
    }

    /// What was recorded so far; empty where nothing is recorded.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.state().trace.clone().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl Trace {
    /// Visits the disk as it was after each request, from none of them to all: how many there were, what is on the
    /// platter for sure, and what was not synced. [`survive`] makes an image of that.
    pub fn walk(&self, mut visit: impl FnMut(usize, &[u8], &[Request])) {
        let mut synced = self.start.clone();
        let mut pending = 0;
        for at in 0..=self.requests.len() {
            visit(at, &synced, &self.requests[pending..at]);
            if self.requests.get(at) == Some(&Request::Sync) {
                for request in &self.requests[pending..at] {
                    apply(&mut synced, request);
                }
                pending = at + 1;
            }
        }
    }
}

/// The image a power cut leaves of a disk that holds `synced` for sure and was asked for `pending` since.
#[must_use]
pub fn survive(synced: &[u8], pending: &[Request], cut: &Cut, random: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let mut image = synced.to_vec();
    for (at, request) in pending.iter().enumerate() {
        match (*cut, request) {
            (Cut::Nothing, _) => {}
            (Cut::Lengths, request) => {
                if matches!(request, Request::SetLen(_)) {
                    apply(&mut image, request);
                }
            }
            (Cut::Sectors(size), Request::Write(offset, data)) => tear(&mut image, *offset, data, size, random),
            (Cut::All, request) => apply(&mut image, request),
            (Cut::Only(one), request) if one == at => apply(&mut image, request),
            (Cut::Without(one), request) if one != at => apply(&mut image, request),
            (Cut::Only(_) | Cut::Without(_), _) => {}
            (Cut::Some | Cut::Sectors(_), request) => {
                if random().is_multiple_of(2) {
                    apply(&mut image, request);
                }
            }
        }
    }
    image
}

fn apply(image: &mut Vec<u8>, request: &Request) {
    match request {
        Request::Write(offset, data) => put(image, index(*offset), data),
        Request::SetLen(len) => image.resize(index(*len), 0),
        Request::Sync => {}
    }
}

/// Stores each sector of a write or not, by chance. Sectors stand at multiples of their size.
fn tear(image: &mut Vec<u8>, offset: u64, data: &[u8], size: usize, random: &mut dyn FnMut() -> u64) {
    let start = index(offset);
    let mut from = 0;
    while from < data.len() {
        let to = data.len().min(((start + from) / size + 1) * size - start);
        if random().is_multiple_of(2) {
            put(image, start + from, &data[from..to]);
        }
        from = to;
    }
}

fn put(image: &mut Vec<u8>, start: usize, data: &[u8]) {
    let end = start + data.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(data);
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a disk in memory has fewer bytes than there are addresses")
}

impl State {
    /// Counts a call, and makes it fail where it should.
    fn call(&mut self, call: Calls) -> Result<(), Failure> {
        self.calls += 1;
        let Some(fault) = &mut self.fault else { return Ok(()) };
        if fault.calls != Calls::Any && fault.calls != call {
            return Ok(());
        }
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        if fault.times == 0 {
            return Ok(());
        }
        fault.times -= u64::from(fault.times != u64::MAX);
        self.failures += 1;
        Err(fault.failure)
    }

    /// Takes the blocks of a write, or has no room for it.
    fn room(&mut self, offset: u64, len: usize) -> io::Result<()> {
        let blocks = index(offset) / BLOCK_BYTES..(index(offset) + len).div_ceil(BLOCK_BYTES);
        let Some(capacity) = self.capacity_bytes else {
            self.blocks.extend(blocks);
            return Ok(());
        };
        let new = blocks.clone().filter(|block| !self.blocks.contains(block)).count();
        if ((self.blocks.len() + new) * BLOCK_BYTES) as u64 > capacity {
            self.failures += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.blocks.extend(blocks);
        Ok(())
    }

    fn ask(&mut self, request: Request) {
        apply(&mut self.cached, &request);
        if let Some(trace) = &mut self.trace {
            trace.requests.push(request.clone());
        }
        self.pending.push(request);
    }
}

impl Failure {
    fn error(self) -> io::Error {
        match self {
            Self::Io | Self::Short => io::Error::other("input/output error (injected)"),
            Self::NoSpace => io::ErrorKind::StorageFull.into(),
            Self::Interrupted => io::ErrorKind::Interrupted.into(),
        }
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        state.call(Calls::Read).map_err(Failure::error)?;
        let start = index(offset);
        let found = state.cached.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.call(Calls::SetLen).map_err(Failure::error)?;
        state.blocks.split_off(&index(len).div_ceil(BLOCK_BYTES));
        state.ask(Request::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        if let Err(failure) = state.call(Calls::Sync) {
            if failure != Failure::Interrupted {
                let synced = state.synced.clone();
                state.cached = synced;
                state.pending.clear();
            }
            return Err(failure.error());
        }
        let State { synced, pending, .. } = &mut *state;
        for request in pending.drain(..) {
            apply(synced, &request);
        }
        if let Some(trace) = &mut state.trace {
            trace.requests.push(Request::Sync);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let called = state.call(Calls::Write);
        if called == Err(Failure::Short) {
            state.ask(Request::Write(offset, data[..data.len() / 2].into()));
        }
        called.map_err(Failure::error)?;
        state.room(offset, data.len())?;
        state.ask(Request::Write(offset, data.into()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = &[1; 2_048];
    const NEW: &[u8] = &[2; 1_536];

    /// 2,048 bytes that are synced, then 1,536 others at 256 and a longer file that are not.
    fn disk() -> SimDisk {
        let disk = SimDisk::new().recorded();
        disk.set_len(2_048).expect("takes it");
        disk.write(0, OLD).expect("takes it");
        disk.sync_data().expect("takes it");
        disk.write(256, NEW).expect("takes it");
        disk.set_len(4_096).expect("takes it");
        disk
    }

    fn left(cut: Cut, random: &mut dyn FnMut() -> u64) -> Vec<u8> {
        disk().power_cut(&cut, random)
    }

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_any_part_of_the_rest() {
        let written = [&OLD[..256], NEW, &OLD[..256]].concat();
        let longer = |bytes: &[u8]| [bytes, &[0; 2_048]].concat();
        let mut none = || unreachable!("nothing here is left to chance");
        assert_eq!(left(Cut::Nothing, &mut none), OLD);
        assert_eq!(left(Cut::All, &mut none), longer(&written));
        assert_eq!(left(Cut::Lengths, &mut none), longer(OLD));
        assert_eq!(left(Cut::Only(0), &mut none), written);
        assert_eq!(left(Cut::Without(0), &mut none), longer(OLD));
        assert_eq!(left(Cut::Some, &mut || 1), OLD);
        // Sectors begin at multiples of 512, wherever the write does: it touches four, of which two are left.
        let mut toss = 0;
        let torn = left(Cut::Sectors(512), &mut || {
            toss += 1;
            toss
        });
        assert_eq!(torn, [&[1; 512][..], &[2; 512], &[1; 512], &[2; 256], &[1; 256]].concat());
        assert_eq!(disk().image(), longer(&written));
    }

    #[test]
    fn a_trace_visits_the_disk_after_each_request() {
        let mut seen = Vec::new();
        disk().trace().walk(|at, synced, pending| seen.push((at, synced.len(), pending.len())));
        assert_eq!(seen, [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 2_048, 0), (4, 2_048, 1), (5, 2_048, 2)]);
    }

    #[test]
    fn a_failed_sync_drops_what_was_not_synced() {
        let disk = disk();
        disk.fail(Some(Fault { calls: Calls::Sync, after: 0, times: 1, failure: Failure::Io }));
        assert!(disk.sync_data().is_err());
        assert!(disk.sync_data().is_ok());
        assert_eq!((disk.image(), disk.failures()), (OLD.to_vec(), 1));
    }

    #[test]
    fn calls_fail_where_they_are_told_to() {
        let disk = disk();
        disk.fail(Some(Fault { calls: Calls::Write, after: 1, times: 1, failure: Failure::Short }));
        assert!(disk.write(0, b"first").is_ok());
        assert!(disk.write(0, b"second").is_err());
        assert!(disk.write(6, b"third").is_ok());
        assert_eq!(disk.image()[..11], *b"secst\x01third");
    }

    #[test]
    fn a_full_disk_takes_what_needs_no_room() {
        let disk = disk();
        disk.limit(Some(8_192));
        assert_eq!(disk.free_bytes(), Some(4_096));
        assert!(disk.set_len(1 << 20).is_ok());
        assert!(disk.write(8_000, &[1; 192]).is_ok());
        let full = disk.write(8_191, &[1; 2]).map_err(|error| error.kind());
        assert_eq!((full, disk.free_bytes()), (Err(io::ErrorKind::StorageFull), Some(0)));
        assert!(disk.write(0, &[1; 8_192]).is_ok());
        assert!(disk.set_len(4_096).is_ok());
        assert_eq!(disk.free_bytes(), Some(4_096));
    }
}
