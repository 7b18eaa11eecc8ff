//! Room on the disk: whether there is some, and giving back what the file does not use.
//!
//! Called by the keeper after each commit and when it is idle, so that the engine never meets the end of the disk.

use motte_broker::JournalState;

use super::{COMMIT_BYTES, Engine, Failed};
use crate::reserve::Reserve;

/// What a commit takes on the disk besides: 1 MiB for the tree, the small rows and the blocks that are rewritten.
const COMMIT_BYTES_FIXED: u64 = 1 << 20;
/// What the rows of a session that changed may take: a page for each of them.
const SESSION_BYTES: u64 = 8 << 10;
/// A file is not made shorter for less than this: 4 MiB.
const SHORTER_BYTES_MIN: u64 = 4 << 20;

impl Engine {
    /// Looks whether there is room for more; tells when that has changed.
    pub fn look_for_room(&mut self) -> Option<JournalState> {
        let bytes = self.state.block_bytes + self.state.row_bytes;
        let margin = self.settings.reserve_bytes + (self.settings.reserve_bytes / 2);
        let is_full = self.settings.bytes_max.is_some_and(|max| bytes >= max)
            || (self.settings.free.0)().is_some_and(|free| free < margin.max(self.needed_bytes()));
        let state = if is_full { JournalState::Full } else { JournalState::Ready };
        self.figures.bytes = bytes;
        self.short_at = self.short_at.filter(|_| is_full);
        if !self.intake.set_state(state) {
            return None;
        }
        self.figures.state = state;
        Some(state)
    }

    /// Takes a reserve over, and makes it if it is not there.
    pub(crate) fn hold(&mut self, reserve: Reserve) {
        self.reserve = Some(reserve);
        self.renew_reserve();
    }

    /// Makes the reserve again when there is plenty of room.
    pub(crate) fn renew_reserve(&mut self) {
        if let Some(reserve) = &mut self.reserve {
            reserve.make((self.settings.free.0)());
        }
    }

    /// Whether what was taken in can be written without using up the disk.
    pub(crate) fn has_room_to_commit(&self) -> bool {
        (self.settings.free.0)().is_none_or(|free| free >= self.needed_bytes())
    }

    /// The same, after the reserve was given up where it takes that.
    pub(crate) fn finds_room_to_commit(&mut self) -> bool {
        self.has_room_to_commit() || (self.reserve.as_mut().is_some_and(Reserve::give_up) && self.has_room_to_commit())
    }

    /// Whether so little waits to be written that more can be taken in while there is no room.
    pub(crate) fn can_take_more_in(&self) -> bool {
        self.pending_bytes < COMMIT_BYTES
    }

    /// What a commit of what was taken in may take: pages are written anew and not in place, and half filled at worst.
    fn needed_bytes(&self) -> u64 {
        // Rows lie beside each other: many take no more than all of them, half filled.
        let rows = (SESSION_BYTES * self.state.sessions.dirty_len() as u64).min(3 * self.state.row_bytes);
        2 * self.pending_bytes as u64 + rows + COMMIT_BYTES_FIXED
    }

    /// Makes the file as short as it can be when there is no room and much of it is unused. Pages that were freed are
    /// used again, but the file system knows nothing of them: without this a disk that was full once would stay so.
    /// Tells whether it was done.
    ///
    /// # Errors
    /// It failed now or before.
    pub fn make_room(&mut self) -> Result<bool, Failed> {
        // Making it shorter writes, too.
        let has_some = (self.settings.free.0)().is_none_or(|free| free >= COMMIT_BYTES_FIXED);
        if self.figures.state != JournalState::Full || !has_some {
            return Ok(false);
        }
        let live = self.state.block_bytes + self.state.row_bytes;
        let file_bytes = self.disk.len().map_err(|error| self.fail(Failed(error.to_string())))?;
        let is_worth_it = file_bytes > live + live / 2 + SHORTER_BYTES_MIN;
        let is_new = self.short_at.is_none_or(|then| live + live / 8 + SHORTER_BYTES_MIN < then);
        if !is_worth_it || !is_new {
            return Ok(false);
        }
        self.short_at = Some(live);
        self.guarded(|engine| {
            let database = engine.database.as_mut().ok_or_else(|| Failed("the store is closed".to_owned()))?;
            database.compact().map_err(|error| Failed(error.to_string()))
        })
    }
}
