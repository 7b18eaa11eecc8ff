//! A node with a listener for each carrier, the people of a case with their passwords, certificates and rules, and the
//! witnesses who say when nothing more can come.

use std::io::Write as _;
use std::time::SystemTime;

use motte_broker::{ShardId, home};
use motte_mqtt::{
    Ack, Connect, ConnectProperties, Delivery, ForwardedProperties, Packet, PacketId, ProtocolVersion, Publish, Qos,
    ReasonCode, Subscribe, SubscribeFilters, SubscriptionIds, SubscriptionOptions, UserProperties, Will,
};
use motte_pki::{Authority, CertificateFacts, Reason, Revoked, Role};
use motte_policy::scram::ScramKeys;
use motte_policy::{PasswordFile, PasswordHash};

use super::cases::{CARRIERS, Case, Loss, Proof};
use crate::scram::prove;
use crate::support::{Client, House, Running, connect_as_nobody, encode};
use crate::transports::{door, enter};

/// Everybody's password, by whichever way it is proved.
pub(super) const SECRET: &str = "canary-3f9c41d07be2";
/// Payload of the message behind which nothing more comes.
const END: &str = "nothing more comes";

/// One of the two people of a case. The name is user name and client identifier.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) version: ProtocolVersion,
    proof: Proof,
    carrier: usize,
}

impl Person {
    fn is_certified(&self) -> bool {
        matches!(self.proof, Proof::Certificate | Proof::Listed)
    }
}

/// What a CONNECT says beside who it is from.
#[derive(Clone, Copy, Default)]
pub(super) struct Wishes<'a> {
    /// The session goes on, and outlives the connection by a minute.
    pub(super) keeps_session: bool,
    pub(super) receive_maximum: Option<u16>,
    pub(super) will: Option<Will<'a>>,
}

/// What is published.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a str,
    pub(super) retain: bool,
    pub(super) alias: Option<u16>,
}

pub(super) fn words<'a>(topic: &'a str, payload: &'a str) -> Words<'a> {
    Words { topic, payload, retain: false, alias: None }
}

