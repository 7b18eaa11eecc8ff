//! Packets and records as one line of text each.

use std::fmt::Write as _;

use motte_broker::Record;
use motte_broker::mqtt::{ConnAck, Delivery, ForwardedProperties, Packet, ProtocolVersion, Publish, UserProperties};

pub fn packets(version: ProtocolVersion, mut bytes: &[u8], shown: &mut Vec<String>) {
    let decoder = super::decoder(version);
    while !bytes.is_empty() {
        let (packet, len) = decoder.decode(bytes).unwrap().expect("the broker writes whole packets");
        shown.push(packet_line(&packet));
        bytes = &bytes[len..];
    }
}

/// The same with what explains a packet behind it: the reason string in quotation marks, user properties, and what is
/// told beside.
pub fn explained(version: ProtocolVersion, mut bytes: &[u8]) -> Vec<String> {
    let decoder = super::decoder(version);
    let mut shown = Vec::new();
    while !bytes.is_empty() {
        let (packet, len) = decoder.decode(bytes).unwrap().expect("the broker writes whole packets");
        let (words, user, beside) = match &packet {
            Packet::ConnAck(ack) => {
                let told = ack.properties.response_information.map(|topic| format!(" responses={topic}"));
                (ack.properties.reason_string, ack.properties.user, told)
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                (ack.reason_string, ack.user, None)
            }
            Packet::SubAck(ack) => (ack.reason_string, ack.user, None),
            Packet::UnsubAck(ack) => (ack.reason_string, ack.user, None),
            Packet::Disconnect(end) => {
                (end.reason_string, end.user, end.server_reference.map(|name| format!(" use={name}")))
            }
            _ => (None, UserProperties::EMPTY, None),
        };
        let words = words.map(|words| format!(" \"{words}\"")).unwrap_or_default();
        let user: String = user.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
        shown.push(packet_line(&packet) + &words + &user + &beside.unwrap_or_default());
        bytes = &bytes[len..];
    }
    shown
}

