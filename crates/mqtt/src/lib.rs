//! MQTT 5.0, 3.1.1 and 3.1 on the wire: one packet model, its decoder and encoder, topics and reason codes.
//!
//! Called by `broker` and `client`. Knows no socket, clock, session or policy: bytes in, values out, and back.

pub mod decode;
pub mod encode;
pub mod packet;
pub mod property;
pub mod reason;
pub mod topic;
mod wire;

pub use decode::{DecodeError, Decoder, Sender};
pub use encode::{AckKind, EncodeError, Encoder, PublishCopy};
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery, Disconnect, Packet, PacketId,
    ProtocolVersion, Publish, Qos, RetainHandling, SubAck, Subscribe, SubscribeFilters, SubscriptionOptions, UnsubAck,
    Unsubscribe, UnsubscribeFilters, Will,
};
pub use property::{
    ForwardedProperties, ForwardedPropertiesBuf, SubscriptionId, SubscriptionIds, UserProperties, UserPropertiesBuf,
};
pub use reason::ReasonCode;
pub use topic::{ShareName, SubscriptionFilter, TopicError, TopicFilter, TopicName};
