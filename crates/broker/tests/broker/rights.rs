//! Rights at every change of hands: accept, alias, delivery, queue, replay, revocation.

use std::num::NonZeroU16;

use motte_audit::{Denial, EventKind};
use motte_broker::Limits;
use mqtt::Publish;

use crate::kit::*;

/// Nobody may write `a/#` any more.
const WITHOUT_A: &str = "pattern read #\npattern write b/#\n";
/// Nobody may read `a/#` any more.
const UNREADABLE_A: &str = "pattern write #\npattern read b/#\n";

fn denied(what: Denial, topic: &str) -> EventKind {
    EventKind::Denied { what, topic: topic.into() }
}

#[test]
fn v5_noid_a_denied_publish_is_0x87_and_3x_is_answered_as_usual() {
    let mut world = World::new();
    let (new, old) = (world.connect(&v5("new")), world.connect(&v311("old")));
    world.events();
    for client in [new, old] {
        world.publish(client, message("secret/x", "m"));
        world.publish(client, Publish { delivery: qos1(1), ..message("secret/x", "m") });
        world.publish(client, Publish { delivery: qos2(2), retain: true, ..message("secret/x", "m") });
        world.pubrel(client, 2);
    }
    world.expect(new, &["puback 1 87", "pubrec 2 87", "pubcomp 2 92"]);
    world.expect(old, &["puback 1 00", "pubrec 2 00", "pubcomp 2 00"]);
    assert_eq!(world.events(), vec![denied(Denial::Publish, "secret/x"); 6]);
    assert_eq!((world.counters().denied, world.counters().received), (6, 6));
    assert_eq!(world.shared.retained_totals(), (0, 0));
}

#[test]
fn k18_a_granted_filter_delivers_only_what_may_be_received() {
    let acl = "pattern write #\npattern read a/#\npattern deny a/secret\n";
    let mut world = World::with(2, acl, &Limits::default());
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { retain: true, ..message("a/secret", "kept") });
    world.publish(from, Publish { retain: true, ..message("a/open", "kept") });
    let to = world.connect(&v5("to"));
    for filter in ["a/#", "a/+", "#", "$share/g/#", "$share/h/a/+"] {
        world.subscribe_with(to, None, &[(filter, options(0))]);
        let expected = ["suback 1 00", "publish a/open=kept retain"];
        let shared = filter.starts_with('$');
        world.expect(to, if shared { &expected[..1] } else { &expected });
        world.publish(from, message("a/secret", "m"));
        world.publish(from, message("a/open", "m"));
        world.expect(to, &["publish a/open=m"]);
        world.unsubscribe(to, &[filter]);
        world.take(to);
    }
}

#[test]
fn k23_an_alias_keeps_no_right() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let alias = NonZeroU16::new(1);
    world.publish(from, Publish { topic_alias: alias, delivery: qos1(1), ..message("a/x", "m") });
    world.change_policy(WITHOUT_A);
    world.publish(from, Publish { topic_alias: alias, delivery: qos1(2), ..message("", "m") });
    world.expect(from, &["puback 1 10", "puback 2 87"]);
}

#[test]
fn k23_an_alias_set_by_a_denied_publish_gives_no_right() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let alias = NonZeroU16::new(1);
    world.publish(from, Publish { topic_alias: alias, delivery: qos1(1), ..message("secret/x", "m") });
    world.publish(from, Publish { topic_alias: alias, delivery: qos1(2), ..message("", "m") });
    world.expect(from, &["puback 1 87", "puback 2 87"]);
}

#[test]
fn k20_a_revoked_subscription_ends_online_and_offline() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let (here, away) = (world.connect(&v5("here")), world.connect(&lasting("away")));
    world.subscribe(here, &[("a/x", 1), ("b", 1)]);
    world.subscribe(away, &[("a/x", 1), ("#", 1)]);
    world.lose(away);
    world.publish(from, Publish { delivery: qos1(1), ..message("a/x", "before") });
    world.publish(from, Publish { delivery: qos1(2), ..message("b", "before") });
    world.take(here);
    world.events();
    world.change_policy(UNREADABLE_A.replace("b/#", "b").as_str());
    let events = world.events();
    assert_eq!(events.iter().filter(|&e| *e == denied(Denial::Subscribe, "a/x")).count(), 2, "{events:?}");
    assert!(events.contains(&denied(Denial::Receive, "a/x")), "{events:?}");
    world.publish(from, Publish { delivery: qos1(3), ..message("a/x", "after") });
    world.publish(from, Publish { delivery: qos1(4), ..message("b", "after") });
    world.expect(here, &["publish b=after q1 #3"]);
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present", "publish b=before q1 #1", "publish b=after q1 #2"]);
    world.change_policy(OPEN);
    world.publish(from, Publish { delivery: qos1(5), ..message("a/x", "again") });
    world.expect(here, &[]);
    world.expect(away, &["publish a/x=again q1 #3"]);
}

#[test]
fn k21_a_retained_message_is_not_served_once_its_publisher_lost_the_right() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.publish(from, Publish { retain: true, ..message("a/x", "m") });
    world.publish(from, Publish { retain: true, ..message("b/x", "m") });
    world.change_policy(WITHOUT_A);
    world.subscribe_with(to, None, &[("#", options(0))]);
    world.expect(to, &["suback 1 00", "publish b/x=m retain"]);
    assert_eq!((world.counters().withheld, world.counters().denied), (1, 1));
    world.change_policy(OPEN);
    world.subscribe_with(to, None, &[("#", options(0))]);
    let mut shown = world.take(to);
    shown.sort();
    assert_eq!(shown, ["publish a/x=m retain", "publish b/x=m retain", "suback 1 00"]);
}

