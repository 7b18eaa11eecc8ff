//! Names a server certificate may carry: DNS names and IP addresses, checked when they are read.
//! Called by the command line and quickstart to build a `LeafRequest`. Never asks a resolver.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A name that a server is reached by. Parsing is the only way to a `Dns` that is sure to be well-formed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostName {
    /// A DNS name in lower case without a final dot; the leftmost label may be `*`.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Nothing was given.
    #[error("the host name is empty")]
    Empty,
    /// More than 253 bytes, or a label of more than 63 (RFC 1035 section 2.3.4).
    #[error("the host name is too long: at most 253 characters, and 63 between two dots")]
    TooLong,
    /// A character other than letters, digits, `-`, `_` and `.`, an empty label, or a hyphen at an edge of one.
    #[error(
        "the host name is not well-formed: use letters, digits and hyphens between dots (for other scripts, xn--…)"
    )]
    Malformed,
    /// `*` elsewhere than alone in the leftmost label, or above fewer than two labels (RFC 6125 section 7.2).
    #[error("a wildcard must be the whole first label of a name with two more, such as *.example.org")]
    Wildcard,
    /// The last label is all digits, so that it would be read as a broken IPv4 address.
    #[error("the name looks like an IP address but is not one")]
    AlmostAddress,
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        check_dns(&name)?;
        Ok(Self::Dns(name))
    }
}

fn check_dns(name: &str) -> Result<(), HostNameError> {
    if name.is_empty() {
        return Err(HostNameError::Empty);
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Err(HostNameError::TooLong);
    }
    let rest = match name.strip_prefix("*.") {
        Some(rest) if rest.contains('.') => rest,
        Some(_) => return Err(HostNameError::Wildcard),
        None => name,
    };
    if rest.contains('*') {
        return Err(HostNameError::Wildcard);
    }
    if !rest.split('.').all(is_label) {
        return Err(HostNameError::Malformed);
    }
    let last = rest.rsplit('.').next().unwrap_or(rest);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostNameError::AlmostAddress);
    }
    Ok(())
}

/// Letters, digits, hyphens inside; underscores too, because container networks use them and TLS stacks accept them.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, HostNameError>) {
        assert_eq!(text.parse::<HostName>().map(|name| name.to_string()), expected.map(String::from), "{text:?}");
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        check("Broker.Example.ORG.", Ok("broker.example.org"));
        check("localhost", Ok("localhost"));
        check("my_service", Ok("my_service"));
        check("*.example.org", Ok("*.example.org"));
        assert_eq!("::1".parse(), Ok(HostName::Ip(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]))));
        check("[::1]", Ok("::1"));
        check("127.0.0.1", Ok("127.0.0.1"));
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        check("", Err(HostNameError::Empty));
        check(".", Err(HostNameError::Empty));
        check("a..b", Err(HostNameError::Malformed));
        check("-a.b", Err(HostNameError::Malformed));
        check("a b", Err(HostNameError::Malformed));
        check("a\0.example.org", Err(HostNameError::Malformed));
        check("bücher.de", Err(HostNameError::Malformed));
        check("127.0.0.256", Err(HostNameError::AlmostAddress));
        check("*", Err(HostNameError::Wildcard));
        check("*.org", Err(HostNameError::Wildcard));
        check("a.*.org", Err(HostNameError::Wildcard));
        check("b*.example.org", Err(HostNameError::Wildcard));
        check(&"a".repeat(64), Err(HostNameError::TooLong));
        check(&"a.".repeat(130), Err(HostNameError::TooLong));
    }
}
