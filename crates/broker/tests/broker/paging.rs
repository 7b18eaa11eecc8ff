//! Queues whose messages the journal keeps: references in memory, read back in order while there is a connection.

use motte_audit::EventKind;
use motte_broker::Limits;
use mqtt::{Disconnect, Packet, Publish, ReasonCode};

use crate::kit::*;

fn publish_all(world: &mut World, from: Client, values: std::ops::RangeInclusive<u32>) {
    for value in values {
        let id = u16::try_from(value % 60_000 + 1).unwrap();
        world.publish(from, Publish { delivery: qos1(id), ..message("x", &value.to_string()) });
        world.take(from);
    }
}

/// Payloads a client is sent, in order, while it acknowledges each at once; with what was repeated.
fn drain(world: &mut World, client: Client) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let lines = world.take(client);
        let sent: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("publish x=")).collect();
        if sent.is_empty() {
            return got;
        }
        for line in sent {
            let (payload, rest) = line.split_once(" q1 #").unwrap();
            got.push(payload.to_owned());
            world.puback(client, rest.split(' ').next().unwrap().parse().unwrap());
        }
    }
}

fn numbers(values: std::ops::RangeInclusive<u32>) -> Vec<String> {
    values.map(|value| value.to_string()).collect()
}

/// A publisher, and a session that waits for `x` without a connection.
fn absent(world: &mut World) -> Client {
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("x", 2)]);
    world.lose(to);
    from
}

#[test]
fn a_long_queue_comes_in_order_over_the_borders_of_what_is_read_back_at_once() {
    for shards in [1, 3] {
        let mut world = World::reading_back(shards, OPEN, &Limits::default());
        let from = absent(&mut world);
        publish_all(&mut world, from, 1..=1_000);
        assert_eq!((world.counters().queued, world.kept_for("to")), (1_000, 1_000));
        let to = world.admit(&lasting("to"));
        assert_eq!(drain(&mut world, to), numbers(1..=1_000));
        assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
    }
}

#[test]
fn what_was_in_flight_when_the_link_ended_is_read_back_and_sent_again_first() {
    let limits = Limits { inflight_max: 10, ..Limits::default() };
    let mut world = World::reading_back(1, OPEN, &limits);
    let from = absent(&mut world);
    let to = world.connect(&lasting("to"));
    publish_all(&mut world, from, 1..=300);
    assert_eq!(world.take(to).len(), 10);
    world.lose(to);
    publish_all(&mut world, from, 301..=305);
    world.fetches_wait = true;
    let to = world.admit(&lasting("to"));
    // Nothing overtakes what has to be read back.
    publish_all(&mut world, from, 306..=306);
    world.expect(to, &["connack 00 present"]);
    world.read_back();
    let again: Vec<_> = (1..=10).map(|n| format!("publish x={n} q1 #{n} dup")).collect();
    assert_eq!(world.take(to), again);
    world.fetches_wait = false;
    world.read_back();
    for n in 1..=10 {
        world.puback(to, n);
    }
    assert_eq!(drain(&mut world, to), numbers(11..=306));
    assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
}

#[test]
fn an_acknowledgement_of_what_was_not_read_back_yet_settles_it() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    let to = world.connect(&lasting("to"));
    publish_all(&mut world, from, 1..=3);
    world.lose(to);
    world.fetches_wait = true;
    let to = world.admit(&lasting("to"));
    world.puback(to, 2);
    world.read_back();
    world.expect(to, &["connack 00 present", "publish x=1 q1 #1 dup", "publish x=3 q1 #3 dup"]);
    assert_eq!(world.kept_for("to"), 2);
}

