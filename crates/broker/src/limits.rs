//! Every bound of a shard, with its default.
//!
//! Filled in by `node` from the configuration.

use motte_mqtt::{Qos, ReasonCode};

/// What a full queue means for a message of QoS 1 or 2. Messages of QoS 0, and those for sessions that end with their
/// connection, are dropped and counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePolicy {
    /// Its publisher is refused: 5.0 with 0x97, 3.x by no answer. Nobody is given the message.
    #[default]
    Reject,
    /// The oldest that waits is dropped and counted.
    DropOldest,
}

/// Bounds; all are inclusive maxima.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a whole packet from a client; announced to 5.0 clients.
    pub packet_size_bytes_max: u32,
    /// QoS of a PUBLISH or a will; announced to 5.0 clients. Subscriptions may ask for more and are granted this.
    pub qos_max: Qos,
    /// Levels of a topic name or filter; by default 200 slashes and no more, which other brokers accept as well.
    pub topic_levels_max: usize,
    /// Bytes of a topic name or filter; MQTT itself has 65,535 (MQTT-4.7.3-3).
    pub topic_bytes_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Unacknowledged QoS 1 and 2 messages towards a client (its own Receive Maximum applies as well).
    pub inflight_max: u16,
    /// Bytes of unacknowledged QoS 1 and 2 messages towards a client; a single larger message may still be sent.
    pub inflight_bytes_max: usize,
    /// Receive Maximum announced to clients: unacknowledged QoS 2 (and QoS 1) publishes from one client.
    pub receive_maximum: u16,
    /// Messages waiting for one session, in memory or kept by the journal.
    pub queue_messages_max: usize,
    /// Bytes of topics, payloads and properties of those.
    pub queue_bytes_max: usize,
    /// Bytes of memory for messages waiting for one session, with what each takes beside. Where the journal gives
    /// messages back it bounds only sessions that end with their connection.
    pub queue_memory_bytes_max: usize,
    /// Seconds a message may wait for a session; 0 for any time.
    pub queue_age_s_max: u32,
    /// What becomes of a message of QoS 1 or 2 for a session that outlives its connection and has no room for it.
    pub queue_policy: QueuePolicy,
    /// Bytes in a link's outbox above which QoS 0 is dropped and QoS 1 and 2 wait.
    pub outbox_bytes_max: usize,
    /// Bytes of letters that may wait for one shard before the clients that write more of them are not read.
    pub letter_bytes_max: usize,
    /// Retained messages in all. With 0 there are none: 5.0 clients are told, and who retains is refused.
    pub retained_messages_max: usize,
    /// Bytes of retained messages in all.
    pub retained_bytes_max: usize,
    /// Seconds a session may outlive its connection.
    pub session_expiry_s_max: u32,
    /// Sessions of this shard.
    pub sessions_max: usize,
    /// Sessions of one user, over all shards.
    pub sessions_per_user_max: usize,
    /// Connections of one user in a minute; 0 for any number.
    pub connects_per_user_per_min_max: u32,
    /// Connections of one user with the same client identifier in a minute; 0 for any number.
    pub connects_per_client_per_min_max: u32,
    /// PUBLISH packets of one connection in a second; above, the client is not read until it is within the rate again.
    /// 0 for any number.
    pub publishes_per_s_max: u32,
    /// PUBLISH packets of one connection in a second above which a connection ends with 0x96; 0 for any number.
    pub publishes_per_s_hard_max: u32,
    /// Bytes of PUBLISH packets of one connection in a second, as [`Limits::publishes_per_s_max`].
    pub publish_bytes_per_s_max: u32,
    /// Bytes of PUBLISH packets of one connection in a second, as [`Limits::publishes_per_s_hard_max`]. No packet may
    /// be larger.
    pub publish_bytes_per_s_hard_max: u32,
    /// Seconds of keep alive; 0 from a client counts as more. A 5.0 client is told the maximum, a 3.x client that asks
    /// for more is refused. 0 here: no maximum.
    pub keep_alive_s_max: u16,
    /// Topic Alias Maximum announced to clients.
    pub topic_alias_maximum: u16,
    /// Topic aliases used towards a client (its own Topic Alias Maximum applies as well); 0 for none.
    pub topic_alias_outbound_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packet_size_bytes_max: 1024 * 1024,
            qos_max: Qos::ExactlyOnce,
            topic_levels_max: 201,
            topic_bytes_max: 4_096,
            subscriptions_max: 1_000,
            inflight_max: 100,
            inflight_bytes_max: 16 * 1024 * 1024,
            receive_maximum: 1_000,
            queue_messages_max: 1_000_000,
            queue_bytes_max: 1024 * 1024 * 1024,
            queue_memory_bytes_max: 16 * 1024 * 1024,
            queue_age_s_max: 0,
            queue_policy: QueuePolicy::Reject,
            outbox_bytes_max: 1024 * 1024,
            letter_bytes_max: 8 * 1024 * 1024,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 256 * 1024 * 1024,
            session_expiry_s_max: 7 * 24 * 3600,
            sessions_max: 100_000,
            sessions_per_user_max: 10_000,
            connects_per_user_per_min_max: 60_000,
            connects_per_client_per_min_max: 6_000,
            publishes_per_s_max: 0,
            publishes_per_s_hard_max: 0,
            publish_bytes_per_s_max: 0,
            publish_bytes_per_s_hard_max: 0,
            keep_alive_s_max: 0,
            topic_alias_maximum: 32,
            topic_alias_outbound_max: 16,
        }
    }
}

impl Limits {
    /// Whether messages are retained at all.
    pub(crate) fn retains(&self) -> bool {
        self.retained_messages_max > 0
    }

    /// What forbids a message of this QoS and RETAIN flag, from a client or as its will (MQTT-3.2.2-11, MQTT-3.2.2-14).
    pub(crate) fn forbids(&self, qos: Qos, retain: bool) -> Option<ReasonCode> {
        if qos > self.qos_max {
            Some(ReasonCode::QosNotSupported)
        } else if retain && !self.retains() {
            Some(ReasonCode::RetainNotSupported)
        } else {
            None
        }
    }

    /// Whether a topic name or filter is short enough. Its levels are counted where it is parsed.
    pub(crate) fn takes_topic(&self, text: &str) -> bool {
        text.len() <= self.topic_bytes_max
    }

    /// Whether a client of 3.x asks for a longer keep alive than there is: it cannot be told another one.
    pub(crate) fn refuses_keep_alive(&self, asked_s: u16) -> bool {
        self.keep_alive_s_max > 0 && (asked_s == 0 || asked_s > self.keep_alive_s_max)
    }
}
