//! A bounded queue between a blocking side and the connection's own event loop.
//! Called by `connection` (the blocking side) and `driver` (the asynchronous side). Never holds its lock while it
//! waits, and never blocks the asynchronous side.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// How much a mailbox holds before it counts as full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
}

/// The queue. Each side has at most one waiter that is asynchronous; blocking waiters may be many.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    capacity: Capacity,
    state: Mutex<State<T>>,
    changed: Condvar,
    changed_async: Notify,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: bool,
}

/// What a blocking wait came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped<T> {
    Item(T),
    Closed,
    TimedOut,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, closed: false };
        Self { capacity, state: Mutex::new(state), changed: Condvar::new(), changed_async: Notify::new() }
    }

    /// Waits for room, then adds. Gives the item back when the mailbox is closed.
    pub(crate) fn push_blocking(&self, item: T, bytes: usize) -> Result<(), T> {
        let mut state = self.lock();
        while !state.closed && !self.fits(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(item);
        }
        self.add(&mut state, item, bytes);
        Ok(())
    }

    /// Adds even when full: the caller asks [`Self::has_room`] before it takes in more. A closed mailbox drops it.
    pub(crate) fn push(&self, item: T, bytes: usize) {
        let mut state = self.lock();
        if !state.closed {
            self.add(&mut state, item, bytes);
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        state.closed || self.fits(&state)
    }

    /// Waits until there is room; at once when closed.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            self.changed_async.notified().await;
        }
    }

    /// The first item that is `wanted` now, others stay in their order; `None` once the mailbox is closed and holds no
    /// such item.
    pub(crate) async fn pop_wanted(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            {
                let mut state = self.lock();
                if let Some(at) = state.items.iter().position(|(item, _)| wanted(item)) {
                    return self.take(&mut state, at);
                }
                if state.closed {
                    return None;
                }
            }
            self.changed_async.notified().await;
        }
    }

    /// Waits until somebody closes the mailbox, whatever is in it.
    pub(crate) async fn closed(&self) {
        while !self.lock().closed {
            self.changed_async.notified().await;
        }
    }

    /// The next item, waiting for it until `deadline` (`None`: for ever). Items that are there come out of a closed
    /// mailbox too.
    pub(crate) fn pop_blocking(&self, deadline: Option<Instant>) -> Popped<T> {
        let mut state = self.lock();
        loop {
            if let Some(item) = self.take(&mut state, 0) {
                return Popped::Item(item);
            }
            if state.closed {
                return Popped::Closed;
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                    else {
                        return Popped::TimedOut;
                    };
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Lets nothing more in and wakes everybody.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Lets nothing more in, and forgets what is in it, so that whoever waits for an answer to it learns at once.
    pub(crate) fn close_and_clear(&self) {
        let dropped = {
            let mut state = self.lock();
            state.closed = true;
            state.bytes = 0;
            std::mem::take(&mut state.items)
        };
        drop(dropped);
        self.wake();
    }

    fn fits(&self, state: &State<T>) -> bool {
        state.items.len() < self.capacity.items_max && state.bytes < self.capacity.bytes_max
    }

    fn add(&self, state: &mut State<T>, item: T, bytes: usize) {
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        self.wake();
    }

    fn take(&self, state: &mut State<T>, at: usize) -> Option<T> {
        let was_full = !self.fits(state);
        let (item, bytes) = state.items.remove(at)?;
        state.bytes -= bytes;
        if was_full {
            self.wake();
        }
        Some(item)
    }

    fn wake(&self) {
        self.changed.notify_all();
        // A permit is kept when nobody waits at this moment, so a change between look and wait is not missed.
        self.changed_async.notify_one();
    }

    /// The state stays whole if a thread panics: every change of it is complete before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
