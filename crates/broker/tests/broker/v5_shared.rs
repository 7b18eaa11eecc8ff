//! Shared subscriptions: who is given a message, and what becomes of it when the member leaves.

use motte_broker::Limits;
use mqtt::{Ack, Disconnect, Packet, Publish, ReasonCode};

use crate::kit::*;

/// Publishes `count` messages of QoS 1 with the payloads `first`, `first + 1`, … and drops what the publisher is told.
fn publish_all(world: &mut World, from: Client, first: u16, count: u16) {
    for value in first..first + count {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &value.to_string()) });
    }
    world.take(from);
}

/// Two shards and a publisher.
fn two_shards(limits: &Limits) -> (World, Client) {
    let mut world = World::with(2, OPEN, limits);
    let from = world.connect(&v5("from"));
    (world, from)
}

/// Client identifiers of which the first two live on one shard and the third on the other.
fn names(world: &World) -> [String; 3] {
    let mut by_shard = [Vec::new(), Vec::new()];
    for n in 0..20 {
        let name = format!("member{n}");
        by_shard[usize::from(world.shared.home(&name).0)].push(name);
    }
    let [mut near, mut far] = by_shard;
    [near.remove(0), near.remove(0), far.remove(0)]
}

fn join(world: &mut World, hello: &Hello<'_>, qos: u8) -> Client {
    let client = world.connect(hello);
    world.subscribe(client, &[("$share/g/x", qos)]);
    client
}

fn leave(world: &mut World, client: Client, expiry_s: u32) {
    let goodbye = Disconnect { session_expiry_s: Some(expiry_s), ..Disconnect::new(ReasonCode::Success) };
    world.send(client, &Packet::Disconnect(goodbye));
}

/// How many messages each client was sent.
fn shares(world: &mut World, clients: &[Client]) -> Vec<usize> {
    clients.iter().map(|&client| world.take(client).iter().filter(|line| line.starts_with("publish")).count()).collect()
}

#[test]
fn members_without_a_connection_do_not_double_the_share_of_the_next() {
    let (mut world, from) = two_shards(&Limits::default());
    let all: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| join(&mut world, &lasting(name), 1)).collect();
    world.lose(all[0]);
    world.lose(all[1]);
    publish_all(&mut world, from, 1, 30);
    assert_eq!(shares(&mut world, &all[2..]), [10, 10, 10]);
    assert_eq!((world.counters().routed, world.counters().queued), (30, 0));
}

#[test]
fn a_member_with_a_full_window_is_passed_over_while_another_has_room() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, _, far] = names(&world);
    let stuck = join(&mut world, &Hello { receive_maximum: Some(1), ..v5(&near) }, 1);
    let free = join(&mut world, &v5(&far), 1);
    publish_all(&mut world, from, 1, 20);
    assert_eq!(shares(&mut world, &[stuck, free]), [1, 19]);
    assert_eq!(world.counters().queued, 0, "nothing waits for the one that does not acknowledge");
    world.puback(stuck, 1);
    publish_all(&mut world, from, 21, 2);
    assert_eq!(shares(&mut world, &[stuck, free]), [1, 1]);
}

#[test]
fn when_all_windows_are_full_messages_wait_in_turn_and_only_full_queues_drop() {
    let limits = Limits { queue_messages_max: 2, inflight_max: 1, ..Limits::default() };
    let (mut world, from) = two_shards(&limits);
    let [near, _, far] = names(&world);
    let one = join(&mut world, &v5(&near), 1);
    let two = join(&mut world, &v5(&far), 1);
    publish_all(&mut world, from, 1, 6);
    assert_eq!((world.counters().sent, world.counters().queued, world.counters().dropped), (2, 4, 0));
    publish_all(&mut world, from, 7, 1);
    assert_eq!((world.counters().queued, world.counters().dropped), (4, 1));
    for client in [one, two] {
        assert_eq!(world.take(client).len(), 1);
        world.puback(client, 1);
        assert_eq!(world.take(client).len(), 1);
    }
    assert_eq!(world.counters().queued, 2);
}