#[test]
fn answers_for_an_earlier_connection_or_session_are_harmless() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    publish_all(&mut world, from, 1..=300);
    world.fetches_wait = true;
    let first = world.connect(&lasting("to"));
    world.lose(first);
    world.read_back();
    let second = world.connect(&lasting("to"));
    // Taken over while the answer is under way: it serves the third connection.
    let third = world.admit(&lasting("to"));
    world.expect(second, &["disconnect 8e", "closed"]);
    world.fetches_wait = false;
    world.read_back();
    assert_eq!(drain(&mut world, third), numbers(1..=300));
    publish_all(&mut world, from, 1..=300);
    world.take(third);
    world.lose(third);
    world.fetches_wait = true;
    let fourth = world.connect(&lasting("to"));
    let clean = world.admit(&Hello { clean_start: true, ..lasting("to") });
    world.read_back();
    world.expect(fourth, &["disconnect 8e", "closed"]);
    world.expect(clean, &["connack 00"]);
    assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
}

#[test]
fn what_expires_in_the_middle_of_a_long_queue_is_not_sent_and_the_rest_says_how_long_it_has() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    for value in 1..=400_u16 {
        let message_expiry_s = [None, Some(10), Some(100)][usize::from(value % 3)];
        world.publish(from, Publish { delivery: qos1(1), message_expiry_s, ..message("x", &value.to_string()) });
    }
    world.fetches_wait = true;
    world.pass_ms(5_000);
    let to = world.admit(&lasting("to"));
    // While the first of them are read back, the time of some runs out.
    world.pass_ms(5_000);
    world.fetches_wait = false;
    world.read_back();
    let lines = world.take(to);
    assert_eq!(lines[1], "publish x=2 q1 #1 expiry=90");
    assert_eq!(lines[2], "publish x=3 q1 #2");
    for n in 1..=u16::try_from(lines.len()).unwrap() - 1 {
        world.puback(to, n);
    }
    let rest = drain_any(&mut world, to);
    assert_eq!(rest + lines.len() - 1, 266);
    let counters = world.counters();
    assert_eq!((counters.queued, counters.dropped, world.kept_for("to")), (0, 134, 0));
}

/// Acknowledges everything and tells how many messages that was.
fn drain_any(world: &mut World, client: Client) -> usize {
    let mut count = 0;
    loop {
        let ids: Vec<u16> = world.take(client).iter().filter_map(|line| id_of(line)).collect();
        if ids.is_empty() {
            return count;
        }
        count += ids.len();
        ids.into_iter().for_each(|id| world.puback(client, id));
    }
}

fn id_of(line: &str) -> Option<u16> {
    line.split_once(" #").map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn k20_what_is_read_back_is_judged_by_the_rules_in_force_by_then() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("+", 1)]);
    world.lose(to);
    for value in 1..=300 {
        let topic = ["x", "y", "z"][value % 3];
        world.publish(from, Publish { delivery: qos1(1), ..message(topic, &value.to_string()) });
    }
    world.fetches_wait = true;
    let to = world.admit(&lasting("to"));
    world.answer_fetches();
    // Some are loaded by now, others asked for, others neither.
    world.change_policy("pattern read #\nuser from\ntopic write x\n");
    world.fetches_wait = false;
    world.read_back();
    let sent = world.take(to);
    let late: Vec<_> = sent.iter().filter(|line| !line.starts_with("publish x=")).collect();
    // What was written before is on its way.
    assert!(late.len() < 80, "{late:?}");
    sent.iter().filter_map(|line| id_of(line)).for_each(|id| world.puback(to, id));
    while let lines = world.take(to)
        && !lines.is_empty()
    {
        assert!(lines.iter().all(|line| line.starts_with("publish x=")), "{lines:?}");
        lines.iter().filter_map(|line| id_of(line)).for_each(|id| world.puback(to, id));
    }
    assert_eq!((world.counters().queued, world.kept_for("to")), (0, 0));
    assert!(world.counters().withheld > 100);
}

