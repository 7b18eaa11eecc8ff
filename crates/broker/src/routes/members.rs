//! Who has subscribed to one filter, kept small: most filters have one subscriber.
//!
//! Called by the trie and by groups under a stripe lock. Ordered by session, so that every run is the same.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::group::Group;
use super::{SessionRef, Subscription};

/// So many are kept in a row; more make a tree.
const ROW_MAX: usize = 8;

/// Subscriptions by session.
#[derive(Debug)]
pub(super) enum Members {
    Row(SmallVec<[(SessionRef, Subscription); 1]>),
    Tree(BTreeMap<SessionRef, Subscription>),
}

impl Default for Members {
    fn default() -> Self {
        Self::Row(SmallVec::new())
    }
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Row(row) => row.is_empty(),
            Self::Tree(tree) => tree.is_empty(),
        }
    }

    /// Adds or replaces the subscription of a session.
    pub(super) fn insert(&mut self, session: SessionRef, subscription: Subscription) {
        match self {
            Self::Tree(tree) => {
                tree.insert(session, subscription);
            }
            Self::Row(row) => match row.binary_search_by_key(&session, |(one, _)| *one) {
                Ok(at) => row[at].1 = subscription,
                Err(at) if row.len() < ROW_MAX => row.insert(at, (session, subscription)),
                Err(_) => {
                    let all = std::mem::take(row).into_iter().chain([(session, subscription)]);
                    *self = Self::Tree(all.collect());
                }
            },
        }
    }

    /// Removes a session, if it is there.
    pub(super) fn remove(&mut self, session: SessionRef) {
        match self {
            Self::Row(row) => {
                if let Ok(at) = row.binary_search_by_key(&session, |(one, _)| *one) {
                    row.remove(at);
                }
            }
            Self::Tree(tree) => {
                tree.remove(&session);
                if tree.len() <= ROW_MAX / 2 {
                    *self = Self::Row(std::mem::take(tree).into_iter().collect());
                }
            }
        }
    }

    /// Calls `each` with every subscription, in the order of sessions.
    pub(super) fn for_each(&self, mut each: impl FnMut(SessionRef, &Subscription)) {
        match self {
            Self::Row(row) => row.iter().for_each(|(session, subscription)| each(*session, subscription)),
            Self::Tree(tree) => tree.iter().for_each(|(session, subscription)| each(*session, subscription)),
        }
    }
}

/// The groups of one filter by name; no room is taken where there is none.
#[derive(Debug, Default)]
pub(super) struct Groups(Option<Box<ByName>>);

#[derive(Debug, Default)]
struct ByName(BTreeMap<Box<str>, Group>);

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Group> {
        self.0.as_ref()?.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.iter().flat_map(|groups| groups.0.values())
    }

    /// The group of this name, made if there is none.
    fn of(&mut self, name: &str, filter: &str) -> &mut Group {
        let groups = &mut self.0.get_or_insert_default().0;
        groups.entry(name.into()).or_insert_with(|| Group::new(name, filter))
    }

    fn remove(&mut self, name: &str, session: SessionRef) {
        let Some(groups) = &mut self.0 else { return };
        if groups.0.get_mut(name).is_some_and(|group| group.remove(session)) {
            groups.0.remove(name);
        }
        if groups.0.is_empty() {
            self.0 = None;
        }
    }
}

/// All who have subscribed to one filter.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    /// Each for itself.
    pub(super) direct: Members,
    /// Shared subscriptions.
    pub(super) groups: Groups,
}

impl Subscribers {
    pub(super) fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.groups.is_empty()
    }

    /// Adds or replaces a subscription to `filter`.
    pub(super) fn insert(&mut self, filter: &str, share: Option<&str>, session: SessionRef, sub: Subscription) {
        match share {
            None => self.direct.insert(session, sub),
            Some(name) => self.groups.of(name, filter).insert(session, sub),
        }
    }

    /// Removes the subscription of a session, if it is there.
    pub(super) fn remove(&mut self, share: Option<&str>, session: SessionRef) {
        match share {
            None => self.direct.remove(session),
            Some(name) => self.groups.remove(name, session),
        }
    }
}