/// A node, what it is configured with, and who watches.
pub(super) struct Stage {
    // Before the house: it stops before its files go.
    node: Running,
    house: House,
    /// One on each shard.
    witnesses: Vec<Client>,
    hash: PasswordHash,
    keys: ScramKeys,
    /// Revocation lists that were written.
    lists: u64,
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut house = house_with_doors();
        house.settings.tls.crls = vec![house.path("crl.pem")];
        write_list(&house, &house.authority, 1, None);
        let hash = PasswordHash::new(SECRET.as_bytes(), [7; motte_policy::SALT_BYTES]);
        let keys = ScramKeys::new(SECRET.as_bytes(), [8; motte_policy::SALT_BYTES]).unwrap();
        let mut file = PasswordFile::default();
        file.set("alice", hash.clone()).unwrap();
        house.write("passwords", &file.to_text());
        let node = house.start();
        let mut stage = Self { node, house, witnesses: Vec::new(), hash, keys, lists: 1 };
        let witness = |name| Person { name, version: ProtocolVersion::V5, proof: Proof::Password, carrier: 1 };
        for shard in 0..stage.house.settings.shards.get() {
            let mut ids = (0..).map(|number| format!("witness-{number}"));
            let id = ids.find(|id| home(id, stage.house.settings.shards.get()) == ShardId(shard)).unwrap();
            let mut client = stage.open(&witness(id.clone()));
            let connect =
                Connect { user_name: Some("alice"), password: Some(SECRET.as_bytes()), ..connect_as_nobody(&id) };
            assert_eq!(client.connect(&connect), 0);
            stage.witnesses.push(client);
        }
        stage
    }

    /// The publisher and the receiver of a case, who may do all that belongs to it from now on.
    pub(super) fn enter_people(&mut self, case: &Case) -> (Person, Person) {
        let of_loser = |loses| if loses { case.proof } else { Proof::Password };
        let person = |letter, version, loses| Person {
            name: format!("{letter}{}", case.number),
            version,
            proof: of_loser(loses),
            carrier: case.carrier,
        };
        let publisher = person('p', case.publisher, case.publisher_loses());
        let receiver = person('r', case.receiver, !case.publisher_loses());
        for who in [&publisher, &receiver] {
            if who.is_certified() {
                self.house.issue(&who.name, Role::Client, &who.name, SystemTime::now());
            }
        }
        self.put_in_force(case, (&publisher, &receiver), false);
        (publisher, receiver)
    }

    /// Takes the right away that the case is about; when this returns it is gone.
    pub(super) fn revoke(&mut self, case: &Case, people: (&Person, &Person)) {
        self.put_in_force(case, people, true);
        self.await_shards();
    }

    /// Waits until each shard has ended what it was at and what was posted to it before.
    fn await_shards(&mut self) {
        for witness in &mut self.witnesses {
            witness.send(&[0xc0, 0]);
            witness.receive(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
        }
    }

    fn put_in_force(&mut self, case: &Case, (publisher, receiver): (&Person, &Person), revoked: bool) {
        let shut_out = match case.loss {
            Loss::Publisher if revoked => Some(publisher),
            Loss::Receiver if revoked => Some(receiver),
            _ => None,
        };
        let mut file = PasswordFile::default();
        file.set("alice", self.hash.clone()).unwrap();
        for who in [publisher, receiver] {
            match who.proof {
                _ if shut_out.is_some_and(|out| out.name == who.name) => {}
                Proof::Password => drop(file.set(&who.name, self.hash.clone()).unwrap()),
                Proof::Scram => file.set_scram(&who.name, self.keys.clone()).unwrap(),
                Proof::Anonymous | Proof::Certificate | Proof::Listed => {}
            }
        }
        self.house.write("passwords", &file.to_text());
        self.lists += 1;
        if shut_out.is_some_and(|out| out.proof == Proof::Certificate) {
            let other = Authority::create("Other CA", SystemTime::now()).unwrap();
            self.house.write("ca.pem", other.certificate_pem());
            write_list(&self.house, &other, self.lists, None);
        } else {
            let listed = shut_out.filter(|out| out.proof == Proof::Listed).map(|out| &*out.name);
            self.house.write("ca.pem", self.house.authority.certificate_pem());
            write_list(&self.house, &self.house.authority, self.lists, listed);
        }
        self.house.write("acl", &rules(case, (publisher, receiver), revoked));
        self.node.handle.reload().unwrap();
    }

    fn open(&self, who: &Person) -> Client {
        let certificate = who.is_certified().then_some(&*who.name);
        let stream = enter(&self.house, &self.node, (who.carrier, CARRIERS[who.carrier]), certificate);
        Client::over(stream, who.version)
    }

    /// Connects, and gives the code of CONNACK beside the client.
    pub(super) fn ask_in(&self, who: &Person, wishes: Wishes<'_>) -> (Client, u8) {
        let mut client = self.open(who);
        let mut connect = Connect {
            version: who.version,
            clean_start: !wishes.keeps_session,
            will: wishes.will,
            properties: ConnectProperties {
                session_expiry_s: wishes.keeps_session.then_some(60).filter(|_| who.version == ProtocolVersion::V5),
                receive_maximum: wishes.receive_maximum.map(|max| max.try_into().unwrap()),
                ..ConnectProperties::default()
            },
            ..connect_as_nobody(&who.name)
        };
        if who.proof == Proof::Password {
            (connect.user_name, connect.password) = (Some(&*who.name), Some(SECRET.as_bytes()));
        }
        let code = match who.proof {
            Proof::Scram => prove(&mut client, &connect, &who.name, SECRET),
            _ => client.connect(&connect),
        };
        (client, code)
    }

    /// Connects somebody who may.
    pub(super) fn let_in(&self, who: &Person, wishes: Wishes<'_>) -> Client {
        let (client, code) = self.ask_in(who, wishes);
        assert_eq!(code, 0, "{} is let in", who.name);
        client
    }

    /// Somebody who is shut out asks to be let in.
    pub(super) fn assert_shut_out(&self, who: &Person) {
        if who.is_certified() {
            // TLS 1.3 refuses a certificate when the client believes the handshake is over.
            let address = self.node.address_of(who.carrier);
            let Ok(mut client) = self.house.try_open(address, Some(&who.name), b"mqtt") else { return };
            let connect = Connect { version: who.version, ..connect_as_nobody(&who.name) };
            let _ = client.stream.write_all(&encode(who.version, &Packet::Connect(connect)));
            return assert_eq!(client.until_closed(), b"", "{} is not let in", who.name);
        }
        let (client, code) = self.ask_in(who, Wishes::default());
        let expected = if who.version == ProtocolVersion::V5 { 0x86 } else { 4 };
        assert_eq!(code, expected, "{} is not let in", who.name);
        assert_eq!(client.until_closed(), b"", "{} is not let in", who.name);
    }

    /// What a receiver that is subscribed to [`end`] is still given, everything acknowledged: each shard has ended what
    /// it was at before the last message is published.
    pub(super) fn arrivals(&mut self, case: &Case, receiver: &mut Client) -> Vec<String> {
        self.await_shards();
        self.testify(&words(&end(case), END));
        let mut payloads = Vec::new();
        loop {
            match hear(receiver) {
                Heard::Message(payload) if payload == END => return payloads,
                Heard::Message(payload) => payloads.push(payload),
                Heard::Other => {}
                heard => panic!("the receiver was told {heard:?} after {payloads:?}"),
            }
        }
    }

    /// A message of a witness, who may do everything.
    pub(super) fn testify(&mut self, words: &Words<'_>) {
        let code = publish(&mut self.witnesses[0], Qos::AtLeastOnce, words);
        assert!(matches!(code, 0 | 0x10), "{code:#x}");
    }
}

