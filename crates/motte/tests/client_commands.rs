//! `motte connect`, `motte pub` and `motte sub` as a user runs them, against Debian's Mosquitto.
//! Run by `cargo nextest`; what is asserted is what a user sees: output, errors and exit codes.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::SystemTime;

use support::{Mosquitto, Pki};

fn motte(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_motte"));
    command.args(arguments).env_remove("MOTTE_PASSWORD").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code, standard output, standard error.
fn outcome(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn ran(arguments: &[&str]) -> (i32, String, String) {
    outcome(&motte(arguments).output().unwrap())
}

/// Runs with standard input.
fn fed(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = motte(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    outcome(&child.wait_with_output().unwrap())
}

/// A broker, and the options that reach it.
struct Place {
    pki: Pki,
    broker: Mosquitto,
}

impl Place {
    fn new(more: &str) -> Self {
        let pki = Pki::new();
        let broker = Mosquitto::tls(&pki, more);
        Self { pki, broker }
    }

    fn with_acl(acl: &str) -> Self {
        let pki = Pki::new();
        std::fs::write(pki.path("acl"), acl).unwrap();
        let broker = Mosquitto::tls(&pki, &format!("acl_file {}", pki.path("acl").display()));
        Self { pki, broker }
    }

    fn options(&self) -> [String; 4] {
        let ca = self.pki.ca().display().to_string();
        ["-p".into(), self.broker.port.to_string(), "--cafile".into(), ca]
    }

    /// The command line of `motte COMMAND` for this broker.
    fn line<'a>(&self, command: &'a str, options: &'a [String; 4], more: &[&'a str]) -> Vec<&'a str> {
        [command].into_iter().chain(options.iter().map(String::as_str)).chain(more.iter().copied()).collect()
    }

    fn run(&self, command: &str, more: &[&str]) -> (i32, String, String) {
        ran(&self.line(command, &self.options(), more))
    }

    /// A running `motte sub` that has its SUBACK.
    fn subscriber(&self, more: &[&str]) -> (Child, BufReader<ChildStderr>) {
        let options = self.options();
        let mut command = motte(&self.line("sub", &options, more));
        let mut child = command.arg("-d").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("subscribed") {
            line.clear();
            assert_ne!(errors.read_line(&mut line).unwrap(), 0, "the subscriber ended");
        }
        (child, errors)
    }
}

