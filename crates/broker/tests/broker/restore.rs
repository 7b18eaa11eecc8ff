//! What a node takes back after it was away: sessions, what they are owed, wills and retained messages.

use motte_audit::EventKind;
use motte_broker::Limits;
use mqtt::{Packet, Publish, ReasonCode};

use crate::kit::*;

fn world(shards: u16) -> World {
    World::reading_back(shards, OPEN, &Limits::default())
}

/// Comes back after everything was written.
fn restart(world: World, shards: u16, away_ms: u64) -> World {
    let cut = *world.cuts().last().unwrap();
    world.crash(cut, shards, away_ms)
}

fn present(world: &mut World, hello: &Hello<'_>) -> Client {
    let client = world.admit(hello);
    assert_eq!(world.take_once(client)[0], "connack 00 present");
    client
}

#[test]
fn r01_sessions_come_back_on_another_number_of_shards_with_subscriptions_and_queues() {
    let mut world = world(1);
    let from = world.connect(&v5("from"));
    let all: Vec<String> = (0..20).map(|at| format!("to{at}")).collect();
    for name in &all {
        let to = world.connect(&lasting(name));
        world.subscribe_with(to, Some(7), &[("x/#", options(2))]);
        world.lose(to);
    }
    world.publish(from, Publish { delivery: qos2(1), ..message("x/a", "one") });
    world.publish(from, Publish { delivery: qos1(2), ..message("x/b", "two") });
    let mut world = restart(world, 3, 1);
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos1(3), ..message("x/c", "three") });
    for name in &all {
        let to = world.admit(&lasting(name));
        let expected = [
            "connack 00 present",
            "publish x/a=one q2 #1 ids=7",
            "publish x/b=two q1 #2 ids=7",
            "publish x/c=three q1 #3 ids=7",
        ];
        world.expect(to, &expected);
    }
    let counters = world.counters();
    assert_eq!((counters.sessions, counters.subscriptions, counters.queued), (21, 20, 0));
}

#[test]
fn v5_4_4_0_1_what_was_unfinished_at_a_crash_is_sent_again_under_its_identifiers() {
    let mut world = world(2);
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", &value.to_string()) });
    }
    world.publish(from, Publish { delivery: qos1(4), ..message("x", "4") });
    world.expect(to, &["publish x=1 q2 #1", "publish x=2 q2 #2", "publish x=3 q2 #3", "publish x=4 q1 #4"]);
    world.pubrec(to, 1);
    world.pubrec(to, 2);
    world.pubcomp(to, 1);
    let mut world = restart(world, 2, 1);
    let to = world.admit(&lasting("to"));
    let again = ["pubrel 2 00", "publish x=3 q2 #3 dup", "publish x=4 q1 #4 dup"];
    assert_eq!(world.take(to), [&["connack 00 present"], &again[..]].concat());
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "5") });
    world.expect(to, &["publish x=5 q2 #5"]);
}

#[test]
fn v5_4_4_0_1_what_may_have_been_sent_before_a_crash_is_sent_as_a_repetition() {
    let mut world = world(2);
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    let cut = world.cuts().into_iter().next_back().unwrap() + 1;
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "one") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "two") });
    world.expect(to, &["publish x=one q1 #1", "publish x=two q2 #2"]);
    // The messages were written down, and not that they were sent: they live on another shard than the publisher.
    assert_ne!(from.shard, to.shard);
    let cuts = world.cuts();
    let second = cuts.iter().filter(|at| **at >= cut).nth(2).unwrap();
    let mut world = world.crash(*second, 2, 1);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish x=one q1 #1 dup", "publish x=two q2 #2"]);
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "three") });
    world.expect(to, &["publish x=three q1 #3"]);
}

