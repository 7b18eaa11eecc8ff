//! Every type of packet in every state of a connection, against a table; lengths that lie; topics of the broker itself.

use crate::kit::{Peer, Victim, connect, field, packet, publish, subscribe, unsubscribe};

/// What becomes of a connection that sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It ends without a word.
    Closed,
    /// It ends with DISCONNECT and this code, which 3.x has not.
    Told(u8),
    /// It goes on, and nothing is answered.
    Silence,
    /// It goes on with an answer of this first byte and this reason code, 0 for none.
    Answered(u8, u8),
}

/// One packet of each type, well formed, under a number of its own, and what it means on an admitted connection.
fn table() -> Vec<(&'static str, Vec<u8>, Outcome)> {
    use Outcome::{Answered, Closed, Silence, Told};
    vec![
        ("CONNECT again", connect("again", &[]), Told(0x82)),
        ("CONNACK", packet(0x20, &[0, 0, 0]), Told(0x82)),
        ("PUBLISH of QoS 0", publish("t", (0, 0), false, b"x"), Silence),
        ("PUBLISH of QoS 1", publish("t", (1, 5), false, b"x"), Answered(0x40, 0x10)),
        ("PUBLISH of QoS 2", publish("t", (2, 5), false, b"x"), Answered(0x50, 0x10)),
        ("PUBACK of nothing", packet(0x40, &[0, 9]), Silence),
        ("PUBREC of nothing", packet(0x50, &[0, 9]), Answered(0x62, 0x92)),
        ("PUBREL of nothing", packet(0x62, &[0, 9]), Answered(0x70, 0x92)),
        ("PUBCOMP of nothing", packet(0x70, &[0, 9]), Silence),
        ("SUBSCRIBE", subscribe(&["states"], 1), Answered(0x90, 1)),
        ("SUBACK", packet(0x90, &[0, 1, 0, 0]), Told(0x82)),
        ("UNSUBSCRIBE of nothing", unsubscribe(&["nothing"]), Answered(0xb0, 0x11)),
        ("UNSUBACK", packet(0xb0, &[0, 1, 0, 0]), Told(0x82)),
        ("PINGREQ", packet(0xc0, &[]), Answered(0xd0, 0)),
        ("PINGRESP", packet(0xd0, &[]), Told(0x82)),
        ("DISCONNECT", packet(0xe0, &[]), Closed),
        ("AUTH without a method", packet(0xf0, &[]), Told(0x82)),
        ("type 0", packet(0x00, &[]), Told(0x81)),
        ("a flag that is reserved", packet(0xc1, &[]), Told(0x81)),
    ]
}

/// Sends a packet and then a question, and sees what comes.
#[track_caller]
fn outcome(peer: &mut Peer, bytes: &[u8]) -> Outcome {
    peer.send(bytes);
    peer.send(&[0xc0, 0]);
    match peer.packet() {
        None => Outcome::Closed,
        Some((0xe0, body)) => {
            assert_eq!(peer.packet(), None);
            Outcome::Told(body[0])
        }
        // The answer to the question of PINGREQ itself comes twice.
        Some((0xd0, _)) if bytes != [0xc0, 0] => Outcome::Silence,
        Some((first, body)) => {
            peer.expect_alive();
            // Acknowledgements of messages tell behind the identifier, the others at the end.
            let code = if matches!(first, 0x40..0x80) { body.get(2) } else { body.last() };
            Outcome::Answered(first, code.copied().unwrap_or(0))
        }
    }
}

#[test]
fn k44_each_packet_in_each_state_does_what_the_table_says() {
    let victim = Victim::with("");
    let bystanders = victim.bystanders();
    for (name, bytes, expected) in table() {
        assert_eq!(outcome(&mut victim.client("states"), &bytes), expected, "{name}, admitted");
        // Before CONNECT nothing but CONNECT is understood, and nobody is anybody.
        if bytes[0] != 0x10 {
            assert_eq!(outcome(&mut victim.open(), &bytes), Outcome::Closed, "{name}, before CONNECT");
        }
        // After DISCONNECT nothing is read: in one write, so that the end cannot come between.
        let mut gone = victim.client("gone");
        gone.send(&[&[0xe0, 0][..], &bytes].concat());
        assert_eq!(gone.until_end(), [], "{name}, after DISCONNECT");
    }
    bystanders.assert_unharmed();
}

