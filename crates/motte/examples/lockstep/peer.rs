//! A client that blocks: over TCP, or over TLS when there is a CA to believe.
//!
//! Used by the conversation of `main`. Never reads further than it was asked to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use motte_mqtt::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, Encoder, ForwardedPropertiesBuf, Packet, PacketId,
    ProtocolVersion, Publish, Qos, ReasonCode, Sender, Subscribe, SubscribeFilters, SubscriptionIds,
    SubscriptionOptions, UserProperties,
};
use motte_pki::{ClientTlsParams, Roots};
use rustls::{ClientConnection, StreamOwned};

const TOPIC: &str = "site/7/line/3";
const PAYLOAD: [u8; 64] = [0x6d; 64];
const PACKET_SIZE_MAX: u32 = 1 << 20;
/// Longer than any step takes under an instrument that makes the broker fifty times slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// A byte stream to the broker.
trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// A connected client.
pub(crate) struct Peer {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
}

impl Peer {
    /// A client that was let in with a fresh session.
    pub(crate) fn connect(port: u16, client_id: &str, ca: Option<&Path>) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let wire: Box<dyn Wire> = match ca {
            None => Box::new(stream),
            Some(ca) => Box::new(tls(stream, ca)),
        };
        let mut peer = Self { wire, buffer: Vec::new() };
        peer.send(&encoded(&Packet::Connect(Connect {
            version: ProtocolVersion::V5,
            clean_start: true,
            keep_alive_s: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        })));
        peer.receive(1, |packet| match packet {
            Packet::ConnAck(answer) if answer.reason == ReasonCode::Success => None,
            other => panic!("the broker did not let us in: {other:?}"),
        });
        peer
    }

    /// Subscribes to the one topic.
    pub(crate) fn subscribe(&mut self, qos: Qos) {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        self.send(&encoded(&Packet::Subscribe(Subscribe {
            id: id(1),
            subscription_id: None,
            user: UserProperties::EMPTY,
            filters: SubscribeFilters::from_slice(&[(TOPIC, options)]),
        })));
        self.receive(1, |packet| match packet {
            Packet::SubAck(_) => None,
            other => panic!("a SUBACK was to come: {other:?}"),
        });
    }

    /// Sends bytes in one write.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).unwrap();
        self.wire.flush().unwrap();
    }

    /// Waits for so many packets and gives the bytes of the answers to them.
    pub(crate) fn receive(
        &mut self,
        count: usize,
        mut answer: impl FnMut(&Packet<'_>) -> Option<Packet<'static>>,
    ) -> Vec<u8> {
        let decoder = Decoder::new(Sender::Server, ProtocolVersion::V5, PACKET_SIZE_MAX);
        let (mut left, mut answers) = (count, Vec::new());
        let mut chunk = vec![0; 64 * 1024];
        while left > 0 {
            let mut taken = 0;
            while let Some((packet, length)) = decoder.decode(&self.buffer[taken..]).unwrap() {
                taken += length;
                left = left.checked_sub(1).expect("no more comes than was waited for");
                if let Some(packet) = answer(&packet) {
                    answers.extend(encoded(&packet));
                }
            }
            self.buffer.drain(..taken);
            if left > 0 {
                let read = self.wire.read(&mut chunk).unwrap();
                assert!(read > 0, "the broker closed");
                self.buffer.extend_from_slice(&chunk[..read]);
            }
        }
        answers
    }
}

fn tls(stream: TcpStream, ca: &Path) -> StreamOwned<ClientConnection, TcpStream> {
    let params = ClientTlsParams { roots: Roots::File(ca.to_owned()), ..ClientTlsParams::default() };
    let config = motte_pki::client_config(&params).unwrap();
    let name = "localhost".try_into().unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

/// So many messages with identifiers from 1.
pub(crate) fn publish(qos: Qos, count: u16) -> Vec<u8> {
    let message = |number| {
        encoded(&Packet::Publish(Publish {
            delivery: match qos {
                Qos::AtMostOnce => Delivery::AtMostOnce,
                Qos::AtLeastOnce => Delivery::AtLeastOnce { id: id(number), dup: false },
                Qos::ExactlyOnce => Delivery::ExactlyOnce { id: id(number), dup: false },
            },
            retain: false,
            topic: TOPIC,
            topic_alias: None,
            message_expiry_s: None,
            subscription_ids: SubscriptionIds::EMPTY,
            properties: ForwardedPropertiesBuf::default().as_ref(),
            payload: &PAYLOAD,
        }))
    };
    (1..=count).flat_map(message).collect()
}

/// The first answer of who took a message.
pub(crate) fn ack_of(delivery: Delivery) -> Option<Packet<'static>> {
    match delivery {
        Delivery::AtMostOnce => None,
        Delivery::AtLeastOnce { id, .. } => Some(Packet::PubAck(Ack::new(id, ReasonCode::Success))),
        Delivery::ExactlyOnce { id, .. } => Some(Packet::PubRec(Ack::new(id, ReasonCode::Success))),
    }
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("identifiers begin at 1")
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(ProtocolVersion::V5, PACKET_SIZE_MAX).encode(packet, &mut bytes).unwrap();
    bytes
}
