//! Foreign MQTT clients: the tools of Mosquitto, Paho for Python, MQTT.js, rumqttc and mqrstt.
//!
//! Used by the end-to-end tests. A client that is not installed fails the test and names `cargo xtask setup`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::broker::Broker;
use super::child::Child;

/// How a client says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing.
    None,
    /// The certificate that `quickstart` issued for this name.
    Certificate(&'static str),
    /// User name and password.
    Password(&'static str, String),
}

/// One of Mosquitto's tools with everything to reach the broker. Its output comes line by line.
pub(crate) fn mosquitto(program: &str, broker: &Broker, credentials: &Credentials, args: &[&str]) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(is_here, "{program} is missing; run `cargo xtask setup`");
    // Without it the first message would stay in the buffer of a pipe until the program ends.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "-eL", program, "-h", "127.0.0.1", "-p", &broker.mqtts().to_string(), "--cafile"]);
    command.arg(broker.ca());
    match credentials {
        Credentials::None => {}
        Credentials::Certificate(name) => {
            command.arg("--cert").arg(broker.certificate(name)).arg("--key").arg(broker.key(name));
        }
        Credentials::Password(user, password) => {
            command.args(["-u", user, "-P", password]);
        }
    }
    command.args(args);
    command
}

/// Folder that `cargo xtask setup` installs foreign clients into.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("foreign")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; run `cargo xtask setup`", path.display());
    path
}

/// A program built on a foreign library: does what it is told, tells what it sees.
#[derive(Debug)]
pub(crate) struct Puppet {
    child: Child,
}

impl Puppet {
    /// Paho over `mqtts`. `more` is merged into the settings.
    pub(crate) fn paho(broker: &Broker, protocol: &str, credentials: &Credentials, more: &Value) -> Self {
        let settings = json!({"protocol": protocol, "host": "127.0.0.1", "port": broker.mqtts()});
        let mut command = Command::new(installed(home().join("venv/bin/python")));
        command.arg(script("paho_client.py"));
        Self::start(&mut command, settings, broker, credentials, more)
    }

    /// MQTT.js over `mqtts` or `wss`.
    pub(crate) fn mqttjs(
        broker: &Broker,
        scheme: &str,
        protocol: &str,
        credentials: &Credentials,
        more: &Value,
    ) -> Self {
        let url = match scheme {
            "wss" => format!("wss://127.0.0.1:{}/mqtt", broker.wss()),
            _ => format!("mqtts://127.0.0.1:{}", broker.mqtts()),
        };
        let mut command = Command::new("node");
        let folder = installed(home().join("node/node_modules/mqtt"));
        let folder = folder.ancestors().nth(2).expect("it lies two folders deep");
        command.arg(script("mqttjs_client.mjs")).env("MOTTE_FOREIGN_NODE", folder);
        Self::start(&mut command, json!({"protocol": protocol, "url": url}), broker, credentials, more)
    }

    /// `rumqttc` or `mqrstt` over `mqtts`.
    pub(crate) fn rust(
        broker: &Broker,
        library: &str,
        protocol: &str,
        credentials: &Credentials,
        more: &Value,
    ) -> Self {
        let settings = json!({"library": library, "protocol": protocol, "host": "127.0.0.1", "port": broker.mqtts()});
        let mut command = Command::new(installed(home().join("rust/debug/motte-foreign-rust")));
        Self::start(&mut command, settings, broker, credentials, more)
    }

    fn start(
        command: &mut Command,
        mut settings: Value,
        broker: &Broker,
        credentials: &Credentials,
        more: &Value,
    ) -> Self {
        settings["ca"] = json!(broker.ca());
        match credentials {
            Credentials::None => {}
            Credentials::Certificate(name) => {
                settings["cert"] = json!(broker.certificate(name));
                settings["key"] = json!(broker.key(name));
            }
            Credentials::Password(user, password) => {
                settings["user"] = json!(user);
                settings["password"] = json!(password);
            }
        }
        let more = more.as_object().cloned().unwrap_or_default();
        settings.as_object_mut().expect("settings are an object").extend(more);
        let mut child = Child::start(command);
        child.tell(&settings.to_string());
        Self { child }
    }

    /// Waits until the broker has let it in.
    #[track_caller]
    pub(crate) fn connected(mut self) -> Self {
        self.event("connected");
        self
    }

    /// The next event of this name; events of other names before it are left for later.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let line = self.child.take(&format!("event `{name}`"), |line| is_event(line, name));
        serde_json::from_str(&line).expect("events are JSON")
    }

    /// Whether an event of this name has come and was not taken.
    pub(crate) fn has_event(&mut self, name: &str) -> bool {
        self.child.has_said(|line| is_event(line, name))
    }

    /// Subscribes; the reason codes or granted QoS of the broker's answer.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> Value {
        self.child.tell(&json!({"do": "subscribe", "filter": filter, "qos": qos}).to_string());
        self.event("subscribed")["reasons"].clone()
    }

    /// Publishes and waits until the library says that it is done; the reason code.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> Value {
        let command = json!({"do": "publish", "topic": topic, "payload": payload, "qos": qos, "retain": retain});
        self.child.tell(&command.to_string());
        self.event("published")["reason"].clone()
    }

    /// Hands a message to the library, connected or not; `published` comes when it is done.
    pub(crate) fn hand_over(&mut self, topic: &str, payload: &str, qos: u8) {
        let command = json!({"do": "publish", "topic": topic, "payload": payload, "qos": qos, "retain": false});
        self.child.tell(&command.to_string());
    }

    /// Publishes with properties of 5.0 (`expiry`, `response`, `correlation`) and waits until the library is done.
    #[track_caller]
    pub(crate) fn publish_with(&mut self, topic: &str, payload: &str, properties: &Value) {
        let command = json!({
            "do": "publish", "topic": topic, "payload": payload, "qos": 1, "retain": false, "properties": properties,
        });
        self.child.tell(&command.to_string());
        self.event("published");
    }

    /// The next message: topic, payload, QoS, retained.
    #[track_caller]
    pub(crate) fn message(&mut self) -> (String, String, u64, bool) {
        let message = self.event("message");
        let text = |name: &str| message[name].as_str().expect("a text").to_owned();
        let retain = message["retain"].as_bool().expect("a truth value");
        (text("topic"), text("payload"), message["qos"].as_u64().expect("a number"), retain)
    }

    /// Leaves with a DISCONNECT and ends.
    #[track_caller]
    pub(crate) fn leave(self) {
        self.child.finish();
    }

    /// Ends without a DISCONNECT, as a device whose power fails.
    #[track_caller]
    pub(crate) fn die(mut self) {
        self.child.tell(r#"{"do": "die"}"#);
        self.child.finish();
    }
}

fn is_event(line: &str, name: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|value| value["event"] == name)
}

/// SCRAM-SHA-256 out of Python's standard library and Paho's codec: one exchange a password, the first in CONNECT, the
/// others on the live connection. How each ended.
pub(crate) fn scram_client(broker: &Broker, user: &str, passwords: &[&str]) -> Vec<Value> {
    let mut command = Command::new(installed(home().join("venv/bin/python")));
    let mut child = Child::start(command.arg(script("scram_client.py")));
    let settings = json!({
        "host": "127.0.0.1", "port": broker.mqtts(), "ca": broker.ca(), "user": user, "passwords": passwords,
    });
    child.tell(&settings.to_string());
    let (status, said) = child.finish();
    assert!(status.success(), "{said}");
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"))).collect()
}