#[test]
fn k21_what_a_removed_user_had_published_is_not_read_back_to_anybody() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = absent(&mut world);
    publish_all(&mut world, from, 1..=200);
    let other = world.connect(&v5("other"));
    publish_all(&mut world, other, 201..=300);
    world.remove_users(&["from"]);
    let to = world.admit(&lasting("to"));
    assert_eq!(drain(&mut world, to), numbers(201..=300));
    assert_eq!((world.counters().withheld, world.kept_for("to")), (200, 0));
}

#[test]
fn what_cannot_be_read_back_is_counted_and_reported_and_holds_nothing_up() {
    let limits = Limits { inflight_max: 10, ..Limits::default() };
    let mut world = World::reading_back(1, OPEN, &limits);
    let from = absent(&mut world);
    let to = world.connect(&lasting("to"));
    publish_all(&mut world, from, 1..=9);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "twice") });
    world.pubrel(from, 1);
    publish_all(&mut world, from, 10..=300);
    world.take(to);
    world.lose(to);
    world.events();
    world.make_unreadable(&["2", "5", "twice", "10", "11", "200"]);
    let to = world.admit(&lasting("to"));
    let again: Vec<_> = world.take(to).into_iter().skip(1).collect();
    let expected = [1, 3, 4, 6, 7, 8, 9].map(|n| format!("publish x={n} q1 #{n} dup"));
    assert_eq!(again[..7], expected);
    // The client may hold the identifier of QoS 2: it is released.
    assert_eq!(again[7..], ["pubrel 10 00", "publish x=12 q1 #11", "publish x=13 q1 #12"]);
    assert!(world.events().contains(&EventKind::Dropped { messages: 1 }));
    world.pubcomp(to, 10);
    [1, 3, 4, 6, 7, 8, 9, 11, 12].into_iter().for_each(|id| world.puback(to, id));
    let rest = drain(&mut world, to);
    assert_eq!(rest.len(), 300 - 13 - 1);
    assert!(!rest.contains(&"200".into()));
    let counters = world.counters();
    assert_eq!((counters.queued, counters.dropped, world.kept_for("to")), (0, 3, 0));
}

#[test]
fn qos_identifiers_and_retain_come_back_with_a_message() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    let keeps = mqtt::SubscriptionOptions { retain_as_published: true, ..options(2) };
    world.subscribe_with(to, Some(7), &[("x", keeps)]);
    world.subscribe_with(to, Some(8), &[("+", options(1))]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos2(1), retain: true, ..message("x", "1") });
    world.pubrel(from, 1);
    world.publish(from, Publish { delivery: qos1(1), ..message("y", "2") });
    for _ in 0..2 {
        let to = world.admit(&lasting("to"));
        let lines = world.take(to);
        let dup = if lines[1].contains("dup") { " dup" } else { "" };
        let expected = [format!("publish x=1 q2 #1{dup} retain ids=7,8"), format!("publish y=2 q1 #2{dup} ids=8")];
        assert_eq!(lines[1..], expected);
        world.lose(to);
    }
}

#[test]
fn what_waits_for_a_group_goes_to_a_member_that_can_take_it_when_a_connection_ends() {
    for name in ["near", "far", "further"] {
        let mut world = World::reading_back(2, OPEN, &Limits::default());
        let from = world.connect(&v5("from"));
        let first = world.connect(&lasting("first"));
        let keeps = mqtt::SubscriptionOptions { retain_as_published: true, ..options(1) };
        world.subscribe_with(first, None, &[("$share/g/x", keeps), ("own", options(1))]);
        world.take(first);
        for value in 1..=500_u16 {
            world.publish(from, Publish { delivery: qos1(1), retain: true, ..message("x", &value.to_string()) });
            if value % 5 == 0 {
                world.publish(from, Publish { delivery: qos1(1), ..message("own", &value.to_string()) });
            }
        }
        world.take(first);
        let second = world.connect(&lasting(name));
        world.subscribe_with(second, None, &[("$share/g/x", keeps)]);
        world.take(second);
        world.lose(first);
        let got = drain(&mut world, second);
        assert!(got.is_sorted_by_key(|payload| payload.parse::<u32>().unwrap()), "{got:?}");
        // Those in flight stay with the first.
        let in_flight = 500 - got.len();
        assert!((1..=100).contains(&in_flight));
        assert_eq!(world.kept_for("first"), in_flight + 100);
        let first = world.admit(&lasting("first"));
        let rest = drain_any(&mut world, first);
        assert_eq!((rest, world.counters().queued, world.counters().dropped), (in_flight + 100, 0, 0));
        assert_eq!((world.kept_for("first"), world.kept_for(name)), (0, 0));
    }
}

