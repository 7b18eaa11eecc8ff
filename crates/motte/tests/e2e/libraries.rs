//! What a program built on Paho for Python, MQTT.js, rumqttc or mqrstt sees.

use serde_json::json;

use crate::common::{Broker, Credentials, DEVICE, OPERATOR, Puppet};

/// The two ways of MQTT.js to the broker.
const SCHEMES: [&str; 2] = ["mqtts", "wss"];

#[track_caller]
fn exchange(device: &mut Puppet, operator: &mut Puppet) {
    assert_eq!(operator.subscribe("sensors/#", 2), json!([2]));
    assert_eq!(device.subscribe("commands/device-1/#", 1), json!([1]));
    for qos in [0, 1, 2] {
        let text = format!("23.{qos} °C");
        device.publish("sensors/device-1/t", &text, qos, false);
        assert_eq!(operator.message(), ("sensors/device-1/t".to_owned(), text, u64::from(qos), false));
    }
    operator.publish("commands/device-1/lamp", "on", 2, false);
    assert_eq!(device.message(), ("commands/device-1/lamp".to_owned(), "on".to_owned(), 1, false));
}

#[test]
fn paho_exchanges_messages_with_every_version() {
    let broker = Broker::quickstart();
    for protocol in ["3.1", "3.1.1", "5"] {
        let certificate = Credentials::Certificate(DEVICE);
        let mut device = Puppet::paho(&broker, protocol, &certificate, &json!({"id": "d"})).connected();
        let mut operator = Puppet::paho(&broker, protocol, &broker.password(OPERATOR), &json!({"id": "o"})).connected();
        exchange(&mut device, &mut operator);
        device.leave();
        operator.leave();
    }
}

#[test]
fn mqttjs_exchanges_messages_over_tls_and_secure_websocket() {
    let broker = Broker::quickstart();
    for scheme in SCHEMES {
        for protocol in ["3.1.1", "5"] {
            let certificate = Credentials::Certificate(DEVICE);
            let mut device = Puppet::mqttjs(&broker, scheme, protocol, &certificate, &json!({})).connected();
            let password = broker.password(OPERATOR);
            let mut operator = Puppet::mqttjs(&broker, scheme, protocol, &password, &json!({})).connected();
            exchange(&mut device, &mut operator);
            device.leave();
            operator.leave();
        }
    }
}