#[test]
fn connect_says_exactly_the_line() {
    let place = Place::new("");
    let (port, ca) = (place.broker.port.to_string(), place.pki.ca().display().to_string());
    let line = format!("Connected securely to localhost on port {port} using cert {ca}\n");
    let arguments = ["connect", "--broker", "localhost", "--port", &port, "--tls-cert-path", &ca];
    let as_pub_has_them = ["connect", "--host", "localhost", "-p", &port, "--cafile", &ca];
    assert_eq!(ran(&as_pub_has_them), ran(&arguments));
    assert_eq!(ran(&arguments), (0, line.clone(), String::new()));
    let (code, out, _) = ran(&[&arguments[..], &["-v"]].concat());
    assert_eq!(code, 0);
    assert!(out.starts_with(&line), "{out}");
    for part in ["TLS version:   TLS 1.3\n", "server names:  localhost, 127.0.0.1\n", "days left:     89\n"] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    let (code, out, _) = ran(&[&arguments[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["tls_version"].as_str()), (0, Some("TLS 1.3")));
    assert_eq!(json["server_certificate"]["names"], serde_json::json!(["localhost", "127.0.0.1"]));
}

#[test]
fn connect_reads_the_three_keys_from_a_file() {
    let place = Place::new("");
    let (port, ca) = (place.broker.port, place.pki.ca().display().to_string());
    let line = format!("Connected securely to localhost on port {port} using cert {ca}\n");
    let toml = place.pki.path("c.toml");
    std::fs::write(&toml, format!("broker = \"localhost\"\nport = {port}\ntls_cert_path = \"{ca}\"\n")).unwrap();
    assert_eq!(ran(&["connect", "--config", toml.to_str().unwrap()]), (0, line.clone(), String::new()));
    let json = place.pki.path("c.json");
    std::fs::write(&json, format!("{{\"broker\":\"localhost\",\"port\":{port},\"tls_cert_path\":\"{ca}\"}}")).unwrap();
    assert_eq!(ran(&["connect", "--config", json.to_str().unwrap()]), (0, line, String::new()));
    std::fs::write(&toml, "broker = \"localhost\"\nprot = 1\n").unwrap();
    let (code, out, error) = ran(&["connect", "--config", toml.to_str().unwrap()]);
    let expected = format!("error: {}:2: unknown key `prot`\nhint: did you mean `port`?\n", toml.display());
    assert_eq!((code, out.as_str(), error), (2, "", expected));
}

#[test]
fn each_tls_failure_has_its_sentence_and_exit_status_8() {
    let check = |port: u16, ca: &std::path::Path, sentence: &str| {
        let arguments =
            ["connect", "--broker", "localhost", "--port", &port.to_string(), "--tls-cert-path", ca.to_str().unwrap()];
        let (code, out, error) = ran(&arguments);
        assert_eq!((code, out.as_str()), (8, ""), "{error}");
        assert!(error.starts_with(&format!("error: {sentence}")) && error.contains("\nhint: "), "{error}");
    };
    let (place, other) = (Place::new(""), Pki::new());
    let missing = place.pki.path("missing.pem");
    check(place.broker.port, &missing, &format!("{} does not exist\n", missing.display()));
    check(place.broker.port, &other.ca(), "the certificate of localhost is not signed by a CA that is trusted here\n");
    let (certificate, key) = other.server(&["elsewhere.example"], 90, SystemTime::now());
    let elsewhere = Mosquitto::with_certificate(&other, &certificate, &key, "");
    check(elsewhere.port, &other.ca(), "the server's certificate is not for localhost, only for elsewhere.example\n");
    let plaintext = Mosquitto::start("");
    check(plaintext.port, &other.ca(), "localhost closed the connection during the TLS handshake\n");
    let then = SystemTime::now() - std::time::Duration::from_secs(40 * 86_400);
    let old = Pki::made_at(then);
    let (certificate, key) = old.server(&["localhost"], 10, then);
    let expired = Mosquitto::with_certificate(&old, &certificate, &key, "");
    check(expired.port, &old.ca(), "the certificate of localhost expired 30 days ago\n");
}

#[test]
fn refusals_have_their_exit_codes_and_hints() {
    let pki = Pki::new();
    let passwords = pki.path("passwords");
    std::fs::write(&passwords, "").unwrap();
    let made = Command::new("mosquitto_passwd").arg("-b").arg(&passwords).args(["ann", "right"]).status().unwrap();
    assert!(made.success());
    let broker = Mosquitto::tls(&pki, &format!("password_file {}", passwords.display()));
    let place = Place { pki, broker };
    let (code, _, error) = place.run("pub", &["-t", "t", "-n"]);
    assert_eq!(code, 135);
    assert!(error.contains("error: the broker refused the connection: not authorized\n"), "{error}");
    assert!(error.contains("(-u, -P) or a client certificate (--cert, --key)"), "{error}");
    assert_eq!(place.run("pub", &["-t", "t", "-n", "-V", "311", "-u", "ann", "-P", "wrong"]).0, 5);
    assert_eq!(place.run("pub", &["-t", "t", "-n", "-u", "ann", "-P", "right"]).0, 0);
    let file = place.pki.path("password");
    motte_pki::write_private(&file, b"right\n").unwrap();
    assert_eq!(place.run("pub", &["-t", "t", "-n", "-u", "ann", "--password-file", file.to_str().unwrap()]).0, 0);
    let options = place.options();
    let line = place.line("pub", &options, &["-t", "t", "-n", "-u", "ann"]);
    assert_eq!(motte(&line).env("MOTTE_PASSWORD", "right").status().unwrap().code(), Some(0));
    let url = format!("mqtts://ann:right@localhost:{}/t", place.broker.port);
    assert_eq!(ran(&["pub", "-L", &url, "--cafile", place.pki.ca().to_str().unwrap(), "-m", "x"]).0, 0);
}

#[test]
fn a_password_on_the_command_line_is_never_sent_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("mqtt://ann:secret@127.0.0.1:{port}/t");
    let port = port.to_string();
    for arguments in [
        &["pub", "-h", "127.0.0.1", "-p", &port, "--danger-plaintext", "-u", "ann", "-P", "secret", "-t", "t", "-n"],
        &["pub", "-L", &url, "-n"][..],
    ] {
        let (code, _, error) = ran(arguments);
        assert_eq!(code, 2);
        assert!(error.contains("error: a password on the command line is not sent without TLS\n"), "{error}");
        assert!(listener.accept().is_err(), "nobody connects");
    }
}

