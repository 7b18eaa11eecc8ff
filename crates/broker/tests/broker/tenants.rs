//! Tenants: two of them with the same topics, client identifiers, users and groups never notice one another (K26).

use std::collections::BTreeMap;

use motte_audit::{EventKind, RefusalReason};
use motte_broker::mqtt::{Delivery, Publish, ReasonCode, RetainHandling, SubscriptionOptions, Will};
use motte_broker::{Banned, Limits, TenantLimits};
use motte_policy::TenantName;
use proptest::prelude::*;

use crate::kit::*;

const A: &str = "acme";
const B: &str = "globex";

fn of<'a>(tenant: &'a str, hello: &Hello<'a>) -> Hello<'a> {
    Hello { tenant, ..hello.clone() }
}

fn name(tenant: &str) -> TenantName {
    TenantName::parse(tenant).unwrap()
}

fn bounded(world: &World, limits: TenantLimits) {
    world.shared.set_tenant_limits([(name(A), limits)]);
}

#[test]
fn k26_a_tenant_sees_its_own_topics_by_their_own_names_and_nobody_elses() {
    let mut world = World::with(3, OPEN, &Limits::default());
    let (a, b) = (world.connect(&of(A, &v5("one"))), world.connect(&of(B, &v5("one"))));
    let outside = world.connect(&v5("one"));
    for client in [a, b, outside] {
        world.subscribe(client, &[("#", 2), ("+/+", 2), ("$share/g/t/#", 2)]);
    }
    world.publish(a, Publish { retain: true, delivery: qos1(1), ..message("t/1", "of a") });
    world.expect(a, &["publish t/1=of a q1 #1", "publish t/1=of a q1 #2", "puback 1 00"]);
    world.expect(b, &[]);
    world.expect(outside, &[]);
    let late = world.connect(&of(B, &v5("late")));
    world.subscribe(late, &[("t/#", 0)]);
    let late = world.connect(&v5("late"));
    world.subscribe(late, &[("t/#", 0)]);
    let late = world.connect(&of(A, &v5("late")));
    world.subscribe_with(late, None, &[("t/#", options(0))]);
    world.expect(late, &["suback 1 00", "publish t/1=of a retain"]);
}

#[test]
fn k26_nobody_can_write_the_name_of_another_tenant() {
    let mut world = World::new();
    let a = world.connect(&of(A, &v5("one")));
    world.subscribe(a, &[("#", 0)]);
    for tenant in ["", B] {
        let client = world.connect(&of(tenant, &v5("two")));
        world.publish(client, Publish { delivery: qos1(1), ..message("$tenant=acme/t", "forged") });
        world.expect(client, &["puback 1 87"]);
        for filter in ["$tenant=acme/#", "$tenant=acme/t", "$share/g/$tenant=acme/#", "$tenant=acme/+/x"] {
            world.subscribe_with(client, None, &[(filter, options(0))]);
            world.expect(client, &["suback 1 87"]);
        }
        let forged = Will { retain: true, ..will("$tenant=acme/t") };
        let refused = world.admit(&of(tenant, &Hello { will: Some(forged), ..v5("three") }));
        world.expect(refused, &["connack 87", "closed"]);
        world.publish(client, message("t", "own"));
    }
    world.expect(a, &[]);
}

#[test]
fn k25_the_same_client_identifier_of_two_tenants_is_two_sessions_of_whichever_user() {
    let mut world = World::with(3, OPEN, &Limits::default());
    let a = world.connect(&of(A, &Hello { user: "same", ..lasting("id") }));
    let b = world.connect(&of(B, &Hello { user: "same", ..lasting("id") }));
    let outside = world.connect(&Hello { user: "same", ..lasting("id") });
    let stranger = world.connect(&of("initech", &Hello { user: "other", ..lasting("id") }));
    for client in [a, b, outside, stranger] {
        world.expect(client, &[]);
    }
    let again = world.admit(&of(B, &Hello { user: "same", ..lasting("id") }));
    world.expect(again, &["connack 00 present"]);
    world.expect(b, &["disconnect 8e", "closed"]);
    world.expect(a, &[]);
    let other = world.admit(&of(A, &Hello { user: "other", ..lasting("id") }));
    world.expect(other, &["connack 85", "closed"]);
}

