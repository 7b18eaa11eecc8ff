//! One list of rules, compiled: a role, a section of an ACL file, the rights in a token.
//!
//! Called by the rule set for each list that is asked about somebody. Never changes once compiled.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use smallvec::SmallVec;
use thiserror::Error;

use super::trie::{Growing, Level, RuleId, Trie, Variable, canonical};
use super::{Actions, Effect, Questions, Rule};
use crate::identity::Subject;
use crate::topic::is_filter;

/// Which levels of a filter are variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substitution {
    /// None: all is plain text.
    Nothing,
    /// `%u` and `%c`, as in Mosquitto's `pattern` lines and the roles of dynamic security.
    Mosquitto,
    /// `%u`, `%c`, `%t` and `${NAME}` of any attribute.
    All,
}

/// Distinct variables in one list.
const VARIABLES_MAX: usize = 256;

/// Why rules are no list: about the rule at a place among those that were given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListError {
    /// Its filter is none.
    #[error("it is no topic filter")]
    NoFilter(usize),
    /// A level of its filter mixes a variable with other text, where it would never mean what it says.
    #[error("the level `{1}` mixes a variable with other text; give the variable a level of its own")]
    MixedLevel(usize, String),
    /// There are more variables than there may be.
    #[error("more than {VARIABLES_MAX} variables")]
    TooManyVariables(usize),
}

/// Rules in the order in which they decide.
#[derive(Debug)]
pub struct List {
    name: Box<str>,
    rules: Box<[Rule]>,
    answers: Box<[Questions]>,
    trie: Trie,
    substitution: Substitution,
    literals: BTreeMap<Box<str>, Vec<RuleId>>,
    refuses_wildcards: bool,
}

/// Which rule decided some of the questions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided<'a> {
    /// What it decided.
    pub(crate) questions: Questions,
    /// The name of its list.
    pub(crate) list: &'a str,
    /// The rule.
    pub(crate) rule: &'a Rule,
}

/// Whom a question is about, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judging<'a> {
    pub(crate) who: &'a Subject,
    /// Seconds of Unix time.
    pub(crate) now: u64,
}

impl Rule {
    pub(crate) fn holds(&self, judging: Judging<'_>) -> bool {
        self.when.as_ref().is_none_or(|when| when.holds(judging.who, judging.now))
    }
}

/// The bits of questions that are allowed in the low half of a node's mark, that are denied in the high one.
pub(super) fn marks(effect: Effect, questions: Questions) -> u16 {
    match effect {
        Effect::Allow => u16::from(questions.0),
        Effect::Deny => u16::from(questions.0) << 8,
    }
}

/// Rules about topics are marked by what they answer; rules about filters by bits of their own.
fn both(questions: Questions) -> u16 {
    marks(Effect::Allow, questions) | marks(Effect::Deny, questions)
}

impl List {
    /// Compiles rules. The name is for whoever asks why.
    pub fn compile(name: &str, mut rules: Vec<Rule>, substitution: Substitution) -> Result<Self, ListError> {
        let mut variables = Vec::new();
        for (place, rule) in rules.iter().enumerate() {
            for variable in variables_of(&rule.filter, substitution, place)? {
                if !variables.contains(&variable) {
                    variables.push(variable);
                }
            }
            if variables.len() > VARIABLES_MAX {
                return Err(ListError::TooManyVariables(place));
            }
        }
        // Stable: rules that are alike stay in the order they were given in.
        rules.sort_by_key(|rule| (std::cmp::Reverse(rule.rank), rule.effect));
        let answer = |rule: &Rule| Questions::answered_by(rule.actions, rule.when.as_deref());
        let answers: Box<[Questions]> = rules.iter().map(answer).collect();
        let mut trie = Growing::new();
        let mut literals: BTreeMap<Box<str>, Vec<RuleId>> = BTreeMap::new();
        for ((rule, answers), id) in rules.iter().zip(&answers).zip(0..) {
            let as_literal = Actions::SUBSCRIBE_LITERAL.and(Actions::UNSUBSCRIBE_LITERAL);
            if rule.actions.meets(as_literal) {
                literals.entry(rule.filter.clone()).or_default().push(id);
            }
            let as_pattern = Actions::SUBSCRIBE_PATTERN.and(Actions::UNSUBSCRIBE_PATTERN);
            // Whoever looks for the rules that hold a filter looks through all of them.
            let mark = if rule.actions.meets(as_pattern) { u16::MAX } else { marks(rule.effect, *answers) };
            if mark != 0 {
                let levels = canonical(&rule.filter).split('/');
                trie.insert(levels.map(|text| level(text, substitution, &variables)), id, mark);
            }
        }
        let trie = trie.freeze(variables);
        Ok(Self {
            name: name.into(),
            rules: rules.into(),
            answers,
            trie,
            literals,
            substitution,
            refuses_wildcards: false,
        })
    }