#[test]
fn a_full_queue_without_a_connection_is_passed_over() {
    let (mut world, from) = two_shards(&Limits { queue_messages_max: 2, ..Limits::default() });
    let [near, other, far] = names(&world);
    let all = [near, other, far];
    for name in &all {
        let client = join(&mut world, &lasting(name), 1);
        world.lose(client);
    }
    publish_all(&mut world, from, 1, 6);
    assert_eq!((world.counters().queued, world.counters().dropped), (6, 0));
    publish_all(&mut world, from, 7, 1);
    assert_eq!((world.counters().queued, world.counters().dropped, world.counters().refused), (6, 0, 1));
}

#[test]
fn a_queue_that_is_full_for_this_message_alone_passes_it_on() {
    let limits = Limits { queue_bytes_max: 40, inflight_max: 1, ..Limits::default() };
    let (mut world, from) = two_shards(&limits);
    let [near, _, far] = names(&world);
    let one = join(&mut world, &v5(&near), 1);
    let two = join(&mut world, &v5(&far), 1);
    for payload in ["a", "b", "20 bytes of payload.", "e", "24 bytes of the payload."] {
        world.publish(from, Publish { delivery: qos1(9), ..message("x", payload) });
    }
    world.take(one);
    world.take(two);
    assert_eq!((world.counters().queued, world.counters().dropped), (3, 0));
}

#[test]
fn a_message_too_large_for_one_member_goes_to_another() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, other, far] = names(&world);
    let small = |client_id| Hello { packet_size_max: Some(60), ..v5(client_id) };
    let hellos = [small(&near), small(&far), v5(&other)];
    let all = hellos.each_ref().map(|hello| join(&mut world, hello, 1));
    let large = "l".repeat(60);
    for value in 1..=6 {
        world.publish(from, Publish { delivery: qos1(value), ..message("x", &large) });
    }
    assert_eq!(shares(&mut world, &all), [0, 0, 6]);
    publish_all(&mut world, from, 1, 9);
    assert_eq!(shares(&mut world, &all), [3, 3, 3], "all take turns with what all can take");
    // Nobody else is there: it counts as sent (MQTT-3.1.2-25), and nobody holds it.
    (1..=9).for_each(|value| world.puback(all[2], value));
    world.lose(all[2]);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", &large) });
    assert_eq!(shares(&mut world, &all[..2]), [0, 0]);
    let counters = world.counters();
    assert_eq!((counters.routed, counters.sent, counters.queued), (16, 16, 0));
}

#[test]
fn qos_0_goes_to_members_that_read() {
    let (mut world, from) = two_shards(&Limits { outbox_bytes_max: 100, ..Limits::default() });
    let [near, other, far] = names(&world);
    let slow = join(&mut world, &v5(&near), 0);
    let away = join(&mut world, &lasting(&other), 0);
    let quick = join(&mut world, &v5(&far), 0);
    world.lose(away);
    let payload = "p".repeat(60);
    let mut got = 0;
    for _ in 0..20 {
        world.publish(from, message("x", &payload));
        got += world.take(quick).len();
    }
    assert_eq!(got + world.take(slow).len(), 20);
    assert_eq!(world.counters().dropped, 0);
}

#[test]
fn qos_0_is_dropped_when_no_member_can_take_it() {
    let (mut world, from) = two_shards(&Limits::default());
    let away = join(&mut world, &lasting("away"), 1);
    world.lose(away);
    world.publish(from, message("x", "m"));
    assert_eq!((world.counters().routed, world.counters().dropped), (1, 1));
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present"]);
}

#[test]
fn v5_4_8_2_3_each_member_gets_the_qos_it_was_granted() {
    let (mut world, from) = two_shards(&Limits::default());
    let all: Vec<_> = ["a", "b", "c"].iter().zip(0..).map(|(name, qos)| join(&mut world, &v5(name), qos)).collect();
    for value in 1..=3 {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", "m") });
        world.pubrel(from, value);
    }
    world.expect(all[0], &["publish x=m"]);
    world.expect(all[1], &["publish x=m q1 #1"]);
    world.expect(all[2], &["publish x=m q2 #1"]);
    // The message that is passed on takes the QoS of the one who gets it, not of the one it was meant for.
    world.disconnect(all[0], ReasonCode::Success);
    for _ in 0..2 {
        world.publish(from, Publish { delivery: qos1(9), ..message("x", "m") });
    }
    world.expect(all[1], &["publish x=m q1 #2"]);
    world.expect(all[2], &["publish x=m q1 #2"]);
}

