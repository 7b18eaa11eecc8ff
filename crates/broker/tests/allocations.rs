//! The steady path of a message asks for no memory, once everything on it has grown.
//!
//! Counts for the thread of each test alone, so that tests beside it do no harm.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may stop, and says what it counted")]
#![allow(unreachable_pub, reason = "nobody else sees a test")]

#[path = "../benches/world/mod.rs"]
#[allow(dead_code, reason = "the benches use all of it")]
mod world;

use motte_broker::mqtt::Qos;
use world::Way;

/// Checks so many messages after three times as many, by which every buffer and table has grown.
fn check(qos: Qos, subscribers: usize, messages: u64) {
    let mut way = Way::new(qos, subscribers);
    (0..3 * messages).for_each(|_| way.travel());
    let seen = allocation_counter::measure(|| (0..messages).for_each(|_| way.travel()));
    println!("{qos:?}, 1 to {subscribers}: {} allocations in {messages} messages", seen.count_total);
    assert_eq!(seen.count_total, 0, "in {messages} messages with all that is answered to them");
}

#[test]
fn a_message_to_one_client_asks_for_no_memory() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        check(qos, 1, 1_000);
    }
}

#[test]
fn a_message_to_500_clients_asks_for_no_memory() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        check(qos, 500, 50);
    }
}
