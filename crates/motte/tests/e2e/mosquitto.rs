//! What a user of Debian's `mosquitto_pub` and `mosquitto_sub` sees.

use std::fs;

use crate::common::{Broker, Child, Credentials, DEVICE, DEVICE_2, OPERATOR, mosquitto};

/// Protocol versions by the words of `-V`.
const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// A subscriber that the broker has accepted; shows topics, QoS, retain flag and payload.
fn subscriber(broker: &Broker, credentials: &Credentials, args: &[&str]) -> Child {
    let mut command = mosquitto("mosquitto_sub", broker, credentials, &["-d", "-F", "got %t %q %r %p"]);
    let mut child = Child::start(command.args(args));
    child.take("the answer to SUBSCRIBE", |line| line.starts_with("Subscribed (mid: 1): "));
    child
}

#[track_caller]
fn got(subscriber: &mut Child) -> String {
    let line = subscriber.take("a message", |line| line.starts_with("got "));
    line["got ".len()..].to_owned()
}

/// Publishes; whether `mosquitto_pub` was content, and what it said.
fn publish(broker: &Broker, credentials: &Credentials, args: &[&str]) -> (bool, String) {
    let (status, said) = Child::start(&mut mosquitto("mosquitto_pub", broker, credentials, args)).finish();
    (status.success(), said)
}

#[track_caller]
fn publish_well(broker: &Broker, credentials: &Credentials, args: &[&str]) {
    let (content, said) = publish(broker, credentials, args);
    assert!(content, "{args:?}: {said}");
}

#[test]
fn messages_travel_with_every_version_at_every_qos() {
    let broker = Broker::quickstart();
    let device = broker.password(DEVICE);
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let operator = Credentials::Certificate(OPERATOR);
            let mut subscriber = subscriber(&broker, &operator, &["-V", version, "-q", qos, "-t", "sensors/#"]);
            let text = format!("21.5 {version} {qos}");
            publish_well(&broker, &device, &["-V", version, "-q", qos, "-t", "sensors/device-1/t", "-m", &text]);
            assert_eq!(got(&mut subscriber), format!("sensors/device-1/t {qos} 0 {text}"));
        }
    }
}

#[test]
fn versions_hear_each_other_at_the_lower_qos() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let mut old = subscriber(&broker, &operator, &["-V", "mqttv31", "-q", "1", "-t", "sensors/+/t"]);
    let mut new = subscriber(&broker, &operator, &["-V", "mqttv5", "-q", "0", "-t", "sensors/#"]);
    publish_well(&broker, &device, &["-V", "mqttv311", "-q", "2", "-t", "sensors/device-1/t", "-m", "x"]);
    assert_eq!(got(&mut old), "sensors/device-1/t 1 0 x");
    assert_eq!(got(&mut new), "sensors/device-1/t 0 0 x");
}

#[test]
fn a_retained_message_waits_for_the_subscriber_until_it_is_cleared() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    publish_well(&broker, &device, &["-q", "1", "-r", "-t", "sensors/device-1/t", "-m", "last"]);
    let mut first = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    assert_eq!(got(&mut first), "sensors/device-1/t 1 1 last");
    publish_well(&broker, &device, &["-q", "1", "-r", "-t", "sensors/device-1/t", "-n"]);
    publish_well(&broker, &device, &["-q", "1", "-r", "-t", "sensors/device-1/end", "-m", "end"]);
    let mut second = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    assert_eq!(got(&mut second), "sensors/device-1/end 1 1 end", "what was cleared does not come");
}

#[test]
fn a_will_is_published_when_a_device_dies_and_not_when_it_leaves() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let mut watcher = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    for version in VERSIONS {
        let will = ["-V", version, "--will-topic", "sensors/device-1/state", "--will-qos", "1", "--will-payload"];
        let leaving = [&will[..], &["left", "-t", "commands/device-1/#"]].concat();
        let leaving = subscriber(&broker, &device, &leaving);
        leaving.signal("INT");
        leaving.finish();
        if version == "mqttv5" {
            // Of 5.0 mosquitto_sub makes use: it leaves with reason 0x04, which asks for the will (MQTT-3.14.4-3).
            assert_eq!(got(&mut watcher), "sensors/device-1/state 1 0 left");
        }
        let dying = subscriber(&broker, &device, &[&will[..], &[version, "-t", "commands/device-1/#"]].concat());
        dying.signal("KILL");
        dying.finish();
        assert_eq!(got(&mut watcher), format!("sensors/device-1/state 1 0 {version}"));
    }
}

