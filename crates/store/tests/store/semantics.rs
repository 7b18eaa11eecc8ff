//! What each record means, one by one, seen after the store was opened again.

use motte_broker::journal::{DurableTarget, DurableTargets};
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos, SubscriptionId};
use motte_broker::restore::{RestoredFlight, StoredMessage};
use motte_broker::{Journal, Message, Millis, Origin, Position, Record, ShardId};
use motte_store::Notice;

use crate::kit::{World, clients, id, message, origins, session, subject, target};

fn sharing<'a>(client_id: &'a str, qos: Qos) -> DurableTarget<'a> {
    DurableTarget { client_id, qos, retain: false, ids: &[], share: Some(("group", "f/#")) }
}

#[test]
fn a_message_comes_back_with_everything_that_belongs_to_it() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let ids = [SubscriptionId::new(3).expect("not 0"), SubscriptionId::new(268_435_455).expect("small enough")];
    let targets =
        [DurableTarget { client_id: "c", qos: Qos::ExactlyOnce, retain: true, ids: &ids, share: Some(("g", "f/+")) }];
    let properties = ForwardedPropertiesBuf::new().payload_utf8().user("key", "value").expect("it is allowed");
    let stored = StoredMessage {
        topic: "a/b".into(),
        payload: (*b"payload").into(),
        qos: Qos::ExactlyOnce,
        retain: true,
        publisher: subject("who"),
        properties: properties.clone(),
        accepted: Millis(77),
        expires: Some(Millis(5_077)),
        origin: Origin { shard: ShardId(0), position: Position(0) },
    };
    let message = Message::restored(stored);
    let origin = world.append(0, &Record::Published { message: &message, targets: DurableTargets::listed(&targets) });
    world.commit();
    let mut world = world.kill(1);
    let waiting = session(&world.restored, "c").queue.clone();
    assert_eq!(origins(&waiting), [origin]);
    assert_eq!((waiting[0].qos, waiting[0].is_shared), (Qos::ExactlyOnce, true));
    assert_eq!((waiting[0].accepted, waiting[0].expires), (Millis(77), Some(Millis(5_077))));
    assert_eq!(waiting[0].weight_bytes as usize, message.weight_bytes());
    let fetched = world.fetch("c", &[origin]);
    let found = fetched.messages.into_iter().next().and_then(|message| message.found).expect("it is kept");
    assert_eq!((found.qos, found.retain, &*found.ids), (Qos::ExactlyOnce, true, &ids[..]));
    assert_eq!(found.share, Some(("g".into(), "f/+".into())));
    let back = &*found.message;
    assert_eq!(
        (back.topic(), back.payload(), back.qos(), back.retain()),
        ("a/b", &b"payload"[..], Qos::ExactlyOnce, true)
    );
    assert_eq!((back.publisher(), back.properties()), (message.publisher(), properties.as_ref()));
    assert_eq!((back.accepted(), back.expires(), back.origin()), (Millis(77), Some(Millis(5_077)), Some(origin)));
}

#[test]
fn i1_a_batch_is_kept_whole_or_not_at_all() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    world.commit();
    world.publish(0, "first", &["c"]);
    world.publish(0, "second", &["c"]);
    // Handed over and not committed: as if it had never been.
    world.hand_over();
    let mut world = world.cut(1);
    assert_eq!(world.queue("c"), [""; 0]);
    world.publish(0, "third", &["c"]);
    world.publish(0, "fourth", &["c"]);
    world.commit();
    assert_eq!(world.cut(1).queue("c"), ["third", "fourth"]);
}

#[test]
fn i3_a_commit_holds_a_prefix_of_what_was_handed_over() {
    let mut world = World::new(2);
    world.open_session(0, "c");
    world.commit();
    for (shard, text) in [(0, "1"), (1, "2"), (0, "3"), (1, "4")] {
        world.pass_ms(1);
        world.publish(shard, text, &["c"]);
        world.hand_over();
    }
    let notices = world.engine().commit(3).expect("the disk works");
    let told: Vec<_> = notices.iter().map(|notice| matches!(notice, Notice::Durable(_))).collect();
    assert_eq!(told, [true, true]);
    assert_eq!([world.journals[0].durable(), world.journals[1].durable()], [Position(3), Position(1)]);
    assert_eq!(world.cut(2).queue("c"), ["1", "2", "3"]);
}

