//! Networks, windows of time, and what else a rule can ask for.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;
use crate::identity::{ClientId, Identity};

fn from(address: &str) -> Subject {
    let who = Subject::new(Identity::Anonymous, ClientId("c".into()));
    Subject { address: Some(address.parse().unwrap()), ..who }
}

#[test]
fn a_network_holds_the_addresses_that_begin_like_it() {
    let cases = [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "2001:db8::1", false),
        ("::/0", "2001:db8::1", true),
        ("::/0", "10.0.0.1", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("192.0.2.0/25", "192.0.2.128", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
    ];
    for (network, address, holds) in cases {
        let condition = Condition { addresses: vec![Network::parse(network).unwrap()], ..Condition::default() };
        assert_eq!(condition.holds(&from(address), 0), holds, "{network} {address}");
    }
    let nowhere = Subject::new(Identity::Anonymous, ClientId("c".into()));
    let anywhere = Condition { addresses: vec![Network::parse("0.0.0.0/0").unwrap()], ..Condition::default() };
    assert!(!anywhere.holds(&nowhere, 0), "whoever has no address is in no network");
}

#[test]
fn what_is_no_network_is_refused() {
    for text in ["", "10.0.0.0/", "10.0.0.0/33", "10.0.0/8", "::/129", "a", "10.0.0.0/+8", "10.0.0.0/8/8"] {
        assert_eq!(Network::parse(text), Err(NetworkError::Malformed), "{text}");
    }
    assert_eq!(Network::parse("10.0.0.1/8"), Err(NetworkError::BitsBehind));
}

/// Seconds of Unix time: a day counted from Monday, the 3rd of November 2025, with hour and minute.
fn at(day: u64, hour: u64, minute: u64) -> u64 {
    1_762_128_000 + ((day * 24 + hour) * 60 + minute) * 60
}

#[test]
fn a_window_opens_and_closes_to_the_minute() {
    let all = TimeWindow { days: 0b111_1111, hours: (0, 0), offset_s: 0, from: None, until: None };
    let work = TimeWindow { days: 0b1_1111, hours: (8 * 60, 17 * 60 + 30), ..all };
    assert!(work.contains(at(0, 8, 0)) && work.contains(at(4, 17, 29)));
    assert!(!work.contains(at(0, 7, 59)) && !work.contains(at(0, 17, 30)) && !work.contains(at(5, 12, 0)));
    let friday_night = TimeWindow { days: 1 << 4, hours: (22 * 60, 6 * 60), ..all };
    assert!(friday_night.contains(at(4, 22, 0)) && friday_night.contains(at(5, 5, 59)));
    assert!(!friday_night.contains(at(4, 5, 0)) && !friday_night.contains(at(5, 22, 0)));
    let east = TimeWindow { offset_s: 2 * 3_600, ..work };
    assert!(east.contains(at(0, 6, 0)) && !east.contains(at(0, 15, 30)) && !east.contains(at(0, 5, 59)));
    assert!(all.contains(0) && all.contains(u64::MAX));
    let dated = TimeWindow { from: Some(at(1, 0, 0)), until: Some(at(2, 0, 0)), ..all };
    assert!(dated.contains(at(1, 0, 0)) && dated.contains(at(2, 0, 0) - 1));
    assert!(!dated.contains(at(1, 0, 0) - 1) && !dated.contains(at(2, 0, 0)));
}

#[test]
fn qos_and_retain_leave_the_ways_of_publishing_they_name() {
    let bits = |qos: &[u8], retain| Condition { qos: qos.into(), retain, ..Condition::default() }.publish_bits();
    assert_eq!(bits(&[], None), 0b111_111);
    assert_eq!(bits(&[0, 2], None), 0b101_101);
    assert_eq!(bits(&[1], Some(true)), 0b010_000);
    assert_eq!(bits(&[], Some(false)), 0b000_111);
}
