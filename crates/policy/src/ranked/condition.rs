//! When a rule holds: QoS and RETAIN of a publish, address, attributes, and time of who is judged.
//!
//! Called by the lists for each rule that has one. The time is that of the policy in force ([`crate::Policy::at`]), so
//! that a verdict may be kept for as long as the policy stands.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::identity::Subject;

/// What has to hold for a rule to hold: all of it. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// QoS of a publish; empty is each.
    pub qos: Vec<u8>,
    /// RETAIN of a publish.
    pub retain: Option<bool>,
    /// Networks, one of which the address has to be in. Who has no address is in none.
    pub addresses: Vec<Network>,
    /// For each name values, one of which has to be among those of the attribute.
    pub attributes: Vec<(Box<str>, Vec<Box<str>>)>,
    /// Tenants, one of which it has to be.
    pub tenants: Vec<Box<str>>,
    /// The time.
    pub time: Option<TimeWindow>,
}

impl Condition {
    /// The same without what it asks of a message.
    pub(crate) fn beside_the_message(&self) -> Self {
        Self { qos: Vec::new(), retain: None, ..self.clone() }
    }

    /// Whether it holds for `who` at `now`; QoS and RETAIN are asked by [`Condition::publish_bits`].
    pub(crate) fn holds(&self, who: &Subject, now: u64) -> bool {
        let in_network = |address: IpAddr| self.addresses.iter().any(|network| network.contains(address));
        let has = |(name, values): &(Box<str>, Vec<Box<str>>)| {
            who.attributes.values(name).any(|value| values.iter().any(|wanted| **wanted == *value))
        };
        let is_tenant = |tenant: &str| self.tenants.iter().any(|wanted| **wanted == *tenant);
        (self.addresses.is_empty() || who.address.is_some_and(in_network))
            && (self.tenants.is_empty() || who.tenant.as_ref().is_some_and(|tenant| is_tenant(tenant.as_str())))
            && self.attributes.iter().all(has)
            && self.time.as_ref().is_none_or(|time| time.contains(now))
    }

    /// The ways of publishing it is about: bit of the QoS, three higher with RETAIN.
    pub(super) fn publish_bits(&self) -> u8 {
        let of_qos = if self.qos.is_empty() { 0b111 } else { self.qos.iter().fold(0, |bits, qos| bits | 1 << qos) };
        match self.retain {
            None => of_qos | of_qos << 3,
            Some(false) => of_qos,
            Some(true) => of_qos << 3,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any_of = |texts: Vec<String>| texts.join(" or ");
        let mut parts = Vec::new();
        if !self.qos.is_empty() {
            parts.push(format!("QoS {}", any_of(self.qos.iter().map(ToString::to_string).collect())));
        }
        parts.extend(self.retain.map(|retain| if retain { "with RETAIN" } else { "without RETAIN" }.to_owned()));
        if !self.addresses.is_empty() {
            parts.push(format!("address in {}", any_of(self.addresses.iter().map(ToString::to_string).collect())));
        }
        for (name, values) in &self.attributes {
            parts.push(format!("{name} = {}", any_of(values.iter().map(ToString::to_string).collect())));
        }
        if !self.tenants.is_empty() {
            parts.push(format!("tenant {}", any_of(self.tenants.iter().map(ToString::to_string).collect())));
        }
        parts.extend(self.time.as_ref().map(ToString::to_string));
        f.write_str(&parts.join(", "))
    }
}

/// Addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: u128,
    length: u32,
    is_v4: bool,
}

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// It is no address, with or without a length.
    #[error("an address with or without the length of its network, such as 10.0.0.0/8, is expected")]
    Malformed,
    /// Bits are set behind the length: it is unclear what is meant.
    #[error("the address has bits behind the length of its network")]
    BitsBehind,
}

impl Network {
    /// Reads a network.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let (first, is_v4) = bits(address);
        let longest = if is_v4 { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|length| *length <= longest).ok_or(NetworkError::Malformed)?
            }
            Some(_) => return Err(NetworkError::Malformed),
        };
        let network = Self { first, length, is_v4 };
        if first & !network.mask() != 0 { Err(NetworkError::BitsBehind) } else { Ok(network) }
    }

    /// Whether an address is in it. An IPv4 address that came as IPv6 is the same.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (address, is_v4) = bits(address);
        is_v4 == self.is_v4 && address & self.mask() == self.first
    }

    fn mask(self) -> u128 {
        let width = if self.is_v4 { 32 } else { 128 };
        let all = if self.is_v4 { u128::from(u32::MAX) } else { u128::MAX };
        match width - self.length {
            128 => 0,
            free => all & (u128::MAX << free),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v4 = u32::try_from(self.first).map(Ipv4Addr::from).ok().filter(|_| self.is_v4);
        match v4 {
            Some(address) => write!(f, "{address}/{}", self.length),
            None => write!(f, "{}/{}", Ipv6Addr::from(self.first), self.length),
        }
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    let v4 = |address: Ipv4Addr| (u128::from(u32::from(address)), true);
    let v6 = |address: Ipv6Addr| address.to_ipv4_mapped().map_or((u128::from(address), false), v4);
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

const MINUTE_S: i64 = 60;
const DAY_S: i64 = 24 * 60 * MINUTE_S;

/// Days and hours between two dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// Days of the week as bits, Monday first, on which its hours begin; all seven for each day.
    pub days: u8,
    /// Minutes of the day: the first that is in it and the first that is not. One that ends before it begins goes on
    /// past midnight; two that are the same are the whole day.
    pub hours: (u16, u16),
    /// Seconds east of UTC by which days and hours are counted.
    pub offset_s: i32,
    /// The first second that is in it.
    pub from: Option<u64>,
    /// The first second that is not in it any more.
    pub until: Option<u64>,
}

/// Names of the days, Monday first.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.days & 0x7f != 0x7f {
            let on = DAYS.iter().enumerate().filter(|(day, _)| self.days >> day & 1 == 1);
            parts.push(format!("on {}", on.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")));
        }
        if self.hours.0 != self.hours.1 {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let sign = if self.offset_s < 0 { '-' } else { '+' };
            let offset = clock(u16::try_from(self.offset_s.unsigned_abs() / 60).unwrap_or(0));
            parts.push(format!("from {} to {} (UTC{sign}{offset})", clock(self.hours.0), clock(self.hours.1)));
        }
        parts.extend(self.from.map(|second| format!("not before second {second}")));
        parts.extend(self.until.map(|second| format!("before second {second}")));
        f.write_str(&parts.join(" "))
    }
}

impl TimeWindow {
    /// Whether a second of Unix time is in it.
    #[must_use]
    pub fn contains(&self, now: u64) -> bool {
        if self.from.is_some_and(|from| now < from) || self.until.is_some_and(|until| now >= until) {
            return false;
        }
        let local = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(self.offset_s.into());
        let day = local.div_euclid(DAY_S);
        let minute = local.rem_euclid(DAY_S) / MINUTE_S;
        let (begin, end) = (i64::from(self.hours.0), i64::from(self.hours.1));
        // The first of January 1970 was a Thursday.
        let is_on = |day: i64| self.days & (1 << (day + 3).rem_euclid(7)) != 0;
        if begin < end {
            is_on(day) && (begin..end).contains(&minute)
        } else {
            (is_on(day) && minute >= begin) || (is_on(day - 1) && minute < end)
        }
    }
}

#[cfg(test)]
mod tests;