#[test]
fn what_nobody_waits_for_wakes_no_shard() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let origin = world.publish(0, "m", &["c"]);
    assert!(matches!(world.commit()[..], [Notice::Durable(ShardId(0))]));
    world.settle(0, "c", origin);
    assert!(world.commit().is_empty());
    assert_eq!(world.journals[0].durable(), Position(3));
}

#[test]
fn messages_of_several_shards_wait_in_the_order_of_acceptance() {
    let mut world = World::new(3);
    world.open_session(0, "c");
    for (shard, text) in [(2, "1"), (0, "2"), (1, "3"), (2, "4"), (0, "5")] {
        world.publish(shard, text, &["c"]);
        world.pass_ms(5);
    }
    world.commit();
    assert_eq!(world.reopen(3).queue("c"), ["1", "2", "3", "4", "5"]);
}

#[test]
fn logs_of_shards_that_are_no_more_are_read_and_settled() {
    let mut world = World::new(3);
    world.open_session(0, "c");
    let old = world.publish(2, "of the third", &["c"]);
    world.pass_ms(1);
    world.commit();
    let mut world = world.reopen(1);
    world.publish(0, "of the first", &["c"]);
    world.commit();
    assert_eq!(world.payloads("c", &[old]), ["of the third"]);
    world.settle(0, "c", old);
    world.commit();
    let mut world = world.kill(2);
    assert_eq!(world.queue("c"), ["of the first"]);
}

#[test]
fn positions_go_on_after_a_restart() {
    let mut world = World::new(2);
    for _ in 0..3 {
        world.open_session(1, "c");
    }
    world.commit();
    let mut world = world.cut(2);
    assert_eq!([world.journals[0].durable(), world.journals[1].durable()], [Position(0), Position(3)]);
    assert_eq!(world.publish(1, "m", &["c"]).position, Position(4));
    world.commit();
    let world = world.reopen(4);
    assert_eq!(world.journals[1].durable(), Position(4));
}

#[test]
fn a_session_that_was_opened_anew_has_nothing_of_the_old() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    world.append(0, &Record::Received { client_id: "c", id: id(9) });
    let options = motte_broker::mqtt::SubscriptionOptions {
        qos: Qos::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: motte_broker::mqtt::packet::RetainHandling::Always,
    };
    world.append(0, &Record::Subscribed { client_id: "c", filter: "f/#", options, id: None });
    world.publish(0, "old", &["c"]);
    world.commit();
    // The end of the old and the beginning of the new in one batch.
    world.append(0, &Record::SessionClosed { client_id: "c" });
    world.open_session(0, "c");
    world.publish(0, "new", &["c"]);
    world.commit();
    let mut world = world.kill(1);
    let found = session(&world.restored, "c");
    assert_eq!((found.subscriptions.len(), found.received.len()), (0, 0));
    assert_eq!(world.queue("c"), ["new"]);
    world.append(0, &Record::SessionClosed { client_id: "c" });
    world.commit();
    let mut world = world.kill(1);
    assert_eq!(clients(&world.restored), [""; 0]);
    world.commit();
    assert_eq!(world.engine().figures().owed, 0);
}

