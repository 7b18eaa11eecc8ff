//! Broker addresses as URLs: `mqtts://user:password@host:port/topic` and `wss://host:port/path`, or without TLS
//! `mqtt://` and `ws://`.
//! Called by the command line. Never repeats a password in an error, and never guesses a scheme.

use std::fmt;

use thiserror::Error;

use crate::config::{Password, Transport};

/// A parsed broker URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// What the scheme stands for: `mqtts`, `wss`, and without TLS `mqtt`, `ws`.
    pub transport: Transport,
    /// User name, decoded.
    pub user_name: Option<String>,
    /// Password, decoded.
    pub password: Option<Password>,
    /// Host name or address, without the brackets of IPv6.
    pub host: String,
    /// The port, when one is named.
    pub port: Option<u16>,
    /// The topic that follows the host of an `mqtt(s)` URL, decoded; the path of a `ws(s)` URL is in `transport`.
    pub topic: Option<String>,
}

/// Why a text is not a broker URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// No `://`, or a scheme that is not MQTT's.
    #[error("a broker URL starts with mqtts:// or wss://, or without TLS with mqtt:// or ws://")]
    Scheme,
    /// Nothing where the host should be, or a character that no host has.
    #[error("the URL has no valid host name")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the port of the URL must be a number from 1 to 65535")]
    Port,
    /// A `%` without two hex digits after it, or bytes that are not UTF-8.
    #[error("the URL has a `%` that is not followed by two hex digits of UTF-8 text")]
    Escape,
}

impl std::str::FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (transport, topic) = match scheme.to_ascii_lowercase().as_str() {
            "mqtts" => (Transport::Tls, topic(path)?),
            "mqtt" => (Transport::DangerPlaintext, topic(path)?),
            "wss" => (Transport::WebSocketTls { path: upgrade_path(path) }, None),
            "ws" => (Transport::DangerWebSocket { path: upgrade_path(path) }, None),
            _ => return Err(UrlError::Scheme),
        };
        // A password may hold a bare `@`, a host never does.
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        let (user_name, password) = match user
            .map(|user| user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p))))
        {
            Some((user, password)) => (Some(decoded(user)?), password.map(decoded).transpose()?.map(Password::from)),
            None => (None, None),
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self { transport, user_name, password, host, port, topic })
    }
}

impl fmt::Display for BrokerUrl {
    /// The URL without user name, password and topic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path) = match &self.transport {
            Transport::Tls => ("mqtts", ""),
            Transport::WebSocketTls { path } => ("wss", path.as_str()),
            Transport::DangerPlaintext => ("mqtt", ""),
            Transport::DangerWebSocket { path } => ("ws", path.as_str()),
            Transport::Unix { path } => return write!(f, "unix:{}", path.display()),
        };
        let port = self.port.unwrap_or(self.transport.port_default());
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{port}{path}", self.host)
        } else {
            write!(f, "{scheme}://{}:{port}{path}", self.host)
        }
    }
}

/// The path of a WebSocket, which is `/mqtt` unless the URL has one.
fn upgrade_path(path: &str) -> String {
    String::from(if path.is_empty() { "/mqtt" } else { path })
}

fn topic(path: &str) -> Result<Option<String>, UrlError> {
    let topic = path.strip_prefix('/').unwrap_or(path);
    if topic.is_empty() { Ok(None) } else { decoded(topic).map(Some) }
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(UrlError::Host),
            };
            (host, port)
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return Err(UrlError::Host);
    }
    let port = match port {
        None => None,
        // `parse` would take a leading plus sign too.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?)
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host.to_owned(), port))
}

fn decoded(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (high, low) =
                after.first().and_then(digit).zip(after.get(1).and_then(digit)).ok_or(UrlError::Escape)?;
            bytes.push(high * 16 + low);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| UrlError::Escape)
}

#[cfg(test)]
mod tests;
