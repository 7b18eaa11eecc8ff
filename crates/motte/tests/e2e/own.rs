//! Motte's own client commands beside foreign ones, against the broker of `motte quickstart`.

use std::process::Command;

use crate::common::broker::motte;
use crate::common::{Broker, Child, Credentials, DEVICE, OPERATOR, mosquitto};

/// `motte pub` or `motte sub` with the certificate of a client.
fn own(command: &str, broker: &Broker, name: &str, args: &[&str]) -> Command {
    let mut program = motte();
    program.args([command, "-h", "localhost", "-p", &broker.mqtts().to_string(), "--cafile"]).arg(broker.ca());
    program.arg("--cert").arg(broker.certificate(name)).arg("--key").arg(broker.key(name)).args(args);
    program
}

fn connect(broker: &Broker, args: &[&str]) -> (bool, String) {
    let mut program = motte();
    program.args(["connect", "--broker", "localhost", "--port", &broker.mqtts().to_string(), "--tls-cert-path"]);
    program.arg(broker.ca()).arg("--cert").arg(broker.certificate(OPERATOR)).arg("--key").arg(broker.key(OPERATOR));
    let (status, said) = Child::start(program.args(args)).finish();
    (status.success(), said)
}

#[test]
fn connect_says_the_line_and_names_the_hybrid_key_exchange() {
    let broker = Broker::quickstart();
    let line =
        format!("Connected securely to localhost on port {} using cert {}", broker.mqtts(), broker.ca().display());
    assert_eq!(connect(&broker, &[]), (true, line.clone()));
    let (content, said) = connect(&broker, &["-v"]);
    assert!(content && said.lines().next() == Some(&*line), "{said}");
    for word in ["TLS 1.3", "X25519MLKEM768", "localhost", "127.0.0.1"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn connect_with_another_ca_fails_with_status_8() {
    let (broker, other) = (Broker::quickstart(), Broker::quickstart());
    let mut program = motte();
    program.args(["connect", "--broker", "localhost", "--port", &broker.mqtts().to_string(), "--tls-cert-path"]);
    let (status, said) = Child::start(program.arg(other.ca())).finish();
    assert_eq!(status.code(), Some(8), "{said}");
    assert!(said.contains("error: ") && said.contains("hint: ") && !said.contains("Connected"), "{said}");
}

#[test]
fn own_and_foreign_commands_hear_each_other() {
    let broker = Broker::quickstart();
    let mut own_sub = Child::start(&mut own("sub", &broker, OPERATOR, &["-t", "sensors/#", "-v", "-q", "1", "-d"]));
    own_sub.take("the end of subscribing", |line| line.starts_with("subscribed"));
    let operator = Credentials::Certificate(OPERATOR);
    let mut foreign_sub = Child::start(
        mosquitto("mosquitto_sub", &broker, &operator, &["-d", "-v", "-q", "1"]).args(["-t", "sensors/#"]),
    );
    foreign_sub.take("the answer to SUBSCRIBE", |line| line.starts_with("Subscribed (mid: 1): "));
    for version in ["5", "311", "31"] {
        let payload = format!("own {version}");
        let args = ["-V", version, "-q", "2", "-t", "sensors/device-1/t", "-m", &payload];
        let (status, said) = Child::start(&mut own("pub", &broker, DEVICE, &args)).finish();
        assert!(status.success(), "{said}");
    }
    let args = ["-q", "1", "-t", "sensors/device-1/t", "-m", "foreign"];
    let device = Credentials::Certificate(DEVICE);
    let (status, said) = Child::start(&mut mosquitto("mosquitto_pub", &broker, &device, &args)).finish();
    assert!(status.success(), "{said}");
    for payload in ["own 5", "own 311", "own 31", "foreign"] {
        let wanted = format!("sensors/device-1/t {payload}");
        own_sub.take(&wanted, |line| line == wanted);
        foreign_sub.take(&wanted, |line| line == wanted);
    }
}

#[test]
fn a_refused_publish_and_a_refused_subscription_are_failures() {
    let broker = Broker::quickstart();
    let (status, said) =
        Child::start(&mut own("pub", &broker, DEVICE, &["-q", "1", "-t", "sensors/device-2/t", "-m", "x"])).finish();
    assert_eq!(status.code(), Some(12), "{said}");
    let (status, said) = Child::start(&mut own("sub", &broker, DEVICE, &["-t", "sensors/#"])).finish();
    assert_eq!(status.code(), Some(12), "{said}");
}

#[test]
fn commands_meet_over_a_unix_socket_and_over_websocket_without_tls() {
    let broker = Broker::quickstart();
    let Credentials::Password(_, password) = broker.password(OPERATOR) else { panic!("a password") };
    let doors = "[[listener]]\nname = \"local\"\ntransport = \"unix\"\naddress = \"mqtt.sock\"\n\
        [[listener]]\nname = \"page\"\ntransport = \"ws\"\naddress = \"127.0.0.1:0\"\n";
    let text = std::fs::read_to_string(broker.file("motte.toml")).unwrap();
    std::fs::write(broker.file("motte.toml"), text + doors).unwrap();
    let mut broker = broker.restart();
    let listening: [_; 2] = std::array::from_fn(|_| broker.logged("listening"));
    assert_eq!((&listening[0]["scheme"], &listening[1]["scheme"]), (&"unix".into(), &"ws".into()));
    let (socket, page) = (broker.file("mqtt.sock"), format!("ws://{}/mqtt", listening[1]["address"].as_str().unwrap()));
    let as_operator = |command: &str, args: &[&str]| {
        let mut program = motte();
        program.args([command, "-u", OPERATOR, "-t", "commands/x"]).args(args).env("MOTTE_PASSWORD", &password);
        program
    };
    let unix = ["--unix", socket.to_str().unwrap()];
    let mut sub = Child::start(as_operator("sub", &unix).args(["-q", "1", "-d"]));
    sub.take("the end of subscribing", |line| line.starts_with("subscribed"));
    let (status, said) = Child::start(as_operator("pub", &unix).args(["-q", "1", "-m", "by unix"])).finish();
    assert!(status.success() && !said.contains("warning"), "{said}");
    sub.take("by unix", |line| line == "by unix");
    let (status, said) = Child::start(&mut as_operator("pub", &["-q", "1", "-m", "by ws", "-L", &page])).finish();
    assert!(status.success() && said.contains("no TLS"), "the danger is named: {said}");
    sub.take("by ws", |line| line == "by ws");
    let mut foreign = Command::new("mosquitto_pub");
    foreign.args(unix).args(["-u", OPERATOR, "-P", &password, "-t", "commands/x", "-q", "1", "-m", "foreign"]);
    let (status, said) = Child::start(&mut foreign).finish();
    assert!(status.success(), "{said}");
    sub.take("foreign", |line| line == "foreign");
    let mut typed = motte();
    typed.args(["pub", "-L", &page, "-u", OPERATOR, "-P", &password, "-t", "commands/x", "-n"]);
    let (status, said) = Child::start(&mut typed).finish();
    assert_eq!(status.code(), Some(2), "a typed password stays here: {said}");
}