#[test]
fn what_a_session_that_ends_leaves_to_its_group_is_read_back_for_the_others() {
    for (qos, has_member) in [(1, true), (2, true), (1, false)] {
        let mut world = World::reading_back(2, OPEN, &Limits::default());
        let from = world.connect(&v5("from"));
        let first = world.connect(&Hello { session_expiry_s: Some(10), ..lasting("first") });
        world.subscribe(first, &[("$share/g/x", qos), ("own", 1)]);
        for value in 1..=300_u16 {
            world.publish(from, Publish { delivery: qos1(1), ..message("x", &value.to_string()) });
            world.publish(from, Publish { delivery: qos1(1), ..message("own", "m") });
        }
        world.take(first);
        world.lose(first);
        let second = world.connect(&lasting("second"));
        if has_member {
            world.subscribe(second, &[("$share/g/x", 1)]);
        }
        world.pass_ms(10_000);
        let expected = if has_member { numbers(1..=300) } else { Vec::new() };
        assert_eq!(drain(&mut world, second), expected);
        assert_eq!((world.counters().queued, world.counters().sessions), (0, 2));
        assert_eq!((world.kept_for("first"), world.kept_for("second")), (0, 0));
        let records = world.records();
        let left: Vec<_> = records.iter().filter_map(|record| record.strip_prefix("ended first as ")).collect();
        assert_eq!(left.len(), 1);
        let closed = format!("closed {}", left[0]);
        assert_eq!(records.iter().filter(|record| **record == closed).count(), 1);
    }
}

/// How a session that is in a group and is owed 400 messages of it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Its client comes back with Clean Start while it waits.
    CleanStart,
    /// Its client takes over its own connection with Clean Start.
    TakenOver,
    /// Its client leaves with a Session Expiry Interval of 0 and comes back at once.
    Left,
}

/// Its client comes back by its name before what it leaves is read back; others are in `groups` of it.
fn comes_back(world: &mut World, end: End, groups: &[&str]) -> Client {
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    groups.iter().for_each(|group| world.subscribe(first, &[(group, 1)]));
    if end == End::CleanStart {
        world.lose(first);
    }
    publish_all(world, from, 1..=400);
    assert_eq!(world.kept_for("first"), 400);
    world.fetches_wait = true;
    for name in ["near", "far", "further"] {
        let other = world.connect(&lasting(name));
        groups.iter().for_each(|group| world.subscribe(other, &[(group, 1)]));
        world.lose(other);
    }
    if end == End::Left {
        let leaves = Disconnect { session_expiry_s: Some(0), ..Disconnect::new(ReasonCode::Success) };
        world.send(first, &Packet::Disconnect(leaves));
    }
    let first = world.admit(&Hello { clean_start: end != End::Left, ..lasting("first") });
    world.fetches_wait = false;
    world.read_back();
    world.expect(first, &["connack 00"]);
    let records = world.records();
    let at = |what: &str| records.iter().rposition(|record| record.starts_with(what)).expect("it is told");
    assert!(at("ended first as ") < at("opened first 1000"), "{records:?}");
    first
}