#[test]
fn k22_a_queued_message_is_not_served_once_its_publisher_lost_the_right() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("#", 2)]);
    world.lose(to);
    world.publish(from, Publish { delivery: qos2(1), ..message("a/x", "m") });
    world.publish(from, Publish { delivery: qos2(2), ..message("b/x", "m") });
    world.change_policy(WITHOUT_A);
    world.pubrel(from, 1);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish b/x=m q2 #1"]);
    assert_eq!((world.counters().withheld, world.counters().queued), (1, 0));
}

#[test]
fn k22_a_message_in_flight_is_not_sent_again_after_revocation() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("a/x", 1), ("b/x", 1)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("a/x", "m") });
    world.publish(from, Publish { delivery: qos1(2), ..message("b/x", "m") });
    world.expect(to, &["publish a/x=m q1 #1", "publish b/x=m q1 #2"]);
    world.lose(to);
    world.change_policy(WITHOUT_A);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "publish b/x=m q1 #2 dup"]);
}

#[test]
fn k21_what_a_removed_user_left_behind_is_served_to_nobody() {
    let mut world = World::new();
    let (bob, carol) = (world.connect(&v5("bob")), world.connect(&v5("carol")));
    let (away, slow) =
        (world.connect(&lasting("away")), world.connect(&Hello { receive_maximum: Some(1), ..lasting("slow") }));
    world.subscribe(away, &[("#", 1)]);
    world.subscribe(slow, &[("#", 1)]);
    world.lose(away);
    for (from, topic) in [(bob, "bobs"), (bob, "bobs/2"), (carol, "carols")] {
        world.publish(from, Publish { delivery: qos1(1), retain: true, ..message(topic, "m") });
    }
    world.expect(slow, &["publish bobs=m q1 #1"]);
    world.events();
    world.remove_users(&["bob"]);
    assert!(world.events().contains(&denied(Denial::Receive, "bobs")), "told once for each queue");
    // Waiting behind the window, queued, sent and to be sent again, retained.
    world.puback(slow, 1);
    world.expect(slow, &["publish carols=m q1 #2"]);
    let away = world.admit(&lasting("away"));
    world.expect(away, &["connack 00 present", "publish carols=m q1 #1"]);
    let late = world.connect(&v5("late"));
    world.subscribe_with(late, None, &[("#", options(0))]);
    world.expect(late, &["suback 1 00", "publish carols=m retain"]);
    // Whoever proves to be a user of that name later is heard, and what was before stays away.
    world.pass_ms(1);
    let bob = world.connect(&v5("bob"));
    world.publish(bob, Publish { retain: true, ..message("bobs", "new") });
    world.expect(late, &["publish bobs=new"]);
    let later = world.connect(&v5("later"));
    world.subscribe_with(later, None, &[("bobs/#", options(0))]);
    world.expect(later, &["suback 1 00", "publish bobs=new retain"]);
}

#[test]
fn k22_what_a_removed_user_had_sent_is_not_sent_again() {
    let mut world = World::new();
    let bob = world.connect(&v5("bob"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("#", 1)]);
    world.publish(bob, Publish { delivery: qos1(1), ..message("a", "m") });
    world.expect(to, &["publish a=m q1 #1"]);
    world.lose(to);
    world.remove_users(&["bob"]);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present"]);
    assert_eq!(world.counters().queued, 0);
}

#[test]
fn k45_the_code_for_no_subscribers_reveals_nothing_without_the_right() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    world.publish(from, Publish { delivery: qos1(1), ..message("secret/nobody", "m") });
    world.expect(from, &["puback 1 87"]);
}

#[test]
fn k19_topics_of_the_server_are_nobodys_by_default() {
    let mut world = World::new();
    let client = world.connect(&v5("c"));
    world.publish(client, Publish { delivery: qos1(1), ..message("$SYS/broker/load", "m") });
    world.publish(client, Publish { delivery: qos1(2), ..message("$CONTROL/x", "m") });
    world.subscribe_with(client, None, &[("$SYS/#", options(0)), ("$share/g/$SYS/#", options(0))]);
    world.expect(client, &["puback 1 87", "puback 2 87", "suback 1 87 87"]);
}

#[test]
fn the_policy_holds_from_the_next_packet_on() {
    let mut world = World::new();
    let (from, to) = (world.connect(&v5("from")), world.connect(&v5("to")));
    world.subscribe(to, &[("a/x", 0)]);
    world.publish(from, Publish { delivery: qos1(1), ..message("a/x", "m") });
    let policy = motte_policy::Policy::parse(WITHOUT_A).unwrap();
    world.shared.replace_policy(std::sync::Arc::new(policy));
    world.publish(from, Publish { delivery: qos1(2), ..message("a/x", "m") });
    world.expect(from, &["puback 1 00", "puback 2 87"]);
    world.expect(to, &["publish a/x=m"]);
}

#[test]
fn k20_an_identifier_the_client_may_hold_is_released_before_it_is_used_again() {
    let mut world = World::new();
    let from = world.connect(&v5("from"));
    let to = world.connect(&lasting("to"));
    world.subscribe(to, &[("#", 2)]);
    world.take(to);
    world.publish(from, Publish { delivery: qos2(1), ..message("a/x", "m") });
    world.expect(to, &["publish a/x=m q2 #1"]);
    world.lose(to);
    world.change_policy(WITHOUT_A);
    let to = world.admit(&lasting("to"));
    world.expect(to, &["connack 00 present", "pubrel 1 00"]);
    world.publish(from, Publish { delivery: qos2(2), ..message("b/x", "m") });
    world.expect(to, &["publish b/x=m q2 #2"]);
}
