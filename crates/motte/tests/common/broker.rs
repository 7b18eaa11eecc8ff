//! The real binary as a broker in a folder of its own, listening on free ports of the loopback interface.
//!
//! Used by the end-to-end tests. Addresses are read from the log, as an operator's scripts would.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;
use tempfile::TempDir;

use super::child::Child;
use super::foreign::Credentials;

/// The first example device: writes `sensors/<itself>/#`, reads `commands/<itself>/#`.
pub(crate) const DEVICE: &str = "device-1";
/// The second example device.
pub(crate) const DEVICE_2: &str = "device-2";
/// The operator: reads everything, writes `commands/#`.
pub(crate) const OPERATOR: &str = "operator";

/// The command under test.
pub(crate) fn motte() -> Command {
    Command::new(env!("CARGO_BIN_EXE_motte"))
}

/// A running broker. Ends with the test.
#[derive(Debug)]
pub(crate) struct Broker {
    child: Child,
    folder: TempDir,
    mqtts: u16,
    wss: u16,
}

impl Broker {
    /// What a newcomer gets: `motte quickstart` in an empty folder.
    pub(crate) fn quickstart() -> Self {
        Self::quickstart_with(&[])
    }

    /// `motte quickstart` with more flags.
    pub(crate) fn quickstart_with(flags: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for the broker");
        Self::start(folder, "quickstart", flags)
    }

    /// Stops it and starts it again on what it left behind.
    pub(crate) fn restart(self) -> Self {
        self.restart_by(motte())
    }

    /// The same with this command instead of [`motte`].
    pub(crate) fn restart_by(self, command: Command) -> Self {
        self.terminate();
        self.restart_after(command, |status, said| assert!(status.success(), "{status}: {said}"))
    }

    /// Waits until it has ended as it was asked to, shows `look` its status and what it said, and starts it again.
    pub(crate) fn restart_after(self, command: Command, look: impl FnOnce(ExitStatus, &str)) -> Self {
        let Self { child, folder, .. } = self;
        let (status, said) = child.finish();
        look(status, &said);
        Self::start_by(command, folder, "quickstart", &[])
    }

    fn start(folder: TempDir, what: &str, flags: &[&str]) -> Self {
        Self::start_by(motte(), folder, what, flags)
    }

    fn start_by(mut command: Command, folder: TempDir, what: &str, flags: &[&str]) -> Self {
        command
            .arg(what)
            .arg("--dir")
            .arg(folder.path().join("data"))
            .args(["--port", "0", "--wss-port", "0"])
            .args(flags);
        let mut child = Child::start(&mut command);
        let mqtts = listening(&mut child, "mqtts");
        let wss = listening(&mut child, "wss");
        Self { child, folder, mqtts, wss }
    }

    /// Port of MQTT over TLS.
    pub(crate) fn mqtts(&self) -> u16 {
        self.mqtts
    }

    /// Port of MQTT over secure WebSocket.
    pub(crate) fn wss(&self) -> u16 {
        self.wss
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A file of its data folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// A file of the test beside the data folder.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate of its CA.
    pub(crate) fn ca(&self) -> PathBuf {
        self.file("pki/ca.pem")
    }

    /// The client certificate of this name.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.file(&format!("pki/{name}.pem"))
    }

    /// The key of the client certificate of this name.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.file(&format!("pki/{name}.key"))
    }

    /// User name and the generated password.
    pub(crate) fn password(&self, name: &'static str) -> Credentials {
        let text = fs::read_to_string(self.file("passwords.txt")).expect("the shown passwords are kept in a file");
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let word = line.and_then(|rest| rest.trim_start_matches([':', ' ', '\t']).split_whitespace().next());
        Credentials::Password(name, word.unwrap_or_else(|| panic!("no password for {name} in:\n{text}")).to_owned())
    }

    /// The next line of the log with this message.
    #[track_caller]
    pub(crate) fn logged(&mut self, message: &str) -> Value {
        let is_it = |line: &str| parse(line).is_some_and(|value| value["message"] == message);
        parse(&self.child.take(&format!("log line `{message}`"), is_it)).expect("it was parsed before")
    }

    /// Waits until the log says that the connection of this client is closed.
    #[track_caller]
    pub(crate) fn closed(&mut self, client_id: &str) {
        let is_it = |line: &str| {
            parse(line).is_some_and(|value| value["message"] == "closed" && value["client_id"] == client_id)
        };
        self.child.take(&format!("the end of {client_id}'s connection"), is_it);
    }

    /// Asks for a reload.
    pub(crate) fn reload(&self) {
        self.child.signal("HUP");
    }

    /// Replaces a file of the data folder and asks for a reload.
    pub(crate) fn reload_with(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("the file can be written");
        self.reload();
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.child.signal("TERM");
    }

    /// Waits until it has ended; its status and everything it said.
    #[track_caller]
    pub(crate) fn finish(self) -> (ExitStatus, String) {
        self.child.finish()
    }

    /// Addresses on which its process listens, whatever the protocol, as the kernel tells.
    pub(crate) fn listening(&self) -> Vec<u16> {
        listening_ports(self.id())
    }
}

/// The port that the log names for a scheme.
fn listening(child: &mut Child, scheme: &str) -> u16 {
    let line = child.take(&format!("the {scheme} listener"), |line| {
        parse(line).is_some_and(|value| value["message"] == "listening" && value["scheme"] == scheme)
    });
    let value = parse(&line).expect("it was parsed before");
    let address: SocketAddr = value["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    assert!(address.ip().is_loopback(), "without --host only loopback is listened on: {address}");
    address.port()
}

fn parse(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

/// Ports of the process's TCP sockets in state LISTEN and of its bound UDP sockets, sorted.
fn listening_ports(process: u32) -> Vec<u16> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).expect("descriptors of our own child");
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let sockets: Vec<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let mut ports = Vec::new();
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let path = format!("/proc/{process}/net/{table}");
        // A machine without IPv6 has no table for it.
        let text = fs::read_to_string(Path::new(&path)).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[3] == state && sockets.iter().any(|socket| socket == words[9]) {
                let (_, port) = words[1].rsplit_once(':').expect("an address ends with a port");
                ports.push(u16::from_str_radix(port, 16).expect("ports are hexadecimal"));
            }
        }
    }
    ports.sort_unstable();
    ports
}
