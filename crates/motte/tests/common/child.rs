//! A child process whose lines are collected as they come, and that does not outlive the test.
//!
//! Used by `broker` and `foreign`.
#![allow(clippy::print_stderr, reason = "what a program said is shown with the failed test")]

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child as StdChild, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// More than anything here takes on a busy machine; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A started program.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    inner: StdChild,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    said: Vec<Line>,
}

/// A line of either stream, in the order of arrival.
#[derive(Debug)]
struct Line {
    text: String,
    taken: bool,
}

impl Child {
    /// Starts a program with pipes on all three streams.
    ///
    /// # Panics
    /// When the program cannot be started: what the tests need is not installed.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inner =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({error}); run `cargo xtask setup`"));
        let (sender, lines) = channel();
        forward(inner.stdout.take().unwrap(), sender.clone());
        forward(inner.stderr.take().unwrap(), sender);
        Self { name, stdin: inner.stdin.take(), inner, lines, said: Vec::new() }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("{} does not listen: {error}", self.name));
    }

    /// The first line, said already or to come, for which `is_wanted` holds and that was not taken before.
    #[track_caller]
    pub(crate) fn take(&mut self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        self.take_unless_ended(what, is_wanted)
            .unwrap_or_else(|| panic!("{}: {what} did not come; it ended", self.name))
    }

    /// The same of a program that may end before it has said it.
    #[track_caller]
    pub(crate) fn take_unless_ended(&mut self, what: &str, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.said.iter_mut().find(|line| !line.taken && is_wanted(&line.text));
            if let Some(line) = found {
                line.taken = true;
                return Some(line.text.clone());
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => self.said.push(Line { text, taken: false }),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => panic!("{}: {what} did not come in {PATIENCE:?}", self.name),
            }
        }
    }

    /// Whether a line for which `is_wanted` holds was said and not taken.
    pub(crate) fn has_said(&mut self, is_wanted: impl Fn(&str) -> bool) -> bool {
        self.said.extend(self.lines.try_iter().map(|text| Line { text, taken: false }));
        self.said.iter().any(|line| !line.taken && is_wanted(&line.text))
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name} failed");
    }

    /// Waits until it ends; its status and everything it said.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        self.stdin = None;
        let deadline = Instant::now() + PATIENCE;
        // The streams end when the program does; that is the event to wait for.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(text) => self.said.push(Line { text, taken: false }),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end", self.name),
            }
        }
        let status = self.inner.wait().unwrap();
        (status, self.everything())
    }

    fn everything(&self) -> String {
        self.said.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
        if thread::panicking() {
            self.has_said(|_| false);
            eprintln!("-- {} said:\n{}", self.name, self.everything());
        }
    }
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            line.clear();
            if lines.send(text).is_err() {
                break;
            }
        }
    });
}