#[test]
fn v5_4_3_3_10_an_identifier_that_was_not_released_is_known_after_a_crash() {
    let mut world = world(2);
    let (from, to) = (world.connect(&lasting("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "one") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "two") });
    world.pubrel(from, 2);
    world.expect(from, &["pubrec 1 00", "pubrec 2 00", "pubcomp 2 00"]);
    world.lose(to);
    let mut world = restart(world, 1, 1);
    let from = present(&mut world, &lasting("from"));
    let again = |value| mqtt::Delivery::ExactlyOnce { id: id(value), dup: true };
    world.publish(from, Publish { delivery: again(1), ..message("x", "one") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "new") });
    world.pubrel(from, 1);
    world.expect(from, &["pubrec 1 00", "pubrec 2 00", "pubcomp 1 00"]);
    let to = world.admit(&lasting("to"));
    let sent = ["publish x=one q2 #1 dup", "publish x=two q2 #2 dup", "publish x=new q2 #3"];
    assert_eq!(world.take(to), [&["connack 00 present"], &sent[..]].concat());
}

#[test]
fn v5_3_1_2_8_wills_and_their_delays_go_on_while_the_node_is_away() {
    let delayed = |topic, delay_s| Some(mqtt::Will { delay_s, qos: mqtt::Qos::AtLeastOnce, ..will(topic) });
    let play = |away_ms: u64| {
        let mut world = world(2);
        let to = world.connect(&lasting("to"));
        world.subscribe(to, &[("w/#", 1)]);
        let waiting = world.connect(&Hello { will: delayed("w/waiting", 20), ..lasting("waiting") });
        world.lose(waiting);
        // Those that are connected lose their connections at the crash.
        world.connect(&Hello { will: delayed("w/online", 20), ..lasting("online") });
        let brief = Hello { session_expiry_s: None, clean_start: false, ..lasting("brief") };
        let client = world.connect(&lasting("brief"));
        world.lose(client);
        world.connect(&Hello { will: delayed("w/brief", 20), ..brief });
        let gone = world.connect(&Hello { will: delayed("w/left", 20), ..lasting("left") });
        world.disconnect(gone, ReasonCode::Success);
        world.pass_ms(1_000);
        let mut world = restart(world, 3, away_ms);
        let to = world.admit(&lasting("to"));
        (world.take(to), world.counters().sessions, world, to)
    };
    let (lines, sessions, mut world, to) = play(5_000);
    // The session that was to end with its connection ended, and its will with it.
    assert_eq!(lines, ["connack 00 present", "publish w/brief=gone q1 #1"]);
    assert_eq!(sessions, 4);
    world.pass_ms(13_999);
    world.expect(to, &[]);
    world.pass_ms(1);
    world.expect(to, &["publish w/waiting=gone q1 #2"]);
    world.pass_ms(5_999);
    world.expect(to, &[]);
    world.pass_ms(1);
    world.expect(to, &["publish w/online=gone q1 #3"]);
    let (lines, ..) = play(60_000);
    let mut sent: Vec<&str> = lines.iter().map(|line| line.split('=').next().unwrap()).collect();
    sent[1..].sort_unstable();
    assert_eq!(sent, ["connack 00 present", "publish w/brief", "publish w/waiting"]);
}

#[test]
fn i7_a_will_is_published_once_at_any_cut() {
    let play = || {
        let mut world = world(2);
        let to = world.connect(&lasting("to"));
        world.subscribe(to, &[("w", 1)]);
        world.lose(to);
        let start = world.cuts().into_iter().next_back().unwrap();
        let hello = Hello { will: Some(mqtt::Will { qos: mqtt::Qos::AtLeastOnce, ..will("w") }), ..lasting("c") };
        let client = world.connect(&hello);
        world.lose(client);
        (start, world)
    };
    let (start, world) = play();
    for cut in world.cuts().into_iter().filter(|cut| *cut > start) {
        let mut world = play().1.crash(cut, 2, 1);
        let to = world.admit(&lasting("to"));
        let lines = world.take(to);
        assert_eq!(lines.len(), 2, "cut {cut}: {lines:?}");
        world.lose(to);
        let mut world = restart(world, 1, 5_000_000);
        let to = world.admit(&lasting("to"));
        assert_eq!(world.take(to), ["connack 00"], "the sessions ended meanwhile");
    }
}

#[test]
fn sessions_whose_time_ran_out_while_the_node_was_away_end_with_their_wills() {
    let mut world = world(1);
    let to = world.connect(&Hello { session_expiry_s: Some(100_000), ..lasting("to") });
    world.subscribe(to, &[("w", 1)]);
    let late = mqtt::Will { delay_s: u32::MAX, qos: mqtt::Qos::AtLeastOnce, ..will("w") };
    let client = world.connect(&Hello { will: Some(late), ..lasting("c") });
    world.lose(client);
    let mut world = restart(world, 2, 999_999);
    assert_eq!(world.counters().sessions, 2);
    world.pass_ms(1);
    assert_eq!(world.events().iter().filter(|event| **event == EventKind::SessionExpired).count(), 1);
    let to = world.admit(&Hello { session_expiry_s: Some(100_000), ..lasting("to") });
    world.expect(to, &["connack 00 present", "publish w=gone q1 #1"]);
    let again = world.admit(&lasting("c"));
    world.expect(again, &["connack 00"]);
}

#[test]
fn i6_retained_messages_come_back_as_they_were_last_and_expire_while_the_node_is_away() {
    let mut world = world(2);
    let (from, other) = (world.connect(&v5("from")), world.connect(&v5("to")));
    let retain = |topic, payload| Publish { retain: true, ..message(topic, payload) };
    world.publish(from, retain("r/old", "1"));
    world.publish(other, retain("r/old", "2"));
    world.publish(from, retain("r/gone", "1"));
    world.publish(other, retain("r/gone", ""));
    world.publish(from, Publish { message_expiry_s: Some(10), ..retain("r/brief", "1") });
    world.publish(from, Publish { delivery: qos2(1), ..retain("r/exact", "1") });
    let mut world = restart(world, 3, 10_000);
    // What expired takes no room on the disk for longer than it has to.
    assert!(
        world.records().iter().any(|record| record.starts_with("retained r/brief nothing")),
        "{:?}",
        world.records()
    );
    let to = world.connect(&v5("reader"));
    world.subscribe_with(to, None, &[("r/#", options(2))]);
    world.expect(to, &["suback 1 02", "publish r/exact=1 q2 #1 retain", "publish r/old=2 retain"]);
    assert_eq!(world.shared.retained_totals().0, 2);
    // The serial numbers go on.
    let from = world.connect(&v5("from"));
    world.publish(from, retain("r/old", "3"));
    let mut world = restart(world, 1, 1);
    let to = world.connect(&v5("reader"));
    world.subscribe_with(to, None, &[("r/old", options(0))]);
    world.expect(to, &["suback 1 00", "publish r/old=3 retain"]);
}

#[test]
fn k21_what_a_removed_user_published_stays_withdrawn_after_a_crash() {
    let mut world = world(2);
    let (bad, to) = (world.connect(&v5("bad")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1)]);
    world.lose(to);
    world.publish(bad, Publish { delivery: qos1(1), ..message("x", "m") });
    world.publish(bad, Publish { retain: true, ..message("r", "m") });
    world.remove_users(&["bad"]);
    let mut world = restart(world, 2, 1);
    let to = world.admit(&lasting("to"));
    world.subscribe_with(to, None, &[("r", options(0))]);
    world.expect(to, &["connack 00 present", "suback 1 00"]);
    assert_eq!(world.counters().withheld, 2);
}

#[test]
fn k20_a_right_that_was_taken_while_the_node_was_away_is_gone() {
    let mut world = world(1);
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 1), ("y", 1)]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos1(2), ..message("y", "m") });
    world.change_policy_unheard("pattern readwrite #\nuser to\ntopic deny x\n");
    let mut world = restart(world, 1, 1);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish y=m q1 #1"]);
    world.unsubscribe(to, &["x", "y"]);
    world.expect(to, &["unsuback 2 11 00"]);
}