fn packet_line(packet: &Packet<'_>) -> String {
    match packet {
        Packet::ConnAck(connack) => connack_line(connack),
        Packet::Publish(publish) => publish_line(publish),
        Packet::PubAck(ack) => format!("puback {} {:02x}", ack.id.value(), ack.reason.as_u8()),
        Packet::PubRec(ack) => format!("pubrec {} {:02x}", ack.id.value(), ack.reason.as_u8()),
        Packet::PubRel(ack) => format!("pubrel {} {:02x}", ack.id.value(), ack.reason.as_u8()),
        Packet::PubComp(ack) => format!("pubcomp {} {:02x}", ack.id.value(), ack.reason.as_u8()),
        Packet::SubAck(ack) => format!("suback {}{}", ack.id.value(), hex(ack.codes)),
        Packet::UnsubAck(ack) => format!("unsuback {}{}", ack.id.value(), hex(ack.codes)),
        Packet::PingResp => "pingresp".into(),
        Packet::Disconnect(disconnect) => format!("disconnect {:02x}", disconnect.reason.as_u8()),
        Packet::Auth(auth) => {
            let data = String::from_utf8_lossy(auth.data.unwrap_or_default());
            format!("auth {:02x} {} {data}", auth.reason.as_u8(), auth.method.unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

fn hex(codes: &[u8]) -> String {
    codes.iter().map(|code| format!(" {code:02x}")).collect()
}

/// Only what differs from what every CONNACK of a default shard says.
fn connack_line(connack: &ConnAck<'_>) -> String {
    let mut line = format!("connack {:02x}", connack.reason.as_u8());
    if connack.session_present {
        line.push_str(" present");
    }
    let properties = &connack.properties;
    if let Some(expiry_s) = properties.session_expiry_s {
        write!(line, " expiry={expiry_s}").unwrap();
    }
    if let Some(keep_alive_s) = properties.server_keep_alive_s {
        write!(line, " keepalive={keep_alive_s}").unwrap();
    }
    if let Some(client_id) = properties.assigned_client_id {
        write!(line, " id={client_id}").unwrap();
    }
    if let Some(method) = properties.authentication_method {
        let data = String::from_utf8_lossy(properties.authentication_data.unwrap_or_default());
        write!(line, " {method} {data}").unwrap();
    }
    line
}

fn publish_line(publish: &Publish<'_>) -> String {
    let mut line = format!("publish {}={}", publish.topic, String::from_utf8_lossy(publish.payload));
    match publish.delivery {
        Delivery::AtMostOnce => {}
        Delivery::AtLeastOnce { id, dup } => {
            write!(line, " q1 #{}{}", id.value(), if dup { " dup" } else { "" }).unwrap()
        }
        Delivery::ExactlyOnce { id, dup } => {
            write!(line, " q2 #{}{}", id.value(), if dup { " dup" } else { "" }).unwrap()
        }
    }
    if let Some(alias) = publish.topic_alias {
        write!(line, " alias={alias}").unwrap();
    }
    if publish.retain {
        line.push_str(" retain");
    }
    if let Some(expiry_s) = publish.message_expiry_s {
        write!(line, " expiry={expiry_s}").unwrap();
    }
    let ids: Vec<String> = publish.subscription_ids.iter().map(|id| id.value().to_string()).collect();
    if !ids.is_empty() {
        write!(line, " ids={}", ids.join(",")).unwrap();
    }
    forwarded(&mut line, &publish.properties);
    line
}

/// The properties that travel with a message, those it has.
fn forwarded(line: &mut String, properties: &ForwardedProperties<'_>) {
    if properties.payload_is_utf8() {
        line.push_str(" utf8");
    }
    if let Some(text) = properties.content_type() {
        write!(line, " type={text}").unwrap();
    }
    if let Some(topic) = properties.response_topic() {
        write!(line, " re={topic}").unwrap();
    }
    if let Some(data) = properties.correlation_data() {
        write!(line, " correlation={data:02x?}").unwrap();
    }
    for (name, value) in properties.user().iter() {
        write!(line, " {name}:{value}").unwrap();
    }
}

pub fn record(record: &Record<'_>) -> String {
    match record {
        Record::Published { message, targets } => {
            let targets: Vec<_> = targets.iter().map(|t| format!("{}@{}", t.client_id, t.qos.as_u8())).collect();
            let retain = if message.retain() { " retain" } else { "" };
            format!("published {} to [{}]{retain}", message.topic(), targets.join(" "))
        }
        Record::Moved { origin, from, to } => {
            format!("moved {} from {from} to {}@{}", origin.position.0, to.client_id, to.qos.as_u8())
        }
        Record::Settled { client_id, origin } => format!("settled {client_id} {}", origin.position.0),
        Record::SessionOpened { owner, expiry_s, .. } => format!("opened {} {expiry_s}", owner.client_id.0),
        Record::SessionEnded { client_id, estate } => format!("ended {client_id} as {}", estate.escape_default()),
        Record::SessionClosed { client_id } => format!("closed {}", client_id.escape_default()),
        Record::Subscribed { client_id, filter, .. } => format!("subscribed {client_id} {filter}"),
        Record::Unsubscribed { client_id, filter } => format!("unsubscribed {client_id} {filter}"),
        Record::WillSet { client_id, will } => format!("will {client_id} {}", will.topic),
        Record::WillCleared { client_id } => format!("no will {client_id}"),
        Record::SessionLeft { client_id, .. } => format!("left {client_id}"),
        Record::Retained { topic, origin: Some(origin), serial } => {
            format!("retained {topic} {} as {serial}", origin.position.0)
        }
        Record::Retained { topic, origin: None, serial } => format!("retained {topic} nothing as {serial}"),
        Record::Received { client_id, id } => format!("received {client_id} #{}", id.value()),
        Record::Released { client_id, id } => format!("released {client_id} #{}", id.value()),
        Record::Sent { client_id, origin, id } => format!("sent {client_id} {} #{}", origin.position.0, id.value()),
        Record::Arrived { client_id, origin: Some(origin), id } => {
            format!("arrived {client_id} {} #{}", origin.position.0, id.value())
        }
        Record::Arrived { client_id, origin: None, id } => format!("arrived {client_id} #{}", id.value()),
        Record::Completed { client_id, id } => format!("completed {client_id} #{}", id.value()),
        Record::UserRemoved { user, .. } => format!("removed {}", user.0),
        other => format!("{other:?}"),
    }
}
