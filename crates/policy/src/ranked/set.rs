//! Which lists are asked about whom, and in which order.
//!
//! Called by [`crate::Policy`] for each decision. Immutable; a change is another set, which shares lists that stayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::list::{Decided, Judging, List};
use super::table::Table;
use super::trie::{Variable, widens};
use super::{Actions, Effect, Questions, TimeWindow};
use crate::identity::Subject;

/// A list and its place in the order: the lower is asked first.
#[derive(Clone, Debug)]
struct Placed {
    place: u32,
    list: Arc<List>,
}

/// Rules for everybody the file speaks of. The first list with a matching rule decides.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Places in `named`.
    users: Table,
    named: Box<[Box<[Placed]>]>,
    anonymous: Box<[Placed]>,
    everybody: Box<[Placed]>,
    /// By name of an attribute and then by value.
    attributes: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<Placed>>>,
    /// Every list once, in the order of their first place above.
    all: Box<[Arc<List>]>,
    /// The windows of time on which rules depend, each once.
    windows: Box<[TimeWindow]>,
    widened_by: Widened,
}

/// Which names stand in the place of a level, so that one that would be more than a level is refused.
#[derive(Clone, Copy, Debug, Default)]
struct Widened {
    user: bool,
    client: bool,
}

/// A rule set being put together.
#[derive(Debug, Default)]
pub struct RuleSetBuilder {
    users: BTreeMap<Box<str>, Vec<Placed>>,
    anonymous: Vec<Placed>,
    everybody: Vec<Placed>,
    attributes: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<Placed>>>,
}

impl RuleSetBuilder {
    /// A list that is asked about a user. The lower of two places comes first; a list in two places has the first.
    pub fn user(&mut self, name: &str, place: u32, list: &Arc<List>) {
        self.users.entry(name.into()).or_default().push(Placed { place, list: Arc::clone(list) });
    }

    /// Makes a user known without any list.
    pub fn known_user(&mut self, name: &str) {
        self.users.entry(name.into()).or_default();
    }

    /// A list that is asked about whoever has no user name.
    pub fn anonymous(&mut self, place: u32, list: &Arc<List>) {
        self.anonymous.push(Placed { place, list: Arc::clone(list) });
    }

    /// A list that is asked about everybody.
    pub fn everybody(&mut self, place: u32, list: &Arc<List>) {
        self.everybody.push(Placed { place, list: Arc::clone(list) });
    }

    /// A list that is asked about whoever has the value among those of an attribute.
    pub fn attribute(&mut self, name: &str, value: &str, place: u32, list: &Arc<List>) {
        let values = self.attributes.entry(name.into()).or_default();
        values.entry(value.into()).or_default().push(Placed { place, list: Arc::clone(list) });
    }

    /// The set.
    #[must_use]
    pub fn build(self) -> RuleSet {
        let in_order = |mut lists: Vec<Placed>| {
            lists.sort_by_key(|placed| placed.place);
            lists.into_boxed_slice()
        };
        let names = self.users.keys().cloned().zip(0..).collect();
        let named: Box<[_]> = self.users.into_values().map(in_order).collect();
        let (anonymous, everybody) = (in_order(self.anonymous), in_order(self.everybody));
        let by_attribute = self.attributes.values().flat_map(BTreeMap::values).flatten();
        let placed = anonymous.iter().chain(&everybody).chain(named.iter().flatten()).chain(by_attribute);
        let mut known = BTreeSet::new();
        let once = placed.filter(|placed| known.insert(Arc::as_ptr(&placed.list)));
        let all: Box<[Arc<List>]> = once.map(|placed| Arc::clone(&placed.list)).collect();
        let mut windows: Vec<TimeWindow> = Vec::new();
        for condition in all.iter().flat_map(|list| list.rules()).filter_map(|rule| rule.when.as_deref()) {
            windows.extend(condition.time.clone().filter(|window| !windows.contains(window)));
        }
        let uses = |wanted: &Variable| all.iter().any(|list| list.variables().contains(wanted));
        let widened_by = Widened { user: uses(&Variable::User), client: uses(&Variable::Client) };
        RuleSet {
            users: Table::of(names),
            named,
            anonymous,
            everybody,
            attributes: self.attributes,
            windows: windows.into(),
            widened_by,
            all,
        }
    }
}