#[test]
fn v5_3_2_0_1_nothing_comes_before_the_connack_of_a_session_that_is_not_durable_yet() {
    let mut world = world(1);
    world.hold_journal(true);
    let client = world.admit(&Hello { will: Some(will("w")), ..lasting("c") });
    world.subscribe_with(client, None, &[("x", options(1))]);
    world.send(client, &Packet::PingReq);
    let from = world.admit(&v5("from"));
    world.expect(from, &["connack 00"]);
    world.publish(from, message("x", "zero"));
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "one") });
    world.expect(client, &[]);
    world.journal_reaches(motte_broker::Position(2));
    world.expect(client, &["connack 00", "pingresp", "publish x=one q1 #1"]);
    world.hold_journal(false);
    world.expect(client, &["suback 1 01"]);
    // One that never hears of its CONNACK is not told goodbye either.
    world.hold_journal(true);
    let late = world.admit(&lasting("late"));
    world.admit(&lasting("late"));
    world.expect(late, &["closed"]);
}

#[test]
fn v5_4_3_3_8_a_flow_goes_on_as_far_as_it_is_written() {
    let mut world = world(1);
    let (from, to) = (world.connect(&lasting("from")), world.connect(&lasting("to")));
    world.subscribe(to, &[("x", 2)]);
    world.hold_journal(true);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos1(2), ..message("x", "n") });
    world.expect(from, &[]);
    world.expect(to, &[]);
    world.hold_journal(false);
    world.expect(from, &["pubrec 1 00", "puback 2 00"]);
    world.expect(to, &["publish x=m q2 #1", "publish x=n q1 #2"]);
    world.hold_journal(true);
    world.pubrel(from, 1);
    world.pubrec(to, 1);
    world.expect(from, &[]);
    world.expect(to, &[]);
    world.hold_journal(false);
    world.expect(from, &["pubcomp 1 00"]);
    world.expect(to, &["pubrel 1 00"]);
    world.hold_journal(true);
    world.pubcomp(to, 1);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "o") });
    assert_eq!(world.counters().queued, 1, "a message that waits for its record waits");
    world.hold_journal(false);
    world.expect(to, &["publish x=o q2 #3"]);
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn retained_messages_of_qos_2_are_written_down_many_at_a_time_for_a_session_that_lasts() {
    let mut world = world(1);
    let (from, to) = (world.connect(&v5("from")), world.connect(&lasting("to")));
    for value in 1..=5 {
        let topic = format!("r/{value}");
        world.publish(from, Publish { delivery: qos2(value), retain: true, ..message(&topic, "m") });
    }
    world.hold_journal(true);
    world.subscribe_with(to, None, &[("r/#", options(2))]);
    world.expect(to, &[]);
    world.hold_journal(false);
    let shown = world.take(to);
    assert_eq!(shown[0], "suback 1 02");
    assert_eq!(shown[1..], (1..=5).map(|n| format!("publish r/{n}=m q2 #{n} retain")).collect::<Vec<_>>());
    let mut world = restart(world, 2, 1);
    let to = world.admit(&lasting("to"));
    let again: Vec<_> = (1..=5).map(|n| format!("publish r/{n}=m q2 #{n} dup retain")).collect();
    assert_eq!(world.take(to)[1..], again);
}

