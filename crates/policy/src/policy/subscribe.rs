//! What becomes of a SUBSCRIBE: granted, refused, or narrowed to the part that may be received.
//!
//! Called by the broker for each filter. Judges filters by filters, so it knows more than any number of topics tried.

use std::ops::ControlFlow;

use super::{Asked, Policy, Source, SubscribeVerdict};
use crate::identity::Subject;
use crate::ranked::{Actions, Coverage, Effect, Parts, Questions, canonical};
use crate::topic::is_filter;

/// Parts of a filter that are named to whoever asked for it.
pub const PARTS_MAX: usize = 8;

/// The part of a filter that holds, as filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// What may be received, as far as it is named.
    pub holds: Vec<String>,
    /// What of it may not, as far as it is named.
    pub except: Vec<String>,
    /// Whether there is more than is named.
    pub has_more: bool,
}

impl Policy {
    /// Whether a subscription of `who` to `filter` (without any `$share/…/`) can ever receive anything. What is no
    /// filter is refused.
    ///
    /// A part of the filter counts as denied when one rule denies all of it. What only several denials hold together
    /// counts as open and receives nothing, because every delivery is judged by [`Policy::allows`].
    #[must_use]
    pub fn may_subscribe(&self, who: &Subject, filter: &str) -> SubscribeVerdict {
        if !is_filter(filter) || self.is_unsafe(who) || !self.may_ask(who, filter, ASKING) {
            return SubscribeVerdict::Refused;
        }
        let sets = self.asked_about(who);
        let filter = canonical(filter);
        let view = View { policy: self, who, sets: &sets };
        let whole = [Questions::RECEIVE, Questions::SUBSCRIBE].map(|question| view.whole(filter, question));
        if whole.contains(&Whole::Denied) {
            return SubscribeVerdict::Refused;
        }
        if whole == [Whole::Allowed; 2] {
            return SubscribeVerdict::Granted;
        }
        let is_open = view.open(filter, |_| ControlFlow::Break(())).is_break();
        if is_open { SubscribeVerdict::Narrowed } else { SubscribeVerdict::Refused }
    }

    /// Whether `who` may unsubscribe from a filter. Only rules about filters can forbid it.
    #[must_use]
    pub fn may_unsubscribe(&self, who: &Subject, filter: &str) -> bool {
        let actions = (Actions::UNSUBSCRIBE_LITERAL, Actions::UNSUBSCRIBE_PATTERN);
        self.may_ask(who, filter, actions)
    }

    /// The part of a narrowed filter that holds.
    #[must_use]
    pub fn narrowed(&self, who: &Subject, filter: &str) -> Narrowed {
        let mut found = Narrowed::default();
        if !is_filter(filter) {
            return found;
        }
        let sets = self.asked_about(who);
        let view = View { policy: self, who, sets: &sets };
        let _ = view.open(canonical(filter), |part| found.hold(part));
        for at in 0..found.holds.len() {
            let part = found.holds[at].clone();
            for question in [Questions::RECEIVE, Questions::SUBSCRIBE] {
                let _ = view.each(&part, (Effect::Deny, question), |part| found.leave_out(part));
            }
        }
        found
    }

    /// Whether the rules about filters as they are asked for, where there are any for `who`, let this one pass.
    fn may_ask(&self, who: &Subject, filter: &str, actions: (Actions, Actions)) -> bool {
        let sets = self.asked_about(who);
        let Some(dynamic) = sets.iter().find(|set| set.source == Source::Dynamic) else { return true };
        dynamic.rules.decide_filter(self.judging(who), filter, actions) == Some(Effect::Allow)
    }
}

const ASKING: (Actions, Actions) = (Actions::SUBSCRIBE_LITERAL, Actions::SUBSCRIBE_PATTERN);

impl Narrowed {
    /// Takes a part in, unless another holds it; breaks off when no more are named.
    fn hold(&mut self, part: &str) -> ControlFlow<()> {
        if self.holds.iter().any(|known| holds(known, part)) {
            return ControlFlow::Continue(());
        }
        self.holds.retain(|known| !holds(part, known));
        self.take(|found| &mut found.holds, part)
    }

    fn leave_out(&mut self, part: &str) -> ControlFlow<()> {
        if self.except.iter().any(|known| holds(known, part)) {
            return ControlFlow::Continue(());
        }
        self.except.retain(|known| !holds(part, known));
        self.take(|found| &mut found.except, part)
    }

    fn take(&mut self, list: impl Fn(&mut Self) -> &mut Vec<String>, part: &str) -> ControlFlow<()> {
        if list(self).len() == PARTS_MAX {
            self.has_more = true;
            return ControlFlow::Break(());
        }
        list(self).push(part.to_owned());
        ControlFlow::Continue(())
    }
}

/// Whether every topic of `part` is one of `whole`.
fn holds(whole: &str, part: &str) -> bool {
    let (mut outer, mut inner) = (whole.split('/'), part.split('/'));
    if matches!(whole.as_bytes().first(), Some(b'+' | b'#')) && part.starts_with('$') {
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

/// What all sets together say about all topics of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Allowed,
    Denied,
    Mixed,
}

struct View<'a> {
    policy: &'a Policy,
    who: &'a Subject,
    sets: &'a [Asked<'a>],
}

impl View<'_> {
    fn whole(&self, filter: &str, question: Questions) -> Whole {
        let judging = self.policy.judging(self.who);
        let of = |set: &Asked<'_>| (set.may_allow, set.rules.coverage(judging, filter, question));
        let found: Vec<(bool, Coverage)> = self.sets.iter().map(of).collect();
        let is_none_allowed = !found.iter().any(|(may_allow, found)| *may_allow && found.some_allowed);
        if is_none_allowed || found.iter().any(|(_, found)| found.is_all_denied()) {
            return Whole::Denied;
        }
        let is_allowed = found.iter().any(|(may_allow, found)| *may_allow && found.is_all_allowed());
        let has_denied = found.iter().any(|(_, found)| found.some_denied);
        if is_allowed && !has_denied { Whole::Allowed } else { Whole::Mixed }
    }

    /// Calls with each part of a filter that may be received.
    fn open(&self, filter: &str, mut each: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
        self.each(filter, (Effect::Allow, Questions::RECEIVE), |part| match self.whole(part, Questions::SUBSCRIBE) {
            Whole::Allowed => each(part),
            Whole::Denied => ControlFlow::Continue(()),
            Whole::Mixed => self.each(part, (Effect::Allow, Questions::SUBSCRIBE), |part| {
                // What may be subscribed to is narrower than what may be received; it may be denied as a whole.
                match self.whole(part, Questions::RECEIVE) {
                    Whole::Denied => ControlFlow::Continue(()),
                    Whole::Allowed | Whole::Mixed => each(part),
                }
            }),
        })
    }

    /// Calls with each part of a filter on which a rule of this effect decides, where no set denies all of it.
    fn each(
        &self,
        filter: &str,
        (effect, question): (Effect, Questions),
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let judging = self.policy.judging(self.who);
        for set in self.sets.iter().filter(|set| set.may_allow || effect == Effect::Deny) {
            let parts = Parts { judging, filter, effect, question };
            set.rules.parts(parts, |levels| {
                let part = levels.join("/");
                let part = canonical(&part);
                match (effect, self.whole(part, question)) {
                    (Effect::Allow, Whole::Denied) => ControlFlow::Continue(()),
                    _ => each(part),
                }
            })?;
        }
        ControlFlow::Continue(())
    }
}