#[test]
fn v5_4_8_2_4_a_qos_2_delivery_is_finished_with_the_same_member() {
    let (mut world, from) = two_shards(&Limits::default());
    let chosen = join(&mut world, &lasting("chosen"), 2);
    world.publish(from, Publish { delivery: qos2(1), ..message("x", "m") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "n") });
    world.expect(chosen, &["publish x=m q2 #1", "publish x=n q2 #2"]);
    world.pubrec(chosen, 1);
    world.expect(chosen, &["pubrel 1 00"]);
    let other = join(&mut world, &v5("other"), 2);
    world.lose(chosen);
    world.expect(other, &[]);
    let chosen = world.admit(&lasting("chosen"));
    world.expect(chosen, &["connack 00 present", "pubrel 1 00", "publish x=n q2 #2 dup"]);
    world.pubcomp(chosen, 1);
    world.pubrec(chosen, 2);
    world.pubcomp(chosen, 2);
    world.expect(chosen, &["pubrel 2 00"]);
    world.expect(other, &[]);
}

#[test]
fn v5_4_8_2_5_a_qos_2_delivery_that_was_begun_goes_to_nobody_else_when_the_session_ends() {
    type End = fn(&mut World, Client);
    let ends: [End; 4] = [
        |world, client| world.disconnect(client, ReasonCode::Success),
        |world, client| leave(world, client, 0),
        |world, client| {
            world.lose(client);
            world.pass_ms(1_000_000);
        },
        |world, client| {
            world.lose(client);
            world.connect(&v5("chosen"));
        },
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let (mut world, from) = two_shards(&Limits::default());
        let expiry = if n == 0 { None } else { Some(1_000) };
        let chosen = join(&mut world, &Hello { session_expiry_s: expiry, ..v5("chosen") }, 2);
        world.publish(from, Publish { delivery: qos2(1), ..message("x", "begun") });
        world.publish(from, Publish { delivery: qos2(2), ..message("x", "received") });
        world.expect(chosen, &["publish x=begun q2 #1", "publish x=received q2 #2"]);
        world.pubrec(chosen, 2);
        let other = join(&mut world, &v5("other"), 2);
        end(&mut world, chosen);
        world.expect(other, &[]);
        assert_eq!((world.counters().routed, world.counters().sent), (2, 2), "end {n}");
    }
}

#[test]
fn a_qos_2_message_that_was_not_sent_goes_to_another_member_when_the_session_ends() {
    let (mut world, from) = two_shards(&Limits::default());
    let chosen = join(&mut world, &Hello { receive_maximum: Some(1), ..lasting("chosen") }, 2);
    for (value, payload) in [(1, "begun"), (2, "waits")] {
        world.publish(from, Publish { delivery: qos2(value), ..message("x", payload) });
    }
    world.expect(chosen, &["publish x=begun q2 #1"]);
    let other = join(&mut world, &v5("other"), 2);
    leave(&mut world, chosen, 0);
    world.expect(other, &["publish x=waits q2 #1"]);
    let counters = world.counters();
    assert_eq!((counters.routed, counters.sent, counters.queued, counters.dropped), (2, 2, 0, 0));
}

#[test]
fn an_unacknowledged_qos_1_message_waits_for_its_member_and_goes_on_when_the_session_ends() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, other, far] = names(&world);
    for other in [other, far] {
        let chosen = join(&mut world, &lasting(&near), 1);
        publish_all(&mut world, from, 1, 2);
        world.expect(chosen, &["publish x=1 q1 #1", "publish x=2 q1 #2"]);
        world.puback(chosen, 1);
        let other = join(&mut world, &v5(&other), 1);
        world.lose(chosen);
        world.pass_ms(999_999);
        world.expect(other, &[]);
        world.pass_ms(1);
        world.expect(other, &["publish x=2 q1 #1"]);
        world.disconnect(other, ReasonCode::Success);
        assert_eq!(world.counters().queued, 0);
    }
}

