//! What is promised while there is no room to keep it, and when nothing can be kept any more.

use motte_audit::{CloseCause, EventKind, RefusalReason};
use motte_broker::{JournalState, Limits, Position};
use mqtt::{Packet, Publish, ReasonCode};

use crate::kit::*;

/// Clients and a durable session that wants `x`, of which another is given all without being kept.
fn full() -> (World, [Client; 4]) {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let (to, brief) = (world.connect(&lasting("to")), world.connect(&v5("brief")));
    let old = world.connect(&Hello { clean_start: true, ..v311("old") });
    world.subscribe(to, &[("x", 2)]);
    world.subscribe(brief, &[("#", 2)]);
    world.storage_is(JournalState::Full);
    world.events();
    (world, [from, to, brief, old])
}

#[test]
fn r03_what_cannot_be_kept_is_refused_and_given_to_nobody() {
    let (mut world, [from, to, brief, old]) = full();
    for value in [1, 2] {
        world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
        world.publish(from, Publish { delivery: qos2(value), ..message("x", "m") });
        world.publish(from, Publish { delivery: qos1(3), retain: true, ..message("r", "m") });
        world.expect(from, &["puback 1 97", &format!("pubrec {value} 97"), "puback 3 97"]);
        world.publish(old, Publish { delivery: qos1(value), ..message("x", "m") });
        world.publish(old, Publish { delivery: qos2(3), ..message("x", "m") });
        world.expect(old, &[]);
    }
    // A durable session cannot say either that it received a message.
    let lasting_client = to;
    world.publish(lasting_client, Publish { delivery: qos2(1), ..message("y", "m") });
    world.expect(to, &["pubrec 1 97"]);
    world.expect(brief, &[]);
    // Nothing has to be kept of these.
    world.publish(from, message("x", "zero"));
    world.publish(from, Publish { delivery: qos1(4), ..message("y", "one") });
    world.expect(from, &["puback 4 00"]);
    world.expect(to, &["publish x=zero"]);
    world.expect(brief, &["publish x=zero", "publish y=one q1 #1"]);
    assert_eq!(world.counters().refused, 11);
    world.storage_is(JournalState::Ready);
    // An identifier that was refused, or not answered, is new.
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.publish(old, Publish { delivery: qos2(3), ..message("x", "n") });
    world.expect(from, &["pubrec 1 00"]);
    world.expect(old, &["pubrec 3 00"]);
    world.expect(to, &["publish x=m q2 #1", "publish x=n q2 #2"]);
}

#[test]
fn r03_a_retained_message_of_qos_0_is_given_out_and_not_kept_and_one_that_is_there_can_be_cleared() {
    let (mut world, [from, to, brief, _]) = full();
    world.publish(from, Publish { retain: true, ..message("r", "zero") });
    world.expect(brief, &["publish r=zero"]);
    assert_eq!((world.shared.retained_totals().0, world.counters().dropped), (0, 1));
    assert_eq!(world.events(), [EventKind::Dropped { messages: 1 }]);
    world.storage_is(JournalState::Ready);
    world.publish(from, Publish { retain: true, ..message("r", "one") });
    world.storage_is(JournalState::Full);
    world.publish(from, Publish { delivery: qos1(1), retain: true, ..message("r", "") });
    world.expect(from, &["puback 1 00"]);
    assert_eq!(world.shared.retained_totals().0, 0);
    world.expect(to, &[]);
}