#[test]
fn k26_a_ban_in_one_tenant_is_none_in_another_and_outlives_a_restart() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    let (a, b) = (world.connect(&of(A, &v5("id"))), world.connect(&of(B, &v5("id"))));
    world.shared.ban(Banned::client(Some(&name(A)), "id"), None, world.now);
    world.shared.ban(Banned::user(Some(&name(B)), "nobody"), None, world.now);
    world.tell_bans();
    world.expect(a, &["disconnect 98", "closed"]);
    world.expect(b, &[]);
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 3, 1);
    let refused = world.admit(&of(A, &v5("id")));
    world.expect(refused, &["connack 8a", "closed"]);
    world.connect(&of(B, &v5("id")));
    world.connect(&v5("id"));
}

#[test]
fn k26_a_restart_keeps_each_session_its_messages_and_its_will_in_its_tenant() {
    let mut world = World::reading_back(2, OPEN, &Limits::default());
    for (tenant, payload) in [(A, "for a"), (B, "for b"), ("", "for nobody")] {
        let mourned = Will { topic: "last", retain: true, delay_s: 5, ..will("last") };
        let session = world.connect(&of(tenant, &Hello { will: Some(mourned), ..lasting("id") }));
        world.subscribe(session, &[("t/#", 1), ("last", 1)]);
        world.lose(session);
        let from = world.connect(&of(tenant, &v5("from")));
        world.publish(from, Publish { delivery: qos1(1), ..message("t/1", payload) });
        world.publish(from, Publish { delivery: qos1(2), retain: true, ..message("kept", payload) });
        world.expect(from, &["puback 1 00", "puback 2 10"]);
        world.disconnect(from, ReasonCode::Success);
    }
    let cut = *world.cuts().last().unwrap();
    let mut world = world.crash(cut, 5, 10_000);
    for (tenant, payload) in [(A, "for a"), (B, "for b"), ("", "for nobody")] {
        let session = world.admit(&of(tenant, &lasting("id")));
        let queued = format!("publish t/1={payload} q1 #1");
        world.expect(session, &["connack 00 present", &queued]);
        world.subscribe_with(session, None, &[("kept", options(0)), ("last", options(0))]);
        let kept = format!("publish kept={payload} retain");
        world.expect(session, &["suback 1 00 00", &kept, "publish last=gone retain"]);
    }
}

#[test]
fn a_tenant_has_as_many_sessions_connections_and_retained_messages_as_it_may() {
    let mut world = World::with(3, OPEN, &Limits::default());
    bounded(&world, TenantLimits { sessions_max: Some(2), ..TenantLimits::default() });
    let first = world.connect(&of(A, &lasting("1")));
    world.connect(&of(A, &lasting("2")));
    let refused = world.admit(&of(A, &v5("3")));
    world.expect(refused, &["connack 97", "closed"]);
    world.connect(&of(B, &v5("3")));
    world.connect(&v5("3"));
    assert!(world.events().contains(&EventKind::Refused { reason: RefusalReason::Quota }));
    world.connect(&of(A, &lasting("1")));
    world.expect(first, &["disconnect 8e", "closed"]);

    bounded(&world, TenantLimits { connections_max: Some(2), ..TenantLimits::default() });
    let refused = world.admit(&of(A, &v5("4")));
    world.expect(refused, &["connack 97", "closed"]);
    let taken_over = world.connect(&of(A, &lasting("2")));
    world.disconnect(taken_over, ReasonCode::Success);
    let client = world.connect(&of(A, &v5("4")));

    bounded(&world, TenantLimits { retained_messages_max: Some(1), ..TenantLimits::default() });
    let retained = |topic, payload, n| Publish { retain: true, delivery: qos1(n), ..message(topic, payload) };
    world.publish(client, retained("r/1", "x", 1));
    world.publish(client, retained("r/2", "x", 2));
    world.publish(client, retained("r/1", "y", 3));
    world.publish(client, retained("r/1", "", 4));
    world.publish(client, retained("r/2", "x", 5));
    world.expect(client, &["puback 1 10", "puback 2 97", "puback 3 10", "puback 4 10", "puback 5 10"]);
    let other = world.connect(&of(B, &v5("4")));
    world.publish(other, retained("r/1", "x", 1));
    world.publish(other, retained("r/2", "x", 2));
    world.expect(other, &["puback 1 10", "puback 2 10"]);
}

