//! What the operator wants 5.0 clients to be told beside the answers to their packets.
//!
//! Filled in by `node` from the configuration, read by `handle`. Changes nothing about what a client may do.

/// Hints for clients; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Topic below which each client has a topic of its own for responses: `PREFIX/CLIENT-ID` is told to clients that
    /// ask for Response Information. The access rules have to allow it, for instance with `pattern read PREFIX/%c/#`.
    pub response_topic_prefix: Option<Box<str>>,
    /// Another server that clients are told to use when this node stops: host, or host and port, more of them separated
    /// by spaces (MQTT 5.0, section 4.11).
    pub server_reference: Option<Box<str>>,
}

impl Hints {
    /// The Response Information of a client. None for a client identifier that would make a topic filter of it or
    /// reach into the topics of another client.
    pub(crate) fn response_information(&self, client_id: &str) -> Option<String> {
        let prefix = self.response_topic_prefix.as_deref()?;
        let is_one_level = !client_id.is_empty() && !client_id.contains(['/', '+', '#']);
        is_one_level.then(|| format!("{prefix}/{client_id}"))
    }
}
