//! The topics on which clients ask something of the broker itself.
//!
//! Called by the policy, which lets nobody publish anywhere else under `$CONTROL`, and by the broker, which routes
//! nothing that is published there.

/// A topic that takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Clients, groups and roles of dynamic security.
    DynamicSecurity,
    /// What the broker listens on and what it can do.
    Broker,
}

impl Endpoint {
    /// The endpoint of this very topic name.
    #[must_use]
    pub fn of(topic: &str) -> Option<Self> {
        [Self::DynamicSecurity, Self::Broker].into_iter().find(|endpoint| endpoint.topic() == topic)
    }

    /// Where requests are published.
    #[must_use]
    pub const fn topic(self) -> &'static str {
        match self {
            Self::DynamicSecurity => "$CONTROL/dynamic-security/v1",
            Self::Broker => "$CONTROL/broker/v1",
        }
    }

    /// Where the client that asked finds the answer.
    #[must_use]
    pub const fn response_topic(self) -> &'static str {
        match self {
            Self::DynamicSecurity => "$CONTROL/dynamic-security/v1/response",
            Self::Broker => "$CONTROL/broker/v1/response",
        }
    }
}