#[test]
fn rules_are_asked_about_the_name_the_client_sees_and_events_tell_it_with_the_tenant() {
    let acl = "pattern readwrite of/%c/#\n";
    let mut world = World::with(1, acl, &Limits::default());
    let a = world.connect(&of(A, &v5("id")));
    world.subscribe(a, &[("of/id/#", 0)]);
    world.publish(a, Publish { delivery: qos1(1), ..message("of/id/x", "mine") });
    world.expect(a, &["publish of/id/x=mine", "puback 1 00"]);
    world.events();
    world.publish(a, Publish { delivery: qos1(2), ..message("of/other/x", "not mine") });
    world.expect(a, &["puback 2 87"]);
    let told = world.events_of_clients().pop().unwrap();
    assert_eq!((told.tenant.as_deref(), told.client_id.as_deref()), (Some(A), Some("id")));
    assert!(matches!(told.kind, EventKind::Denied { topic, .. } if &*topic == "of/other/x"));
    world.change_policy("pattern readwrite nothing/#\n");
    world.publish(a, message("of/id/x", "mine"));
    world.expect(a, &[]);
}

#[test]
fn a_client_of_a_tenant_sees_nothing_of_the_server_and_the_answer_does_not_tell_why() {
    let mut world = World::with(1, "pattern readwrite #\npattern readwrite $SYS/#\n", &Limits::default());
    let a = world.connect(&of(A, &v5("id")));
    for filter in ["$SYS/#", "$SYS/broker/version"] {
        world.subscribe_with(a, None, &[(filter, options(0))]);
        world.expect(a, &["suback 1 87"]);
    }
}

/// One thing a client does.
#[derive(Clone, Debug)]
enum Op {
    Connect { client: usize, clean: bool, lasts: bool, will: Option<usize> },
    Disconnect { client: usize, normal: bool },
    Subscribe { client: usize, filter: usize, qos: u8, handling: u8, no_local: bool },
    Unsubscribe { client: usize, filter: usize },
    Publish { client: usize, topic: usize, qos: u8, retain: bool, empty: bool },
    Ban { client: usize, lifted: bool },
    Pass { seconds: u64 },
    Crash,
}

const IDS: [&str; 3] = ["c0", "c1", "c2"];
const TOPICS: [&str; 6] = ["t", "t/1", "t/2", "a/b/c", "$tenant=acme/t", "$SYS/x"];
const FILTERS: [&str; 9] =
    ["#", "t/#", "+/1", "t", "a/+/c", "$share/g/t/#", "$share/h/#", "$tenant=acme/#", "$share/g/$tenant=globex/#"];

fn op() -> impl Strategy<Value = Op> {
    let client = 0..IDS.len();
    prop_oneof![
        4 => (client.clone(), any::<bool>(), any::<bool>(), proptest::option::of(0..4_usize))
            .prop_map(|(client, clean, lasts, will)| Op::Connect { client, clean, lasts, will }),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, normal)| Op::Disconnect { client, normal }),
        5 => (client.clone(), 0..FILTERS.len(), 0..3_u8, 0..3_u8, any::<bool>()).prop_map(
            |(client, filter, qos, handling, no_local)| Op::Subscribe { client, filter, qos, handling, no_local }
        ),
        1 => (client.clone(), 0..FILTERS.len()).prop_map(|(client, filter)| Op::Unsubscribe { client, filter }),
        8 => (client.clone(), 0..TOPICS.len(), 0..3_u8, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(client, topic, qos, retain, empty)| Op::Publish { client, topic, qos, retain, empty }
        ),
        1 => (client, any::<bool>()).prop_map(|(client, lifted)| Op::Ban { client, lifted }),
        2 => (1..40_u64).prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Crash),
    ]
}

/// A world, and what its clients were told so far.
struct Run {
    world: World,
    online: BTreeMap<(String, usize), Client>,
    told: BTreeMap<(String, usize), Vec<String>>,
    next_id: u16,
}

impl Run {
    fn new() -> Self {
        let world = World::reading_back(3, OPEN, &Limits::default());
        Self { world, online: BTreeMap::new(), told: BTreeMap::new(), next_id: 1 }
    }

    fn play(mut self, ops: &[(usize, Op)], only: Option<&str>) -> BTreeMap<(String, usize), Vec<String>> {
        for (step, (tenant, op)) in ops.iter().enumerate() {
            let tenant = ["", A, B][*tenant];
            // Time and a crash are everybody's.
            if matches!(op, Op::Pass { .. } | Op::Crash) || only.is_none_or(|only| only == tenant) {
                // Both runs give the same packet the same number, whoever else is there.
                self.next_id = u16::try_from(step + 10).unwrap();
                self = self.act(tenant, op);
                self.listen();
            }
        }
        self.told
    }

