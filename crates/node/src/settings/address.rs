//! Where a listener listens, and which networks are meant by a text.
//!
//! Made by `config`, read by boot and the gate.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; port 0 lets the system choose (tests).
    Ip(SocketAddr),
    /// A unix stream socket.
    Unix {
        /// Its file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
}

impl ListenAddress {
    /// Address and port; a unix socket has none.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|address| address.ip().is_loopback())
    }

    /// Whether two listeners cannot both have it.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(one), Self::Ip(other)) => one == other && one.port() != 0,
            (Self::Unix { path: one, .. }, Self::Unix { path: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// A network such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its bits beyond the prefix are zero.
    address: IpAddr,
    prefix_bits: u32,
}

/// Why a text names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// It is no address with a prefix length.
    Text,
    /// The address has bits beyond the prefix: the address of the network is this.
    Beyond(IpAddr),
}

/// The bits of an address from the left, and how many of them there are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    }
}

fn mask(prefix_bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0)
}

impl Network {
    /// Whether an address is in it. An IPv4 address that IPv6 has mapped is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs) = (bits(self.address), bits(address.to_canonical()));
        ours.1 == theirs.1 && ours.0 == theirs.0 & mask(self.prefix_bits)
    }

    /// Whether every address of a kind is in it.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.prefix_bits == 0
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Text)?;
        let (given, most) = bits(address);
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits = match prefix {
            None => most,
            Some(text) => Some(text).filter(digits).and_then(|text| text.parse().ok()).ok_or(NetworkError::Text)?,
        };
        if prefix_bits > most {
            return Err(NetworkError::Text);
        }
        let kept = given & mask(prefix_bits);
        if kept != given {
            let network = match address {
                IpAddr::V4(_) => IpAddr::V4(u32::try_from(kept >> 96).expect("32 bits are left").into()),
                IpAddr::V6(_) => IpAddr::V6(kept.into()),
            };
            return Err(NetworkError::Beyond(network));
        }
        Ok(Self { address, prefix_bits })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::{Network, NetworkError};

    #[test]
    fn a_network_holds_what_its_prefix_says() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in ["", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/+8", "10.0.0.0/8/8", "lan"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Text), "{text}");
        }
        assert_eq!("10.1.2.3/8".parse::<Network>(), Err(NetworkError::Beyond("10.0.0.0".parse().unwrap())));
        assert_eq!("2001:db8::1/32".parse::<Network>(), Err(NetworkError::Beyond("2001:db8::".parse().unwrap())));
    }
}