/// What a rule set says to some questions. What is in neither has no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allowed: u8,
    pub(crate) denied: u8,
}

impl RuleSet {
    /// Whether a user is spoken of by name; who has no name, by a list for those.
    #[must_use]
    pub fn knows(&self, who: &Subject) -> bool {
        match who.identity.user_name() {
            Some(name) => self.users.get(name).is_some(),
            None => !self.anonymous.is_empty(),
        }
    }

    /// The names of the users it speaks of, in order.
    pub fn user_names(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|(name, _)| name)
    }

    /// Every attribute and value it speaks of, in order.
    pub fn attribute_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().flat_map(|(name, values)| values.keys().map(move |value| (&**name, &**value)))
    }

    /// Whether a list is asked about whoever comes, or about everybody without a name.
    pub(crate) fn is_for_all(&self, list: &List) -> bool {
        self.anonymous.iter().chain(&self.everybody).any(|placed| std::ptr::eq(&*placed.list, list))
    }

    /// Every list, each once.
    pub fn lists(&self) -> impl Iterator<Item = &List> {
        self.all.iter().map(AsRef::as_ref)
    }

    /// The windows of time on which a rule depends.
    pub(crate) fn windows(&self) -> &[TimeWindow] {
        &self.windows
    }

    /// Whether a name of `who` that a rule would put into a topic could mean more than one level (K17).
    pub(crate) fn is_unsafe(&self, who: &Subject) -> bool {
        (self.widened_by.user && who.identity.user_name().is_some_and(widens))
            || (self.widened_by.client && widens(&who.client_id.0))
    }

    /// The lists that are asked about `who`, in their order, each once.
    pub(crate) fn asked_about<'a>(&'a self, who: &Subject) -> SmallVec<[&'a List; 4]> {
        let own: &[Placed] = match who.identity.user_name() {
            Some(name) => self.users.get(name).map_or(&[], |place| &self.named[place as usize]),
            None => &self.anonymous,
        };
        let mut found: SmallVec<[(u32, &List); 4]> = SmallVec::new();
        for placed in own.iter().chain(&self.everybody) {
            found.push((placed.place, &placed.list));
        }
        for (name, values) in &self.attributes {
            let lists = who.attributes.values(name).filter_map(|value| values.get(value)).flatten();
            found.extend(lists.map(|placed| (placed.place, &*placed.list)));
        }
        if !found.is_sorted_by_key(|(place, _)| *place) {
            found.sort_by_key(|(place, _)| *place);
        }
        let mut lists: SmallVec<[&List; 4]> = SmallVec::new();
        for (_, list) in found {
            if !lists.iter().any(|known| std::ptr::eq(*known, list)) {
                lists.push(list);
            }
        }
        lists
    }

    /// Answers questions about a topic name and calls with each rule that decided some.
    pub(crate) fn decide<'a>(
        &'a self,
        judging: Judging<'_>,
        topic: &str,
        asked: Questions,
        mut decided: impl FnMut(Decided<'a>),
    ) -> Answer {
        let mut answer = Answer::default();
        let mut left = asked;
        for list in self.asked_about(judging.who) {
            if !list.answers(left) {
                continue;
            }
            let answered = list.decide(judging, topic, left, |found| {
                match found.rule.effect {
                    Effect::Allow => answer.allowed |= found.questions.0,
                    Effect::Deny => answer.denied |= found.questions.0,
                }
                decided(found);
            });
            left = Questions(left.0 & !answered.0);
            if left.0 == 0 {
                break;
            }
        }
        answer
    }

    /// The first rule for these actions on a filter as it is asked for.
    pub(crate) fn decide_filter(
        &self,
        judging: Judging<'_>,
        filter: &str,
        actions: (Actions, Actions),
    ) -> Option<Effect> {
        let lists = self.asked_about(judging.who);
        lists.into_iter().find_map(|list| list.decide_filter(judging, filter, actions))
    }
}
