//! What is published to control topics: asked of whoever answers, acknowledged with the answer, routed to nobody (K19).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use motte_broker::Limits;
use motte_broker::mqtt::{Publish, ReasonCode};
use motte_policy::DynamicSecurity;
use motte_policy::control::Endpoint;

use crate::kit::*;

const TOPIC: &str = "$CONTROL/dynamic-security/v1";
const RESPONSE: &str = "$CONTROL/dynamic-security/v1/response";

/// Two administrators, who may do everything with every topic; the client `client` may do everything but that.
fn world() -> World {
    let mut world = World::with(2, OPEN, &Limits::default());
    let mut model = DynamicSecurity::initial("admin", "secret", [0; 16]);
    let request = r#"{"commands": [
        {"command": "addClientRole", "username": "admin", "rolename": "client"},
        {"command": "createClient", "username": "other", "roles": [{"rolename": "super-admin"}]}]}"#;
    assert!(model.execute(request.as_bytes(), &mut || [0; 16]).has_changed());
    world.add_rules(model.rules());
    world
}

fn request(payload: &str) -> Publish<'_> {
    message(TOPIC, payload)
}

#[test]
fn a_request_is_acknowledged_with_its_answer_which_its_client_alone_gets() {
    let mut world = world();
    let (admin, other) = (world.connect(&v5("admin")), world.connect(&v5("other")));
    for client in [admin, other] {
        world.subscribe(client, &[("$CONTROL/dynamic-security/#", 1)]);
    }
    world.publish(admin, Publish { delivery: qos1(7), ..request("ask") });
    world.expect(admin, &[]);
    let asked = world.requests(admin);
    assert_eq!((asked.len(), asked[0].endpoint, &*asked[0].payload), (1, Endpoint::DynamicSecurity, &b"ask"[..]));
    assert_eq!(asked[0].who.identity.user_name(), Some("admin"));
    world.answer(admin, &asked[0], "told");
    let shown = world.take(admin);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown[0].starts_with("puback 7") && shown[1].contains(RESPONSE) && shown[1].contains("told"), "{shown:?}");
    world.expect(other, &[]);
    world.answer(admin, &asked[0], "told again");
    world.expect(admin, &[]);
}

#[test]
fn acknowledgements_keep_their_order_while_a_request_waits() {
    let mut world = world();
    let admin = world.connect(&v5("admin"));
    world.publish(admin, Publish { delivery: qos1(1), ..request("first") });
    world.publish(admin, Publish { delivery: qos1(2), ..message("t", "x") });
    world.publish(admin, Publish { delivery: qos2(3), ..request("second") });
    world.expect(admin, &[]);
    let asked = world.requests(admin);
    world.answer(admin, &asked[1], "");
    world.expect(admin, &[]);
    world.answer(admin, &asked[0], "");
    let shown = world.take(admin);
    let kinds: Vec<&str> = shown.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kinds, ["puback", "puback", "pubrec"], "{shown:?}");
    world.pubrel(admin, 3);
    assert!(world.take(admin)[0].starts_with("pubcomp 3"));
}

#[test]
fn k19_nothing_else_under_control_takes_a_message_and_no_rule_opens_it() {
    let mut world = world();
    let (admin, nobody) = (world.connect(&v5("admin")), world.connect(&v5("client")));
    world.subscribe(admin, &[("$CONTROL/#", 1)]);
    for topic in [RESPONSE, "$CONTROL", "$CONTROL/", "$CONTROL/other", "$CONTROL/dynamic-security/v1/", "$CONTROL/x/y"]
    {
        world.publish(admin, Publish { delivery: qos1(1), ..message(topic, "x") });
        let shown = world.take(admin);
        assert!(shown.len() == 1 && shown[0].starts_with("puback 1 87"), "{topic}: {shown:?}");
    }
    for topic in [TOPIC, "$CONTROL/broker/v1"] {
        world.publish(nobody, Publish { delivery: qos1(1), ..message(topic, "x") });
        let shown = world.take(nobody);
        assert!(shown.len() == 1 && shown[0].starts_with("puback 1 87"), "{topic}: {shown:?}");
        assert!(world.requests(nobody).is_empty());
    }
}

#[test]
fn k19_a_request_is_neither_retained_nor_routed() {
    let mut world = world();
    let admin = world.connect(&v5("admin"));
    world.subscribe(admin, &[("$CONTROL/#", 1)]);
    world.publish(admin, Publish { retain: true, delivery: qos1(1), ..request("x") });
    let asked = world.requests(admin);
    world.answer(admin, &asked[0], "told");
    let shown = world.take(admin);
    assert!(shown.len() == 2 && shown[1].contains(RESPONSE), "{shown:?}");
    let late = world.connect(&v5("other"));
    world.subscribe(late, &[("$CONTROL/#", 1)]);
    world.expect(late, &[]);
}

#[test]
fn whoever_asks_too_much_or_where_nobody_answers_is_told() {
    let mut world = world();
    let admin = world.connect(&v5("admin"));
    world.sinks[admin.shard].takes_none = Some(ReasonCode::NotAuthorized);
    world.publish(admin, Publish { delivery: qos1(1), ..request("x") });
    assert!(world.take(admin)[0].starts_with("puback 1 87"));
    world.sinks[admin.shard].takes_none = Some(ReasonCode::QuotaExceeded);
    world.publish(admin, Publish { delivery: qos1(1), ..request("x") });
    assert!(world.take(admin)[0].starts_with("puback 1 97"));
    world.sinks[admin.shard].takes_none = None;
    let huge = "x".repeat(256 * 1024 + 1);
    world.publish(admin, Publish { delivery: qos1(1), ..request(&huge) });
    assert!(world.take(admin)[0].starts_with("puback 1 97"));
    (0..20).for_each(|_| world.publish(admin, request("x")));
    assert_eq!(world.requests(admin).len(), 16);
}

#[test]
fn the_answer_for_a_connection_that_is_gone_is_given_to_nobody() {
    let mut world = world();
    let admin = world.connect(&lasting("admin"));
    world.subscribe(admin, &[("$CONTROL/#", 1)]);
    world.publish(admin, Publish { delivery: qos1(1), ..request("x") });
    let asked = world.requests(admin);
    world.lose(admin);
    let again = world.connect(&lasting("admin"));
    world.answer(admin, &asked[0], "told");
    world.expect(again, &[]);
}

#[test]
fn whoever_may_not_unsubscribe_is_told_and_stays_subscribed() {
    let mut world = world();
    let mut model = DynamicSecurity::initial("admin", "secret", [0; 16]);
    let request = r##"{"commands": [
        {"command": "createRole", "rolename": "r", "acls": [
            {"acltype": "subscribePattern", "topic": "#", "allow": true},
            {"acltype": "unsubscribeLiteral", "topic": "a/#"}]},
        {"command": "createClient", "username": "meter", "roles": [{"rolename": "r"}]}]}"##;
    assert!(model.execute(request.as_bytes(), &mut || [0; 16]).has_changed());
    world.add_rules(model.rules());
    let (meter, client) = (world.connect(&v5("meter")), world.connect(&v5("client")));
    world.subscribe(meter, &[("a/#", 0), ("b", 0)]);
    world.unsubscribe(meter, &["a/#", "b"]);
    assert!(world.take(meter)[0].starts_with("unsuback 2 87 00"));
    world.publish(client, message("a/x", "still"));
    world.publish(client, message("b", "not"));
    let shown = world.take(meter);
    assert!(shown.len() == 1 && shown[0].contains("still"), "{shown:?}");
}