#[test]
fn what_a_session_leaves_is_kept_by_a_name_of_its_own_beside_the_next_session() {
    let (mut world, estate) = (World::new(2), "\x001/7");
    world.open_session(0, "c");
    world.append(0, &Record::Received { client_id: "c", id: id(9) });
    let old = world.publish_to(0, "old", &[sharing("c", Qos::AtLeastOnce)]);
    let sent = world.publish_to(0, "sent", &[sharing("c", Qos::AtLeastOnce)]);
    world.send(0, "c", sent, 3);
    world.commit();
    // All in one batch, as it happens where somebody comes with a clean start.
    world.append(0, &Record::SessionEnded { client_id: "c", estate });
    world.open_session(0, "c");
    let new = world.publish(0, "new", &["c"]);
    world.commit();
    let mut world = world.kill(2);
    assert_eq!(clients(&world.restored), [estate, "c"]);
    let (left, next) = (session(&world.restored, estate), session(&world.restored, "c"));
    assert_eq!((left.expiry_s, next.received.len()), (0, 0));
    assert_eq!((origins(&left.queue), left.in_flight.len()), (vec![old], 1));
    assert_eq!(origins(&next.queue), [new]);
    let read = |world: &mut World, name: &str| {
        let fetched = world.fetch(name, &[old, sent, new]).messages.into_iter();
        fetched.map(|message| message.found.is_some()).collect::<Vec<_>>()
    };
    assert_eq!((read(&mut world, estate), read(&mut world, "c")), (vec![true, true, false], vec![false, false, true]));
    world.append(0, &Record::Moved { origin: old, from: estate, to: sharing("c", Qos::AtLeastOnce) });
    world.append(0, &Record::SessionClosed { client_id: estate });
    world.commit();
    let world = world.kill(1);
    assert_eq!(clients(&world.restored), ["c"]);
    assert_eq!(origins(&session(&world.restored, "c").queue), [old, new]);
}

#[test]
fn a_session_that_was_resumed_has_its_new_facts() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    world.append(0, &Record::SessionLeft { client_id: "c", at: Millis(12) });
    world.commit();
    let mut world = world.kill(1);
    assert_eq!(session(&world.restored, "c").left_at, Some(Millis(12)));
    world.append(0, &Record::SessionOpened { owner: &subject("c"), expiry_s: 0, mount_point: "m/" });
    world.commit();
    let world = world.kill(1);
    let found = session(&world.restored, "c");
    assert_eq!((found.expiry_s, &*found.mount_point, found.left_at), (0, "m/", None));
    assert_eq!(found.owner, subject("c"));
}

#[test]
fn i2_what_was_sent_comes_back_in_the_order_of_sending() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let [a, b, c] = ["a", "b", "c"].map(|text| world.publish(0, text, &["c"]));
    for (origin, number) in [(b, 1), (a, 2), (c, 3)] {
        world.send(0, "c", origin, number);
    }
    world.append(0, &Record::Arrived { client_id: "c", origin: Some(a), id: id(2) });
    world.append(0, &Record::Arrived { client_id: "c", origin: None, id: id(8) });
    // Not owed, so it cannot be sent.
    world.send(0, "c", Origin { shard: ShardId(0), position: Position(99) }, 7);
    world.commit();
    let mut world = world.kill(1);
    let shown = |world: &World| {
        let show = |flight: &RestoredFlight| (flight.id.value(), flight.message.map(|message| message.origin));
        session(&world.restored, "c").in_flight.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(shown(&world), [(1, Some(b)), (2, None), (3, Some(c)), (8, None)]);
    assert!(session(&world.restored, "c").queue.is_empty());
    world.append(0, &Record::Completed { client_id: "c", id: id(2) });
    world.settle(0, "c", b);
    world.commit();
    let mut world = world.kill(1);
    assert_eq!(shown(&world), [(3, Some(c)), (8, None)]);
    assert_eq!(world.payloads("c", &[a, b, c]), ["-", "-", "c"]);
}

#[test]
fn a_message_of_a_group_goes_to_the_session_it_was_moved_to() {
    let mut world = World::new(1);
    world.open_session(0, "a");
    world.open_session(0, "b");
    let origin = world.publish_to(0, "m", &[sharing("a", Qos::ExactlyOnce)]);
    world.commit();
    let mut world = world.kill(1);
    world.append(0, &Record::Moved { origin, from: "a", to: sharing("b", Qos::AtLeastOnce) });
    // The one it was taken from ends: it is not lost with it.
    world.append(0, &Record::SessionClosed { client_id: "a" });
    world.commit();
    let mut world = world.kill(1);
    let waiting = session(&world.restored, "b").queue.clone();
    assert_eq!((waiting[0].origin, waiting[0].qos, waiting[0].is_shared), (origin, Qos::AtLeastOnce, true));
    assert_eq!(world.queue("b"), ["m"]);
    world.settle(0, "b", origin);
    world.commit();
    let mut world = world.kill(1);
    assert_eq!(world.queue("b"), [""; 0]);
    world.commit();
    assert_eq!(world.engine().figures().owed, 0);
}