#[test]
fn a_browser_and_a_device_hear_each_other() {
    let broker = Broker::quickstart();
    let mut device = Puppet::paho(&broker, "3.1.1", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    let mut browser = Puppet::mqttjs(&broker, "wss", "5", &broker.password(OPERATOR), &json!({})).connected();
    exchange(&mut device, &mut browser);
}

#[test]
fn paho_is_told_why_it_is_refused() {
    let broker = Broker::quickstart();
    let wrong = Credentials::Password(DEVICE, "wrong".to_owned());
    for (credentials, reason) in [(&wrong, 134), (&Credentials::None, 135)] {
        // Paho shows return codes of 3.1.1 as the reason codes of 5.0 that mean the same: 4 is 134 and 5 is 135.
        for protocol in ["3.1.1", "5"] {
            let mut client = Puppet::paho(&broker, protocol, credentials, &json!({"id": "d"}));
            assert_eq!(client.event("refused")["reason"], reason, "{protocol} {credentials:?}");
        }
    }
}

#[test]
fn mqttjs_is_told_why_it_is_refused() {
    let broker = Broker::quickstart();
    for scheme in SCHEMES {
        for (protocol, reason) in [("3.1.1", 5), ("5", 135)] {
            let mut client = Puppet::mqttjs(&broker, scheme, protocol, &Credentials::None, &json!({}));
            assert_eq!(client.event("refused")["reason"], reason, "{scheme} {protocol}");
        }
    }
}

/// The libraries in Rust, the versions they speak, and their word for "not authorized".
const RUST: [(&str, &str, &str); 3] =
    [("rumqttc", "3.1.1", "5"), ("rumqttc", "5", "\"NotAuthorized\""), ("mqrstt", "5", "135")];

#[test]
fn rust_libraries_are_told_why_they_are_refused() {
    let broker = Broker::quickstart();
    for (library, protocol, reason) in RUST {
        let mut client = Puppet::rust(&broker, library, protocol, &Credentials::None, &json!({"id": "d"}));
        assert_eq!(client.event("refused")["reason"].to_string(), reason, "{library} {protocol}");
    }
}

#[test]
fn libraries_with_another_ca_do_not_trust_the_broker() {
    let (broker, other) = (Broker::quickstart(), Broker::quickstart());
    let password = broker.password(DEVICE);
    let more = json!({"id": "d", "ca": other.ca()});
    let what = Puppet::paho(&broker, "5", &password, &more).event("error")["what"].to_string();
    assert!(what.contains("CERTIFICATE_VERIFY_FAILED"), "{what}");
    for (library, protocol, _) in RUST {
        let what = Puppet::rust(&broker, library, protocol, &password, &more).event("error")["what"].to_string();
        assert!(what.contains("invalid peer certificate"), "{library} {protocol}: {what}");
    }
    for scheme in SCHEMES {
        let what = Puppet::mqttjs(&broker, scheme, "5", &password, &more).event("error")["what"].to_string();
        assert!(what.to_lowercase().contains("certificate") || what.contains("SIGNATURE"), "{what}");
    }
}

#[test]
fn libraries_are_told_what_is_denied() {
    let broker = Broker::quickstart();
    let device = Credentials::Certificate(DEVICE);
    let mut paho = Puppet::paho(&broker, "5", &device, &json!({"id": "p"})).connected();
    assert_eq!(paho.subscribe("sensors/#", 1), json!([135]));
    assert_eq!(paho.publish("sensors/device-2/t", "forged", 1, false), 135);
    // Paho answers a PUBREC of refusal with a PUBREL, against the standard, and shows what the broker says to that.
    assert_eq!(paho.publish("sensors/device-2/t", "forged", 2, false), 146);
    let mut old = Puppet::paho(&broker, "3.1.1", &device, &json!({"id": "o"})).connected();
    assert_eq!(old.subscribe("sensors/#", 1), json!([128]));
    assert_eq!(old.publish("sensors/device-2/t", "forged", 1, false), 0, "3.1.1 has no word for it");
    let mut browser = Puppet::mqttjs(&broker, "wss", "5", &device, &json!({})).connected();
    assert_eq!(browser.subscribe("sensors/#", 1), json!([135]));
    assert_eq!(browser.publish("sensors/device-2/t", "forged", 1, false), 135);
    assert_eq!(browser.publish("sensors/device-2/t", "forged", 2, false), 135);
}

#[test]
fn a_second_connection_with_the_same_client_id_takes_the_session() {
    let broker = Broker::quickstart();
    let operator = broker.password(OPERATOR);
    let settings = json!({"id": "desk", "clean": false});
    let mut first = Puppet::mqttjs(&broker, "mqtts", "5", &operator, &settings).connected();
    assert_eq!(first.subscribe("sensors/#", 1), json!([1]));
    let mut second = Puppet::paho(&broker, "5", &operator, &settings);
    assert_eq!(second.event("connected")["session_present"], true);
    assert_eq!(first.event("disconnected")["reason"], 0x8E);
    let mut device = Puppet::paho(&broker, "5", &Credentials::Certificate(DEVICE), &json!({"id": "d"})).connected();
    device.publish("sensors/device-1/t", "x", 1, false);
    assert_eq!(second.message().1, "x", "the subscription lives on");
}

#[test]
fn somebody_else_cannot_take_a_session_by_its_client_id() {
    let broker = Broker::quickstart();
    let mut owner = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "desk"})).connected();
    let mut thief = Puppet::paho(&broker, "5", &broker.password(DEVICE), &json!({"id": "desk"}));
    thief.event("refused");
    assert_eq!(owner.subscribe("sensors/#", 1), json!([1]), "the owner does not notice");
    assert!(!owner.has_event("disconnected"));
}

#[test]
fn a_client_without_a_name_is_given_one() {
    let broker = Broker::quickstart();
    let device = Credentials::Certificate(DEVICE);
    let mut new = Puppet::paho(&broker, "5", &device, &json!({}));
    let assigned = new.event("connected")["assigned"].clone();
    assert!(assigned.as_str().is_some_and(|name| !name.is_empty()), "{assigned}");
    Puppet::paho(&broker, "3.1.1", &device, &json!({})).connected();
}

#[test]
fn a_will_of_a_library_is_published_when_its_program_dies() {
    let broker = Broker::quickstart();
    let mut operator = Puppet::paho(&broker, "5", &broker.password(OPERATOR), &json!({"id": "o"})).connected();
    operator.subscribe("sensors/#", 1);
    let will = json!({"will": {"topic": "sensors/device-1/state", "payload": "lost", "qos": 1, "retain": true}});
    let device = Credentials::Certificate(DEVICE);
    let lost = ("sensors/device-1/state".to_owned(), "lost".to_owned(), 1, false);
    Puppet::paho(&broker, "3.1.1", &device, &will).connected().die();
    assert_eq!(operator.message(), lost);
    Puppet::mqttjs(&broker, "wss", "5", &device, &will).connected().die();
    assert_eq!(operator.message(), lost);
}
