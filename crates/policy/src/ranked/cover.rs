//! What a rule set says about all topics of a filter at once: for SUBSCRIBE.
//!
//! Called by [`crate::Policy`]. The common part of two filters is a filter again, so every answer is made of filters.

use std::ops::ControlFlow;

use super::list::{Judging, List};
use super::trie::RuleId;
use super::{Effect, Questions, RuleSet};

/// What the rules of a set say about the topics of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Whether some may be allowed.
    pub(crate) some_allowed: bool,
    /// Whether some may be denied.
    pub(crate) some_denied: bool,
    /// What holds for those that no earlier rule speaks of, where one rule holds all of the filter.
    pub(crate) rest: Option<Effect>,
}

impl Coverage {
    /// Whether every topic is allowed.
    pub(crate) fn is_all_allowed(self) -> bool {
        self.rest == Some(Effect::Allow) && !self.some_denied
    }

    /// Whether every topic is denied.
    pub(crate) fn is_all_denied(self) -> bool {
        self.rest == Some(Effect::Deny) && !self.some_allowed
    }
}

/// Parts of a filter that rules of one effect hold, found one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) judging: Judging<'a>,
    /// The filter, in its canonical spelling.
    pub(crate) filter: &'a str,
    pub(crate) effect: Effect,
    pub(crate) question: Questions,
}

impl RuleSet {
    /// What the rules say about the topics of a filter in its canonical spelling.
    pub(crate) fn coverage(&self, judging: Judging<'_>, filter: &str, question: Questions) -> Coverage {
        let levels: Vec<&str> = filter.split('/').collect();
        let mut coverage = Coverage::default();
        for list in self.asked_about(judging.who) {
            if !list.answers(question) {
                continue;
            }
            let whole = list.first_covering(judging, &levels, question);
            let comes_first = |id: RuleId| whole.is_none_or(|(first, _)| id < first);
            let speaks = |effect| {
                let found = list.each_common(judging, filter, (effect, question), |id, _| {
                    if comes_first(id) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                found.is_break()
            };
            coverage.some_allowed |= speaks(Effect::Allow);
            coverage.some_denied |= speaks(Effect::Deny);
            if let Some((_, rule)) = whole {
                coverage.some_allowed |= rule.effect == Effect::Allow;
                coverage.some_denied |= rule.effect == Effect::Deny;
                coverage.rest = Some(rule.effect);
                break;
            }
        }
        coverage
    }

    /// Calls with the levels of each part of a filter that a rule decides and no earlier rule holds as a whole.
    pub(crate) fn parts<B>(&self, parts: Parts<'_>, mut each: impl FnMut(&[&str]) -> ControlFlow<B>) -> ControlFlow<B> {
        let Parts { judging, filter, effect, question } = parts;
        let lists = self.asked_about(judging.who);
        for (at, list) in lists.iter().enumerate() {
            if !list.answers(question) {
                continue;
            }
            list.each_common(judging, filter, (effect, question), |id, path| {
                let is_first = is_first(&lists[..=at], (judging, question), path, id);
                if is_first { each(path) } else { ControlFlow::Continue(()) }
            })?;
        }
        ControlFlow::Continue(())
    }
}

/// Whether the rule of the last of the lists is the first that holds all topics of these levels.
fn is_first(lists: &[&List], (judging, question): (Judging<'_>, Questions), levels: &[&str], id: RuleId) -> bool {
    let Some((own, earlier)) = lists.split_last() else { return false };
    let first_of = |list: &List| list.first_covering(judging, levels, question).map(|(first, _)| first);
    earlier.iter().all(|list| first_of(list).is_none()) && first_of(own) == Some(id)
}
