//! WebSocket frames as an attacker writes them, over WebSocket and secure WebSocket, before and after the CONNECT.

use std::io::Write as _;

use motte_mqtt::{Packet, ProtocolVersion, ReasonCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, WebSocket};

use crate::support::{Running, Stream, connect_as_alice, encode, read_until_closed, resident_bytes};
use crate::upgrades::{houses, upgrade};
use crate::websocket::MQTT;

type Socket = WebSocket<Box<dyn Stream>>;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x00;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const CLOSE: u8 = 0x08;
const PING: u8 = 0x09;

/// A frame of a client: masked, with zeros, so that the payload stands there as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length.to_le_bytes()[0]),
        Ok(length) => bytes.extend([&[0xfe], length.to_be_bytes().as_slice()].concat()),
        Err(_) => panic!("no test needs it"),
    }
    [bytes.as_slice(), &[0; 4], payload].concat()
}

fn connect_bytes() -> Vec<u8> {
    encode(ProtocolVersion::V5, &Packet::Connect(connect_as_alice("framed")))
}

fn write(socket: &mut Socket, bytes: &[u8]) {
    // The broker may have closed before it has taken all of them.
    let _ = socket.get_mut().write_all(bytes);
    let _ = socket.get_mut().flush();
}

/// Lets `test` have a connection before its CONNECT (`false`), and one that is admitted (`true`), over WebSocket and
/// secure WebSocket.
fn on_each(mut test: impl FnMut(&mut Socket, bool)) {
    for house in houses() {
        let node: Running = house.start();
        test(&mut upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap(), false);
        let mut admitted = upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap();
        write(&mut admitted, &frame(FIN | BINARY, &connect_bytes()));
        assert!(matches!(admitted.read(), Ok(Message::Binary(ack)) if ack[0] == 0x20 && ack[3] == 0));
        test(&mut admitted, true);
    }
}

/// Sends bytes and expects the broker to close with `code`, and before that to tell whom it admitted in MQTT.
#[track_caller]
fn closes(bytes: &[u8], code: CloseCode) {
    let reason = if code == CloseCode::Size { ReasonCode::PacketTooLarge } else { ReasonCode::MalformedPacket };
    on_each(|socket, is_admitted| {
        write(socket, bytes);
        if is_admitted {
            let told = socket.read();
            let is_disconnect = |told: &[u8]| told[0] == 0xe0 && told[2] == reason.as_u8();
            assert!(matches!(&told, Ok(Message::Binary(told)) if is_disconnect(told)), "{told:?} for {code}");
        }
        match socket.read() {
            Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, code, "{:02x?}", &bytes[..bytes.len().min(16)]),
            other => panic!("{other:?} for {:02x?}", &bytes[..bytes.len().min(16)]),
        }
        read_until_closed(socket.get_mut(), &mut Vec::new());
    });
}

#[test]
fn k14_a_text_frame_is_closed_with_1003() {
    closes(&frame(FIN | TEXT, b"hello"), CloseCode::Unsupported);
}

#[test]
fn k14_frames_against_the_protocol_are_closed_with_1002() {
    let unmasked = [FIN | BINARY, 2, 0xc0, 0];
    closes(&unmasked, CloseCode::Protocol);
    closes(&frame(FIN | CONTINUATION, b"of nothing"), CloseCode::Protocol);
    for reserved in [0x03, 0x07, 0x0b, 0x0f] {
        closes(&frame(FIN | reserved, b""), CloseCode::Protocol);
    }
    // A new message in the middle of another.
    closes(&[frame(BINARY, b"\xc0"), frame(FIN | BINARY, b"\xc0\x00")].concat(), CloseCode::Protocol);
}

#[test]
fn k14_control_frames_are_whole_and_short() {
    closes(&frame(PING, b"in two parts"), CloseCode::Protocol);
    closes(&frame(FIN | PING, &[b'x'; 126]), CloseCode::Protocol);
    closes(&frame(FIN | CLOSE, &[3]), CloseCode::Protocol);
    on_each(|socket, _| {
        write(socket, &frame(FIN | PING, &[b'x'; 125]));
        assert!(matches!(socket.read(), Ok(Message::Pong(payload)) if payload.len() == 125));
    });
}