#[test]
fn messages_wait_for_a_session_that_is_away() {
    let broker = Broker::quickstart();
    let (device, operator) = (broker.password(DEVICE), broker.password(OPERATOR));
    let args = ["-V", "mqttv311", "-c", "-i", "operator-desk", "-q", "1", "-t", "sensors/#"];
    let away = subscriber(&broker, &operator, &args);
    away.signal("INT");
    away.finish();
    for number in ["1", "2", "3"] {
        publish_well(&broker, &device, &["-q", "1", "-t", "sensors/device-1/n", "-m", number]);
    }
    let mut back = Child::start(mosquitto("mosquitto_sub", &broker, &operator, &["-F", "got %t %q %r %p"]).args(args));
    for number in ["1", "2", "3"] {
        assert_eq!(got(&mut back), format!("sensors/device-1/n 1 0 {number}"));
    }
}

#[test]
fn without_credentials_nobody_comes_in() {
    let broker = Broker::quickstart();
    for (version, word) in [("mqttv31", "not authorised"), ("mqttv311", "not authorised"), ("mqttv5", "Not authorized")]
    {
        let (content, said) =
            publish(&broker, &Credentials::None, &["-V", version, "-t", "sensors/device-1/t", "-m", "x"]);
        assert!(!content, "{version}: {said}");
        assert!(said.to_lowercase().contains(&word.to_lowercase()), "{version}: {said}");
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let mut broker = Broker::quickstart();
    let mut answers = Vec::new();
    for credentials in [
        Credentials::Password(DEVICE, "not the password".to_owned()),
        Credentials::Password("nobody", "not the password".to_owned()),
        Credentials::Password(DEVICE, String::new()),
    ] {
        let (content, said) = publish(&broker, &credentials, &["-V", "mqttv5", "-t", "sensors/device-1/t", "-m", "x"]);
        assert!(!content, "{credentials:?}: {said}");
        answers.push(said);
        let line = broker.logged("refused");
        assert!(!line.to_string().contains("not the password"), "a log holds no passwords: {line}");
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0], answers[2]);
}

#[test]
fn a_certificate_of_a_foreign_ca_is_refused() {
    let (broker, other) = (Broker::quickstart(), Broker::quickstart());
    let mut command = mosquitto("mosquitto_pub", &broker, &Credentials::None, &["-t", "sensors/device-1/t", "-m", "x"]);
    command.arg("--cert").arg(other.certificate(DEVICE)).arg("--key").arg(other.key(DEVICE));
    let (status, said) = Child::start(&mut command).finish();
    assert!(!status.success(), "{said}");
}

#[test]
fn a_client_with_another_ca_does_not_trust_the_broker() {
    let (broker, other) = (Broker::quickstart(), Broker::quickstart());
    let mut command =
        mosquitto("mosquitto_pub", &broker, &broker.password(DEVICE), &["-t", "sensors/device-1/t", "-m", "x"]);
    command.arg("--cafile").arg(other.ca());
    let (status, said) = Child::start(&mut command).finish();
    assert!(!status.success(), "{said}");
    assert!(said.contains("TLS error") || said.contains("certificate verify failed"), "{said}");
}

#[test]
fn a_denied_topic_is_not_delivered_and_only_v5_is_told() {
    let mut broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let mut watcher = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    let denied = "sensors/device-2/t";
    let (_, said) = publish(&broker, &device, &["-V", "mqttv5", "-d", "-q", "1", "-t", denied, "-m", "forged"]);
    assert!(said.contains("Not authorized") || said.contains("RC:135"), "{said}");
    assert_eq!(broker.logged("denied")["topic"], denied);
    publish_well(&broker, &device, &["-V", "mqttv311", "-q", "1", "-t", denied, "-m", "forged"]);
    publish_well(&broker, &device, &["-V", "mqttv31", "-q", "2", "-t", denied, "-m", "forged"]);
    publish_well(&broker, &device, &["-q", "1", "-t", "sensors/device-1/t", "-m", "honest"]);
    assert_eq!(got(&mut watcher), "sensors/device-1/t 1 0 honest");
}