/// Writes the revocation list of a CA, with nobody on it or the certificate of one name.
fn write_list(house: &House, authority: &Authority, number: u64, listed: Option<&str>) {
    let entry = |name: &str| {
        let pem = std::fs::read_to_string(house.path(&format!("{name}.pem"))).unwrap();
        let serial_hex = CertificateFacts::from_pem(&pem).unwrap()[0].serial_hex.clone();
        Revoked { serial_hex, at: SystemTime::now(), reason: Reason::KeyCompromise }
    };
    let revoked: Vec<_> = listed.into_iter().map(entry).collect();
    let list = authority.revocation_list(&revoked, number, 30, SystemTime::now()).unwrap();
    house.write("crl.pem", &list.pem);
}

/// A house with a listener for each carrier, where nobody in particular is let in as well.
pub(super) fn house_with_doors() -> House {
    let mut house = House::new();
    house.settings.listeners = CARRIERS.iter().map(|&carrier| door(&house, carrier)).collect();
    for listener in &mut house.settings.listeners {
        listener.rules.allow_anonymous = true;
    }
    house
}

/// The topic a case is about.
pub(super) fn secret(case: &Case) -> String {
    format!("c{}/secret", case.number)
}

/// A topic beside it that stays allowed.
pub(super) fn open(case: &Case) -> String {
    format!("c{}/open", case.number)
}

/// The topic of the message behind which nothing more comes.
fn end(case: &Case) -> String {
    format!("e{}", case.number)
}

/// What the receiver subscribes to.
pub(super) fn filters(case: &Case) -> [String; 2] {
    let filter = if case.loss == Loss::Deny { format!("c{}/#", case.number) } else { secret(case) };
    let share = if case.path == super::Path::Shared { "$share/g/" } else { "" };
    [format!("{share}{filter}"), end(case)]
}

/// The ACL file of a case before or after the loss.
fn rules(case: &Case, (publisher, receiver): (&Person, &Person), revoked: bool) -> String {
    let all = format!("c{}/#", case.number);
    let write = if revoked && case.loss == Loss::Write { open(case) } else { all.clone() };
    let read = if revoked && case.loss == Loss::Read { open(case) } else { all };
    let deny =
        if revoked && case.loss == Loss::Deny { format!("topic deny {}\n", secret(case)) } else { String::new() };
    let of_publisher = format!("topic write {write}\n");
    let of_receiver = format!("topic read {}\ntopic read {read}\n{deny}", end(case));
    let (mut of_nobody, mut of_users) = (String::new(), String::from("user alice\ntopic readwrite #\n"));
    for (who, lines) in [(publisher, of_publisher), (receiver, of_receiver)] {
        if who.proof == Proof::Anonymous {
            of_nobody.push_str(&lines);
        } else {
            of_users.push_str(&format!("user {}\n{lines}", who.name));
        }
    }
    of_nobody + &of_users
}

/// What a client was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Message(String),
    Disconnect(u8),
    /// Part of an exchange that is answered already.
    Other,
    End,
}

/// The next packet, acknowledged.
pub(super) fn hear(client: &mut Client) -> Heard {
    let (heard, answer) = client
        .receive_or_end(|packet| match packet {
            Packet::Publish(publish) => {
                let answer = match publish.delivery {
                    Delivery::AtMostOnce => None,
                    Delivery::AtLeastOnce { id, .. } => Some(Packet::PubAck(Ack::new(id, ReasonCode::Success))),
                    Delivery::ExactlyOnce { id, .. } => Some(Packet::PubRec(Ack::new(id, ReasonCode::Success))),
                };
                (Heard::Message(String::from_utf8(publish.payload.to_vec()).unwrap()), answer)
            }
            Packet::PubRel(ack) => (Heard::Other, Some(Packet::PubComp(Ack::new(ack.id, ReasonCode::Success)))),
            Packet::PubComp(_) => (Heard::Other, None),
            Packet::Disconnect(disconnect) => (Heard::Disconnect(disconnect.reason.as_u8()), None),
            packet => panic!("{packet:?}"),
        })
        .unwrap_or((Heard::End, None));
    if let Some(answer) = answer {
        let bytes = encode(client.version, &answer);
        // Whoever was shut out in between is not heard any more.
        let _ = client.stream.write_all(&bytes).and_then(|()| client.stream.flush());
    }
    heard
}

