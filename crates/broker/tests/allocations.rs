//! How often the steady path of a message asks for memory, once everything on it has grown.
//!
//! Counts for the thread of each test alone, so that tests beside it do no harm. The bounds are what is so today, and
//! only ever go down.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and says what it counted")]
#![allow(unreachable_pub, reason = "nobody else sees a test")]

#[path = "../benches/world/mod.rs"]
#[allow(dead_code, reason = "the benches use all of it")]
mod world;

use motte_broker::mqtt::Qos;
use world::Way;

/// Allocations of a message and of all that is answered to it, however many it goes to.
const PER_MESSAGE_MAX: u64 = 2;

/// Checks so many messages after three times as many, by which every buffer and table has grown.
fn check(qos: Qos, subscribers: usize, messages: u64) {
    let mut way = Way::new(qos, subscribers);
    (0..3 * messages).for_each(|_| way.travel());
    let seen = allocation_counter::measure(|| (0..messages).for_each(|_| way.travel()));
    println!("{qos:?}, 1 to {subscribers}: {} allocations in {messages} messages", seen.count_total);
    assert_eq!(seen.count_current, 0, "nothing that was taken stays");
    assert!(seen.count_total <= PER_MESSAGE_MAX * messages, "{} in {messages} messages", seen.count_total);
}

#[test]
fn a_message_to_one_client_asks_for_memory_at_most_so_often() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        check(qos, 1, 1_000);
    }
}

#[test]
fn a_message_to_500_clients_asks_no_more_often() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        check(qos, 500, 50);
    }
}