#[test]
fn a_message_of_a_group_stays_where_it_was_when_the_session_it_goes_to_has_ended() {
    let mut world = World::new(1);
    world.open_session(0, "a");
    world.open_session(0, "b");
    let origin = world.publish_to(0, "m", &[sharing("a", Qos::ExactlyOnce)]);
    world.append(0, &Record::SessionClosed { client_id: "b" });
    world.append(0, &Record::Moved { origin, from: "a", to: sharing("b", Qos::AtLeastOnce) });
    world.commit();
    assert_eq!(world.kill(1).queue("a"), ["m"]);
}

#[test]
fn a_session_that_is_owed_two_copies_has_each_settled_for_itself() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let both = [target("c"), sharing("c", Qos::ExactlyOnce)];
    let origin = world.publish_to(0, "m", &both);
    world.commit();
    let mut world = world.kill(1);
    let shared: Vec<_> = session(&world.restored, "c").queue.iter().map(|found| found.is_shared).collect();
    assert_eq!(shared, [false, true]);
    let fetched = world.fetch("c", &[origin, origin]);
    let shares: Vec<_> =
        fetched.messages.iter().map(|one| one.found.as_ref().map(|found| found.share.is_some())).collect();
    assert_eq!(shares, [Some(false), Some(true)]);
    world.settle(0, "c", origin);
    world.commit();
    let mut world = world.kill(1);
    assert!(session(&world.restored, "c").queue[0].is_shared);
    assert_eq!(world.queue("c"), ["m"]);
    world.settle(0, "c", origin);
    world.commit();
    assert_eq!(world.kill(1).queue("c"), [""; 0]);
}

#[test]
fn i6_the_retained_message_with_the_higher_serial_holds() {
    let mut world = World::new(2);
    let early = world.publish(0, "t", &[]);
    let late = world.publish(1, "t", &[]);
    world.append(1, &Record::Retained { topic: "t", origin: Some(late), serial: 8 });
    world.hand_over();
    world.append(0, &Record::Retained { topic: "t", origin: Some(early), serial: 7 });
    world.commit();
    let mut world = world.kill(2);
    let shown = |world: &World| {
        let retained = world.restored.retained.iter();
        retained.map(|(message, serial)| (message.origin().expect("it is kept"), *serial)).collect::<Vec<_>>()
    };
    assert_eq!(shown(&world), [(late, 8)]);
    world.append(0, &Record::Retained { topic: "t", origin: None, serial: 10 });
    world.commit();
    // It was accepted before the topic was cleared, and its shard wrote later.
    let too_late = world.publish(1, "t", &[]);
    world.append(1, &Record::Retained { topic: "t", origin: Some(too_late), serial: 9 });
    world.commit();
    assert_eq!(shown(&world.kill(2)), []);
}

#[test]
fn a_will_and_the_removal_of_a_user_come_back() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let properties = ForwardedPropertiesBuf::new().content_type("text/plain").expect("it is allowed");
    let will = motte_broker::journal::WillRecord {
        topic: "w",
        payload: b"gone",
        qos: Qos::ExactlyOnce,
        retain: true,
        delay_s: u32::MAX,
        message_expiry_s: Some(4),
        properties: properties.as_ref(),
    };
    world.append(0, &Record::WillSet { client_id: "c", will });
    let user = motte_broker::policy::UserName("u".into());
    world.append(0, &Record::UserRemoved { user: &user, at: Millis(9) });
    world.commit();
    let mut world = world.kill(1);
    let will = session(&world.restored, "c").will.clone().expect("it was set");
    assert_eq!((&*will.topic, &*will.payload, will.qos, will.retain), ("w", &b"gone"[..], Qos::ExactlyOnce, true));
    assert_eq!((will.delay_s, will.message_expiry_s, will.properties), (u32::MAX, Some(4), properties));
    assert_eq!(world.restored.removals, [(user, Millis(9))]);
    world.append(0, &Record::WillCleared { client_id: "c" });
    world.commit();
    assert_eq!(session(&world.kill(1).restored, "c").will, None);
}

