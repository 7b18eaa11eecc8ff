//! Users and client identifiers that are kept out.

use motte_audit::{CloseCause, EventKind, RefusalReason};
use motte_broker::{Banned, Limits};
use motte_policy::{ClientId, UserName};
use mqtt::ReasonCode;

use crate::kit::*;

#[test]
fn whoever_is_banned_is_disconnected_and_refused_until_the_ban_ends_or_is_lifted() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let (user, client) = (Banned::User(UserName("mallory".into())), Banned::Client(ClientId("meter".into())));
    let as_mallory = Hello { user: "mallory", ..v5("any") };
    let mallory = world.connect(&as_mallory);
    let (meter, other) = (world.connect(&lasting("meter")), world.connect(&v5("other")));
    world.events();
    world.shared.ban(user.clone(), None, world.now);
    world.shared.ban(client.clone(), Some(world.now.plus_s(60)), world.now);
    world.tell_bans();
    for banned in [mallory, meter] {
        world.expect(banned, &["disconnect 98", "closed"]);
    }
    world.expect(other, &[]);
    let cause = CloseCause::Banned;
    assert_eq!(world.events(), vec![EventKind::Closed { cause, detail: None }; 2]);
    // It is kept.
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 3, 1_000);
    for (hello, told) in
        [(as_mallory.clone(), "connack 8a"), (lasting("meter"), "connack 8a"), (v311("meter"), "connack 87")]
    {
        let refused = world.admit(&hello);
        world.expect(refused, &[told, "closed"]);
    }
    assert_eq!(world.events(), vec![EventKind::Refused { reason: RefusalReason::Banned }; 3]);
    world.pass_ms(59_000);
    let back = world.admit(&lasting("meter"));
    world.expect(back, &["connack 00 present"]);
    world.disconnect(back, ReasonCode::Success);
    world.shared.unban(&user);
    world.tell_bans();
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 1, 1);
    world.connect(&as_mallory);
    assert_eq!(
        world.shared.bans(),
        [(client, Some(motte_broker::Millis(61_000)))],
        "what has run out is forgotten later"
    );
}