/// The payloads until the connection ends because its client was shut out, which 5.0 is told.
pub(super) fn until_shut_out(mut client: Client) -> Vec<String> {
    let mut payloads = Vec::new();
    let mut reasons = Vec::new();
    loop {
        match hear(&mut client) {
            Heard::Message(payload) => payloads.push(payload),
            Heard::Disconnect(reason) => reasons.push(reason),
            Heard::Other => {}
            Heard::End => break,
        }
    }
    assert_eq!(reasons.len(), usize::from(client.version == ProtocolVersion::V5), "{reasons:02x?}");
    assert!(reasons.into_iter().all(shuts_out));
    payloads
}

/// Whether a DISCONNECT with this reason is for somebody whose proof does not hold any more (0x87), or who was removed
/// (0x98).
fn shuts_out(reason: u8) -> bool {
    matches!(reason, 0x87 | 0x98)
}

/// The bytes of a PUBLISH.
pub(super) fn publish_bytes(version: ProtocolVersion, (qos, id): (Qos, u16), words: &Words<'_>) -> Vec<u8> {
    let id = PacketId::new(id).unwrap();
    let delivery = match qos {
        Qos::AtMostOnce => Delivery::AtMostOnce,
        Qos::AtLeastOnce => Delivery::AtLeastOnce { id, dup: false },
        Qos::ExactlyOnce => Delivery::ExactlyOnce { id, dup: false },
    };
    let publish = Publish {
        delivery,
        retain: words.retain,
        topic: words.topic,
        topic_alias: words.alias.map(|alias| alias.try_into().unwrap()),
        message_expiry_s: None,
        subscription_ids: SubscriptionIds::EMPTY,
        properties: ForwardedProperties::EMPTY,
        payload: words.payload.as_bytes(),
    };
    encode(version, &Packet::Publish(publish))
}

/// Publishes and gives the code of PUBACK or PUBREC, 0 in 3.x.
pub(super) fn publish(client: &mut Client, qos: Qos, words: &Words<'_>) -> u8 {
    let bytes = publish_bytes(client.version, (qos, 1), words);
    client.send(&bytes);
    outcome(client).unwrap_or_else(|| panic!("the publisher was shut out"))
}

/// The code of the next PUBACK or PUBREC, the exchange ended; `None` at the end of the connection.
pub(super) fn outcome(client: &mut Client) -> Option<u8> {
    loop {
        let (code, release) = client.receive_or_end(|packet| match packet {
            Packet::PubAck(ack) => (Some(ack.reason.as_u8()), None),
            Packet::PubRec(ack) if ack.reason.is_error() => (Some(ack.reason.as_u8()), None),
            Packet::PubRec(ack) => (Some(ack.reason.as_u8()), Some(ack.id)),
            Packet::PubComp(_) => (None, None),
            Packet::Disconnect(disconnect) => {
                assert!(shuts_out(disconnect.reason.as_u8()), "{disconnect:?}");
                (None, None)
            }
            packet => panic!("{packet:?}"),
        })?;
        if let Some(id) = release {
            let bytes = encode(client.version, &Packet::PubRel(Ack::new(id, ReasonCode::Success)));
            let _ = client.stream.write_all(&bytes).and_then(|()| client.stream.flush());
        }
        if code.is_some() {
            return code;
        }
    }
}

/// Subscribes at QoS 2 and gives the codes of SUBACK; `None` when the connection ends instead.
pub(super) fn subscribe(client: &mut Client, filters: &[String]) -> Option<Vec<u8>> {
    let options = SubscriptionOptions { qos: Qos::ExactlyOnce, ..SubscriptionOptions::default() };
    let filters: Vec<_> = filters.iter().map(|filter| (&**filter, options)).collect();
    let subscribe = Subscribe {
        id: PacketId::new(9).unwrap(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    };
    client.send_packet(&Packet::Subscribe(subscribe));
    client.receive_or_end(|packet| match packet {
        Packet::SubAck(ack) => ack.codes.to_vec(),
        packet => panic!("{packet:?}"),
    })
}
