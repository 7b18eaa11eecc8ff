//! What goes in and out of a connection: messages, subscriptions and their answers.
//! Called by every user of the library. Never checks against the broker's limits: the connection does.

use bytes::Bytes;
use motte_mqtt::{ForwardedPropertiesBuf, Qos, ReasonCode, RetainHandling, SubscriptionOptions};

/// An application message, to be published or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic name.
    pub topic: String,
    /// The payload: any bytes.
    pub payload: Bytes,
    /// QoS of this leg of its way.
    pub qos: Qos,
    /// To the broker: keep it for later subscribers. From the broker: it was kept, not published just now.
    pub retain: bool,
    /// From the broker: it may have come before. Ignored when publishing.
    pub dup: bool,
    /// Message Expiry Interval in seconds, 5.0 only.
    pub message_expiry_s: Option<u32>,
    /// Payload format, content type, response topic, correlation data and user properties, 5.0 only.
    pub properties: ForwardedPropertiesBuf,
}

impl Message {
    /// A message with neither RETAIN nor properties.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>, qos: Qos) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain: false,
            dup: false,
            message_expiry_s: None,
            properties: ForwardedPropertiesBuf::new(),
        }
    }

    /// About how much memory it holds, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.payload.len() + self.properties.as_ref().encoded_len()
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic filter, with or without `$share/GROUP/`.
    pub filter: String,
    /// QoS and, for 5.0, how the broker forwards.
    pub options: SubscriptionOptions,
}

impl Subscription {
    /// A subscription with the default options but for the QoS.
    pub fn new(filter: impl Into<String>, qos: Qos) -> Self {
        let options = SubscriptionOptions {
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        };
        Self { filter: filter.into(), options }
    }
}

/// The broker's answer to one filter: the QoS it granted, or why not. A 3.x broker gives no reason and always says
/// [`ReasonCode::UnspecifiedError`].
pub type Granted = Result<Qos, ReasonCode>;
