//! ACL files in Mosquitto's grammar, compiled into an immutable snapshot.
//!
//! Called at accept, subscribe and delivery. A broken file is no policy at all: parsing gives every error, and the caller
//! keeps the old snapshot or refuses to start.

use crate::identity::Subject;

/// What somebody wants to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Publish a message to it (`write`).
    Publish,
    /// Be given a message of it (`read`).
    Receive,
}

/// The answer to a SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeVerdict {
    /// Some topic the filter matches may be received; each delivery is judged again.
    Granted,
    /// Nothing the filter matches may be received.
    Refused,
}

/// One error of an ACL file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// An immutable set of rules.
#[derive(Debug)]
pub struct Policy {
    _todo: (),
}

impl Policy {
    /// The policy that denies everything.
    #[must_use]
    pub fn deny_all() -> Self {
        todo!()
    }

    /// Compiles the text of an ACL file, or gives all its errors.
    pub fn parse(_text: &str) -> Result<Self, Vec<AclError>> {
        todo!()
    }

    /// Whether `who` may do `action` on the topic name `topic`.
    #[must_use]
    pub fn allows(&self, _who: &Subject, _action: Action, _topic: &str) -> bool {
        todo!()
    }

    /// Whether a subscription of `who` to `filter` (without any `$share/…/`) can ever receive anything.
    #[must_use]
    pub fn may_subscribe(&self, _who: &Subject, _filter: &str) -> SubscribeVerdict {
        todo!()
    }
}
