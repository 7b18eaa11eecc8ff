//! The node renews its own certificate.

use std::time::{Duration, SystemTime};

use motte_node::settings::RenewalSettings;
use motte_node::{Renewal, renew_if_due};
use motte_pki::{CertificateFacts, Role};

use crate::support::{House, connect_as_alice, logged};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn house() -> House {
    let mut house = House::new();
    let renewal = RenewalSettings { ca_certificate: house.path("ca.pem"), ca_key: house.path("ca.key"), days: 60 };
    house.settings.tls.renewal = Some(renewal);
    house
}

fn certificate(house: &House) -> CertificateFacts {
    CertificateFacts::from_pem(&std::fs::read_to_string(house.path("server.pem")).unwrap()).unwrap().remove(0)
}

#[test]
fn a_certificate_is_renewed_in_the_last_third_of_its_life_with_the_same_names() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = house();
    let old = certificate(&house);
    let now = SystemTime::now();
    let early = renew_if_due(&house.settings.tls, now + 19 * DAY).unwrap();
    assert!(matches!(early, Renewal::NotDue { days_left: 10 | 11 }), "{early:?}");
    assert_eq!(certificate(&house), old);
    let due = renew_if_due(&house.settings.tls, now + 21 * DAY).unwrap();
    assert!(matches!(due, Renewal::Renewed { days_left: 59 | 60 }), "{due:?}");
    let new = certificate(&house);
    assert_eq!((&new.names, &new.subject_common_name), (&old.names, &old.subject_common_name));
    assert_ne!(new.serial_hex, old.serial_hex);
    let mode = |name: &str| std::fs::metadata(house.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("server.key"), mode("server.pem")), (0o600, 0o644));
}

#[test]
fn a_node_with_an_old_certificate_renews_it_at_the_start() {
    let house = house();
    house.issue("server", Role::Server, "localhost", SystemTime::now() - 25 * DAY);
    let node = house.start();
    logged(|line| line["message"] == "the server certificate was renewed");
    assert_eq!(house.served_certificate(node.address()), certificate(&house).sha256);
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("a")), 0);
}

#[test]
fn a_renewal_that_was_cut_between_its_renames_is_finished_at_the_next_start() {
    let house = house();
    let old = std::fs::read(house.path("server.pem")).unwrap();
    house.issue("server", Role::Server, "localhost", SystemTime::now());
    std::fs::rename(house.path("server.pem"), house.path("server.pem.next")).unwrap();
    std::fs::write(house.path("server.pem"), old).unwrap();
    let node = house.start();
    assert!(!house.path("server.pem.next").exists());
    drop(house.open(node.address(), None, b"mqtt"));
}

#[test]
fn without_renewal_settings_nothing_is_touched() {
    let house = House::new();
    let far = SystemTime::now() + 400 * DAY;
    assert_eq!(renew_if_due(&house.settings.tls, far).unwrap(), Renewal::Off);
}

#[test]
fn a_ca_that_is_gone_is_an_alarm_and_the_node_goes_on() {
    let house = house();
    house.issue("server", Role::Server, "localhost", SystemTime::now() - 25 * DAY);
    std::fs::remove_file(house.path("ca.key")).unwrap();
    let node = house.start();
    let line = logged(|line| line["message"].as_str().is_some_and(|text| text.contains("could not be renewed")));
    assert_eq!(line["level"], "ERROR");
    drop(house.open(node.address(), None, b"mqtt"));
}

#[test]
fn an_old_certificate_that_is_read_again_is_renewed_at_once() {
    let house = house();
    let node = house.start();
    house.issue("server", Role::Server, "reread.example", SystemTime::now() - 25 * DAY);
    let old = certificate(&house).sha256;
    node.handle.reload().unwrap();
    logged(|line| line["message"] == "the server certificate was renewed");
    assert_ne!(house.served_certificate(node.address()), old);
}