    /// The same list, which denies every subscription with a wildcard.
    #[must_use]
    pub fn refusing_wildcards(self) -> Self {
        Self { refuses_wildcards: true, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its rules, in the order in which they decide.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn substitution(&self) -> Substitution {
        self.substitution
    }

    /// What the rule at a place answers.
    pub(crate) fn answered(&self, place: usize) -> Questions {
        self.answers[place]
    }

    /// The rules that answer a question for every topic of these levels, in order, with their places; whether they hold
    /// now is not asked.
    pub(crate) fn covering_rules(
        &self,
        who: &Subject,
        levels: &[&str],
        question: Questions,
    ) -> impl Iterator<Item = (usize, &Rule)> {
        let mut found = Vec::new();
        self.trie.covering(who, levels, both(question), |rules| found.extend_from_slice(rules));
        found.sort_unstable();
        let places = found.into_iter().map(|id| id as usize);
        let able = places.filter(move |place| self.answers[*place].meets(question));
        able.map(|place| (place, &self.rules[place]))
    }

    pub(crate) fn variables(&self) -> &[Variable] {
        &self.trie.variables
    }

    /// Whether it may answer some of these.
    pub(super) fn answers(&self, questions: Questions) -> bool {
        self.trie.answers() & both(questions) != 0
    }

    /// Answers what it can of `asked` about a topic name, calls with what decided, and gives what was answered.
    pub(super) fn decide<'a>(
        &'a self,
        judging: Judging<'_>,
        topic: &str,
        asked: Questions,
        mut decided: impl FnMut(Decided<'a>),
    ) -> Questions {
        let mut found = SmallVec::<[RuleId; 16]>::new();
        self.trie.matching(judging.who, topic, both(asked), |rules| found.extend_from_slice(rules));
        found.sort_unstable();
        let mut left = asked.0;
        for id in found {
            let bits = self.answers[id as usize].0 & left;
            let rule = &self.rules[id as usize];
            if bits == 0 || !rule.holds(judging) {
                continue;
            }
            left &= !bits;
            decided(Decided { questions: Questions(bits), list: &self.name, rule });
            if left == 0 {
                break;
            }
        }
        Questions(asked.0 & !left)
    }

    /// What the first rule with one of the actions says that matches a filter as it is asked for: word for word, or by
    /// holding all of it.
    pub(super) fn decide_filter(
        &self,
        judging: Judging<'_>,
        filter: &str,
        (literal, pattern): (Actions, Actions),
    ) -> Option<Effect> {
        if self.refuses_wildcards && pattern == Actions::SUBSCRIBE_PATTERN && filter.contains(['+', '#']) {
            return Some(Effect::Deny);
        }
        let levels: SmallVec<[&str; 8]> = canonical(filter).split('/').collect();
        let mut found: SmallVec<[(RuleId, Actions); 16]> = SmallVec::new();
        let alike = self.literals.get(filter).into_iter().flatten();
        found.extend(alike.map(|id| (*id, literal)));
        self.trie.covering(judging.who, &levels, u16::MAX, |rules| found.extend(rules.iter().map(|id| (*id, pattern))));
        found.sort_unstable_by_key(|(id, _)| *id);
        let rules = found.into_iter().map(|(id, actions)| (&self.rules[id as usize], actions));
        rules
            .filter(|(rule, actions)| rule.actions.has(*actions) && rule.holds(judging))
            .map(|(rule, _)| rule.effect)
            .next()
    }

    /// The first rule that holds all of a filter and answers the question, with its place.
    pub(super) fn first_covering(
        &self,
        judging: Judging<'_>,
        levels: &[&str],
        question: Questions,
    ) -> Option<(RuleId, &Rule)> {
        let mut first: Option<RuleId> = None;
        self.trie.covering(judging.who, levels, both(question), |rules| {
            let mut able = rules.iter().filter(|id| self.answers_now(**id, judging, question));
            first = first.into_iter().chain(able.next().copied()).min();
        });
        first.map(|id| (id, &self.rules[id as usize]))
    }

    /// Calls with each rule of an effect that has topics in common with a filter and answers the question, and with
    /// what they have in common.
    pub(super) fn each_common<'a, B>(
        &'a self,
        judging: Judging<'a>,
        filter: &'a str,
        (effect, question): (Effect, Questions),
        mut each: impl FnMut(RuleId, &[&'a str]) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.trie.common(judging.who, filter, marks(effect, question), |rules, path| {
            for &id in rules {
                if self.rules[id as usize].effect == effect && self.answers_now(id, judging, question) {
                    each(id, path)?;
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn answers_now(&self, id: RuleId, judging: Judging<'_>, question: Questions) -> bool {
        self.answers[id as usize].0 & question.0 == question.0 && self.rules[id as usize].holds(judging)
    }

    /// Nodes that a decision looks at.
    #[cfg(test)]
    pub(crate) fn visited(&self, who: &Subject, topic: &str) -> usize {
        self.trie.matching(who, topic, u16::MAX, |_| ())
    }
}

/// The variables in the filter of the rule at a place.
pub(crate) fn variables_of(filter: &str, substitution: Substitution, place: usize) -> Result<Vec<Variable>, ListError> {
    if !is_filter(filter) {
        return Err(ListError::NoFilter(place));
    }
    let of_level = |level| variable(level, substitution).map_err(|()| mixed(place, level)).transpose();
    filter.split('/').filter_map(of_level).collect()
}

fn mixed(place: usize, level: &str) -> ListError {
    ListError::MixedLevel(place, level.chars().take(48).flat_map(char::escape_debug).collect())
}

/// The variable a level is, if it is one; an error if it is one and more.
pub(crate) fn variable(level: &str, substitution: Substitution) -> Result<Option<Variable>, ()> {
    let known = match (level, substitution) {
        (_, Substitution::Nothing) => return Ok(None),
        ("%u", _) => Variable::User,
        ("%c", _) => Variable::Client,
        ("%t", Substitution::All) => Variable::Tenant,
        (level, substitution) => {
            let all = substitution == Substitution::All;
            let inner = level.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let is_name = |name: &&str| !name.is_empty() && !name.contains(['$', '{', '}', '%']);
            if let Some(name) = inner.filter(|_| all).filter(is_name) {
                return Ok(Some(Variable::Attribute(name.into())));
            }
            let mixes = |text: &str| level.contains(text);
            let is_mixed = mixes("%u") || mixes("%c") || (all && (mixes("%t") || mixes("${")));
            return if is_mixed { Err(()) } else { Ok(None) };
        }
    };
    Ok(Some(known))
}

fn level<'a>(text: &'a str, substitution: Substitution, variables: &[Variable]) -> Level<'a> {
    match text {
        "+" => Level::Any,
        "#" => Level::Rest,
        text => match variable(text, substitution) {
            Ok(Some(found)) => {
                let number = variables.iter().position(|known| *known == found);
                Level::Variable(number.expect("every variable was listed"))
            }
            _ => Level::Text(text),
        },
    }
}
