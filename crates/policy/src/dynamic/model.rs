//! Clients, groups, roles and rules of dynamic security, as one value that is always whole.
//!
//! Made by `read`, changed by the commands, compiled by `compile`. A name that is not there is never referred to: who
//! removes a role or a client removes it wherever it is named.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::password::Password;
use crate::ranked::{Substitution, variable};
use crate::topic::is_filter;

/// Priorities are cut to this, up and down, as Mosquitto does.
const PRIORITY_MAX: i64 = 100_000;
/// The priority of a role or a group where none is given.
pub(super) const PRIORITY_DEFAULT: i32 = -1;
/// MQTT-1.5.4: the length of a string is two bytes.
const NAME_BYTES_MAX: usize = 65_535;

/// What somebody wants of a topic or a filter. The order is that of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AclType {
    PublishClientSend,
    PublishClientReceive,
    SubscribeLiteral,
    SubscribePattern,
    UnsubscribeLiteral,
    UnsubscribePattern,
}

impl AclType {
    const ALL: [(Self, &str); 6] = [
        (Self::PublishClientSend, "publishClientSend"),
        (Self::PublishClientReceive, "publishClientReceive"),
        (Self::SubscribeLiteral, "subscribeLiteral"),
        (Self::SubscribePattern, "subscribePattern"),
        (Self::UnsubscribeLiteral, "unsubscribeLiteral"),
        (Self::UnsubscribePattern, "unsubscribePattern"),
    ];

    /// The type of this name, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)).map(|(kind, _)| *kind)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// One rule of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acl {
    pub(super) kind: AclType,
    pub(super) topic: Box<str>,
    pub(super) priority: i32,
    pub(super) allow: bool,
}

/// What may be done where no rule says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DefaultAccess {
    pub(super) publish_client_send: bool,
    pub(super) publish_client_receive: bool,
    pub(super) subscribe: bool,
    pub(super) unsubscribe: bool,
}

impl Default for DefaultAccess {
    /// As in a file of Mosquitto that says nothing: nobody publishes or subscribes without a rule.
    fn default() -> Self {
        Self { publish_client_send: false, publish_client_receive: true, subscribe: false, unsubscribe: true }
    }
}

impl DefaultAccess {
    /// The defaults by the names they have in the file, in its order.
    pub(super) fn named(&mut self) -> [(&'static str, &mut bool); 4] {
        [
            ("publishClientSend", &mut self.publish_client_send),
            ("publishClientReceive", &mut self.publish_client_receive),
            ("subscribe", &mut self.subscribe),
            ("unsubscribe", &mut self.unsubscribe),
        ]
    }
}

/// Words for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
}

/// Names by priority, the highest first; equal ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranked {
    priorities: BTreeMap<Arc<str>, i32>,
    order: BTreeSet<(Reverse<i32>, Arc<str>)>,
}

impl Ranked {
    /// Adds a name; false when it is there already.
    pub(super) fn add(&mut self, name: &Arc<str>, priority: i32) -> bool {
        if self.priorities.contains_key(name) {
            return false;
        }
        self.priorities.insert(Arc::clone(name), priority);
        self.order.insert((Reverse(priority), Arc::clone(name)))
    }

    /// Takes a name out; false when it was not there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        let found = self.priorities.remove_entry(name);
        found.is_some_and(|(name, priority)| self.order.remove(&(Reverse(priority), name)))
    }

    /// The priority of a name that is there.
    pub(super) fn priority(&self, name: &str) -> Option<i32> {
        self.priorities.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32)> {
        self.order.iter().map(|(priority, name)| (name, priority.0))
    }
}

/// Somebody who may log in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) texts: Texts,
    /// The only client identifier it may use.
    pub(super) client_id: Option<String>,
    pub(super) is_disabled: bool,
    /// Without one nobody logs in by password.
    pub(super) password: Option<Password>,
    pub(super) roles: Ranked,
}

/// Clients that have roles in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) texts: Texts,
    pub(super) roles: Ranked,
    /// The priority is that of the group for the client.
    pub(super) clients: Ranked,
}

/// Rules under a name.
#[derive(Clone, Debug)]
pub(super) struct Role {
    pub(super) texts: Texts,
    /// Whether who has the role may subscribe with wildcards at all.
    pub(super) allows_wildcards: bool,
    /// One of a type for a topic, with the number of those that were added before it.
    acls: BTreeMap<(AclType, Box<str>), (u64, Verdict)>,
    added: u64,
}

/// What a rule says where it is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    priority: i32,
    allow: bool,
}

