//! Arbitrary packets of every type and version, as owned parts that lend a packet to a closure.
//!
//! Used by every property test. Only what a version and a side may really send is built, so that a packet that comes
//! back different is always a fault of the codec.

use std::num::{NonZeroU16, NonZeroU32};

use motte_mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery, Disconnect, ForwardedPropertiesBuf,
    Packet, PacketId, ProtocolVersion, Publish, Qos, ReasonCode, RetainHandling, Sender, SubAck, Subscribe,
    SubscribeFilters, SubscriptionId, SubscriptionIds, SubscriptionOptions, UnsubAck, Unsubscribe, UnsubscribeFilters,
    UserProperties, UserPropertiesBuf, Will,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The number of packet types.
const KINDS: u8 = 15;

/// Pools of values that a packet takes its fields from.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) version: ProtocolVersion,
    pub(crate) sender: Sender,
    kind: u8,
    id: NonZeroU16,
    qos: Qos,
    flags: Vec<bool>,
    shorts: Vec<Option<NonZeroU16>>,
    longs: Vec<Option<NonZeroU32>>,
    texts: Vec<Option<String>>,
    binaries: Vec<Option<Vec<u8>>>,
    topics: Vec<Option<String>>,
    users: Vec<(String, String)>,
    filters: Vec<(String, SubscriptionOptions)>,
    ids: Vec<SubscriptionId>,
    codes: Vec<Index>,
    payload: Vec<u8>,
}

/// Text MQTT allows, with the characters that codecs get wrong.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let odd = select(vec!['\u{1}', '\u{7f}', '\u{9f}', '\u{feff}', '\u{fffe}', '\u{10ffff}', '\u{301}', '/', '$']);
    let char = prop_oneof![3 => any::<char>(), 2 => proptest::char::range('a', 'e'), 1 => odd];
    vec(char.prop_filter("U+0000 is forbidden", |char| *char != '\0'), 0..10).prop_map(String::from_iter)
}

/// A topic name: not empty, no wildcards.
pub(crate) fn topic() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("t{}", text.replace(['+', '#'], "/")))
}

fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling = select(vec![RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(|(qos, no_local, retain_as_published, retain_handling)| {
        SubscriptionOptions { qos, no_local, retain_as_published, retain_handling }
    })
}

fn qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

pub(crate) fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![ProtocolVersion::V5, ProtocolVersion::V5, ProtocolVersion::V311, ProtocolVersion::V31])
}

pub(crate) fn sender() -> impl Strategy<Value = Sender> {
    select(vec![Sender::Client, Sender::Server])
}

/// Parts of any packet of `version`.
pub(crate) fn parts_of(version: impl Strategy<Value = ProtocolVersion>) -> impl Strategy<Value = Parts> {
    let binary = || vec(any::<u8>(), 0..12);
    let subscription_id = prop_oneof![1..=127u32, 128..=268_435_455u32];
    let head = (version, sender(), 0..KINDS, any::<NonZeroU16>(), qos());
    let pools = (
        vec(any::<bool>(), 10),
        vec(any::<Option<NonZeroU16>>(), 4),
        vec(any::<Option<NonZeroU32>>(), 4),
        vec(proptest::option::of(text()), 8),
        vec(proptest::option::of(binary()), 4),
        vec(proptest::option::of(topic()), 3),
    );
    let lists = (
        vec((text(), text()), 0..4),
        vec((text(), options()), 1..5),
        vec(subscription_id.prop_map(|id| SubscriptionId::new(id).unwrap()), 0..4),
        vec(any::<Index>(), 1..6),
        binary(),
    );
    (head, pools, lists).prop_map(|(head, pools, lists)| {
        let (version, sender, kind, id, qos) = head;
        let (flags, shorts, longs, texts, binaries, topics) = pools;
        let (users, filters, ids, codes, payload) = lists;
        let filters = filters.into_iter().map(|(filter, options)| (filter.replace("$share/", "$/"), options)).collect();
        Parts {
            version,
            sender,
            kind,
            id,
            qos,
            flags,
            shorts,
            longs,
            texts,
            binaries,
            topics,
            users,
            filters,
            ids,
            codes,
            payload,
        }
    })
}

/// Parts of any packet of any version.
pub(crate) fn parts() -> impl Strategy<Value = Parts> {
    parts_of(version())
}

