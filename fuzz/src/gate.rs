//! What strangers say before MQTT: PROXY headers and WebSocket, against readings of their own of the specifications.

use std::net::SocketAddr;

use motte_node::probe::{Unframed, unframe, upgrade_status};
use motte_node::proxy_header::{HEADER_BYTES_MAX, ProxyHeader, parse};
use motte_node::settings::WebSocketSettings;

const MESSAGE_BYTES_MAX: usize = 512;

/// A header is within its bound, means the same however much follows it, and is never a header and its own beginning.
/// A header of version 1 names the address that the standard library reads.
pub fn proxy(data: &[u8]) {
    let found = parse(data);
    let Ok(Some((header, length))) = found else {
        if let Ok(None) = found {
            assert!(data.len() < HEADER_BYTES_MAX, "waits for more than a header may have");
        }
        return;
    };
    assert!(length <= HEADER_BYTES_MAX && length <= data.len());
    assert_eq!(parse(&data[..length]), found, "what follows plays no part");
    for end in [0, 1, length / 2, length - 1] {
        assert_eq!(parse(&data[..end]), Ok(None), "{end} of {length} bytes");
    }
    if let Some(line) = data.strip_prefix(b"PROXY ") {
        let line = str::from_utf8(&line[..length - 6]).expect("a line of version 1 is ASCII");
        let words: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
        match (header, words[0]) {
            (ProxyHeader::Client(client), "TCP4" | "TCP6") => {
                let expected = (words[1].parse().ok()).zip(words[3].parse().ok());
                let (address, port) = expected.expect("an address and a port");
                assert_eq!(client, SocketAddr::new(address, port));
                assert_eq!(client.is_ipv4(), words[0] == "TCP4");
            }
            (ProxyHeader::Proxy, "UNKNOWN") => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The first byte chooses between an upgrade request and frames.
pub fn websocket(data: &[u8]) {
    match data.split_first() {
        None => {}
        Some((0, head)) => upgrade(head),
        Some((piece, frames)) => read_frames(frames, usize::from(*piece)),
    }
}

/// No request is upgraded without path, version, key and subprotocol, and none from a foreign origin.
fn upgrade(head: &[u8]) {
    let settings =
        WebSocketSettings { origins: vec!["https://good.example".to_owned()], ..WebSocketSettings::default() };
    if upgrade_status(head, &settings) != Some(101) {
        return;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase().replace("\r\n", "\n");
    // Empty lines before a request are passed over (RFC 9112, section 2.2).
    let text = text.trim_start_matches('\n').split("\n\n").next().unwrap_or_default();
    let target = text.strip_prefix("get ").and_then(|rest| rest.split(' ').next()).expect("a GET request");
    assert_eq!(path(target), "/mqtt", "upgraded at {target}");
    for needed in ["upgrade", "websocket", "sec-websocket-version", "sec-websocket-key", "sec-websocket-protocol"] {
        assert!(text.contains(needed), "upgraded without {needed}");
    }
    if text.contains("\norigin:") {
        assert!(text.contains("https://good.example"), "upgraded from a foreign origin");
    }
}

/// The path of a request target in origin form or absolute form (RFC 9112, section 3.2).
fn path(target: &str) -> &str {
    let whole = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("", |at| &rest[at..]),
        _ => target,
    };
    whole.split(['?', '#']).next().unwrap_or_default()
}

/// Frames read in pieces give what they give read at once, and both are what RFC 6455, section 5, makes of them.
fn read_frames(frames: &[u8], piece: usize) {
    let whole = unframe(frames, usize::MAX, MESSAGE_BYTES_MAX);
    let parts = unframe(frames, piece, MESSAGE_BYTES_MAX);
    assert_eq!((&whole.payload, whole.refused), (&parts.payload, parts.refused), "in pieces of {piece}");
    let (payload, end) = reading(frames);
    match end {
        End::Open => assert!(!whole.refused && !whole.closed, "{whole:?}"),
        End::Closed => assert!(whole.closed && !whole.refused, "{whole:?}"),
        End::Refused => assert!(whole.refused || whole.closed, "{whole:?}"),
        End::NotYetKnown => {}
    }
    assert_eq!(whole.payload, payload);
    amount(&whole, frames.len());
}

/// A client cannot make the broker say more than it said itself.
fn amount(found: &Unframed, said: usize) {
    assert!(found.answered <= said + 16, "{} bytes of answers to {said}", found.answered);
    assert!(found.payload.len() <= said);
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[derive(Debug)]
enum End {
    Open,
    Closed,
    Refused,
    NotYetKnown,
}

/// The payload of the binary messages up to the first fault, the close or the end.
fn reading(mut rest: &[u8]) -> (Vec<u8>, End) {
    let mut payload = Vec::new();
    let mut message: Option<Vec<u8>> = None;
    loop {
        let [first, second, after @ ..] = rest else { return (payload, End::Open) };
        let (fin, opcode, masked) = (first & 0x80 != 0, first & 0x0F, second & 0x80 != 0);
        let control = opcode & 8 != 0;
        let short = usize::from(second & 0x7F);
        let width = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((extended, after)) = after.split_at_checked(width) else { return (payload, End::Open) };
        let length = if width == 0 { short as u64 } else { number(extended) };
        let Some((mask, after)) = after.split_at_checked(if masked { 4 } else { 0 }) else {
            return (payload, End::Open);
        };
        // A frame that is too long is refused before its body comes; other faults of a head at the latest with it.
        if length > MESSAGE_BYTES_MAX as u64 {
            return (payload, End::Refused);
        }
        let length = usize::try_from(length).expect("at most the bound");
        let wrong_head = first & 0x70 != 0 || matches!(opcode, 3..=7 | 11..=15) || !masked;
        if wrong_head || control && (!fin || length > 125) {
            let is_whole = after.len() >= length;
            return (payload, if is_whole { End::Refused } else { End::NotYetKnown });
        }
        let Some((body, after)) = after.split_at_checked(length) else { return (payload, End::Open) };
        let body: Vec<u8> = body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        rest = after;
        match opcode {
            8 => {
                let good = body.is_empty() || (body.len() >= 2 && str::from_utf8(&body[2..]).is_ok());
                return (payload, if good { End::Closed } else { End::Refused });
            }
            9 | 10 => {}
            2 if message.is_none() && fin => payload.extend(body),
            2 if message.is_none() => message = Some(body),
            0 if message.is_some() => {
                let mut all = message.take().unwrap_or_default();
                all.extend(body);
                if all.len() > MESSAGE_BYTES_MAX {
                    return (payload, End::Refused);
                }
                if fin {
                    payload.extend(all);
                } else {
                    message = Some(all);
                }
            }
            // Text, a new message within another, a continuation of none.
            _ => {
                return (
                    payload,
                    if opcode == 1 && message.is_none() && !fin { End::NotYetKnown } else { End::Refused },
                );
            }
        }
    }
}
