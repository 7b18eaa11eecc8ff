//! ACL files in Mosquitto's grammar, compiled to ranked rules.
//!
//! A broken file is no policy at all: parsing gives every error, and the caller keeps the old one or refuses to start.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::ranked::{Actions, Effect, List, Rule, RuleSet, RuleSetBuilder, Substitution};
use parse::Line;

/// One error, or one warning, about a line of a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct AclError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong. Text of the file stands in it escaped and shortened.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// An ACL file.
///
/// A decision asks first the list of the subject's user name (or the list for clients with no name), then the list of
/// patterns. In a list a matching `deny` wins over everything, then a matching rule with the wanted right allows; a
/// list without an answer passes on to the next, and the end of the last one denies. Inside a list this is the same
/// as Mosquitto's "first match, denies moved to the front".
#[derive(Debug, Default)]
pub struct Acl {
    rules: RuleSet,
    /// The users it speaks of, with the line of the first section of each.
    named: Vec<(Box<str>, usize)>,
    warnings: Vec<AclError>,
}

/// The places of the lists that are asked about somebody.
const OWN: u32 = 0;
const PATTERNS: u32 = 1;

impl Acl {
    /// Compiles the text of a file, or gives all its errors in the order of lines.
    pub fn parse(text: &str) -> Result<Self, Vec<AclError>> {
        let (mut anonymous, mut users) = (Vec::new(), BTreeMap::<&str, Vec<Rule>>::new());
        let (mut patterns, mut warnings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let (mut section, mut named) = (None, Vec::new());
        for (index, raw) in text.split('\n').enumerate() {
            let line = index + 1;
            match parse::line(raw) {
                Ok(Line::Blank) => {}
                Ok(Line::User(name)) => {
                    if !users.contains_key(name) {
                        named.push((name.into(), line));
                    }
                    users.entry(name).or_default();
                    section = Some(name);
                }
                Ok(Line::Topic { access, filter }) => {
                    let list = section.map_or(&mut anonymous, |name| users.entry(name).or_default());
                    list.push(rule(access, filter, line));
                }
                Ok(Line::Pattern { access, filter }) => {
                    patterns.push(rule(access, filter, line));
                    warnings.extend(without_placeholder(filter, line));
                }
                Err((what, hint)) => errors.push(AclError { line, what, hint: hint.into() }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut set = RuleSetBuilder::default();
        set.anonymous(OWN, &list("clients without a user name", anonymous, Substitution::Nothing));
        for (name, rules) in users {
            set.user(name, OWN, &list(&format!("user {name}"), rules, Substitution::Nothing));
        }
        set.everybody(PATTERNS, &list("patterns", patterns, Substitution::Mosquitto));
        Ok(Self { rules: set.build(), named, warnings })
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// The users it speaks of, each with its first line.
    #[must_use]
    pub fn named(&self) -> &[(Box<str>, usize)] {
        &self.named
    }

    /// What is allowed in the file but hardly meant, in the order of lines.
    #[must_use]
    pub fn warnings(&self) -> &[AclError] {
        &self.warnings
    }
}

fn rule((effect, actions): (Effect, Actions), filter: &str, line: usize) -> Rule {
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    // Denials are moved to the front.
    let rank = i32::from(effect == Effect::Deny);
    Rule { rank, effect, actions, filter: filter.into(), when: None, line }
}

fn list(name: &str, rules: Vec<Rule>, substitution: Substitution) -> Arc<List> {
    Arc::new(List::compile(name, rules, substitution).expect("every line was checked"))
}

fn without_placeholder(filter: &str, line: usize) -> Option<AclError> {
    let has_one = filter.split('/').any(|level| matches!(level, "%u" | "%c"));
    let hint = "put %u or %c in a level of its own, or write a `topic` line for each user it is meant for";
    let what = "a pattern without %u or %c holds for everybody";
    (!has_one).then(|| AclError { line, what: what.into(), hint: hint.into() })
}