impl Default for Role {
    fn default() -> Self {
        Self { texts: Texts::default(), allows_wildcards: true, acls: BTreeMap::new(), added: 0 }
    }
}

impl PartialEq for Role {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts && self.allows_wildcards == other.allows_wildcards && self.acls() == other.acls()
    }
}

impl Eq for Role {}

impl Role {
    /// A role without a rule.
    pub(super) fn with_texts(texts: Texts) -> Self {
        Self { texts, ..Self::default() }
    }

    /// The rules in their order: by type, the highest priority of each first, then as they were added.
    pub(super) fn acls(&self) -> Vec<Acl> {
        let mut all: Vec<_> = self.acls.iter().collect();
        all.sort_by_key(|((kind, _), (at, verdict))| (*kind, Reverse(verdict.priority), *at));
        let acl = |((kind, topic), (_, verdict)): (&(AclType, Box<str>), &(u64, Verdict))| Acl {
            kind: *kind,
            topic: topic.clone(),
            priority: verdict.priority,
            allow: verdict.allow,
        };
        all.into_iter().map(acl).collect()
    }

    /// Adds a rule; false when there is one of its type for its topic.
    pub(super) fn add_acl(&mut self, acl: Acl) -> bool {
        let Acl { kind, topic, priority, allow } = acl;
        let Entry::Vacant(place) = self.acls.entry((kind, topic)) else { return false };
        place.insert((self.added, Verdict { priority, allow }));
        self.added += 1;
        true
    }

    /// Takes a rule out; false when it was not there.
    pub(super) fn remove_acl(&mut self, kind: AclType, topic: &str) -> bool {
        self.acls.remove(&(kind, topic.into())).is_some()
    }

    /// Takes all rules out.
    pub(super) fn clear_acls(&mut self) {
        self.acls.clear();
    }
}

/// A client as a table shows it; holds no hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOverview {
    /// Its name.
    pub user: String,
    /// Whether it must stay outside.
    pub is_disabled: bool,
    /// The client identifier it is bound to.
    pub client_id: Option<String>,
    /// How its password is hashed; `None` when it has none.
    pub scheme: Option<&'static str>,
    /// Its own roles, the first asked first.
    pub roles: Vec<String>,
    /// Its groups, the first asked first.
    pub groups: Vec<String>,
}

/// Everything of one file of dynamic security.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicSecurity {
    pub(super) defaults: DefaultAccess,
    pub(super) clients: BTreeMap<Arc<str>, Client>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) roles: BTreeMap<Arc<str>, Role>,
    /// Whose roles those have who come without a name.
    pub(super) anonymous_group: Option<Arc<str>>,
    /// Counts the changes since the file was made.
    pub(super) change_index: i64,
}

impl DynamicSecurity {
    /// Whether there is a client of this name.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.clients.contains_key(user)
    }

    /// Clients, groups and roles, for a line in a log.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.clients.len(), self.groups.len(), self.roles.len())
    }

    /// All clients for a table, in the order of their names.
    #[must_use]
    pub fn overview(&self) -> Vec<ClientOverview> {
        let names = |ranked: &Ranked| ranked.iter().map(|(name, _)| name.to_string()).collect();
        let client = |(user, client): (&Arc<str>, &Client)| ClientOverview {
            user: user.to_string(),
            is_disabled: client.is_disabled,
            client_id: client.client_id.clone(),
            scheme: client.password.as_ref().map(Password::scheme),
            roles: names(&client.roles),
            groups: names(&self.groups_of(user)),
        };
        self.clients.iter().map(client).collect()
    }

    /// The names of all clients, in order.
    pub fn users(&self) -> impl Iterator<Item = &Arc<str>> {
        self.clients.keys()
    }

    /// The groups a client is in, the highest priority first.
    pub(super) fn groups_of(&self, user: &str) -> Ranked {
        let mut all = Ranked::default();
        for (name, group) in &self.groups {
            if let Some(priority) = group.clients.priority(user) {
                all.add(name, priority);
            }
        }
        all
    }
}

/// A priority within its bounds.
pub(super) fn priority(number: i64) -> i32 {
    i32::try_from(number.clamp(-PRIORITY_MAX, PRIORITY_MAX)).expect("the bounds are those of a smaller number")
}

/// Whether a name could come in a CONNECT and may stand in a log.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control)
}

/// Whether a rule can be about this: a filter in which a level that is a variable is nothing but that.
pub(super) fn is_acl_topic(topic: &str) -> bool {
    let is_level = |level| variable(level, Substitution::Mosquitto).is_ok();
    is_filter(topic) && !topic.contains(char::is_control) && topic.split('/').all(is_level)
}
