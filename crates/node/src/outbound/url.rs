//! URLs of servers that the configuration names.

use std::fmt;
use std::net::IpAddr;

use motte_pki::HostName;
use thiserror::Error;

/// The URL of something on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    encrypted: bool,
    host: HostName,
    port: u16,
    /// Path and query; begins with a slash.
    path: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HttpUrlError {
    /// Neither of the two schemes.
    #[error("it begins with neither https:// nor http://")]
    Scheme,
    /// A user name or password; the text could be a secret and must not be shown.
    #[error("it holds a user name or a password")]
    Credentials,
    /// No host, or none that could be reached.
    #[error("its host is neither a name nor an address")]
    Host,
    /// A port outside of 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// Characters that have to be escaped, or a fragment.
    #[error("its path holds characters that cannot stand there")]
    Path,
}

impl HttpUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// It is none, or says more than a server and a path.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let (encrypted, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(HttpUrlError::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(HttpUrlError::Credentials);
        }
        let (host, port) = match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
            Some(at) => (&authority[..at], Some(&authority[at + 1..])),
            None => (authority, None),
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok(),
            Some(_) => None,
            None => Some(if encrypted { 443 } else { 80 }),
        };
        let host: HostName = host.parse().map_err(|_| HttpUrlError::Host)?;
        if matches!(&host, HostName::Dns(name) if name.starts_with('*')) {
            return Err(HttpUrlError::Host);
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&byte)) {
            return Err(HttpUrlError::Path);
        }
        let port = port.filter(|port| *port > 0).ok_or(HttpUrlError::Port)?;
        Ok(Self { encrypted, host, port, path })
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the server is this machine, by an address that leads nowhere else or the name that stands for it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            HostName::Dns(name) => name == "localhost",
            HostName::Ip(address) => address.is_loopback(),
        }
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as in a `Host` header, where the port of the scheme is left out.
    pub(crate) fn authority(&self) -> String {
        let host = match &self.host {
            HostName::Dns(name) => name.clone(),
            HostName::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            HostName::Ip(IpAddr::V4(address)) => address.to_string(),
        };
        match (self.encrypted, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn urls_are_read_and_shown_again() {
        for (text, shown, loopback) in [
            ("https://auth.example.org/mqtt?v=1", "https://auth.example.org/mqtt?v=1", false),
            ("https://AUTH.example.org", "https://auth.example.org/", false),
            ("https://auth.example.org:443/", "https://auth.example.org/", false),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a", true),
            ("http://[::1]:8080", "http://[::1]:8080/", true),
            ("http://localhost/a/b", "http://localhost/a/b", true),
            ("http://localhost.example.org/", "http://localhost.example.org/", false),
            ("https://10.0.0.1?x", "https://10.0.0.1/?x", false),
        ] {
            let url = HttpUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.is_loopback()), (shown, loopback), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_server_is_refused() {
        for (text, error) in [
            ("ftp://a/", HttpUrlError::Scheme),
            ("//a/", HttpUrlError::Scheme),
            ("HTTPS://a/", HttpUrlError::Scheme),
            ("https://user:canary@a/", HttpUrlError::Credentials),
            ("https://127.0.0.1@evil/", HttpUrlError::Credentials),
            ("https:///x", HttpUrlError::Host),
            ("https://a b/", HttpUrlError::Host),
            ("https://*.example.org/", HttpUrlError::Host),
            ("https://2130706433/", HttpUrlError::Host),
            ("https://a:0/", HttpUrlError::Port),
            ("https://a:65536/", HttpUrlError::Port),
            ("https://a:+1/", HttpUrlError::Port),
            ("https://a:/", HttpUrlError::Port),
            ("https://a/#x", HttpUrlError::Path),
            ("https://a/x y", HttpUrlError::Path),
            ("https://a/x\r\nX: y", HttpUrlError::Path),
            ("https://a/ä", HttpUrlError::Path),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(error), "{text}");
        }
    }
}