impl Parts {
    /// Lends the packet, and says which side sends it.
    pub(crate) fn with<R>(&self, then: impl FnOnce(Packet<'_>, Sender) -> R) -> R {
        let v5 = self.version == ProtocolVersion::V5;
        let mut users = UserPropertiesBuf::new();
        let mut forwarded = ForwardedPropertiesBuf::new();
        if v5 {
            for (name, value) in &self.users {
                users.push(name, value).unwrap();
            }
            forwarded = self.forwarded();
        }
        let (user, text) = (users.as_ref(), |index: usize| self.texts[index].as_deref().filter(|_| v5));
        let id = PacketId(self.id);
        match self.kind {
            0 => then(Packet::Connect(self.connect(&forwarded, user)), Sender::Client),
            1 => then(Packet::ConnAck(self.connack(user)), Sender::Server),
            2 => then(Packet::Publish(self.publish(&forwarded)), self.sender),
            kind @ 3..=6 => {
                let allowed = if kind < 5 { ReasonCode::is_for_puback } else { ReasonCode::is_for_pubrel };
                let reason = if v5 { self.reason(allowed) } else { ReasonCode::Success };
                let ack = Ack { id, reason, reason_string: text(0), user };
                let types = [Packet::PubAck, Packet::PubRec, Packet::PubRel, Packet::PubComp];
                then(types[usize::from(kind) - 3](ack), self.sender)
            }
            7 => {
                let filters: Vec<_> =
                    self.filters.iter().map(|(text, options)| (&**text, self.options(*options))).collect();
                let subscription_id = self.ids.first().copied().filter(|_| v5);
                let filters = SubscribeFilters::from_slice(&filters);
                then(Packet::Subscribe(Subscribe { id, subscription_id, user, filters }), Sender::Client)
            }
            8 => {
                let codes =
                    self.codes(|reason| reason.is_for_suback() && (v5 || [0, 1, 2, 0x80].contains(&reason.as_u8())));
                then(Packet::SubAck(SubAck { id, reason_string: text(0), user, codes: &codes }), Sender::Server)
            }
            9 => {
                let filters: Vec<_> = self.filters.iter().map(|(text, _)| &**text).collect();
                let filters = UnsubscribeFilters::from_slice(&filters);
                then(Packet::Unsubscribe(Unsubscribe { id, user, filters }), Sender::Client)
            }
            10 => {
                let codes = if v5 { self.codes(ReasonCode::is_for_unsuback) } else { Vec::new() };
                then(Packet::UnsubAck(UnsubAck { id, reason_string: text(0), user, codes: &codes }), Sender::Server)
            }
            11 => then(Packet::PingReq, Sender::Client),
            12 => then(Packet::PingResp, Sender::Server),
            13 if !v5 => then(Packet::Disconnect(Disconnect::new(ReasonCode::Success)), Sender::Client),
            13 => {
                let session_expiry_s = self.longs[0].map(NonZeroU32::get).filter(|_| self.sender == Sender::Client);
                let reason = self.reason(|reason| reason.is_for_disconnect_of(self.sender));
                let (reason_string, server_reference) = (text(0), text(1));
                let packet = Disconnect { reason, session_expiry_s, reason_string, server_reference, user };
                then(Packet::Disconnect(packet), self.sender)
            }
            _ if !v5 => then(Packet::PingReq, Sender::Client),
            _ => then(Packet::Auth(self.auth(user)), self.sender),
        }
    }

    fn reason(&self, allowed: impl Fn(ReasonCode) -> bool) -> ReasonCode {
        ReasonCode::from_u8(self.codes(allowed)[0]).unwrap()
    }

    fn codes(&self, allowed: impl Fn(ReasonCode) -> bool) -> Vec<u8> {
        let listed: Vec<u8> = (0..=255).filter(|code| ReasonCode::from_u8(*code).is_some_and(&allowed)).collect();
        self.codes.iter().map(|index| *index.get(&listed)).collect()
    }

    fn options(&self, options: SubscriptionOptions) -> SubscriptionOptions {
        if self.version == ProtocolVersion::V5 {
            options
        } else {
            SubscriptionOptions { qos: options.qos, ..SubscriptionOptions::default() }
        }
    }

    fn forwarded(&self) -> ForwardedPropertiesBuf {
        let mut built = ForwardedPropertiesBuf::new();
        for (name, value) in &self.users {
            built = built.user(name, value).unwrap();
        }
        if self.flags[0] {
            built = built.payload_utf8();
        }
        if let Some(text) = &self.texts[0] {
            built = built.content_type(text).unwrap();
        }
        if let Some(topic) = &self.topics[0] {
            built = built.response_topic(topic).unwrap();
        }
        if let Some(data) = &self.binaries[0] {
            built = built.correlation_data(data).unwrap();
        }
        built
    }

    fn connect<'a>(&'a self, forwarded: &'a ForwardedPropertiesBuf, user: UserProperties<'a>) -> Connect<'a> {
        let v5 = self.version == ProtocolVersion::V5;
        let will = self.topics[1].as_deref().map(|topic| Will {
            topic,
            payload: &self.payload,
            qos: self.qos,
            retain: self.flags[1],
            delay_s: self.longs[0].filter(|_| v5).map_or(0, NonZeroU32::get),
            message_expiry_s: self.longs[1].filter(|_| v5).map(NonZeroU32::get),
            properties: forwarded.as_ref(),
        });
        let user_name = self.texts[1].as_deref();
        let properties = ConnectProperties {
            session_expiry_s: self.longs[2].map(NonZeroU32::get),
            receive_maximum: self.shorts[0],
            packet_size_max: self.longs[3],
            topic_alias_maximum: self.shorts[1].map_or(0, NonZeroU16::get),
            request_response_information: self.flags[2],
            request_problem_information: self.flags[3],
            authentication_method: self.texts[2].as_deref(),
            authentication_data: self.binaries[1].as_deref().filter(|_| self.texts[2].is_some()),
            user,
        };
        Connect {
            version: self.version,
            clean_start: self.flags[4],
            keep_alive_s: self.shorts[2].map_or(0, NonZeroU16::get),
            client_id: self.texts[3].as_deref().unwrap_or(""),
            will,
            user_name,
            password: self.binaries[2].as_deref().filter(|_| v5 || user_name.is_some()),
            properties: if v5 { properties } else { ConnectProperties::default() },
        }
    }

    fn connack<'a>(&'a self, user: UserProperties<'a>) -> ConnAck<'a> {
        let v5 = self.version == ProtocolVersion::V5;
        let reason = if v5 {
            self.reason(ReasonCode::is_for_connack)
        } else {
            // Several reason codes share a return code of 3.x; one of each survives the way there and back.
            self.reason(|reason| reason.v3_connack().and_then(ReasonCode::from_v3_connack) == Some(reason))
        };
        let present = self.flags[0] && !reason.is_error() && self.version != ProtocolVersion::V31;
        let properties = ConnAckProperties {
            session_expiry_s: self.longs[0].map(NonZeroU32::get),
            receive_maximum: self.shorts[0],
            qos_maximum: Some(self.qos).filter(|qos| *qos != Qos::ExactlyOnce),
            retain_available: self.flags[1],
            packet_size_max: self.longs[1],
            assigned_client_id: self.texts[0].as_deref(),
            topic_alias_maximum: self.shorts[1].map_or(0, NonZeroU16::get),
            reason_string: self.texts[1].as_deref(),
            wildcard_subscription_available: self.flags[2],
            subscription_ids_available: self.flags[3],
            shared_subscription_available: self.flags[4],
            server_keep_alive_s: self.shorts[2].map(NonZeroU16::get),
            response_information: self.texts[2].as_deref(),
            server_reference: self.texts[3].as_deref(),
            authentication_method: self.texts[4].as_deref(),
            authentication_data: self.binaries[0].as_deref(),
            user,
        };
        let properties = if v5 { properties } else { ConnAckProperties::default() };
        ConnAck { session_present: present, reason, properties }
    }

    fn publish<'a>(&'a self, forwarded: &'a ForwardedPropertiesBuf) -> Publish<'a> {
        let v5 = self.version == ProtocolVersion::V5;
        let (id, dup) = (PacketId(self.id), self.flags[5]);
        let delivery = match self.qos {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup },
            Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup },
        };
        let topic_alias = self.shorts[0].filter(|_| v5);
        let topic = match &self.topics[2] {
            Some(topic) => topic,
            None if topic_alias.is_some() => "",
            None => "a/b",
        };
        let may_identify = v5 && self.sender == Sender::Server;
        Publish {
            delivery,
            retain: self.flags[6],
            topic,
            topic_alias,
            message_expiry_s: self.longs[0].map(NonZeroU32::get).filter(|_| v5),
            subscription_ids: SubscriptionIds::from_slice(if may_identify { &self.ids } else { &[] }),
            properties: forwarded.as_ref(),
            payload: &self.payload,
        }
    }

    fn auth<'a>(&'a self, user: UserProperties<'a>) -> Auth<'a> {
        let reason = self.reason(|reason| reason.is_for_auth_of(self.sender));
        let text = |index: usize| self.texts[index].as_deref();
        if reason == ReasonCode::Success && self.flags[0] {
            return Auth { reason, method: None, data: None, reason_string: None, user: UserProperties::EMPTY };
        }
        let method = Some(text(0).unwrap_or("SCRAM-SHA-256"));
        Auth { reason, method, data: self.binaries[0].as_deref(), reason_string: text(1), user }
    }
}