#[test]
fn k14_bits_of_extensions_nobody_negotiated_are_refused() {
    for bit in [0x40, 0x20, 0x10] {
        closes(&frame(FIN | BINARY | bit, b"\xc0\x00"), CloseCode::Protocol);
    }
}

#[test]
fn k14_a_length_is_refused_before_anything_is_allocated_or_sent() {
    let header = |length: u64| [&[FIN | BINARY, 0xff], length.to_be_bytes().as_slice(), &[0; 4]].concat();
    for length in [1 << 32, 1 << 62, 1 << 63, u64::MAX] {
        closes(&header(length), CloseCode::Size);
    }
    for house in houses() {
        let node = house.start();
        drop(upgrade(&house, &node, "/mqtt", &[MQTT]));
        let before = resident_bytes();
        for length in [1 << 28, 1 << 32, 1 << 63] {
            let mut socket = upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap();
            write(&mut socket, &header(length));
            read_until_closed(socket.get_mut(), &mut Vec::new());
        }
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 16 * 1024 * 1024, "memory grew by {grown} bytes");
    }
}

#[test]
fn k14_a_message_without_end_is_closed_with_1009() {
    for house in houses() {
        let node = house.start();
        let mut socket = upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap();
        write(&mut socket, &frame(BINARY, b"\x10"));
        let more = frame(CONTINUATION, &[b'x'; 4000]);
        // Twice what may be sent before the CONNECT is admitted.
        (0..40).for_each(|_| write(&mut socket, &more));
        match socket.read() {
            Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Size),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn fragments_may_have_control_frames_between_them_and_come_byte_by_byte() {
    let connect = connect_bytes();
    let (first, rest) = connect.split_at(7);
    let (second, third) = rest.split_at(1);
    let bytes = [
        frame(BINARY, first),
        frame(FIN | PING, b"one"),
        frame(CONTINUATION, b""),
        frame(CONTINUATION, second),
        frame(FIN | PING, b"two"),
        frame(FIN | CONTINUATION, third),
    ]
    .concat();
    for house in houses() {
        let node = house.start();
        let mut socket = upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap();
        bytes.iter().for_each(|byte| write(&mut socket, &[*byte]));
        assert!(matches!(socket.read(), Ok(Message::Pong(payload)) if payload == b"one".as_slice()));
        assert!(matches!(socket.read(), Ok(Message::Pong(payload)) if payload == b"two".as_slice()));
        assert!(matches!(socket.read(), Ok(Message::Binary(ack)) if ack[0] == 0x20 && ack[3] == 0));
        // Two packets share a frame, and an empty frame means nothing.
        write(&mut socket, &[frame(FIN | BINARY, b""), frame(FIN | BINARY, &[0xc0, 0, 0xc0, 0])].concat());
        let mut pongs = Vec::new();
        while pongs.len() < 4 {
            match socket.read() {
                Ok(Message::Binary(bytes)) => pongs.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pongs, [0xd0, 0, 0xd0, 0]);
    }
}

#[test]
fn a_mask_is_taken_off() {
    for house in houses() {
        let node = house.start();
        let mut socket = upgrade(&house, &node, "/mqtt", &[MQTT]).unwrap();
        // The library draws a mask of its own for each message.
        socket.send(Message::Binary(connect_bytes().into())).unwrap();
        assert!(matches!(socket.read(), Ok(Message::Binary(ack)) if ack[0] == 0x20 && ack[3] == 0));
    }
}

#[test]
fn a_close_is_answered_with_its_code() {
    let answered = |payload: &[u8], code| {
        on_each(|socket, _| {
            write(socket, &frame(FIN | CLOSE, payload));
            match socket.read() {
                Ok(Message::Close(Some(frame))) => assert_eq!(frame.code, code),
                other => panic!("{other:?}"),
            }
        });
    };
    answered(b"\x03\xe8", CloseCode::Normal);
    answered(b"\x03\xe9bye", CloseCode::Away);
    // A code that no peer may send is an error of the protocol.
    for code in [999_u16, 1005, 1006, 1015] {
        answered(&code.to_be_bytes(), CloseCode::Protocol);
    }
}