#[test]
fn k44_to_3_1_1_errors_are_told_by_closing_and_fields_of_5_0_are_none() {
    let victim = Victim::with("");
    let client = |id: &str| {
        let mut peer = victim.open();
        peer.send(&packet(0x10, &[&field(b"MQTT")[..], &[4, 2, 0, 60], &field(id.as_bytes())].concat()));
        assert_eq!(peer.packet(), Some((0x20, vec![0, 0])));
        peer
    };
    for (name, bytes) in [
        ("AUTH", packet(0xf0, &[])),
        ("CONNECT again", connect("again", &[])),
        ("PINGRESP", packet(0xd0, &[])),
        ("PUBACK with a reason code", packet(0x40, &[0, 9, 0])),
        ("DISCONNECT with a reason code", packet(0xe0, &[0])),
        ("SUBSCRIBE with options of 5.0", packet(0x82, &[0, 1, 0, 1, b't', 0x2c])),
        ("type 0", packet(0x00, &[])),
    ] {
        let mut peer = client("states-311");
        peer.send(&bytes);
        assert_eq!(peer.until_end(), [], "{name}");
    }
    // An answer that nobody waits for is no error.
    let mut peer = client("states-311");
    for first in [0x40, 0x70] {
        peer.send(&packet(first, &[0, 9]));
    }
    peer.send(&packet(0x62, &[0, 9]));
    assert_eq!(peer.packet(), Some((0x70, vec![0, 9])));
    peer.expect_alive();
}

#[test]
fn k02_lengths_that_lie_end_the_connection_and_nothing_comes_out_of_a_payload() {
    let victim = Victim::with("");
    let mut watcher = victim.client("watcher");
    assert_eq!(watcher.subscribe(&["#"], 0), [0]);
    let inner = publish("inner", (0, 0), false, b"never");
    // Topic length, against the nine bytes that follow it.
    for length in [10_u16, 11, 0x7fff, 0x8000, 0xffff] {
        let mut peer = victim.client("liar");
        peer.send(&packet(0x30, &[&length.to_be_bytes()[..], b"t", &[0; 8]].concat()));
        let told = peer.until_end();
        assert_eq!(told.last().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x81)), "{length}: {told:?}");
    }
    for (name, bytes) in [
        ("a length of five bytes", [&[0x30, 0x80, 0x80, 0x80, 0x80, 0x01][..], &inner].concat()),
        ("a length in more bytes than it takes", [&[0x30, 0x85, 0x00, 0, 1, b't', 0, b'x'][..], &inner].concat()),
        ("a property length beyond the packet", packet(0x30, &[0, 1, b't', 0x7f, 0, 0])),
        ("an identifier that is cut", packet(0x32, &[0, 1, b't', 1])),
    ] {
        let mut peer = victim.client("liar");
        peer.send(&bytes);
        let told = peer.until_end();
        assert_eq!(told.last().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x81)), "{name}: {told:?}");
    }
    let mut honest = victim.client("honest");
    honest.send_well(&publish("outer", (0, 0), false, &inner));
    honest.send_well(&publish("end", (0, 0), false, b""));
    let mut topics = Vec::new();
    while topics.last().is_none_or(|topic| topic != "end") {
        let (first, body) = watcher.packet().expect("a message");
        assert_eq!(first, 0x30);
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        topics.push(String::from_utf8(body[2..2 + length].to_vec()).unwrap());
    }
    assert_eq!(topics, ["outer", "end"]);
}

#[test]
fn k19_nobody_writes_the_topics_of_the_broker_whatever_the_rules_say() {
    let mut victim = Victim::with("");
    let mut client = victim.client("reader");
    assert_eq!(client.subscribe(&["$SYS/#", "$SYS/broker/version", "$share/g/$SYS/#"], 0), [0x87; 3]);
    victim.broker.reload_with("acl", "topic readwrite #\ntopic readwrite $SYS/#\n");
    victim.broker.logged("reloaded: certificates, passwords and access rules");
    let mut client = victim.client("writer");
    for topic in ["$SYS", "$SYS/broker/version", "$SYS/mine"] {
        client.send_well(&publish(topic, (1, 1), true, b"forged"));
        let (first, body) = client.packet().expect("a PUBACK");
        assert_eq!((first, body[2]), (0x40, 0x87), "{topic}");
    }
    let mut body = [&field(b"MQTT")[..], &[5, 0x26, 0, 60, 0], &field(b"dying"), &[0]].concat();
    body.extend(field(b"$SYS/broker/version"));
    body.extend(field(b"forged"));
    let mut dying = victim.open();
    dying.send(&packet(0x10, &body));
    dying.expect_connack(0x87);
    client.send_well(&subscribe(&["$SYS/broker/version"], 0));
    assert_eq!(client.packet().expect("a SUBACK").0, 0x90);
    let (first, body) = client.packet().expect("the version");
    assert_eq!(first, 0x31, "retained");
    assert!(body.ends_with(concat!("motte version ", env!("CARGO_PKG_VERSION")).as_bytes()), "{body:?}");
}