#[test]
fn what_waits_goes_to_members_online_when_a_member_loses_its_connection() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, other, far] = names(&world);
    let chosen = join(&mut world, &Hello { receive_maximum: Some(1), ..lasting(&near) }, 1);
    world.subscribe(chosen, &[("x", 1)]);
    publish_all(&mut world, from, 1, 3);
    assert_eq!(world.take(chosen), ["publish x=1 q1 #1"]);
    assert_eq!(world.counters().queued, 5);
    let (other, far) = (join(&mut world, &v5(&other), 1), join(&mut world, &v5(&far), 1));
    world.lose(chosen);
    let mut got = [world.take(other), world.take(far)].concat();
    got.sort_unstable();
    // The publisher gave "1" to the subscription of the session's own first; its group waits behind it.
    assert_eq!(got, ["publish x=1 q1 #1", "publish x=2 q1 #1", "publish x=3 q1 #2"]);
    // What the session is owed by its own subscription stays.
    let chosen = world.admit(&lasting(&near));
    world.expect(chosen, &["connack 00 present", "publish x=1 q1 #1 dup", "publish x=2 q1 #2", "publish x=3 q1 #3"]);
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
}

#[test]
fn a_member_that_unsubscribes_hands_over_what_waits_and_finishes_what_was_sent() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, _, far] = names(&world);
    let chosen = join(&mut world, &Hello { receive_maximum: Some(1), ..lasting(&near) }, 1);
    world.subscribe(chosen, &[("$share/other/x", 1)]);
    publish_all(&mut world, from, 1, 2);
    assert_eq!(world.take(chosen), ["publish x=1 q1 #1"]);
    let other = join(&mut world, &v5(&far), 1);
    world.unsubscribe(chosen, &["$share/g/x"]);
    world.expect(chosen, &["unsuback 2 00"]);
    world.expect(other, &["publish x=2 q1 #1"]);
    world.lose(chosen);
    let chosen = world.admit(&lasting(&near));
    world.expect(chosen, &["connack 00 present", "publish x=1 q1 #1 dup", "publish x=1 q1 #2", "publish x=2 q1 #3"]);
}

#[test]
fn the_last_member_that_unsubscribes_keeps_what_waits() {
    let (mut world, from) = two_shards(&Limits::default());
    let only = join(&mut world, &Hello { receive_maximum: Some(1), ..lasting("only") }, 1);
    publish_all(&mut world, from, 1, 3);
    world.take(only);
    world.unsubscribe(only, &["$share/g/x"]);
    world.puback(only, 1);
    world.expect(only, &["unsuback 2 00", "publish x=2 q1 #2"]);
    assert_eq!((world.counters().queued, world.counters().dropped), (1, 0));
    leave(&mut world, only, 0);
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 1));
}

#[test]
fn v5_4_8_2_6_a_message_that_a_member_refused_goes_to_nobody_else() {
    let (mut world, from) = two_shards(&Limits::default());
    let chosen = join(&mut world, &lasting("chosen"), 2);
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "one") });
    world.publish(from, Publish { delivery: qos2(2), ..message("x", "two") });
    world.expect(chosen, &["publish x=one q1 #1", "publish x=two q2 #2"]);
    let other = join(&mut world, &v5("other"), 2);
    world.send(chosen, &Packet::PubAck(Ack::new(id(1), ReasonCode::NotAuthorized)));
    world.send(chosen, &Packet::PubRec(Ack::new(id(2), ReasonCode::UnspecifiedError)));
    world.expect(chosen, &[]);
    world.expect(other, &[]);
    // Neither when the refusing member leaves, nor when its session ends.
    world.lose(chosen);
    world.pass_ms(1_000_000);
    world.expect(other, &[]);
    assert_eq!((world.counters().routed, world.counters().sent, world.counters().queued), (2, 2, 0));
}

#[test]
fn a_message_is_not_passed_to_a_member_that_may_not_receive_it() {
    let acl = "pattern readwrite #\nuser barred\ntopic deny x\n";
    let mut world = World::with(2, acl, &Limits::default());
    let from = world.connect(&v5("from"));
    let chosen = world.connect(&lasting("chosen"));
    world.subscribe(chosen, &[("$share/g/#", 1)]);
    for (value, topic) in [(1, "x"), (2, "y")] {
        world.publish(from, Publish { delivery: qos1(value), ..message(topic, "m") });
    }
    world.expect(chosen, &["publish x=m q1 #1", "publish y=m q1 #2"]);
    let barred = world.connect(&v5("barred"));
    world.subscribe(barred, &[("$share/g/#", 1)]);
    leave(&mut world, chosen, 0);
    world.expect(barred, &["publish y=m q1 #1"]);
    // Nor is it counted as something that was held back: it was never going there.
    assert_eq!((world.counters().routed, world.counters().withheld), (3, 0));
}