#[test]
fn nobody_at_the_port_is_exit_status_14() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let (code, _, error) = ran(&["pub", "-h", "127.0.0.1", "-p", &port, "-t", "t", "-n", "--danger-plaintext"]);
    assert_eq!(code, 14);
    assert!(
        error.contains(&format!("error: no connection to 127.0.0.1 on port {port}: connection refused\n")),
        "{error}"
    );
}

#[test]
fn what_pub_sends_sub_writes() {
    let place = Place::new("");
    for (version, qos) in [("5", "0"), ("5", "1"), ("5", "2"), ("311", "0"), ("311", "1"), ("311", "2"), ("31", "2")] {
        let (subscriber, _errors) = place.subscriber(&["-t", "a/#", "-q", qos, "-V", version, "-C", "5", "-v"]);
        let publish = |more: &[&str]| {
            let (code, out, error) = place.run("pub", &[&["-q", qos, "-V", version], more].concat());
            assert_eq!((code, out.as_str(), error.as_str()), (0, "", ""));
        };
        publish(&["-t", "a/message", "-m", "-1 °C"]);
        publish(&["-t", "a/null", "-n"]);
        let file = place.pki.path("payload");
        std::fs::write(&file, b"\x00\xff").unwrap();
        publish(&["-t", "a/file", "-f", file.to_str().unwrap()]);
        let options = place.options();
        let line = |more: &[&'static str]| place.line("pub", &options, more).into_iter().map(String::from).collect();
        let fed = |line: Vec<String>, input: &[u8]| {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            assert_eq!(fed(&line, input), (0, String::new(), String::new()));
        };
        fed(line(&["-t", "a/lines", "-q", "1", "-l"]), b"one\ntwo");
        let output = subscriber.wait_with_output().unwrap();
        let expected =
            ["a/message -1 °C\na/null (null)\na/file ".as_bytes(), b"\x00\xff\na/lines one\na/lines two\n"].concat();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), text(&expected)), "{version} QoS {qos}");
        assert_eq!(output.stdout, expected);
    }
}

#[test]
fn standard_input_is_sent_whole_byte_by_byte() {
    let place = Place::new("");
    let (subscriber, _errors) = place.subscriber(&["-t", "s", "-C", "1", "-N", "-q", "1"]);
    let payload: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let options = place.options();
    assert_eq!(fed(&place.line("pub", &options, &["-t", "s", "-s", "-q", "1"]), &payload).0, 0);
    assert!(subscriber.wait_with_output().unwrap().stdout == payload);
}

#[test]
fn ten_thousand_lines_arrive_in_order() {
    let place = Place::new("max_queued_messages 0");
    let (subscriber, _errors) = place.subscriber(&["-t", "n", "-C", "10000", "-q", "1"]);
    let lines: String = (0..10_000).map(|n| format!("{n}\n")).collect();
    let options = place.options();
    assert_eq!(fed(&place.line("pub", &options, &["-t", "n", "-l", "-q", "1"]), lines.as_bytes()).0, 0);
    assert!(text(&subscriber.wait_with_output().unwrap().stdout) == lines);
}

#[test]
fn a_retained_message_is_there_for_later() {
    let place = Place::new("");
    assert_eq!(place.run("pub", &["-t", "r", "-m", "kept", "-r", "-q", "1"]).0, 0);
    assert_eq!(place.run("sub", &["-t", "r", "-C", "1", "-W", "10"]), (0, "kept\n".into(), String::new()));
    assert_eq!(place.run("pub", &["-t", "r", "-n", "-r", "-q", "1"]).0, 0);
    let (code, out, error) = place.run("sub", &["-t", "r", "-W", "0.3"]);
    assert_eq!((code, out.as_str(), error.as_str()), (27, "", "error: timed out\n"));
}

