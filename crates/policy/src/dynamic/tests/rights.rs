//! What clients may do: the compiled rules against Mosquitto's order of evaluation, written down once more.

use proptest::prelude::*;

use crate::dynamic::DynamicSecurity;
use crate::dynamic::model::{Acl, AclType, Client, Group, PRIORITY_DEFAULT, Role};
use crate::policy::{Action, Policy, SubscribeVerdict};
use crate::{ClientId, Identity, Subject, UserName};

fn subject(user: &str) -> Subject {
    let identity = if user.is_empty() { Identity::Anonymous } else { Identity::User(UserName(user.into())) };
    Subject::new(identity, ClientId("c".into()))
}

fn policy(model: &DynamicSecurity) -> Policy {
    Policy::deny_all().with_dynamic(Some(model.rules().into()))
}

/// Whether every topic of `part` is one of `whole`; `part` may be a topic name.
fn holds(whole: &str, part: &str) -> bool {
    let (mut outer, mut inner) = (whole.split('/'), part.split('/'));
    if whole.starts_with(['+', '#']) && part.starts_with('$') {
        return false;
    }
    loop {
        match (outer.next(), inner.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(level)) if level != "#" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// What one role says, as Mosquitto asks it.
fn role_says(role: &Role, user: &str, kinds: [AclType; 2], text: &str) -> Option<bool> {
    let [literal, pattern] = kinds;
    if literal == AclType::SubscribeLiteral && !role.allows_wildcards && text.contains(['+', '#']) {
        return Some(false);
    }
    let all = role.acls();
    if literal != pattern
        && let Some(found) = all.iter().find(|acl| acl.kind == literal && &*acl.topic == text)
    {
        return Some(found.allow);
    }
    let fill = |topic: &str| {
        let level = |level| match level {
            "%u" => user.to_owned(),
            "%c" => "c".to_owned(),
            other => String::from(other),
        };
        topic.split('/').map(level).collect::<Vec<_>>().join("/")
    };
    all.iter().find(|acl| acl.kind == pattern && holds(&fill(&acl.topic), text)).map(|acl| acl.allow)
}

/// Mosquitto's order: the roles of the client, then those of its groups, then the default, which never opens $CONTROL.
fn mosquitto(model: &DynamicSecurity, user: &str, kinds: [AclType; 2], text: &str) -> bool {
    let mut names: Vec<String> = Vec::new();
    match model.clients.get(user) {
        Some(client) => {
            names.extend(client.roles.iter().map(|(name, _)| name.to_string()));
            for (group, _) in model.groups_of(user).iter() {
                names.extend(model.groups[group].roles.iter().map(|(name, _)| name.to_string()));
            }
        }
        None => {
            let group = model.anonymous_group.as_ref().map(|name| &model.groups[name]);
            names.extend(group.into_iter().flat_map(|group| group.roles.iter()).map(|(name, _)| name.to_string()));
        }
    }
    let said = names.iter().find_map(|name| role_says(&model.roles[name.as_str()], user, kinds, text));
    let default = match kinds[1] {
        AclType::PublishClientSend => model.defaults.publish_client_send,
        AclType::PublishClientReceive => model.defaults.publish_client_receive,
        AclType::SubscribePattern => model.defaults.subscribe,
        _ => model.defaults.unsubscribe,
    };
    said.unwrap_or(default && !text.starts_with("$CONTROL"))
}

const FILTERS: [&str; 12] =
    ["#", "a/#", "a/+", "+/b", "a/b", "%u/b", "a/%c", "+", "$SYS/#", "$CONTROL/#", "a", "$CONTROL/broker/v1"];
const TOPICS: [&str; 8] = ["a", "a/b", "u/b", "a/c", "b", "$SYS/x", "$CONTROL/broker/v1", "a/b/c"];
const KINDS: [AclType; 6] = [
    AclType::PublishClientSend,
    AclType::PublishClientReceive,
    AclType::SubscribeLiteral,
    AclType::SubscribePattern,
    AclType::UnsubscribeLiteral,
    AclType::UnsubscribePattern,
];

fn acl() -> impl Strategy<Value = Acl> {
    let literal = |kind| matches!(kind, AclType::SubscribeLiteral | AclType::UnsubscribeLiteral);
    (0..6usize, 0..FILTERS.len(), -1..2i32, any::<bool>()).prop_map(move |(kind, topic, priority, allow)| {
        let topic = if literal(KINDS[kind]) { FILTERS[topic].replace('%', "a") } else { FILTERS[topic].to_owned() };
        Acl { kind: KINDS[kind], topic: topic.into(), priority, allow }
    })
}

fn any_model() -> impl Strategy<Value = DynamicSecurity> {
    let roles = prop::collection::vec((prop::collection::vec(acl(), 0..8), any::<bool>()), 4);
    let ranks = prop::collection::vec((0..4usize, 0..4usize, -2..2i32), 0..8);
    (roles, ranks, any::<[bool; 4]>(), any::<bool>()).prop_map(|(roles, ranks, defaults, anonymous)| {
        let mut model = DynamicSecurity::default();
        for ((_, access), open) in model.defaults.named().into_iter().zip(defaults) {
            *access = open;
        }
        for (at, (acls, wild)) in roles.into_iter().enumerate() {
            let mut role = Role::default();
            role.allows_wildcards = wild;
            for acl in acls {
                role.add_acl(acl);
            }
            model.roles.insert(format!("r{at}").into(), role);
        }
        let mut client = Client::default();
        let mut groups = [Group::default(), Group::default(), Group::default()];
        for (role, owner, priority) in ranks {
            let role = format!("r{role}").into();
            match groups.get_mut(owner) {
                Some(group) => group.roles.add(&role, priority),
                None => client.roles.add(&role, priority),
            };
        }
        model.clients.insert("u".into(), client);
        for (at, mut group) in groups.into_iter().enumerate() {
            if at < 2 {
                group.clients.add(&"u".into(), if at == 0 { PRIORITY_DEFAULT } else { 3 });
            }
            model.groups.insert(format!("g{at}").into(), group);
        }
        model.anonymous_group = anonymous.then(|| "g2".into());
        model
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn compiled_rules_decide_as_mosquitto_asks_them(model in any_model()) {
        let policy = policy(&model);
        for user in ["u", ""] {
            let who = subject(user);
            if user.is_empty() && model.anonymous_group.is_none() {
                prop_assert!(TOPICS.iter().all(|topic| !policy.allows(&who, Action::Receive, topic)));
                continue;
            }
            for topic in TOPICS {
                let send = [AclType::PublishClientSend; 2];
                // What the broker tells of itself is nobody's to publish, and nothing but requests is taken under it.
                let expected = !topic.starts_with("$SYS") && mosquitto(&model, user, send, topic);
                prop_assert_eq!(policy.allows(&who, Action::Publish, topic), expected, "{} sends {}", user, topic);
                let receive = [AclType::PublishClientReceive; 2];
                let expected = mosquitto(&model, user, receive, topic);
                prop_assert_eq!(policy.allows(&who, Action::Receive, topic), expected, "{} receives {}", user, topic);
            }
            for filter in FILTERS {
                let unsubscribe = [AclType::UnsubscribeLiteral, AclType::UnsubscribePattern];
                let expected = mosquitto(&model, user, unsubscribe, filter);
                prop_assert_eq!(policy.may_unsubscribe(&who, filter), expected, "{} unsubscribes {}", user, filter);
                let subscribe = [AclType::SubscribeLiteral, AclType::SubscribePattern];
                let granted = policy.may_subscribe(&who, filter) != SubscribeVerdict::Refused;
                // Nothing is granted that Mosquitto would not grant; what can never receive anything is refused too.
                prop_assert!(!granted || mosquitto(&model, user, subscribe, filter), "{} subscribes {}", user, filter);
            }
        }
    }
}

fn run(model: &mut DynamicSecurity, commands: &str) {
    let outcome = model.execute(format!("{{\"commands\": [{commands}]}}").as_bytes(), &mut || [0; 16]);
    assert!(outcome.done.iter().all(|done| done.error.is_none()), "{}", outcome.into_text());
}

#[test]
fn k17_k19_an_administrator_may_ask_and_a_client_may_not_and_names_stand_for_one_level() {
    let mut model = DynamicSecurity::initial("admin", "secret", [0; 16]);
    run(
        &mut model,
        r#"{"command": "createRole", "rolename": "own", "acls": [
            {"acltype": "publishClientSend", "topic": "dev/%u/#", "allow": true},
            {"acltype": "subscribePattern", "topic": "dev/%u/#", "allow": true}]},
        {"command": "createClient", "username": "pump", "roles": [{"rolename": "own"}]},
        {"command": "createClient", "username": "a/b", "roles": [{"rolename": "own"}]},
        {"command": "createClient", "username": "all", "roles": [{"rolename": "client"}]}"#,
    );
    let policy = policy(&model);
    let may = |user, topic| policy.allows(&subject(user), Action::Publish, topic);
    assert!(may("admin", "$CONTROL/dynamic-security/v1") && may("admin", "$CONTROL/broker/v1"));
    assert!(
        !may("admin", "$CONTROL/dynamic-security/v1/response") && !may("admin", "$CONTROL/x") && !may("admin", "t")
    );
    assert!(may("all", "t") && !may("all", "$CONTROL/dynamic-security/v1") && !may("all", "$SYS/broker/uptime"));
    assert!(may("pump", "dev/pump/x") && !may("pump", "dev/other/x") && !may("a/b", "dev/a/b/x"));
    assert!(!may("stranger", "t"), "who is no client here gets nothing from here");
    assert_eq!(policy.may_subscribe(&subject("pump"), "dev/pump/#"), SubscribeVerdict::Granted);
    assert_eq!(policy.may_subscribe(&subject("pump"), "dev/#"), SubscribeVerdict::Refused);
    assert_eq!(policy.may_subscribe(&subject("admin"), "$CONTROL/dynamic-security/#"), SubscribeVerdict::Granted);
}

#[test]
fn a_level_that_mixes_a_variable_with_text_is_refused() {
    let mut model = DynamicSecurity::initial("admin", "secret", [0; 16]);
    let request = br#"{"commands": [{"command": "addRoleACL", "rolename": "client", "acltype": "publishClientSend",
        "topic": "dev-%u/x", "allow": true}]}"#;
    let text = model.execute(request, &mut || [0; 16]).into_text();
    assert!(text.contains("Invalid ACL topic"), "{text}");
}

#[test]
fn whoever_dynamic_security_does_not_know_is_judged_by_the_other_rules() {
    let mut model = DynamicSecurity::initial("admin", "secret", [0; 16]);
    run(&mut model, r#"{"command": "createClient", "username": "pump"}"#);
    let acl = Policy::parse("pattern readwrite #\nuser pump\ntopic readwrite t\n").unwrap();
    let policy = acl.with_dynamic(Some(model.rules().into()));
    assert!(policy.allows(&subject("stranger"), Action::Publish, "t"));
    assert!(!policy.allows(&subject("pump"), Action::Publish, "t"), "for its own clients it alone allows");
}