#[test]
fn an_expired_message_is_not_passed_on() {
    let (mut world, from) = two_shards(&Limits::default());
    let chosen = join(&mut world, &lasting("chosen"), 1);
    world.publish(from, Publish { delivery: qos1(1), message_expiry_s: Some(5), ..message("x", "short") });
    world.publish(from, Publish { delivery: qos1(2), message_expiry_s: Some(50), ..message("x", "long") });
    world.take(chosen);
    world.lose(chosen);
    world.pass_ms(10_000);
    let other = join(&mut world, &v5("other"), 1);
    world.connect(&v5("chosen"));
    world.expect(other, &["publish x=long q1 #1 expiry=40"]);
}

#[test]
fn the_journal_says_who_is_owed_a_message_that_was_passed_on() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let brief = join(&mut world, &v5("brief"), 1);
    publish_all(&mut world, from, 1, 1);
    world.take(brief);
    let first = join(&mut world, &lasting("first"), 1);
    world.disconnect(brief, ReasonCode::Success);
    world.expect(first, &["publish x=1 q1 #1"]);
    let second = join(&mut world, &lasting("second"), 2);
    leave(&mut world, first, 0);
    world.expect(second, &["publish x=1 q1 #1"]);
    join(&mut world, &v5("third"), 1);
    world.lose(second);
    world.pass_ms(1_000_000);
    assert_eq!(
        world.shards[0].journal().records,
        [
            "opened first 1000",
            "subscribed first $share/g/x",
            "published x to [first@1]",
            "sent first 3 #1",
            "opened second 1000",
            "subscribed second $share/g/x",
            "moved 3 from first to second@1",
            "sent second 3 #1",
            "closed first",
            "left second",
            "settled second 3",
            "closed second",
        ]
    );
}

#[test]
fn the_journal_moves_what_waits_from_one_durable_session_to_another_in_one_record() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let first = join(&mut world, &Hello { receive_maximum: Some(1), ..lasting("first") }, 2);
    publish_all(&mut world, from, 1, 2);
    world.take(first);
    join(&mut world, &lasting("second"), 1);
    world.lose(first);
    let records = &world.shards[0].journal().records;
    assert!(records.ends_with(&["moved 5 from first to second@1".into(), "sent second 5 #1".into()]), "{records:?}");
}

#[test]
fn every_message_reaches_one_member_while_members_come_and_go() {
    let limits = Limits { inflight_max: 3, queue_messages_max: 1_000, ..Limits::default() };
    let mut world = World::with(3, OPEN, &limits);
    let from = world.connect(&v5("from"));
    let names: Vec<String> = (0..6).map(|n| format!("m{n}")).collect();
    let mut members: Vec<_> = names.iter().map(|name| Some(join(&mut world, &lasting(name), 1))).collect();
    let mut acknowledged = Vec::new();
    for round in 0..400_u16 {
        world.publish(from, Publish { delivery: qos1(1), ..message("x", &round.to_string()) });
        world.take(from);
        let at = usize::from(round) * 7 % 6;
        match members[at].take() {
            Some(member) if round % 3 == 0 => world.lose(member),
            Some(member) if round % 11 == 0 => leave(&mut world, member, 0),
            Some(member) => members[at] = Some(member),
            None => {
                let member = world.admit(&lasting(&names[at]));
                world.subscribe_with(member, None, &[("$share/g/x", options(1))]);
                members[at] = Some(member);
            }
        }
        for member in members.iter().flatten() {
            acknowledge(&mut world, *member, &mut acknowledged);
        }
    }
    for (at, name) in names.iter().enumerate() {
        let member = members[at].unwrap_or_else(|| world.admit(&lasting(name)));
        while acknowledge(&mut world, member, &mut acknowledged) {}
    }
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (0..400).collect::<Vec<u16>>());
    assert_eq!((world.counters().queued, world.counters().dropped), (0, 0));
}

