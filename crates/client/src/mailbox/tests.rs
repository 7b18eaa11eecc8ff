//! Tests of the mailbox.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Capacity, Mailbox, Popped};

fn small() -> Mailbox<u8> {
    Mailbox::new(Capacity { items_max: 2, bytes_max: 10 })
}

#[test]
fn items_come_out_in_order_and_after_closing() {
    let mailbox = small();
    mailbox.push(1, 1);
    mailbox.push(2, 1);
    mailbox.close();
    mailbox.push(3, 1);
    assert_eq!(mailbox.pop_blocking(None), Popped::Item(1));
    assert_eq!(mailbox.pop_blocking(None), Popped::Item(2));
    assert_eq!(mailbox.pop_blocking(None), Popped::Closed);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let deadline = Instant::now() + Duration::from_millis(10);
    assert_eq!(small().pop_blocking(Some(deadline)), Popped::TimedOut);
}

#[test]
fn both_limits_count() {
    let mailbox = small();
    mailbox.push(1, 10);
    assert!(!mailbox.has_room(), "ten bytes fill it");
    assert_eq!(mailbox.pop_blocking(None), Popped::Item(1));
    mailbox.push(1, 0);
    mailbox.push(2, 0);
    assert!(!mailbox.has_room(), "two items fill it");
}

#[test]
fn a_full_mailbox_holds_the_pusher_until_the_loop_takes_one() {
    let mailbox = Arc::new(small());
    mailbox.push(1, 0);
    mailbox.push(2, 0);
    let pusher = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.push_blocking(3, 0)
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let taken = runtime.block_on(async {
        [mailbox.pop_wanted(|_| true).await, mailbox.pop_wanted(|_| true).await, mailbox.pop_wanted(|_| true).await]
    });
    assert_eq!(taken, [Some(1), Some(2), Some(3)]);
    assert_eq!(pusher.join().unwrap(), Ok(()));
}

#[test]
fn closing_frees_those_who_wait() {
    let mailbox = Arc::new(small());
    let popper = thread::spawn({
        let mailbox = Arc::clone(&mailbox);
        move || mailbox.pop_blocking(None)
    });
    mailbox.close_and_clear();
    assert_eq!(popper.join().unwrap(), Popped::Closed);
    assert_eq!(mailbox.push_blocking(1, 0), Err(1));
}
