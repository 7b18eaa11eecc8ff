//! A node with a store that is started again and again, and clients that say in a line what they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use motte_mqtt::packet::SubscribeFilters;
use motte_mqtt::{
    Ack, Connect, ConnectProperties, Delivery, Disconnect, Packet, PacketId, Publish, Qos, ReasonCode, Subscribe,
    SubscriptionId, SubscriptionOptions, UserProperties,
};
use motte_node::Control;
use motte_node::settings::DurabilitySettings;
use motte_store::{Clock, Reading};

use crate::packets::publish;
use crate::support::{Client, House, Running, connect_as_nobody};

/// A house whose node keeps everything in a directory of the house.
pub(crate) fn keeping() -> House {
    let mut house = House::new();
    house.settings.durability = DurabilitySettings::sync(house.path("store"));
    house
}

/// Clocks of a machine that the test moves.
#[derive(Clone)]
pub(crate) struct Time {
    begun: Instant,
    moved_ms: Arc<AtomicU64>,
}

impl Time {
    pub(crate) fn new() -> Self {
        Self { begun: Instant::now(), moved_ms: Arc::default() }
    }

    /// So much passes while nobody looks.
    pub(crate) fn pass_s(&self, seconds: u64) {
        self.moved_ms.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }

    /// What the machine's clocks say.
    pub(crate) fn read(&self) -> Reading {
        let run_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        let since_boot_ms = run_ms + self.moved_ms.load(Ordering::Relaxed);
        Reading { wall_ms: 1_800_000_000_000 + since_boot_ms, since_boot_ms, boot_id: 1 }
    }

    /// Starts a node of the house with these clocks.
    pub(crate) fn start(&self, house: &House) -> Running {
        let (handle, control) = Control::new();
        let time = self.clone();
        house.start_with((handle, control.with_machine_clock(Clock::new(move || time.read()))))
    }
}

/// A connection of alice.
pub(crate) struct Guest(pub(crate) Client);

/// A CONNECT that continues a session which outlives its connection by an hour.
pub(crate) fn lasting(client_id: &str) -> Connect<'_> {
    expiring(client_id, 3_600)
}

/// A CONNECT that continues a session which outlives its connection by so many seconds.
pub(crate) fn expiring(client_id: &str, session_expiry_s: u32) -> Connect<'_> {
    let properties = ConnectProperties { session_expiry_s: Some(session_expiry_s), ..ConnectProperties::default() };
    Connect { clean_start: false, properties, ..connect_as_nobody(client_id) }
}

/// Connects; the session is expected to be new or to go on, as `present` says.
#[track_caller]
pub(crate) fn come(house: &House, node: &Running, connect: &Connect<'_>, present: bool) -> Guest {
    let mut client = house.open(node.address(), Some("alice"), b"mqtt");
    client.version = connect.version;
    client.send_packet(&Packet::Connect(*connect));
    client.receive(|packet| match packet {
        Packet::ConnAck(ack) => {
            assert_eq!((ack.reason, ack.session_present), (ReasonCode::Success, present), "{}", connect.client_id);
        }
        packet => panic!("{packet:?}"),
    });
    Guest(client)
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

impl Guest {
    /// Subscribes with the QoS as subscription identifier.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: Qos) {
        self.ask_to_subscribe(filter, qos);
        assert_eq!(self.next(), format!("suback {:02x}", qos.as_u8()));
    }

    pub(crate) fn ask_to_subscribe(&mut self, filter: &str, qos: Qos) {
        let options = SubscriptionOptions { qos, retain_as_published: true, ..SubscriptionOptions::default() };
        self.0.send_packet(&Packet::Subscribe(Subscribe {
            id: id(9),
            subscription_id: SubscriptionId::new(7),
            user: UserProperties::EMPTY,
            filters: SubscribeFilters::from_slice(&[(filter, options)]),
        }));
    }

    /// Publishes at QoS 1 and waits for PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_as(topic, payload, |_| ());
        assert_eq!(self.next(), "puback #5");
    }

    /// Publishes at QoS 1 what `change` makes of the PUBLISH.
    pub(crate) fn publish_as(&mut self, topic: &str, payload: &str, change: impl FnOnce(&mut Publish<'_>)) {
        let mut packet = publish(topic, Delivery::AtLeastOnce { id: id(5), dup: false }, payload.as_bytes());
        if let Packet::Publish(publish) = &mut packet {
            change(publish);
        }
        self.0.send_packet(&packet);
    }

    pub(crate) fn ack(&mut self, packet: fn(Ack<'static>) -> Packet<'static>, value: u16) {
        self.0.send_packet(&packet(Ack::new(id(value), ReasonCode::Success)));
    }

    /// Says goodbye and waits until the broker has heard it.
    pub(crate) fn leave(mut self) {
        self.0.send_packet(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        self.0.until_closed();
    }

    /// The next packet in a line.
    #[track_caller]
    pub(crate) fn next(&mut self) -> String {
        self.0.receive(line)
    }

    /// Asserts that nothing stands before the answer to a ping.
    #[track_caller]
    pub(crate) fn nothing(&mut self) {
        self.0.send_packet(&Packet::PingReq);
        assert_eq!(self.next(), "pingresp");
    }
}

fn line(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            let payload = std::str::from_utf8(publish.payload).unwrap();
            let flags = match publish.delivery {
                Delivery::AtMostOnce => String::from("q0"),
                Delivery::AtLeastOnce { id, dup } => format!("q1 #{}{}", id.value(), if dup { " dup" } else { "" }),
                Delivery::ExactlyOnce { id, dup } => format!("q2 #{}{}", id.value(), if dup { " dup" } else { "" }),
            };
            format!("{}={payload} {flags}{}", publish.topic, if publish.retain { " retain" } else { "" })
        }
        Packet::PubAck(ack) => told("puback", ack),
        Packet::PubRec(ack) => told("pubrec", ack),
        Packet::PubRel(ack) => told("pubrel", ack),
        Packet::PubComp(ack) => told("pubcomp", ack),
        Packet::SubAck(ack) => format!("suback {:02x}", ack.codes[0]),
        Packet::PingResp => String::from("pingresp"),
        Packet::Disconnect(disconnect) => format!("disconnect {:02x}", disconnect.reason.as_u8()),
        packet => panic!("{packet:?}"),
    }
}

fn told(name: &str, ack: &Ack<'_>) -> String {
    match ack.reason {
        ReasonCode::Success | ReasonCode::NoMatchingSubscribers => format!("{name} #{}", ack.id.value()),
        reason => format!("{name} #{} {:02x}", ack.id.value(), reason.as_u8()),
    }
}
