//! Runs the real binary: once to its end, or as a broker until the test is over.
//!
//! Used by the tests of the command line. Stops only the processes it started.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// The binary.
pub(crate) const MOTTE: &str = env!("CARGO_BIN_EXE_motte");

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `motte` in a directory.
pub(crate) fn motte(dir: &Path, args: &[&str]) -> Outcome {
    motte_with_input(dir, args, "")
}

/// Runs `motte` in a directory with text on standard input.
pub(crate) fn motte_with_input(dir: &Path, args: &[&str], input: &str) -> Outcome {
    let mut child = command(dir, args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that ends without reading closes its end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MOTTE);
    command.args(args).current_dir(dir).env_remove("MOTTE_PASSWORD").stdout(Stdio::piped());
    command
}

/// A running quickstart.
pub(crate) struct Quickstart {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it said on standard output until it listened.
    pub(crate) banner: String,
}

impl Quickstart {
    /// Starts it on free ports in `dir` and waits until it has said everything.
    pub(crate) fn start(dir: &Path, args: &[&str]) -> Self {
        let mut all = vec!["quickstart", "--port", "0", "--wss-port", "0"];
        all.extend(args);
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut child = command(dir, &all).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("Ctrl-C") {
            let read = out.read_line(&mut banner).unwrap();
            assert!(read > 0, "it ended: {banner}{}", fs::read_to_string(dir.join("log")).unwrap());
        }
        Self { child, out, banner }
    }

    /// The port of the listener with this scheme.
    pub(crate) fn port(&self, scheme: &str) -> u16 {
        let (_, rest) = self.banner.split_once(&format!("{scheme}://")).unwrap();
        let digits: String = rest.chars().skip_while(|c| *c != ':').skip(1).take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    /// Lets it read its files again.
    pub(crate) fn hang_up(&self) {
        signal(self.child.id(), "HUP");
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) -> ExitStatus {
        signal(self.child.id(), "TERM");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Quickstart {
    fn drop(&mut self) {
        // It has ended already when it was stopped in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(sent.success());
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
