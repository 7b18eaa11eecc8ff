//! The JSON lines: settings and orders that come in, events that go out.
//!
//! Used by every library's module. Knows nothing of MQTT beyond the names.

use std::io::{BufRead as _, stdin};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Anything that ends the program.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait before connecting again.
pub(crate) const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// Where to connect to, and as whom.
#[derive(Debug, Deserialize)]
pub(crate) struct Settings {
    /// `rumqttc` or `mqrstt`.
    pub(crate) library: String,
    /// `3.1.1` or `5`.
    pub(crate) protocol: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) id: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// PEM file of the certificate authority.
    pub(crate) ca: PathBuf,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Whether the connection starts a session of its own that ends with it.
    #[serde(default = "yes")]
    pub(crate) clean: bool,
    pub(crate) will: Option<Message>,
    /// Whether to connect again when the connection is lost.
    #[serde(default)]
    pub(crate) reconnect: bool,
}

impl Settings {
    /// What to ask of a broker of 5.0, in seconds: as long as a session lives where it is kept, an hour.
    pub(crate) fn session_expiry_s(&self) -> u32 {
        if self.clean { 0 } else { 3600 }
    }

    /// User name and password.
    pub(crate) fn login(&self) -> Option<(&str, &str)> {
        Some((self.user.as_deref()?, self.password.as_deref()?))
    }
}

fn yes() -> bool {
    true
}

/// What to publish, at once or as a will.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    #[serde(default)]
    pub(crate) properties: Properties,
}

/// Properties of 5.0.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Properties {
    /// Message expiry interval in seconds.
    pub(crate) expiry: Option<u32>,
    /// Response topic.
    pub(crate) response: Option<String>,
    /// Correlation data.
    pub(crate) correlation: Option<String>,
}

/// What the test wants done.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub(crate) enum Order {
    Subscribe { filter: String, qos: u8 },
    Publish(Message),
    Disconnect,
    Die,
}

/// Orders as they come.
pub(crate) type Orders = UnboundedReceiver<Order>;

/// Reads the first line.
pub(crate) fn settings() -> Result<Settings, Fault> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Reads the other lines. Dies where that is the order; disconnects when no more orders can come.
pub(crate) fn orders() -> Orders {
    let (sender, orders) = unbounded_channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(Order::Die) => std::process::exit(0),
                Ok(order) => drop(sender.send(order)),
                Err(error) => say("error", json!({"what": format!("{error} in {line}")})),
            }
        }
        // The library may have ended by itself before.
        drop(sender.send(Order::Disconnect));
    });
    orders
}

/// Does a piece of work and tells the test why it failed, if it did.
pub(crate) async fn tell_failure(work: impl Future<Output = Result<(), Fault>>) {
    if let Err(error) = work.await {
        say("error", json!({"what": error.to_string()}));
    }
}

/// Tells the test what a program built on the library sees.
pub(crate) fn say(event: &str, mut facts: Value) {
    facts["event"] = json!(event);
    println!("{facts}");
}