#[test]
fn whoever_comes_by_the_name_of_a_session_that_ended_takes_nothing_from_its_group() {
    for end in [End::CleanStart, End::TakenOver, End::Left] {
        for groups in [&["$share/g/x"][..], &["$share/g/x", "$share/h/y"]] {
            let mut world = World::reading_back(2, OPEN, &Limits { inflight_max: 10, ..Limits::default() });
            let first = comes_back(&mut world, end, groups);
            assert_eq!((world.counters().queued, world.counters().dropped), (400, 0), "{end:?}");
            let mut got = Vec::new();
            for name in ["near", "far", "further"] {
                let member = world.admit(&lasting(name));
                got.extend(drain(&mut world, member));
                world.lose(member);
            }
            got.sort_by_key(|payload| payload.parse::<u32>().unwrap());
            assert_eq!(got, numbers(1..=400));
            world.expect(first, &[]);
            assert_eq!((world.counters().queued, world.kept_for("first")), (0, 0));
        }
    }
}

#[test]
fn what_a_group_is_owed_survives_a_crash_after_its_member_came_back_by_its_name() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    comes_back(&mut world, End::Left, &["$share/g/x"]);
    let cut = *world.cuts().last().unwrap();
    let world = world.crash(cut, 3, 10);
    let owed: usize = ["near", "far", "further"].iter().map(|name| world.kept_for(name)).sum();
    assert_eq!((owed, world.kept_for("first")), (400, 0));
}

#[test]
fn a_message_of_a_group_that_a_session_left_is_sent_as_it_was_published() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    world.subscribe(first, &[("$share/g/x", 1)]);
    world.lose(first);
    world.publish(from, Publish { delivery: qos1(1), retain: true, ..message("x", "retained") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "twice") });
    world.fetches_wait = true;
    let heir = world.connect(&lasting("heir"));
    let keeps = mqtt::SubscriptionOptions { retain_as_published: true, ..options(2) };
    world.subscribe_with(heir, Some(7), &[("$share/g/x", keeps)]);
    world.take(heir);
    world.admit(&Hello { clean_start: true, ..lasting("first") });
    world.fetches_wait = false;
    world.read_back();
    world.expect(heir, &["publish x=retained q1 #1 retain ids=7", "publish x=twice q2 #2 ids=7"]);
}

#[test]
fn what_a_session_leaves_goes_to_whoever_is_online_though_somebody_came_by_its_name() {
    let mut world = World::reading_back(1, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    world.subscribe(first, &[("$share/g/x", 1)]);
    world.lose(first);
    publish_all(&mut world, from, 1..=300);
    // It does not outlive its connection, so that nothing can be kept for it.
    let second = world.connect(&v5("second"));
    world.subscribe(second, &[("$share/g/x", 1)]);
    world.fetches_wait = true;
    let first = world.admit(&Hello { clean_start: true, ..lasting("first") });
    world.expect(first, &["connack 00"]);
    world.fetches_wait = false;
    world.read_back();
    assert_eq!(drain(&mut world, second), numbers(1..=300));
    world.expect(first, &[]);
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
}

/// A session that is owed messages of two groups ends; each group has another member, and both have one.
#[test]
fn what_a_session_leaves_goes_to_members_of_the_group_that_it_is_owed_to() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    world.subscribe(first, &[("$share/g/x", 1), ("$share/h/#", 2)]);
    world.lose(first);
    for value in 1..=40_u16 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", &value.to_string()) });
    }
    world.fetches_wait = true;
    let both = world.connect(&Hello { session_expiry_s: Some(10), ..lasting("both") });
    world.subscribe(both, &[("$share/g/x", 1), ("$share/h/#", 2)]);
    world.lose(both);
    world.admit(&Hello { clean_start: true, ..lasting("first") });
    world.fetches_wait = false;
    world.read_back();
    assert_eq!(world.kept_for("both"), 80);
    // Its session ends in its turn, and the others are in one of the groups each.
    let members = [("g", "$share/g/x"), ("h", "$share/h/#")].map(|(name, group)| {
        let member = world.connect(&lasting(name));
        world.subscribe(member, &[(group, 2)]);
        member
    });
    world.pass_ms(10_000);
    for member in members {
        let expected: Vec<_> = (1..=40).map(|value| format!("publish x={value} q2 #{value}")).collect();
        assert_eq!(world.take(member), expected);
    }
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
}