/// Acknowledges what a client is sent, and notes the payloads; tells whether there was anything.
fn acknowledge(world: &mut World, client: Client, payloads: &mut Vec<u16>) -> bool {
    let mut any = false;
    for line in world.take(client).iter().filter(|line| line.starts_with("publish")) {
        let words: Vec<_> = line.split(' ').collect();
        payloads.push(words[1].trim_start_matches("x=").parse().unwrap());
        world.puback(client, words[3].trim_start_matches('#').parse().unwrap());
        any = true;
    }
    any
}

#[test]
fn what_waits_stays_when_the_other_members_are_away_as_well() {
    let (mut world, from) = two_shards(&Limits::default());
    let [near, other, far] = names(&world);
    for other in [&other, &far] {
        let client = join(&mut world, &lasting(other), 1);
        world.lose(client);
    }
    let hello = Hello { receive_maximum: Some(1), ..lasting(&near) };
    let chosen = join(&mut world, &hello, 1);
    publish_all(&mut world, from, 1, 3);
    assert_eq!(world.take(chosen), ["publish x=1 q1 #1"]);
    world.lose(chosen);
    let chosen = world.admit(&lasting(&near));
    world.expect(chosen, &["connack 00 present", "publish x=1 q1 #1 dup", "publish x=2 q1 #2", "publish x=3 q1 #3"]);
}

#[test]
fn a_message_that_comes_back_because_nobody_else_has_room_is_kept_and_counted() {
    // Room for two messages of 21 bytes with their topic, or one of them and some small ones.
    let limits = Limits { queue_bytes_max: 42, inflight_max: 1, ..Limits::default() };
    let (mut world, from) = two_shards(&limits);
    let [near, other, _] = names(&world);
    let chosen = join(&mut world, &lasting(&near), 1);
    let large = "twenty bytes of text";
    for payload in ["sent", large] {
        world.publish(from, Publish { delivery: qos1(9), ..message("x", payload) });
    }
    let busy = join(&mut world, &lasting(&other), 1);
    world.subscribe(busy, &[("own", 1)]);
    for payload in ["sent", "small", large] {
        world.publish(from, Publish { delivery: qos1(9), ..message("own", payload) });
    }
    assert_eq!((world.counters().queued, world.counters().dropped), (3, 0));
    world.take(busy);
    world.lose(chosen);
    assert_eq!((world.counters().queued, world.counters().dropped), (3, 0));
    // It still counts against the bytes of the member that keeps it.
    world.lose(busy);
    world.disconnect(busy, ReasonCode::Success);
    let chosen = world.admit(&lasting(&near));
    world.subscribe_with(chosen, None, &[("mine", options(1))]);
    for payload in [large, "x"] {
        world.publish(from, Publish { delivery: qos1(9), ..message("mine", payload) });
    }
    assert_eq!((world.counters().queued, world.counters().dropped, world.counters().refused), (4, 0, 1));
    world.expect(chosen, &["connack 00 present", "publish x=sent q1 #1 dup", "suback 1 01"]);
    world.puback(chosen, 1);
    world.expect(chosen, &["publish x=twenty bytes of text q1 #2"]);
}

#[test]
fn a_message_that_fits_nowhere_does_not_go_round_for_ever() {
    let limits = Limits { queue_bytes_max: 10, inflight_max: 1, ..Limits::default() };
    let (mut world, from) = two_shards(&limits);
    let [near, other, far] = names(&world);
    for name in [&near, &other, &far] {
        join(&mut world, &v5(name), 1);
    }
    for payload in ["1", "2", "3"] {
        world.publish(from, Publish { delivery: qos1(1), ..message("x", payload) });
    }
    // Each of the three has room for a small message and none for this one.
    world.publish(from, Publish { delivery: qos1(1), ..message("x", "too much for any") });
    let counters = world.counters();
    assert_eq!((counters.routed, counters.sent, counters.queued, counters.dropped), (4, 3, 0, 1));
}

#[test]
fn members_that_are_all_away_take_turns_too() {
    for shards in [1, 2] {
        let mut world = World::with(shards, OPEN, &Limits::default());
        let from = world.connect(&v5("from"));
        for name in ["first", "second"] {
            let member = join(&mut world, &lasting(name), 1);
            world.lose(member);
        }
        publish_all(&mut world, from, 1, 4);
        for name in ["first", "second"] {
            let member = world.admit(&lasting(name));
            assert_eq!(world.take(member).len(), 3, "half of the messages behind CONNACK");
        }
    }
}
