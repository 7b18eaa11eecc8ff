//! A password that is proved and never sent: `motte passwd --scram`, `--auth-method`, and a client that is not ours.

use serde_json::{Value, json};

use crate::common::broker::motte;
use crate::common::foreign::scram_client;
use crate::common::{Broker, Child, OPERATOR, mosquitto};

/// The quickstart broker with another password for the operator, who may prove it by SCRAM.
fn broker() -> (Broker, String) {
    let mut broker = Broker::quickstart();
    let mut set = motte();
    set.args(["passwd", "-f"]).arg(broker.file("passwords")).args(["set", OPERATOR, "--scram"]);
    let (status, said) = Child::start(&mut set).finish();
    assert!(status.success(), "{said}");
    let is_password = |line: &&str| line.len() == 32 && !line.contains(' ');
    let password = said.lines().find(is_password).expect("the password is shown").to_owned();
    broker.reload();
    broker.logged("reloaded: certificates, passwords and access rules");
    (broker, password)
}

/// Runs a client command as `user`; exit status and everything it says.
fn run(broker: &Broker, user: &str, password: &str, args: &[&str]) -> (Option<i32>, String) {
    let (status, said) = Child::start(&mut command(broker, user, password, args)).finish();
    (status.code(), said)
}

fn command(broker: &Broker, user: &str, password: &str, args: &[&str]) -> std::process::Command {
    let mut program = motte();
    let (name, rest) = args.split_first().expect("a command");
    let cafile = if *name == "connect" { "--tls-cert-path" } else { "--cafile" };
    program.arg(name).args(["--host", "localhost", "-p", &broker.mqtts().to_string(), cafile]).arg(broker.ca());
    program.args(["-u", user, "--auth-method", "SCRAM-SHA-256"]).args(rest).env("MOTTE_PASSWORD", password);
    program
}

#[test]
fn our_client_proves_the_password_and_others_do_not_notice() {
    let (mut broker, password) = broker();
    let (code, said) = run(&broker, OPERATOR, &password, &["connect", "-i", "proved"]);
    assert_eq!(code, Some(0), "{said}");
    let admitted = broker.logged("admitted");
    assert_eq!((&admitted["client_id"], &admitted["user"]), (&json!("proved"), &json!(OPERATOR)));
    let credentials = crate::common::Credentials::Password(OPERATOR, password.clone());
    let args = ["-t", "commands/#", "-C", "1", "-d", "-W", "20"];
    let mut listener = Child::start(&mut mosquitto("mosquitto_sub", &broker, &credentials, &args));
    listener.take("the SUBACK", |line| line.contains("Subscribed"));
    let args = ["pub", "-t", "commands/lamp", "-m", "on", "-q", "1"];
    let (code, said) = run(&broker, OPERATOR, &password, &args);
    assert_eq!(code, Some(0), "{said}");
    listener.take("the message", |line| line == "on");
}

#[test]
fn whoever_cannot_prove_it_gets_the_code_of_a_wrong_password() {
    let (broker, password) = broker();
    // Whoever has no SCRAM record is as unknown to it as anybody.
    for (user, password) in [(OPERATOR, "wrong"), ("nobody", &*password), ("device-1", &*password)] {
        let (code, said) = run(&broker, user, password, &["connect"]);
        assert_eq!(code, Some(134), "{user}: {said}");
        assert!(said.contains("the broker refused the connection: bad user name or password"), "{user}: {said}");
    }
    let (code, said) = run(&broker, OPERATOR, &password, &["connect", "-V", "311"]);
    assert!(code == Some(2) && said.contains("SCRAM-SHA-256 cannot be used: only MQTT 5 has it"), "{said}");
    let (code, said) = run(&broker, OPERATOR, "geh\u{e4}im", &["connect"]);
    assert!(code == Some(2) && said.contains("printable ASCII"), "{said}");
}

#[test]
fn a_client_that_is_not_ours_proves_itself_and_again() {
    let (broker, password) = broker();
    let ends: Vec<Value> = scram_client(&broker, OPERATOR, &[&password, &password, "wrong"]);
    let end = |packet: &str, reason: u8, proved: bool| json!({"packet": packet, "reason": reason, "proved": proved});
    assert_eq!(ends, [end("connack", 0, true), end("auth", 0, true), end("disconnect", 0x87, false)]);
    let ends: Vec<Value> = scram_client(&broker, OPERATOR, &["wrong"]);
    assert_eq!(ends, [end("connack", 0x86, false)]);
}