#[test]
fn a_refused_publish_is_a_failure() {
    let place = Place::with_acl("topic read #\n");
    for qos in ["1", "2"] {
        let (code, _, error) = place.run("pub", &["-t", "secret", "-m", "x", "-q", qos]);
        assert_eq!(code, 12);
        let expected = "error: the broker refused the message: not authorized (topic `secret`)\nhint: ";
        assert!(error.starts_with(expected), "{error}");
    }
    let options = place.options();
    let mut command = motte(&place.line("pub", &options, &["-t", "secret", "-l", "-q", "1"]));
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    // The refusal shows while standard input is still open.
    assert_eq!(child.wait().unwrap().code(), Some(12));
    drop(input);
}

#[test]
fn a_reader_that_goes_away_ends_sub_quietly() {
    let place = Place::new("");
    let (mut subscriber, mut errors) = place.subscriber(&["-t", "p"]);
    let mut out = BufReader::new(subscriber.stdout.take().unwrap());
    place.run("pub", &["-t", "p", "-m", "first"]);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    drop(out);
    place.run("pub", &["-t", "p", "-m", "second"]);
    let mut said = String::new();
    errors.read_to_string(&mut said).unwrap();
    assert_eq!((subscriber.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_subscriber_that_is_interrupted_ends_in_order_and_leaves_no_will() {
    let place = Place::new("");
    for signal in ["-INT", "-TERM"] {
        let (witness, _errors) = place.subscriber(&["-t", "will", "-C", "1"]);
        let (subscriber, mut errors) = place.subscriber(&["-t", "x", "--will-topic", "will", "--will-payload", "gone"]);
        assert!(Command::new("kill").args([signal, &subscriber.id().to_string()]).status().unwrap().success());
        let output = subscriber.wait_with_output().unwrap();
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        assert_eq!((output.status.code(), text(&output.stdout).as_str(), said.as_str()), (Some(0), "", ""), "{signal}");
        assert_eq!(place.run("pub", &["-t", "will", "-m", "no will came"]).0, 0);
        assert_eq!(text(&witness.wait_with_output().unwrap().stdout), "no will came\n", "{signal}");
    }
}

#[test]
fn a_publisher_that_is_refused_leaves_no_will() {
    let place = Place::with_acl("topic readwrite will\n");
    let (witness, _errors) = place.subscriber(&["-t", "will", "-C", "1"]);
    assert_eq!(place.run("pub", &["-t", "no", "-m", "x", "-q", "1", "--will-topic", "will"]).0, 12);
    assert_eq!(place.run("pub", &["-t", "will", "-m", "no will came"]).0, 0);
    assert_eq!(text(&witness.wait_with_output().unwrap().stdout), "no will came\n");
}

#[test]
fn a_message_larger_than_the_broker_takes_is_told_with_both_sizes() {
    let place = Place::new("max_packet_size 1000");
    let file = place.pki.path("large");
    std::fs::write(&file, [b'x'; 2000]).unwrap();
    let (code, _, error) = place.run("pub", &["-t", "t", "-f", file.to_str().unwrap()]);
    assert_eq!(code, 25);
    let sizes = "its payload has 2000 bytes, and the broker takes packets of at most 1000 bytes";
    assert!(error.starts_with(&format!("error: the message is too large: {sizes}\nhint: ")), "{error}");
}

#[test]
fn wrong_command_lines_are_exit_status_2() {
    for arguments in [
        &["pub", "-t", "t"][..],
        &["pub", "-m", "x"],
        &["pub", "-t", "t", "-m", "x", "-n"],
        &["pub", "-t", "t", "-m", "x", "-q", "3"],
        &["pub", "-t", "t", "-m", "x", "-V", "4"],
        &["pub", "-L", "http://h/t", "-m", "x"],
        &["pub", "-t", "t", "-n", "--insecure"],
        &["sub"],
        &["sub", "-t", "t", "-c"],
        &["connect"],
    ] {
        let (code, out, error) = ran(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(error.starts_with("error: "), "{error}");
    }
}

#[test]
fn k39_a_url_that_is_wrong_is_not_repeated_with_the_password_in_it() {
    for url in ["ws://user:canary@localhost/mqtt", "user:canary@localhost", "mqtts://user:canary@localhost:x"] {
        let (code, _, errors) = ran(&["pub", "-L", url, "-t", "t", "-m", "m"]);
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("error: ") && errors.contains("hint: ") && !errors.contains("canary"), "{errors}");
    }
}