/// Which groups a session has left is not written down: what it leaves after a crash is looked through all the same.
#[test]
fn what_waits_for_a_group_that_was_left_before_a_crash_goes_to_its_members_when_the_session_ends() {
    let mut world = World::reading_back(1, OPEN, &Limits { inflight_max: 10, ..Limits::default() });
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    world.subscribe(first, &[("$share/g/x", 1), ("own", 1)]);
    publish_all(&mut world, from, 1..=400);
    world.unsubscribe(first, &["$share/g/x"]);
    world.lose(first);
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 1, 10);
    let second = world.connect(&lasting("second"));
    world.subscribe(second, &[("$share/g/x", 1)]);
    world.admit(&Hello { clean_start: true, ..lasting("first") });
    assert_eq!(drain(&mut world, second), numbers(1..=400));
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
}

#[test]
fn a_message_that_reaches_a_member_too_late_is_written_down_for_the_next_one() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let there =
        ["a", "b", "c", "d"].into_iter().find(|name| motte_broker::home(name, 2) != motte_broker::home("from", 2));
    let there = there.expect("one of them is at home elsewhere");
    let gone = world.connect(&lasting(there));
    world.subscribe(gone, &[("$share/g/x", 1)]);
    let other = world.connect(&lasting("other"));
    world.letters_wait = true;
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "1") });
    world.send(
        gone,
        &Packet::Disconnect(Disconnect { session_expiry_s: Some(0), ..Disconnect::new(ReasonCode::Success) }),
    );
    world.subscribe(other, &[("$share/g/x", 1)]);
    world.letters_wait = false;
    world.settle();
    assert_eq!((world.kept_for(there), world.kept_for("other")), (0, 1));
    let published = world.records().iter().filter(|record| record.starts_with("published")).count();
    assert_eq!((published, world.records().iter().any(|record| record.starts_with("moved"))), (2, false));
    assert_eq!(drain(&mut world, other), ["1"]);
    assert_eq!(world.kept_for("other"), 0);
}

/// It left with a Session Expiry Interval of 0: what it was owed by then is among what it leaves, in the journal alone.
#[test]
fn a_message_that_reaches_a_member_too_late_is_not_owed_to_what_it_left_as_well() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let from = world.connect(&v5("from"));
    let there =
        ["a", "b", "c", "d"].into_iter().find(|name| motte_broker::home(name, 2) != motte_broker::home("from", 2));
    let gone = world.connect(&lasting(there.expect("one of them is at home elsewhere")));
    world.subscribe(gone, &[("$share/g/x", 1)]);
    let other = world.connect(&lasting("other"));
    world.subscribe(other, &[("$share/g/x", 1)]);
    world.lose(other);
    publish_all(&mut world, from, 1..=400);
    (world.letters_wait, world.fetches_wait) = (true, true);
    publish_all(&mut world, from, 401..=401);
    let leaves = Disconnect { session_expiry_s: Some(0), ..Disconnect::new(ReasonCode::Success) };
    world.send(gone, &Packet::Disconnect(leaves));
    world.letters_wait = false;
    world.settle();
    // The rest is read back by the next run.
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 2, 10);
    let other = world.admit(&lasting("other"));
    let mut got = drain(&mut world, other);
    got.sort_by_key(|payload| payload.parse::<u32>().unwrap());
    assert_eq!(got, numbers(1..=401));
}

