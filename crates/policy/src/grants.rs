//! Rights that come with a proof of identity, such as the ACL claims of a token.
//!
//! Made by the gate's sources of identity, asked by [`crate::Policy`] as one more list of rules. Bounded, because the
//! text comes from outside the configuration.

use std::sync::Arc;

use thiserror::Error;

use crate::ranked::{Actions, Effect, List, ListError, Rule, RuleSet, RuleSetBuilder, Substitution};

/// Rights in one proof.
pub const GRANTS_MAX: usize = 256;
/// Bytes of the filters of all rights in one proof.
const BYTES_MAX: usize = 16 * 1024;

/// One right, or one ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whether it allows or denies.
    pub effect: Effect,
    /// What it is about.
    pub actions: Actions,
    /// The topics; `%u`, `%c`, `%t` and `${NAME}` stand for one level each.
    pub filter: Box<str>,
}

/// The rights of one proof, in their order: the first that matches decides.
#[derive(Debug)]
pub struct Grants {
    list: Box<[Grant]>,
    rules: RuleSet,
}

impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Grants {}

/// Why rights of a proof are none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GrantsError {
    /// One is for something that is no topic filter: its place, from 1.
    #[error("right {0}: {1}")]
    Filter(usize, ListError),
    /// There are more than there may be.
    #[error("more than {GRANTS_MAX} rights, or more than {BYTES_MAX} bytes of filters")]
    TooMany,
}

impl Grants {
    /// Takes the rights of a proof in their order.
    pub fn new(list: Vec<Grant>) -> Result<Self, GrantsError> {
        let bytes: usize = list.iter().map(|grant| grant.filter.len()).sum();
        if list.len() > GRANTS_MAX || bytes > BYTES_MAX {
            return Err(GrantsError::TooMany);
        }
        // The first in the list has the highest rank.
        let ranks = (0..=i32::MAX).rev();
        let rule = |((grant, rank), line): ((&Grant, i32), u32)| {
            let Grant { effect, actions, filter } = grant.clone();
            Rule { rank, effect, actions, filter, when: None, line }
        };
        let rules: Vec<Rule> = list.iter().zip(ranks).zip(1..).map(rule).collect();
        let compiled = List::compile("rights of the proof", rules, Substitution::All).map_err(|error| {
            let (ListError::NoFilter(at) | ListError::MixedLevel(at, _) | ListError::TooManyVariables(at)) = error;
            GrantsError::Filter(at + 1, error)
        })?;
        let mut rules = RuleSetBuilder::default();
        rules.everybody(0, &Arc::new(compiled));
        Ok(Self { list: list.into(), rules: rules.build() })
    }

    /// The rights in their order.
    #[must_use]
    pub fn list(&self) -> &[Grant] {
        &self.list
    }

    pub(crate) fn rules(&self) -> &RuleSet {
        &self.rules
    }
}
