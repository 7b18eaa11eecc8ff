//! Writes the seeds of the fuzz targets, made with our own encoder: `cargo run --example corpus -- FOLDER`.
//!
//! Called by `cargo xtask fuzz`. Each target gets a folder of its own below FOLDER.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use motte_mqtt::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery, Disconnect, EncodeError, Encoder,
    ForwardedPropertiesBuf, Packet, PacketId, ProtocolVersion, Publish, Qos, ReasonCode, RetainHandling, SubAck,
    Subscribe, SubscribeFilters, SubscriptionId, SubscriptionIds, SubscriptionOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters, UserProperties, UserPropertiesBuf, Will,
};

const VERSIONS: [(ProtocolVersion, &str); 3] =
    [(ProtocolVersion::V5, "5"), (ProtocolVersion::V311, "311"), (ProtocolVersion::V31, "31")];
const FILTERS: [&str; 8] = ["a/b", "a/+", "#", "+/b/#", "$share/g/a/#", "$SYS/#", "/", "a//b"];

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("say where the seeds go: corpus FOLDER"));
    };
    for (choice, (version, level)) in (0_u8..).zip(VERSIONS) {
        let packets = packets(version).map_err(io::Error::other)?;
        let target = if version == ProtocolVersion::V5 { "packet_v5" } else { "packet_v3" };
        for (at, packet) in packets.iter().enumerate() {
            put(&folder, target, &format!("{level}-{at:02}"), packet)?;
            put(&folder, "frame", &format!("{level}-{at:02}"), packet)?;
        }
        // The target takes the version from the remainder by three and the sender from the high bit.
        for (head, sender) in [(choice, "client"), (129 + choice, "server")] {
            let stream = [&[head, 7][..], &packets.concat()].concat();
            put(&folder, "stream", &format!("{level}-{sender}"), &stream)?;
        }
    }
    for (at, filter) in FILTERS.iter().enumerate() {
        put(&folder, "topic", &format!("{at}"), format!("a/b\n{filter}").as_bytes())?;
    }
    for (at, text) in ["plain", "\u{feff}é\u{301}", "\u{10ffff}\u{fffe}\u{1}", "+/#"].iter().enumerate() {
        put(&folder, "text", &format!("{at}"), text.as_bytes())?;
    }
    for seed in 0..64_u8 {
        // Any bytes are a conversation; these are far apart.
        let choices: Vec<u8> = (0..1_500_u32)
            .map(|at| seed.wrapping_add(u8::try_from(at * at / 7 % 251).expect("below 256").wrapping_mul(seed)))
            .collect();
        put(&folder, "session", &format!("{seed:02}"), &choices)?;
    }
    for (at, bytes) in before_mqtt().iter().enumerate() {
        put(
            &folder,
            if bytes.starts_with(b"PROXY") || bytes[0] == b'\r' { "proxy" } else { "websocket" },
            &at.to_string(),
            bytes,
        )?;
    }
    for (at, seed) in motte_fuzz::store::seeds().iter().enumerate() {
        put(&folder, "store", &format!("{at:02}"), seed)?;
    }
    for (at, block) in blocks().iter().enumerate() {
        put(&folder, "property", &format!("{at:02}"), block)?;
    }
    Ok(())
}

fn put(folder: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = folder.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// PROXY headers of both versions, an upgrade request and frames.
fn before_mqtt() -> Vec<Vec<u8>> {
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let upgrade = b"\0GET /mqtt HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Origin: https://good.example\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    vec![
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 8883\r\n\x10".to_vec(),
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 8883\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4]].concat(),
        [&signature[..], &[0x21, 0x11, 0, 17, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4, 1, 0, 2, b'h', b'2']].concat(),
        [&signature[..], &[0x21, 0x21, 0, 36], &[1; 36]].concat(),
        [&signature[..], &[0x20, 0, 0, 0]].concat(),
        upgrade.to_vec(),
        // Whole, in two fragments with a ping between them, with a long length, a close, text, without a mask.
        vec![3, 0x82, 0x82, 1, 2, 3, 4, 0xC1, 2],
        vec![1, 2, 0x81, 0, 0, 0, 0, 5, 0x89, 0x81, 0, 0, 0, 0, 7, 0x80, 0x81, 0, 0, 0, 0, 6],
        [&[9, 0x82, 0xFE, 0, 130, 0, 0, 0, 0][..], &[8; 130]].concat(),
        vec![2, 0x88, 0x82, 0, 0, 0, 0, 3, 0xE8],
        vec![2, 0x81, 0x81, 0, 0, 0, 0, b'x'],
        vec![2, 0x82, 1, 5],
        vec![4, 0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    ]
}

/// One of each property by its wire form.
fn blocks() -> Vec<Vec<u8>> {
    let text = |id: u8| [&[id, 0, 3][..], b"a/b"].concat();
    let mut blocks: Vec<Vec<u8>> = [3, 8, 9, 18, 21, 22, 26, 28, 31].map(text).into();
    blocks.extend([1, 23, 25, 36, 37, 40, 41, 42].map(|id| vec![id, 1]));
    blocks.extend([19, 33, 34, 35].map(|id| vec![id, 0, 7]));
    blocks.extend([2, 17, 24, 39].map(|id| vec![id, 0, 0, 1, 0]));
    blocks.push(vec![11, 0x80, 1]);
    blocks.push(b"\x26\0\x01k\0\x01v\x26\0\x01k\0\0".to_vec());
    let several = [&blocks[0][..], &blocks[1], &blocks[2], b"\x26\0\0\0\0"].concat();
    blocks.push(several);
    blocks
}