#[test]
fn i6_the_retained_message_is_the_last_acknowledged_one_or_a_later_one_at_any_cut() {
    let play = || {
        let mut world = world(2);
        let writers = ["from", "to"].map(|name| world.connect(&v5(name)));
        assert_ne!(writers[0].shard, writers[1].shard);
        world.durable_until(0);
        for value in 1..=8_u16 {
            let writer = writers[usize::from(value / 2 % 2)];
            // The fifth clears the topic.
            let payload = if value == 5 { String::new() } else { value.to_string() };
            world.publish(writer, Publish { delivery: qos1(value), retain: true, ..message("r", &payload) });
        }
        (world, writers)
    };
    for cut in play().0.cuts() {
        let (mut world, writers) = play();
        world.durable_until(cut);
        let acknowledged = writers.into_iter().flat_map(|writer| world.take(writer));
        let last = acknowledged.map(|line| line.split(' ').nth(1).unwrap().parse::<u16>().unwrap()).max();
        let mut world = world.crash(cut, 3, 1);
        let to = world.connect(&v5("reader"));
        world.subscribe_with(to, None, &[("r", options(0))]);
        let lines = world.take(to);
        let expected = match last {
            None | Some(5) => vec!["suback 1 00".to_owned()],
            Some(value) => vec!["suback 1 00".to_owned(), format!("publish r={value} retain")],
        };
        assert_eq!(lines, expected, "cut {cut}");
    }
}

#[test]
fn a_session_behind_a_mount_point_and_the_members_of_a_group_come_back_as_they_were() {
    let mut world = world(1);
    let hello = Hello { mount_point: "site/", ..lasting("behind") };
    let behind = world.connect(&hello);
    world.subscribe(behind, &[("x", 1), ("$share/g/y", 1)]);
    let member = world.connect(&lasting("member"));
    world.subscribe(member, &[("$share/g/site/y", 1)]);
    let mut world = restart(world, 3, 1);
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos1(1), ..message("site/x", "m") });
    for value in 2..=5 {
        world.publish(from, Publish { delivery: qos1(value), ..message("site/y", &value.to_string()) });
    }
    assert!(world.take(from).iter().all(|line| line.ends_with(" 00")));
    let (member, behind) = (world.admit(&lasting("member")), world.admit(&hello));
    let (member, mut behind) = (world.take(member), world.take(behind));
    let told: Vec<String> = behind.extract_if(.., |line| !line.starts_with("publish y=")).collect();
    assert_eq!(told, ["connack 00 present", "publish x=m q1 #1"]);
    assert_eq!(member[0], "connack 00 present");
    let shared = member[1..].iter().map(|line| &line["publish site/y=".len()..]);
    let mut shared: Vec<_> = shared.chain(behind.iter().map(|line| &line["publish y=".len()..])).collect();
    shared.sort_unstable();
    let payloads: Vec<_> = shared.iter().map(|line| &line[..1]).collect();
    assert_eq!(payloads, ["2", "3", "4", "5"], "each went to one of the two");
}

#[test]
fn sessions_that_come_back_count_for_their_owner_and_against_its_limit() {
    let limits = Limits { sessions_per_user_max: 2, ..Limits::default() };
    let mut world = World::reading_back(2, OPEN, &limits);
    let of_one = |client_id| Hello { user: "one", ..lasting(client_id) };
    for client_id in ["a", "b"] {
        world.connect(&of_one(client_id));
    }
    let mut world = restart(world, 1, 1);
    let refused = world.admit(&of_one("c"));
    world.expect(refused, &["connack 97", "closed"]);
    let stranger = world.admit(&Hello { user: "other", ..lasting("a") });
    world.expect(stranger, &["connack 85", "closed"]);
    let mut world = restart(world, 2, 1_000_001);
    let back = world.admit(&of_one("c"));
    world.expect(back, &["connack 00"]);
    assert_eq!(world.counters().sessions, 1);
}
