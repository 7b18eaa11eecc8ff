//! What a user of Debian's `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr` sees.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

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
fn a_session_of_v5_keeps_what_has_not_expired() {
    let mut broker = Broker::quickstart();
    let (device, operator) = (broker.password(DEVICE), broker.password(OPERATOR));
    let args = ["-V", "mqttv5", "-c", "-i", "desk", "-x", "3600", "-q", "1", "-t", "sensors/#", "-F", "got %E %p"];
    let away = subscriber(&broker, &operator, &args);
    away.signal("KILL");
    away.finish();
    broker.closed("desk");
    let expiry = ["-V", "mqttv5", "-t", "sensors/device-1/n", "-D", "publish", "message-expiry-interval"];
    publish_well(&broker, &device, &[&expiry[..], &["600", "-q", "1", "-m", "long"]].concat());
    publish_well(&broker, &device, &[&expiry[..], &["1", "-q", "1", "-m", "short"]].concat());
    // Lifetimes are whole seconds of real time; nothing tells when one is over.
    thread::sleep(Duration::from_millis(1500));
    publish_well(&broker, &device, &["-V", "mqttv5", "-q", "1", "-t", "sensors/device-1/n", "-m", "last"]);
    let mut back = Child::start(mosquitto("mosquitto_sub", &broker, &operator, &[]).args(args));
    let heard = got(&mut back);
    let left: u32 = heard.strip_suffix(" long").expect("the long one").parse().expect("what is left of its lifetime");
    assert!((500..600).contains(&left), "{heard}");
    assert_eq!(got(&mut back), " last", "the short one is over");
}

#[test]
fn a_session_of_v5_ends_when_it_says() {
    let mut broker = Broker::quickstart();
    let (device, operator) = (broker.password(DEVICE), broker.password(OPERATOR));
    let args = ["-V", "mqttv5", "-c", "-i", "desk", "-x", "1", "-q", "1", "-t", "sensors/#"];
    let away = subscriber(&broker, &operator, &args);
    away.signal("INT");
    away.finish();
    publish_well(&broker, &device, &["-q", "1", "-t", "sensors/device-1/n", "-m", "too early"]);
    assert_eq!(broker.logged("session expired")["client_id"], "desk");
    let mut back = subscriber(&broker, &operator, &args);
    publish_well(&broker, &device, &["-q", "1", "-t", "sensors/device-1/n", "-m", "now"]);
    assert_eq!(got(&mut back), "sensors/device-1/n 1 0 now");
}

#[test]
fn a_retained_will_is_there_for_who_comes_late() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let mut watcher = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    for version in VERSIONS {
        let will = ["-V", version, "--will-topic", "sensors/device-1/state", "--will-qos", "1", "--will-retain"];
        let dying = [&will[..], &["--will-payload", version, "-t", "commands/device-1/#"]].concat();
        let dying = subscriber(&broker, &device, &dying);
        dying.signal("KILL");
        dying.finish();
        assert_eq!(got(&mut watcher), format!("sensors/device-1/state 1 0 {version}"));
        let mut late = subscriber(&broker, &operator, &["-V", version, "-q", "1", "-t", "sensors/#"]);
        assert_eq!(got(&mut late), format!("sensors/device-1/state 1 1 {version}"));
    }
}

#[test]
fn a_delayed_will_is_not_published_when_the_device_comes_back() {
    let mut broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let mut watcher = subscriber(&broker, &operator, &["-q", "1", "-t", "sensors/#"]);
    let session = ["-V", "mqttv5", "-c", "-i", "lamp", "-x", "3600", "-t", "commands/device-1/#"];
    let delayed = ["--will-topic", "sensors/device-1/state", "--will-qos", "1", "-D", "will", "will-delay-interval"];
    let dying = subscriber(&broker, &device, &[&session[..], &delayed[..], &["2", "--will-payload", "lost"]].concat());
    dying.signal("KILL");
    dying.finish();
    broker.closed("lamp");
    let back = subscriber(&broker, &device, &[&session[..], &delayed[..], &["0", "--will-payload", "again"]].concat());
    // Longer than the will of the first connection had to wait.
    thread::sleep(Duration::from_millis(2500));
    back.signal("KILL");
    back.finish();
    assert_eq!(got(&mut watcher), "sensors/device-1/state 1 0 again");
}

#[test]
fn members_of_a_shared_subscription_share_messages() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    for version in ["mqttv311", "mqttv5"] {
        let args = ["-V", version, "-q", "1", "-t", "$share/desks/sensors/+/n", "-t", "sensors/device-1/end"];
        let members = [subscriber(&broker, &operator, &args), subscriber(&broker, &operator, &args)];
        let numbers = ["-V", version, "-q", "1", "-t", "sensors/device-1/n", "-l"];
        let mut publisher = Child::start(&mut mosquitto("mosquitto_pub", &broker, &device, &numbers));
        (1..=20).for_each(|number| publisher.tell(&number.to_string()));
        let (status, said) = publisher.finish();
        assert!(status.success(), "{said}");
        publish_well(&broker, &device, &["-q", "1", "-t", "sensors/device-1/end", "-m", "end"]);
        let shares = members.map(|mut member| {
            std::iter::from_fn(|| got(&mut member).strip_prefix("sensors/device-1/n 1 0 ").map(str::to_owned))
                .map(|number| number.parse::<u32>().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(shares.iter().all(|share| !share.is_empty()), "each member gets some: {shares:?}");
        let all = shares.concat();
        assert_eq!(all.len(), 20, "none comes twice, none is missing: {shares:?}");
        assert_eq!(BTreeSet::from_iter(all), (1..=20).collect());
    }
}

#[test]
fn a_request_of_mosquitto_rr_finds_its_response() {
    let broker = Broker::quickstart();
    let (device, operator) = (Credentials::Certificate(DEVICE), Credentials::Certificate(OPERATOR));
    let args = ["-V", "mqttv5", "-q", "1", "-t", "commands/device-1/#", "-F", "got %R %D %p"];
    let mut responder = subscriber(&broker, &device, &args);
    let to = "sensors/device-1/answers/desk";
    let correlation = ["-D", "publish", "correlation-data", "no-7"];
    let request = ["-V", "mqttv5", "-q", "1", "-t", "commands/device-1/lamp", "-m", "on?", "-e", to];
    let request = [&request[..], &correlation[..], &["-F", "got %D %p"]].concat();
    let mut requester = Child::start(&mut mosquitto("mosquitto_rr", &broker, &operator, &request));
    assert_eq!(got(&mut responder), format!("{to} no-7 on?"));
    publish_well(&broker, &device, &[&["-V", "mqttv5", "-q", "1", "-t", to, "-m", "on!"], &correlation[..]].concat());
    assert_eq!(got(&mut requester), "no-7 on!");
    let (status, said) = requester.finish();
    assert!(status.success(), "{said}");
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