#[test]
fn r03_sessions_and_subscriptions_that_cannot_be_kept_are_refused_and_others_go_on() {
    let (mut world, [_, to, ..]) = full();
    world.subscribe_with(to, None, &[("y", options(1)), ("x", options(1))]);
    world.expect(to, &["suback 1 97 97"]);
    world.unsubscribe(to, &["x"]);
    world.expect(to, &["unsuback 2 00"]);
    let refused = world.admit(&lasting("new"));
    world.expect(refused, &["connack 97", "closed"]);
    let refused = world.admit(&Hello { clean_start: false, ..v311("new") });
    world.expect(refused, &["connack 88", "closed"]);
    let refusals: Vec<_> = world.events();
    let expected = EventKind::Refused { reason: RefusalReason::JournalFull };
    assert_eq!(refusals, [expected.clone(), expected]);
    let brief = world.connect(&v5("new"));
    world.subscribe(brief, &[("y", 2)]);
    world.disconnect(to, ReasonCode::Success);
    let again = world.admit(&lasting("to"));
    world.expect(again, &["connack 00 present"]);
    // It takes the place of one that is kept.
    let anew = world.admit(&Hello { clean_start: true, ..lasting("to") });
    world.expect(anew, &["connack 00"]);
}

#[test]
fn r03_a_flow_that_was_begun_goes_on_without_room() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let (from, to) = (world.connect(&lasting("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.storage_is(JournalState::Full);
    world.expect(from, &["pubrec 1 00"]);
    world.expect(to, &["publish x=m q2 #1"]);
    world.pubrel(from, 1);
    world.pubrec(to, 1);
    world.expect(from, &["pubcomp 1 00"]);
    world.expect(to, &["pubrel 1 00"]);
    world.pubcomp(to, 1);
    assert_eq!(world.kept_for("to"), 0);
}

#[test]
fn r03_a_will_that_cannot_be_kept_is_given_to_who_is_there() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("w", 1)]);
    let will = mqtt::Will { qos: mqtt::Qos::AtLeastOnce, retain: true, ..will("w") };
    let client = world.connect(&Hello { will: Some(will), ..v5("c") });
    world.storage_is(JournalState::Full);
    world.lose(client);
    world.expect(to, &["publish w=gone q1 #1"]);
    assert_eq!((world.counters().unkept, world.shared.retained_totals().0, world.kept_for("to")), (1, 0, 0));
    world.puback(to, 1);
}

#[test]
fn r04_a_failed_storage_ends_all_links_without_acknowledging_anything() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("#", 1)]);
    let gone = mqtt::Will { qos: mqtt::Qos::AtLeastOnce, ..will("w") };
    let (old, from) = (world.connect(&v311("old")), world.connect(&Hello { will: Some(gone), ..lasting("from") }));
    let cut = *world.cuts().last().unwrap();
    world.hold_journal(true);
    let late = world.admit(&lasting("late"));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.take(to);
    world.events();
    world.storage_is(JournalState::Failed);
    world.expect(from, &["disconnect 89", "closed"]);
    world.expect(to, &["disconnect 89", "closed"]);
    world.expect(old, &["closed"]);
    world.expect(late, &["connack 88", "closed"]);
    let closed = EventKind::Closed { cause: CloseCause::JournalFailed, detail: None };
    assert!(world.events().iter().all(|event| *event == closed));
    assert_eq!((world.counters().links, world.counters().sessions), (0, 4));
    for shard in &world.shards {
        assert_eq!(shard.next_timer(), None, "no will and no end of a session");
    }
    for (hello, told) in [(lasting("to"), "connack 88"), (v311("new"), "connack 88")] {
        let client = world.admit(&hello);
        world.expect(client, &[told, "closed"]);
    }
    assert_eq!(world.events(), vec![EventKind::Refused { reason: RefusalReason::JournalFailed }; 2]);
    // The next run has everything that was promised, and the will of who was cut off.
    let mut world = world.crash(cut, 1, 1);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish w=gone q1 #1"]);
}

#[test]
fn r04_what_waits_for_a_record_is_not_sent_once_the_storage_failed() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    world.hold_journal(true);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.storage_is(JournalState::Failed);
    world.journal_reaches(Position(1_000));
    world.send(from, &Packet::PingReq);
    world.expect(from, &["disconnect 89", "closed"]);
}