#[test]
fn a_subscription_of_which_nothing_may_be_heard_is_refused() {
    let broker = Broker::quickstart();
    let device = Credentials::Certificate(DEVICE);
    for version in ["mqttv311", "mqttv5"] {
        for filter in ["sensors/#", "commands/device-2/#", "elsewhere/+"] {
            let args = ["-V", version, "-W", "30", "-t", filter];
            // mosquitto_sub ends with status 0 all the same; what it says is what a user has.
            let (_, said) = Child::start(&mut mosquitto("mosquitto_sub", &broker, &device, &args)).finish();
            assert!(said.contains("denied"), "{version} {filter}: {said}");
        }
    }
}

#[test]
fn a_client_of_3_1_that_cannot_be_told_of_a_refused_subscription_is_dropped() {
    let mut broker = Broker::quickstart();
    let args = ["-V", "mqttv31", "-t", "sensors/#"];
    let _client = Child::start(&mut mosquitto("mosquitto_sub", &broker, &Credentials::Certificate(DEVICE), &args));
    assert_eq!(broker.logged("denied")["topic"], "sensors/#");
    let detail = broker.logged("closed")["detail"].to_string();
    assert!(detail.contains("subscription was refused"), "{detail}");
}

#[test]
fn of_a_wide_subscription_only_what_is_allowed_is_heard() {
    let broker = Broker::quickstart();
    let operator = broker.password(OPERATOR);
    for version in VERSIONS {
        let args = ["-V", version, "-q", "1", "-t", "#"];
        let mut device = subscriber(&broker, &Credentials::Certificate(DEVICE), &args);
        publish_well(&broker, &operator, &["-q", "1", "-t", "commands/device-2/lamp", "-m", "not for one"]);
        publish_well(&broker, &operator, &["-q", "1", "-t", "commands/device-1/lamp", "-m", "for one"]);
        assert_eq!(got(&mut device), "commands/device-1/lamp 1 0 for one");
    }
}

#[test]
fn a_command_reaches_its_device_only() {
    let broker = Broker::quickstart();
    let operator = broker.password(OPERATOR);
    let mut one = subscriber(&broker, &Credentials::Certificate(DEVICE), &["-q", "1", "-t", "commands/device-1/#"]);
    let mut two = subscriber(&broker, &broker.password(DEVICE_2), &["-q", "1", "-t", "commands/device-2/#"]);
    publish_well(&broker, &operator, &["-q", "1", "-t", "commands/device-1/lamp", "-m", "on"]);
    publish_well(&broker, &operator, &["-q", "1", "-t", "commands/device-2/lamp", "-m", "off"]);
    assert_eq!(got(&mut one), "commands/device-1/lamp 1 0 on");
    assert_eq!(got(&mut two), "commands/device-2/lamp 1 0 off");
}

#[test]
fn a_user_made_by_mosquitto_passwd_comes_in() {
    let mut broker = Broker::quickstart();
    let made = broker.scratch("made-by-mosquitto");
    let mut command = std::process::Command::new("mosquitto_passwd");
    let (status, said) = Child::start(command.args(["-b", "-c"]).arg(&made).args(["newcomer", "a secret"])).finish();
    assert!(status.success(), "{said}");
    let both = fs::read_to_string(broker.file("passwords")).unwrap() + &fs::read_to_string(&made).unwrap();
    broker.reload_with("passwords", &both);
    broker.logged("reloaded: certificates, passwords and access rules");
    let newcomer = Credentials::Password("newcomer", "a secret".to_owned());
    publish_well(&broker, &newcomer, &["-V", "mqttv311", "-q", "1", "-t", "sensors/newcomer/t", "-m", "x"]);
}