#[test]
fn a_message_that_is_over_before_it_is_committed_is_not_written() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    world.commit();
    let before = world.engine().figures().bytes;
    let text = "x".repeat(100_000);
    let origin = world.publish(0, &text, &["c"]);
    world.settle(0, "c", origin);
    world.commit();
    assert!(world.engine().figures().bytes < before + 1_000);
    assert!(world.engine().figures().written_bytes < 300_000);
}

#[test]
fn blocks_nobody_needs_are_deleted_and_sparse_ones_shrink() {
    let mut world = World::new(1);
    world.open_session(0, "slow");
    world.open_session(0, "fast");
    let text = "x".repeat(1_000);
    let sent: Vec<_> = (0..300).map(|_| world.publish(0, &text, &["fast"])).collect();
    let slow = world.publish(0, "the one that waits", &["slow"]);
    world.commit();
    assert!(world.engine().figures().bytes > 300_000);
    for origin in &sent[..260] {
        world.settle(0, "fast", *origin);
    }
    world.commit();
    let sparse = world.engine().figures().bytes;
    assert!((40_000..150_000).contains(&sparse), "{sparse}");
    for origin in &sent[260..] {
        world.settle(0, "fast", *origin);
    }
    world.commit();
    world.pass_ms(11_000);
    world.commit();
    let shrunk = world.engine().figures().bytes;
    assert!(shrunk < 5_000, "{shrunk}");
    assert_eq!(world.payloads("slow", &[slow]), ["the one that waits"]);
    assert_eq!(world.kill(1).queue("slow"), ["the one that waits"]);
}

#[test]
fn r15_the_clock_goes_on_over_a_restart() {
    let mut world = World::new(1);
    assert_eq!(world.now, Millis(0));
    world.pass_ms(5_000);
    world.open_session(0, "c");
    world.commit();
    let world = world.kill(1);
    assert_eq!(world.now, Millis(5_001));
}

#[test]
fn a_message_is_found_by_its_bytes_at_any_size() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let sizes = [0, 1, 100, 3_000, 4_000, 16_000, 32_000, 33_000, 70_000, 300_000];
    let sent: Vec<_> = sizes
        .map(|size| {
            let message = message("t", &vec![b'y'; size], world.now);
            let targets = [target("c")];
            world.append(0, &Record::Published { message: &message, targets: DurableTargets::listed(&targets) })
        })
        .into();
    world.commit();
    let mut world = world.kill(1);
    let lens: Vec<_> = world.payloads("c", &sent).iter().map(String::len).collect();
    assert_eq!(lens, sizes);
}

#[test]
fn who_is_kept_out_stays_out_until_let_in() {
    use motte_broker::Banned;
    use motte_broker::policy::{ClientId, UserName};
    let [user, client] = [Banned::User(UserName("x".into())), Banned::Client(ClientId("x".into()))];
    let mut world = World::new(1);
    world.append(0, &Record::Banned { who: &user, until: Some(Millis(70)) });
    world.append(0, &Record::Banned { who: &client, until: None });
    world.commit();
    let mut world = world.kill(1);
    assert_eq!(world.restored.bans, [(client.clone(), None), (user.clone(), Some(Millis(70)))]);
    world.append(0, &Record::Unbanned { who: &client });
    world.commit();
    assert_eq!(world.kill(1).restored.bans, [(user, Some(Millis(70)))]);
}

#[test]
fn i2_what_is_sent_once_more_is_in_flight_once() {
    let mut world = World::new(1);
    world.open_session(0, "c");
    let [a, b] = ["a", "b"].map(|text| world.publish(0, text, &["c"]));
    for (origin, number) in [(a, 1), (b, 2), (a, 1)] {
        world.send(0, "c", origin, number);
    }
    world.commit();
    let world = world.kill(1);
    let flights = session(&world.restored, "c").in_flight.iter();
    let shown: Vec<_> = flights.map(|flight| (flight.id.value(), flight.message.map(|found| found.origin))).collect();
    assert_eq!(shown, [(2, Some(b)), (1, Some(a))]);
    assert!(session(&world.restored, "c").queue.is_empty());
}