    fn act(mut self, tenant: &str, op: &Op) -> Self {
        let Self { world, online, told: all_told, next_id } = &mut self;
        let here = |client: &usize| (tenant.to_owned(), *client);
        match op {
            Op::Connect { client, clean, lasts, will: last } => {
                let version = if *client == 2 { V311 } else { V5 };
                let last = last.map(|topic| Will { topic: TOPICS[topic], retain: true, delay_s: 7, ..will("") });
                let session_expiry_s = Some(if *lasts { 100 } else { 0 }).filter(|_| version == V5);
                let hello = Hello { version, clean_start: *clean, session_expiry_s, will: last, ..v5(IDS[*client]) };
                let admitted = world.admit(&of(tenant, &Hello { user: "u", ..hello }));
                if let Some(old) = online.insert(here(client), admitted) {
                    let told = world.take(old);
                    all_told.entry(here(client)).or_default().extend(told);
                }
            }
            Op::Disconnect { client, normal } => {
                let Some(link) = online.remove(&here(client)) else { return self };
                match normal {
                    true => world.disconnect(link, ReasonCode::Success),
                    false => world.lose(link),
                }
            }
            Op::Subscribe { client, filter, qos, handling, no_local } => {
                let Some(&link) = online.get(&here(client)) else { return self };
                let shared = FILTERS[*filter].starts_with("$share");
                // Which member of a group is chosen may depend on who else has sessions: there is one member.
                if shared && *client != 0 {
                    return self;
                }
                let kinds = [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
                let handling = kinds[usize::from(*handling)];
                let asked = SubscriptionOptions { no_local: *no_local && !shared, ..retain_handling(*qos, handling) };
                world.subscribe_with(link, None, &[(FILTERS[*filter], asked)]);
            }
            Op::Unsubscribe { client, filter } => {
                let Some(&link) = online.get(&here(client)) else { return self };
                world.unsubscribe(link, &[FILTERS[*filter]]);
            }
            Op::Publish { client, topic, qos, retain, empty } => {
                let Some(&link) = online.get(&here(client)) else { return self };
                let delivery = match qos {
                    0 => Delivery::AtMostOnce,
                    1 => qos1(*next_id),
                    _ => qos2(*next_id),
                };
                let text = format!("{tenant}-{next_id}");
                let payload = if *empty { "" } else { &text };
                world.publish(link, Publish { delivery, retain: *retain, ..message(TOPICS[*topic], payload) });
            }
            Op::Ban { client, lifted } => {
                let tenant = Some(tenant).filter(|tenant| !tenant.is_empty()).map(name);
                let who = Banned::client(tenant.as_ref(), IDS[*client]);
                match lifted {
                    true => world.shared.unban(&who),
                    false => world.shared.ban(who, Some(world.now.plus_s(20)), world.now),
                }
                world.tell_bans();
            }
            Op::Pass { seconds } => world.pass_ms(seconds * 1_000),
            Op::Crash => {
                online.clear();
                let cut = world.cuts().last().copied().unwrap_or(0);
                self.world = self.world.crash(cut, 2, 1_000);
            }
        }
        self
    }

    /// Everybody reads, and acknowledges.
    fn listen(&mut self) {
        for _ in 0..4 {
            for (who, link) in self.online.clone() {
                let told = self.world.take(link);
                for line in &told {
                    let id_of = |word: &str| word.strip_prefix('#').unwrap_or(word).parse().ok();
                    let id = line.split(' ').skip(1).find_map(id_of).unwrap_or(0);
                    match line {
                        line if line.starts_with("publish ") && line.contains(" q1 ") => self.world.puback(link, id),
                        line if line.starts_with("publish ") && line.contains(" q2 ") => self.world.pubrec(link, id),
                        line if line.starts_with("pubrel") => self.world.pubcomp(link, id),
                        line if line.starts_with("pubrec") && (line.ends_with(" 00") || line.ends_with(" 10")) => {
                            self.world.pubrel(link, id)
                        }
                        _ => {}
                    }
                }
                if told.iter().any(|line| line == "closed") {
                    self.online.remove(&who);
                }
                self.told.entry(who).or_default().extend(told);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// What the clients of one are told does not depend on what the clients of others do.
    #[test]
    fn k26_whatever_one_tenant_does_no_other_notices(ops in prop::collection::vec((0..3_usize, op()), 1..60)) {
        let together = Run::new().play(&ops, None);
        for tenant in ["", A, B] {
            let alone = Run::new().play(&ops, Some(tenant));
            let here: BTreeMap<_, _> = together.iter().filter(|((of, _), _)| of == tenant).collect();
            let there: BTreeMap<_, _> = alone.iter().filter(|((of, _), _)| of == tenant).collect();
            prop_assert_eq!(here, there, "{}", tenant);
        }
    }
}
