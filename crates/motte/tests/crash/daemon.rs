//! The real binary in a folder that outlives it: configured, started, killed, started again.
//!
//! Used by all tests of crashes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::child::Child;

const MOTTE: &str = env!("CARGO_BIN_EXE_motte");

/// Enough for every queue the tests build up.
const LIMITS: &str =
    "queue_messages_max = 10000000\nqueue_bytes_max = 8589934592\nqueue_memory_bytes_max = 8589934592\n";

/// A broker's folder: configuration, certificates, rules and, unless it is elsewhere, the store.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
}

/// What stands in the configuration beside what every test needs.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) shards: u64,
    /// Lines under `[durability]`.
    pub(crate) durability: String,
    /// More lines under `[limits]`.
    pub(crate) limits: String,
    /// The point at which it kills itself, as `NAME:N`.
    pub(crate) crash_at: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { shards: 2, durability: String::new(), limits: String::new(), crash_at: None }
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self { folder };
        home.make_certificates(&[]);
        home.write("acl", "topic readwrite #\n");
        home.configure(&Config::default());
        home
    }

    /// New certificates, made behind these words, which may be those of another time.
    pub(crate) fn make_certificates(&self, before: &[&str]) {
        let _ = fs::remove_dir_all(self.path("pki"));
        for args in [&["ca"][..], &["server", "localhost"]] {
            let words = [before, &[MOTTE, "cert", "--dir", "pki"], args].concat();
            let made = Command::new(words[0]).args(&words[1..]).current_dir(self.folder.path()).output().unwrap();
            assert!(made.status.success(), "{made:?}");
        }
    }

    /// A file or folder of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// For the next start.
    pub(crate) fn configure(&self, config: &Config) {
        let Config { shards, durability, limits, crash_at } = config;
        let durability = if durability.is_empty() { String::new() } else { format!("[durability]\n{durability}\n") };
        let crash_at = crash_at.as_ref().map(|point| format!("crash_at = \"{point}\"\n")).unwrap_or_default();
        self.write(
            "motte.toml",
            &format!(
                "[node]\nshards = {shards}\n\n\
                 [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\n\n\
                 [policy]\nacl_file = \"acl\"\n\n\
                 {durability}[limits]\n{LIMITS}{limits}\n\
                 [log]\nformat = \"json\"\n\n\
                 [danger]\nallow_anonymous = true\nplaintext_listeners = [\"127.0.0.1:0\"]\n{crash_at}"
            ),
        );
    }

    /// What starts it, to be put behind other programs.
    pub(crate) fn words(&self) -> [String; 4] {
        let config = self.path("motte.toml").to_str().unwrap().to_owned();
        [MOTTE.to_owned(), "serve".to_owned(), "--config".to_owned(), config]
    }

    /// The command that starts it behind these words, such as those of `env` or `nsenter`.
    pub(crate) fn command(&self, before: &[&str]) -> Command {
        let words = self.words();
        let mut words = before.iter().copied().chain(words.iter().map(String::as_str));
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command
    }

    /// Starts it and waits until it listens.
    #[track_caller]
    pub(crate) fn start(&self) -> Daemon {
        self.start_behind(&[])
    }

    /// The same behind these words.
    #[track_caller]
    pub(crate) fn start_behind(&self, before: &[&str]) -> Daemon {
        Starting::new(&mut self.command(before)).listening().unwrap_or_else(|(status, said)| {
            panic!("it did not start: {status}\n{said}");
        })
    }
}

/// A broker that does not listen yet.
#[derive(Debug)]
pub(crate) struct Starting {
    child: Child,
    since: Instant,
}

impl Starting {
    pub(crate) fn new(command: &mut Command) -> Self {
        Self { since: Instant::now(), child: Child::start(command) }
    }

    /// Once it listens; its status and what it said when it ended instead.
    pub(crate) fn listening(mut self) -> Result<Daemon, (ExitStatus, String)> {
        let is_it = |line: &str| parse(line).is_some_and(|v| v["message"] == "listening" && v["scheme"] == "mqtt");
        let Some(line) = self.child.take_unless_ended("the mqtt listener", is_it) else {
            return Err(self.child.finish());
        };
        let ready_after = self.since.elapsed();
        let address = parse(&line).unwrap()["address"].as_str().unwrap().to_owned();
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        Ok(Daemon { child: self.child, port, ready_after })
    }

    /// Kills it before it listens, or soon after.
    pub(crate) fn kill(self) {
        self.child.signal("KILL");
        self.child.finish();
    }
}

/// A broker that listens.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    /// Of the plain listener.
    pub(crate) port: u16,
    /// From the start of the program until it listened.
    pub(crate) ready_after: Duration,
}

impl Daemon {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL. What it said.
    pub(crate) fn kill(self) -> String {
        self.child.signal("KILL");
        self.child.finish().1
    }

    /// SIGTERM, without waiting for the end.
    pub(crate) fn ask_to_stop(&self) {
        self.child.signal("TERM");
    }

    /// Stops it in order.
    #[track_caller]
    pub(crate) fn stop(self) -> String {
        self.ask_to_stop();
        let (status, said) = self.child.finish();
        assert!(status.success(), "{status}\n{said}");
        said
    }

    /// Whether its process has ended and waits to be looked at.
    pub(crate) fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
    }

    /// Waits until the log says that the connection of this client is closed.
    #[track_caller]
    pub(crate) fn closed(&mut self, client_id: &str) {
        let is_it = |line: &str| parse(line).is_some_and(|v| v["message"] == "closed" && v["client_id"] == client_id);
        self.child.take(&format!("the end of {client_id}'s connection"), is_it);
    }

    /// The next line of the log whose message has these words in it.
    #[track_caller]
    pub(crate) fn logged(&mut self, words: &str) -> Value {
        let is_it =
            |line: &str| parse(line).is_some_and(|v| v["message"].as_str().is_some_and(|text| text.contains(words)));
        parse(&self.child.take(&format!("a log line with `{words}`"), is_it)).unwrap()
    }
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}
