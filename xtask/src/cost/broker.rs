//! One run: the release binary under an instrument, the driver beside it, and the instrument's total.
//!
//! Called by `cost` for each figure. Everything is on loopback and below the target directory; a broker that was
//! started is always ended.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::count::Instrument;
use super::{Scenario, fresh};
use crate::workspace::Workspace;

/// How long a broker may take to listen; instruments make it slow, and a busy machine slower.
const START_MAX: Duration = Duration::from_secs(120);
/// How long to look away between two looks whether it listens.
const PAUSE: Duration = Duration::from_millis(20);

/// A folder with certificates and room for the files of each run.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    workspace: &'a Workspace,
    folder: PathBuf,
}

impl<'a> Place<'a> {
    /// Makes the certificates.
    pub(crate) fn prepare(workspace: &'a Workspace, folder: PathBuf) -> Result<Self> {
        let place = Self { workspace, folder: fresh(folder)? };
        let pki = fresh(place.folder.join("pki"))?;
        for words in [&["ca"][..], &["server", "localhost"]] {
            workspace.command(&place.binary()).args(["cert", "--dir"]).args([&pki]).args(words).output()?;
        }
        for (from, to) in [("ca.pem", "ca.crt"), ("server.pem", "server.crt")] {
            fs::copy(pki.join(from), pki.join(to))?;
        }
        Ok(place)
    }

    /// Runs a scenario with so many batches and gives what the instrument counted.
    pub(crate) fn count(&self, scenario: &Scenario, batches: u32, instrument: Instrument) -> Result<u64> {
        let data = fresh(self.folder.join("data"))?;
        let report = self.folder.join("report");
        let [port, tls_port, mtls_port] = free_ports()?;
        let log = self.folder.join("log");
        let child = self
            .workspace
            .command("sh")
            .args(["bench/motte.sh"])
            .env("WRAP", instrument.words(&report))
            .env("MOTTE", self.binary())
            .env("DIR", &data)
            .env("CERTS", self.folder.join("pki"))
            .env("THREADS", "1")
            .env("PORT", port.to_string())
            .env("TLSPORT", tls_port.to_string())
            .env("MTLSPORT", mtls_port.to_string())
            .start(File::create(&log)?)?;
        let mut broker = Broker { child, pid: None };
        let port = if scenario.tls { tls_port } else { port };
        let outcome = broker.listens(port).and_then(|()| {
            let pid = broker.find(instrument)?;
            self.drive(scenario, batches, pid, port)
        });
        let ended = outcome.and_then(|()| broker.end(self.workspace));
        ended.with_context(|| format!("it said: {}", fs::read_to_string(&log).unwrap_or_default().trim()))?;
        let text = fs::read_to_string(&report).with_context(|| format!("no report of {instrument:?}"))?;
        instrument.total(&text).with_context(|| format!("no total in the report of {instrument:?}"))
    }

    fn drive(&self, scenario: &Scenario, batches: u32, pid: u32, port: u16) -> Result<()> {
        let driver = self.workspace.target().join("debug/examples/lockstep");
        let numbers = [u32::from(scenario.qos), scenario.subscribers, batches, pid, u32::from(port)];
        let command = self.workspace.command(&driver.to_string_lossy()).args(numbers.map(|number| number.to_string()));
        let ca = scenario.tls.then(|| self.folder.join("pki/ca.crt"));
        command.args(ca).env("RUST_BACKTRACE", "0").output().map(drop)
    }

    fn binary(&self) -> String {
        self.workspace.target().join("release/motte").to_string_lossy().into_owned()
    }
}

/// A broker that runs; killed when it is dropped.
struct Broker {
    child: Child,
    /// The broker itself, where the child is an instrument that has it as its own child.
    pid: Option<u32>,
}

impl Broker {
    fn listens(&mut self, port: u16) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the broker ended: {status}");
            }
            if start.elapsed() > START_MAX {
                bail!("the broker does not listen");
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The number of the broker's process.
    fn find(&mut self, instrument: Instrument) -> Result<u32> {
        let child = self.child.id();
        let pid = match instrument {
            Instrument::Instructions => child,
            Instrument::SystemCalls => only_child(Path::new("/proc"), child)?,
        };
        self.pid = Some(pid);
        Ok(pid)
    }

    /// Asks it to end in order, so that the instrument can report.
    fn end(&mut self, workspace: &Workspace) -> Result<()> {
        let pid = self.pid.context("it was found")?;
        workspace.command("sh").args(["-c", &format!("kill -TERM {pid}")]).output()?;
        self.pid = None;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the broker ended: {status}") }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            drop(std::process::Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]).status());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The one child of a process.
fn only_child(proc: &Path, pid: u32) -> Result<u32> {
    let path = proc.join(format!("{pid}/task/{pid}/children"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(word), None) => word.parse().with_context(|| format!("`{word}` is no process")),
        _ => bail!("one child was to be there: `{text}`"),
    }
}

/// Ports that nobody has now.
fn free_ports() -> Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn ports_are_free_and_not_the_same() {
        let ports = free_ports().unwrap();
        assert!(ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
        assert!(ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()));
    }

    #[test]
    fn the_broker_is_the_only_child_of_its_tracer() {
        let proc = std::env::temp_dir().join(format!("xtask-children-{}", std::process::id()));
        let folder = proc.join("7/task/7");
        fs::create_dir_all(&folder).unwrap();
        for (text, found) in [("12 ", Some(12)), ("", None), ("12 13 ", None)] {
            fs::write(folder.join("children"), text).unwrap();
            assert_eq!(only_child(&proc, 7).ok(), found);
        }
        fs::remove_dir_all(&proc).unwrap();
    }
}