#[test]
fn who_leaves_a_group_leaves_what_waits_for_it_to_the_others_as_it_is_read_back() {
    let mut world = World::reading_back(1, OPEN, &Limits { inflight_max: 10, ..Limits::default() });
    let from = world.connect(&v5("from"));
    let first = world.connect(&lasting("first"));
    world.subscribe(first, &[("$share/g/x", 1)]);
    publish_all(&mut world, from, 1..=1_000);
    let second = world.connect(&lasting("second"));
    world.subscribe(second, &[("$share/g/x", 1)]);
    world.unsubscribe(first, &["$share/g/x"]);
    let (mut got, mut own) = (Vec::new(), Vec::new());
    loop {
        let before = got.len() + own.len();
        own.extend(drain(&mut world, first));
        got.extend(drain(&mut world, second));
        if got.len() + own.len() == before {
            break;
        }
    }
    assert_eq!((own.len(), got.len()), (10, 990));
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
    assert_eq!((world.kept_for("first"), world.kept_for("second")), (0, 0));
}

/// What a client has seen of a session that is lost and resumed again and again.
#[derive(Default)]
struct Reader {
    client: Option<Client>,
    /// Payloads in the order in which they came for the first time.
    order: Vec<String>,
    /// Identifiers and payloads that were not acknowledged; without a payload PUBREC was sent.
    open: Vec<(u16, u8, Option<String>)>,
}

impl Reader {
    fn read(&mut self, world: &mut World) {
        let Some(client) = self.client else { return };
        for line in world.take(client) {
            if let Some(id) = line.strip_prefix("pubrel ") {
                let id: u16 = id.split(' ').next().unwrap().parse().unwrap();
                self.open.retain(|(open, ..)| *open != id);
                world.pubcomp(client, id);
                continue;
            }
            let Some(id) = id_of(&line) else { continue };
            let payload = line.split(['=', ' ']).nth(2).unwrap().to_owned();
            let qos = if line.contains(" q2 ") { 2 } else { 1 };
            let known = self.open.iter().find(|(open, ..)| *open == id);
            // What it did not read before its connection was lost is repeated as well.
            assert!(known.is_none() || line.ends_with(" dup"), "{line} {:?}", self.open);
            match known {
                Some(known) => assert_eq!(*known, (id, qos, Some(payload)), "sent again as it was"),
                None => {
                    self.order.push(payload.clone());
                    self.open.push((id, qos, Some(payload)));
                }
            }
        }
    }

