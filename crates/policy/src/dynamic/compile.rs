//! A model as a set of ranked rules.
//!
//! Called by [`DynamicSecurity::rules`] whenever something changed. Each role is a list; a client is asked about by its
//! own roles, then by those of its groups, then by what may be done where none of them says anything. A decision costs
//! the same however many clients and rules there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Acl, AclType, DefaultAccess, DynamicSecurity, Ranked, Role};
use crate::ranked::{Actions, Effect, List, Rule, RuleSet, RuleSetBuilder, Substitution};

type Lists = BTreeMap<Arc<str>, Arc<List>>;

/// Where the defaults stand: behind every role.
const LAST: u32 = u32::MAX;

pub(super) fn rules(model: &DynamicSecurity) -> RuleSet {
    let lists: Lists = model.roles.iter().map(|(name, role)| (Arc::clone(name), Arc::new(list(name, role)))).collect();
    let mut set = RuleSetBuilder::default();
    for (user, roles) in roles_of_clients(model) {
        set.known_user(user);
        for (list, place) in roles.iter().filter_map(|name| lists.get(*name)).zip(0..) {
            set.user(user, place, list);
        }
    }
    let defaults = Arc::new(defaults(model.defaults));
    set.everybody(LAST, &defaults);
    if let Some(group) = model.anonymous_group.as_ref().and_then(|name| model.groups.get(name)) {
        // They are known even when the group has no role.
        set.anonymous(LAST, &defaults);
        for (list, place) in group.roles.iter().filter_map(|(name, _)| lists.get(name)).zip(0..) {
            set.anonymous(place, list);
        }
    }
    set.build()
}

/// The roles of each client in the order in which they are asked: its own, then those of its groups.
fn roles_of_clients(model: &DynamicSecurity) -> BTreeMap<&str, Vec<&Arc<str>>> {
    let mut groups: BTreeMap<&str, Ranked> = BTreeMap::new();
    for (name, group) in &model.groups {
        for (user, priority) in group.clients.iter() {
            groups.entry(&**user).or_default().add(name, priority);
        }
    }
    let mut all = BTreeMap::new();
    for (user, client) in &model.clients {
        let mut roles: Vec<&Arc<str>> = client.roles.iter().map(|(name, _)| name).collect();
        for (group, _) in groups.get(&**user).into_iter().flat_map(Ranked::iter) {
            let group = model.groups.get(group);
            roles.extend(group.into_iter().flat_map(|group| group.roles.iter()).map(|(name, _)| name));
        }
        all.insert(&**user, roles);
    }
    all
}

/// A role: its rules in their order, each with a rank of its own, because the engine would put a denial first among
/// equals. Literal rules about filters stand before patterns, as they do in the file.
fn list(name: &Arc<str>, role: &Role) -> List {
    let acls = role.acls();
    let ranks = (0..=i32::MAX).rev();
    let rules = acls.into_iter().zip(ranks).map(|(acl, rank)| rule(acl, rank)).collect();
    let list = List::compile(&format!("role {name}"), rules, Substitution::Mosquitto);
    let list = list.expect("the topic of every rule was checked when it was taken in");
    if role.allows_wildcards { list } else { list.refusing_wildcards() }
}

fn rule(acl: Acl, rank: i32) -> Rule {
    let actions = match acl.kind {
        AclType::PublishClientSend => Actions::PUBLISH,
        // Whether a filter may be subscribed to is asked when it is, and again when anything changes.
        AclType::PublishClientReceive => Actions::READ,
        AclType::SubscribeLiteral => Actions::SUBSCRIBE_LITERAL,
        AclType::SubscribePattern => Actions::SUBSCRIBE_PATTERN,
        AclType::UnsubscribeLiteral => Actions::UNSUBSCRIBE_LITERAL,
        AclType::UnsubscribePattern => Actions::UNSUBSCRIBE_PATTERN,
    };
    let effect = if acl.allow { Effect::Allow } else { Effect::Deny };
    Rule { rank, effect, actions, filter: acl.topic, when: None, line: 0 }
}

/// What no role speaks of. Never opens `$CONTROL`; what the broker tells of itself is like any other topic.
fn defaults(access: DefaultAccess) -> List {
    let open = [
        (access.publish_client_send, Actions::PUBLISH),
        (access.publish_client_receive, Actions::READ),
        (access.subscribe, Actions::SUBSCRIBE_PATTERN),
        (access.unsubscribe, Actions::UNSUBSCRIBE_PATTERN),
    ];
    let open = open.into_iter().filter(|(is_open, _)| *is_open);
    let rules = open.flat_map(|(_, actions)| {
        ["#", "$SYS/#"].map(|filter| Rule {
            rank: 0,
            effect: Effect::Allow,
            actions,
            filter: filter.into(),
            when: None,
            line: 0,
        })
    });
    List::compile("defaultACLAccess", rules.collect(), Substitution::Nothing).expect("these are filters")
}
