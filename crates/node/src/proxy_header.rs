//! The header of the PROXY protocol, versions 1 and 2: who a trusted proxy speaks for.
//!
//! Called by the gate, with bytes of a proxy that the listener trusts. Pure, bounded and strict: it needs the exact
//! signature, looks at no more than [`HEADER_BYTES_MAX`] bytes, and uses nothing but the source address. What a proxy
//! tells about TLS is not looked at. Specification: HAProxy, "The PROXY protocol, versions 1 & 2".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Longest header that is read, of either version, in bytes. Version 1 has at most 107 of them.
pub const HEADER_BYTES_MAX: usize = 1280;

/// Longest line of version 1, with its end (section 2.1).
const V1_BYTES_MAX: usize = 107;
const V1_SIGNATURE: &[u8] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;
/// Type and length of what may follow the addresses in version 2.
const TLV_FIXED_BYTES: usize = 3;

/// Whom a connection comes from, in the words of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// From this client.
    Client(SocketAddr),
    /// From the proxy itself (`LOCAL`: its own health checks), or from somebody it does not name (`UNKNOWN`, `UNSPEC`,
    /// a unix socket).
    Proxy,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProxyHeaderError {
    /// The signature of neither version.
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    /// Longer than allowed.
    #[error("the PROXY header is longer than allowed")]
    TooLong,
    /// Begun rightly and wrong further on.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
}

use ProxyHeaderError::{Absent, Malformed, TooLong};

/// The header at the beginning of `bytes` and its length; `None` while its end has not come.
///
/// # Errors
/// The bytes cannot become a header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    if begins(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if begins(bytes, V1_SIGNATURE) {
        return parse_v1(bytes);
    }
    Err(Absent)
}

/// Whether `bytes` are the beginning of `signature`, or begin with all of it.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(byte, expected)| byte == expected)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = window.iter().position(|byte| !matches!(byte, b' '..=b'~')) else {
        return if bytes.len() < V1_BYTES_MAX { Ok(None) } else { Err(TooLong) };
    };
    match window[end..] {
        [b'\r'] if end + 1 < V1_BYTES_MAX => return Ok(None),
        [b'\r'] => return Err(TooLong),
        [b'\r', b'\n', ..] => {}
        _ => return Err(Malformed("a byte that is not printable ASCII")),
    }
    let line = std::str::from_utf8(&window[..end]).map_err(|_| Malformed("a byte that is not printable ASCII"))?;
    let fields: Vec<&str> = line.split(' ').collect();
    let header = match fields[..] {
        ["PROXY", "UNKNOWN", ..] => ProxyHeader::Proxy,
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let address = |text: &str| match family {
                "TCP4" => text.parse().map(IpAddr::V4).map_err(|_| Malformed("no IPv4 address")),
                _ => text.parse().map(IpAddr::V6).map_err(|_| Malformed("no IPv6 address")),
            };
            let (source, _) = (address(source)?, address(destination)?);
            let (port, _) = (port(source_port)?, port(destination_port)?);
            ProxyHeader::Client(SocketAddr::new(source, port))
        }
        _ => return Err(Malformed("not the fields of version 1")),
    };
    Ok(Some((header, end + 2)))
}

/// A port as version 1 writes it: decimal, without sign and leading zeros.
fn port(text: &str) -> Result<u16, ProxyHeaderError> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain).ok_or(Malformed("no port"))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    // Each byte is judged as soon as it is there.
    let command = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(Malformed("not version 2 with LOCAL or PROXY")),
    };
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    let address_bytes = match (command, family) {
        // What LOCAL says about addresses is to be ignored (section 2.2).
        (Command::Local, _) | (Command::Proxy, 0x00) => 0,
        (Command::Proxy, 0x11) => 12,
        (Command::Proxy, 0x21) => 36,
        (Command::Proxy, 0x31) => 216,
        (Command::Proxy, _) => return Err(Malformed("neither TCP nor a unix stream")),
    };
    let (Some(&high), Some(&low)) = (bytes.get(14), bytes.get(15)) else { return Ok(None) };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > HEADER_BYTES_MAX {
        return Err(TooLong);
    }
    if length < V2_FIXED_BYTES + address_bytes {
        return Err(Malformed("shorter than its addresses"));
    }
    let Some(body) = bytes.get(V2_FIXED_BYTES..length) else { return Ok(None) };
    let (addresses, tlvs) = body.split_at(address_bytes);
    if command == Command::Proxy && family != 0x00 {
        check_tlvs(tlvs)?;
    }
    let header = match *addresses {
        [a, b, c, d, _, _, _, _, high, low, _, _] => client(Ipv4Addr::new(a, b, c, d).into(), [high, low]),
        [.., high, low, _, _] if address_bytes == 36 => {
            let source: [u8; 16] = addresses[..16].try_into().expect("36 bytes begin with 16");
            client(Ipv6Addr::from(source).into(), [high, low])
        }
        _ => ProxyHeader::Proxy,
    };
    Ok(Some((header, length)))
}