    fn acknowledge(&mut self, world: &mut World, at: usize) {
        self.read(world);
        let Some(client) = self.client.filter(|_| !self.open.is_empty()) else { return };
        let at = at % self.open.len();
        let (id, qos, payload) = &mut self.open[at];
        let id = *id;
        match (*qos, payload.take()) {
            (1, _) => {
                self.open.remove(at);
                world.puback(client, id);
            }
            (_, Some(_)) => world.pubrec(client, id),
            (_, None) => {}
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]

    /// A session against a plain list: whatever happens in between, each message comes once and in order.
    #[test]
    fn a_session_that_reads_back_gives_what_a_plain_list_would(
        steps in proptest::collection::vec((0_u8..12, 0_usize..150), 1..40),
        window in proptest::sample::select(vec![1_u16, 3, 20, 100]),
    ) {
        let mut world = World::reading_back(2, OPEN, &Limits { inflight_max: window, ..Limits::default() });
        let from = absent(&mut world);
        let (mut reader, mut sent) = (Reader::default(), 0_u32);
        for (step, count) in steps {
            match step {
                0..=2 => {
                    for _ in 0..count {
                        sent += 1;
                        let delivery = if (sent as usize + count).is_multiple_of(3) { qos2(1) } else { qos1(1) };
                        world.publish(from, Publish { delivery, ..message("x", &sent.to_string()) });
                        world.pubrel(from, 1);
                    }
                    world.take(from);
                }
                3 => reader.client = Some(world.admit(&lasting("to"))),
                4 => reader.client.take().into_iter().for_each(|client| world.lose(client)),
                5 => world.fetches_wait = !world.fetches_wait,
                6 => world.read_back(),
                7 | 8 => reader.read(&mut world),
                _ => (0..count).for_each(|at| reader.acknowledge(&mut world, at * count)),
            }
            world.counters();
        }
        world.fetches_wait = false;
        world.read_back();
        reader.client = Some(world.admit(&lasting("to")));
        for _ in 0..sent + 10 {
            reader.read(&mut world);
            (0..window.into()).for_each(|_| reader.acknowledge(&mut world, 0));
            if reader.open.is_empty() && reader.order.len() == sent as usize {
                break;
            }
        }
        reader.read(&mut world);
        proptest::prop_assert_eq!(reader.order, numbers(1..=sent));
        let counters = world.counters();
        proptest::prop_assert_eq!((counters.queued, counters.dropped, world.kept_for("to")), (0, 0, 0));
    }
}

/// Reads and acknowledges what has come to a member of a group.
fn read_member(world: &mut World, client: Client, seen: &mut std::collections::BTreeSet<String>) {
    for line in world.take(client) {
        let Some(id) = id_of(&line) else { continue };
        seen.insert(line.split(['=', ' ']).nth(2).unwrap().to_owned());
        world.puback(client, id);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]

    /// Members of a group come, go, leave it and end, while one of them stays: nobody but it may have everything, and
    /// nothing is lost.
    #[test]
    fn nothing_of_a_group_is_lost_whoever_comes_and_goes(
        steps in proptest::collection::vec((0_u8..12, 0_usize..3, 0_u32..200), 1..50),
        window in proptest::sample::select(vec![1_u16, 10, 100]),
    ) {
        let mut world = World::reading_back(2, OPEN, &Limits { inflight_max: window, ..Limits::default() });
        let from = world.connect(&v5("from"));
        let names = ["anchor", "second", "third"];
        let mut members: [Option<Client>; 3] = [None; 3];
        let mut seen = std::collections::BTreeSet::new();
        let mut sent = 0_u32;
        let join = |world: &mut World, name| {
            let expiry_s = if name == "anchor" { 1_000_000 } else { 5 };
            let client = world.admit(&Hello { session_expiry_s: Some(expiry_s), ..lasting(name) });
            world.subscribe_with(client, None, &[("$share/g/x", options(1))]);
            client
        };
        members[0] = Some(join(&mut world, "anchor"));
        for (step, who, count) in steps {
            match step {
                0..=3 => {
                    publish_all(&mut world, from, sent + 1..=sent + count);
                    sent += count;
                }
                4 => members[who] = Some(join(&mut world, names[who])),
                5 => members[who].take().into_iter().for_each(|client| world.lose(client)),
                6 if who > 0 => members[who].into_iter().for_each(|client| {
                    world.unsubscribe(client, &["$share/g/x"]);
                    // What it was sent before, or is to be sent again, stays with it.
                    world.fetches_wait = false;
                    world.read_back();
                    (0..=sent).for_each(|_| read_member(&mut world, client, &mut seen));
                }),
                7 => world.fetches_wait = !world.fetches_wait,
                8 => world.read_back(),
                9 => world.pass_ms(6_000),
                _ => members[who].into_iter().for_each(|client| read_member(&mut world, client, &mut seen)),
            }
            world.counters();
        }
        world.fetches_wait = false;
        world.read_back();
        members[1..].iter_mut().for_each(|member| member.take().into_iter().for_each(|client| world.lose(client)));
        world.pass_ms(6_000);
        let anchor = members[0].take().unwrap_or_else(|| join(&mut world, "anchor"));
        for _ in 0..sent + 10 {
            read_member(&mut world, anchor, &mut seen);
        }
        let expected: std::collections::BTreeSet<_> = numbers(1..=sent).into_iter().collect();
        proptest::prop_assert_eq!(seen, expected);
        let counters = world.counters();
        proptest::prop_assert_eq!((counters.queued, counters.dropped, counters.sessions), (0, 0, 2));
        proptest::prop_assert_eq!(names.map(|name| world.kept_for(name)), [0; 3]);
    }
}