/// One packet of each type, rich in properties where the version has them.
fn packets(version: ProtocolVersion) -> Result<Vec<Vec<u8>>, EncodeError> {
    let is_v5 = version == ProtocolVersion::V5;
    let mut pairs = UserPropertiesBuf::new();
    let mut forwarded = ForwardedPropertiesBuf::new();
    if is_v5 {
        pairs.push("name", "value")?;
        forwarded = forwarded.payload_utf8().content_type("text/plain")?.response_topic("answer/to")?;
        forwarded = forwarded.correlation_data(&[0, 1, 2])?.user("k", "v")?;
    }
    let (user, why) = (pairs.as_ref(), is_v5.then_some("a reason"));
    let id = PacketId(NonZeroU16::MIN);
    let acks = [Packet::PubAck, Packet::PubRec, Packet::PubRel, Packet::PubComp];
    let ids = [SubscriptionId::new(1), SubscriptionId::new(300)].into_iter().flatten().collect::<Vec<_>>();
    let options = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce].map(|qos| SubscriptionOptions {
        qos,
        no_local: is_v5,
        retain_as_published: is_v5,
        retain_handling: if is_v5 { RetainHandling::IfNew } else { RetainHandling::Always },
    });
    let filters: Vec<_> = FILTERS.iter().filter(|filter| !filter.starts_with("$share")).copied().collect();
    let asked: Vec<_> = filters.iter().copied().zip(options.into_iter().cycle()).collect();
    let mut list = vec![
        Packet::Connect(connect(version, &forwarded, user)),
        Packet::ConnAck(connack(is_v5, user)),
        Packet::Subscribe(Subscribe {
            id,
            subscription_id: is_v5.then(|| ids[1]),
            user,
            filters: SubscribeFilters::from_slice(&asked),
        }),
        Packet::SubAck(SubAck { id, reason_string: why, user, codes: &[0, 1, 2, 0x80] }),
        Packet::Unsubscribe(Unsubscribe { id, user, filters: UnsubscribeFilters::from_slice(&filters) }),
        Packet::UnsubAck(UnsubAck { id, reason_string: why, user, codes: if is_v5 { &[0, 0x11] } else { &[] } }),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
    ];
    for delivery in
        [Delivery::AtMostOnce, Delivery::AtLeastOnce { id, dup: true }, Delivery::ExactlyOnce { id, dup: false }]
    {
        list.push(Packet::Publish(Publish {
            delivery,
            retain: true,
            topic: "a/b",
            topic_alias: is_v5.then_some(NonZeroU16::MIN),
            message_expiry_s: is_v5.then_some(60),
            subscription_ids: if is_v5 { SubscriptionIds::from_slice(&ids) } else { SubscriptionIds::EMPTY },
            properties: forwarded.as_ref(),
            payload: b"payload",
        }));
    }
    list.extend(acks.map(|ack| ack(Ack { reason_string: why, user, ..Ack::new(id, ReasonCode::Success) })));
    if is_v5 {
        list.push(Packet::Auth(Auth {
            reason: ReasonCode::ContinueAuthentication,
            method: Some("SCRAM-SHA-256"),
            data: Some(b"n,,n=user,r=nonce"),
            reason_string: why,
            user,
        }));
    }
    let encode = |packet: &Packet<'_>| {
        let mut bytes = Vec::new();
        Encoder::new(version, u32::MAX).encode(packet, &mut bytes).map(|()| bytes)
    };
    list.iter().map(encode).collect()
}

fn connect<'a>(
    version: ProtocolVersion,
    forwarded: &'a ForwardedPropertiesBuf,
    user: UserProperties<'a>,
) -> Connect<'a> {
    let is_v5 = version == ProtocolVersion::V5;
    let mut properties = ConnectProperties::default();
    if is_v5 {
        properties.session_expiry_s = Some(60);
        properties.receive_maximum = NonZeroU16::new(10);
        properties.packet_size_max = NonZeroU32::new(1_000);
        properties.topic_alias_maximum = 5;
        properties.authentication_method = Some("SCRAM-SHA-256");
        properties.authentication_data = Some(b"n,,n=user,r=nonce");
        properties.user = user;
    }
    Connect {
        version,
        clean_start: true,
        keep_alive_s: 60,
        client_id: "client",
        will: Some(Will {
            topic: "will/topic",
            payload: b"gone",
            qos: Qos::AtLeastOnce,
            retain: true,
            delay_s: if is_v5 { 5 } else { 0 },
            message_expiry_s: is_v5.then_some(9),
            properties: forwarded.as_ref(),
        }),
        user_name: Some("user"),
        password: Some(b"password"),
        properties,
    }
}

fn connack<'a>(is_v5: bool, user: UserProperties<'a>) -> ConnAck<'a> {
    let mut properties = ConnAckProperties::default();
    if is_v5 {
        properties.session_expiry_s = Some(60);
        properties.receive_maximum = NonZeroU16::new(10);
        properties.packet_size_max = NonZeroU32::new(1_000);
        properties.assigned_client_id = Some("assigned");
        properties.server_keep_alive_s = Some(30);
        properties.response_information = Some("answers/");
        properties.user = user;
    }
    ConnAck { session_present: true, reason: ReasonCode::Success, properties }
}