/// The command of version 2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Local,
    Proxy,
}

fn client(address: IpAddr, port: [u8; 2]) -> ProxyHeader {
    ProxyHeader::Client(SocketAddr::new(address, u16::from_be_bytes(port)))
}

/// Whether what follows the addresses is a chain of whole values; none of them is used.
fn check_tlvs(mut rest: &[u8]) -> Result<(), ProxyHeaderError> {
    while !rest.is_empty() {
        let (Some(&high), Some(&low)) = (rest.get(1), rest.get(2)) else { return Err(Malformed("a cut-off value")) };
        let length = TLV_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
        rest = rest.get(length..).ok_or(Malformed("a value longer than the header"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{HEADER_BYTES_MAX, ProxyHeader, ProxyHeaderError, V2_SIGNATURE, parse};

    fn client(address: &str) -> ProxyHeader {
        ProxyHeader::Client(address.parse().unwrap())
    }

    /// A header of version 2.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE.as_slice(), &[command, family], &length, body].concat()
    }

    const TCP4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x9c, 0x40, 0x22, 0xb3];

    /// Each header byte by byte: no verdict before its end, the right one from there on, whatever follows.
    #[track_caller]
    fn accepted(header: &[u8], expected: ProxyHeader) {
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(None), "{cut} bytes of {header:02x?}");
        }
        for behind in [b"".as_slice(), b"\x10\x0c", b"\r\n"] {
            assert_eq!(parse(&[header, behind].concat()), Ok(Some((expected, header.len()))));
        }
    }

    #[track_caller]
    fn malformed(bytes: &[u8]) {
        assert!(matches!(parse(bytes), Err(ProxyHeaderError::Malformed(_))), "{:?} {bytes:02x?}", parse(bytes));
    }

    #[test]
    fn version_1_names_the_client() {
        accepted(b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 8883\r\n", client("192.0.2.7:40000"));
        accepted(b"PROXY TCP6 2001:db8::7 ::1 1 65535\r\n", client("[2001:db8::7]:1"));
        accepted(b"PROXY UNKNOWN\r\n", ProxyHeader::Proxy);
        accepted(b"PROXY UNKNOWN ffff:: anything 1 2 3\r\n", ProxyHeader::Proxy);
    }

    #[test]
    fn k38_version_1_is_read_strictly() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 8883 \r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 40000 8883\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 40000 8883\r\n",
            "PROXY TCP4 192.0.2.256 10.0.0.1 40000 8883\r\n",
            "PROXY TCP4 2001:db8::7 ::1 40000 8883\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 40000 8883\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 40000 8883\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 8883\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 8883\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 8883\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 40000 x\r\n",
            "PROXY TCP5 192.0.2.7 10.0.0.1 40000 8883\r\n",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN\rx",
            "PROXY UNKNOWN\0\r\n",
            "PROXY UNKNOWN é\r\n",
        ] {
            malformed(line.as_bytes());
        }
        for bytes in [b"proxy UNKNOWN\r\n".as_slice(), b"GET / HTTP/1.1\r\n", b"\x10\x0c\0\x04MQTT", b"\x16\x03\x01"] {
            assert_eq!(parse(bytes), Err(ProxyHeaderError::Absent));
        }
    }

    #[test]
    fn k11_version_1_ends_within_107_bytes() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16)).into_bytes();
        accepted(&line(107), ProxyHeader::Proxy);
        assert_eq!(parse(&line(108)), Err(ProxyHeaderError::TooLong));
        assert_eq!(parse(&line(108)[..106]), Ok(None));
        assert_eq!(parse(&line(108)[..107]), Err(ProxyHeaderError::TooLong), "no end can come in time");
    }

    #[test]
    fn version_2_names_the_client() {
        accepted(&v2(0x21, 0x11, &TCP4), client("192.0.2.7:40000"));
        let mut tcp6 = [0; 36];
        tcp6[15] = 9;
        tcp6[32..].copy_from_slice(&[0, 80, 1, 187]);
        accepted(&v2(0x21, 0x21, &tcp6), client("[::9]:80"));
        // Values behind the addresses are passed over: here ALPN, and TLS facts with a common name.
        let tlvs = b"\x01\x00\x02h2\x20\x00\x0d\x07\0\0\0\0\x22\x00\x05admin";
        accepted(&v2(0x21, 0x11, &[TCP4.as_slice(), tlvs].concat()), client("192.0.2.7:40000"));
        accepted(&v2(0x20, 0x00, b""), ProxyHeader::Proxy);
        accepted(&v2(0x20, 0x11, &TCP4), ProxyHeader::Proxy);
        accepted(&v2(0x20, 0xff, b"whatever"), ProxyHeader::Proxy);
        accepted(&v2(0x21, 0x00, b"whatever"), ProxyHeader::Proxy);
        accepted(&v2(0x21, 0x31, &[0; 216]), ProxyHeader::Proxy);
    }

    #[test]
    fn k38_version_2_is_read_strictly() {
        for command in [0x00, 0x01, 0x11, 0x22, 0x2f, 0x31] {
            malformed(&v2(command, 0x11, &TCP4));
        }
        for family in [0x01, 0x10, 0x12, 0x13, 0x22, 0x32, 0x41, 0xff] {
            malformed(&v2(0x21, family, &[0; 216]));
        }
        malformed(&v2(0x21, 0x11, &TCP4[..11]));
        malformed(&v2(0x21, 0x21, &[0; 35]));
        malformed(&v2(0x21, 0x31, &[0; 215]));
        for tlv in [b"\x01".as_slice(), b"\x01\x00", b"\x01\x00\x01", b"\x01\xff\xff\x00", b"\x01\x00\x01a\x02"] {
            malformed(&v2(0x21, 0x11, &[TCP4.as_slice(), tlv].concat()));
        }
        for at in 0..V2_SIGNATURE.len() {
            let mut bytes = v2(0x21, 0x11, &TCP4);
            bytes[at] ^= 1;
            assert_eq!(parse(&bytes), Err(ProxyHeaderError::Absent), "byte {at}");
        }
    }

    #[test]
    fn k11_version_2_is_bounded_before_it_is_there() {
        let whole = v2(0x20, 0, &vec![0; HEADER_BYTES_MAX - 16]);
        assert_eq!(parse(&whole), Ok(Some((ProxyHeader::Proxy, HEADER_BYTES_MAX))));
        let longer = v2(0x20, 0, &vec![0; HEADER_BYTES_MAX - 15]);
        assert_eq!(parse(&longer[..16]), Err(ProxyHeaderError::TooLong));
    }

    #[test]
    fn no_bytes_make_it_panic_or_read_beyond_its_bound() {
        let mut state = 0x4d6f_7474_u64;
        for round in 0..200_000_u32 {
            let mut bytes = if round % 2 == 0 { v2(0x21, 0x11, &TCP4) } else { b"PROXY TCP4 1.2.3.4 ".to_vec() };
            for _ in 0..round % 24 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let [at, value, ..] = state.to_le_bytes();
                match bytes.get_mut(usize::from(at)) {
                    Some(byte) => *byte = value,
                    None => bytes.push(value),
                }
            }
            if let Ok(Some((_, length))) = parse(&bytes) {
                assert!(length <= bytes.len().min(HEADER_BYTES_MAX));
            }
        }
    }
}
