//! Running other programs: quietly for their answer, or aloud with a copy of what they say.
//!
//! Used by every subcommand. Never gives a child our standard input.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command as StdCommand, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// A program with its arguments, not yet started.
#[derive(Debug)]
pub(crate) struct Command {
    inner: StdCommand,
    words: Vec<String>,
}

/// What a program that ran aloud said, and whether it was content.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Whether its exit status was 0.
    pub(crate) success: bool,
    /// Both its streams; lines of one stream are in order.
    pub(crate) text: String,
}

impl Command {
    /// A program that runs in `folder`.
    pub(crate) fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        let words = vec![program.as_ref().to_string_lossy().into_owned()];
        let mut inner = StdCommand::new(program);
        inner.current_dir(folder).stdin(Stdio::null());
        Self { inner, words }
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.words.push(arg.as_ref().to_string_lossy().into_owned());
            self.inner.arg(arg);
        }
        self
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Takes a variable out of the program's environment.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    /// Its standard output. An error when it cannot be started or its exit status is not 0.
    pub(crate) fn output(mut self) -> Result<String> {
        let output = self.inner.output().with_context(|| format!("cannot run `{}`", self.words.join(" ")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed ({}): {}", self.words.join(" "), output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it with its words on our terminal. An error when its exit status is not 0.
    pub(crate) fn aloud(self) -> Result<()> {
        let line = self.words.join(" ");
        if self.heard()?.success { Ok(()) } else { bail!("`{line}` failed") }
    }

    /// Runs it and gives back what it says, which is too much for a terminal.
    pub(crate) fn quietly(mut self) -> Result<Heard> {
        let output = self.inner.output().with_context(|| format!("cannot run `{}`", self.words.join(" ")))?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok(Heard { success: output.status.success(), text })
    }

    /// Starts it and comes back at once; what it says goes to `log`.
    pub(crate) fn start(mut self, log: File) -> Result<Child> {
        self.inner.stdout(log.try_clone()?).stderr(log);
        self.inner.spawn().with_context(|| format!("cannot run `{}`", self.words.join(" ")))
    }

    /// Runs it with its words on our terminal and gives them back too.
    pub(crate) fn heard(mut self) -> Result<Heard> {
        println!("+ {}", self.words.join(" "));
        self.inner.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.inner.spawn().with_context(|| format!("cannot run `{}`", self.words.join(" ")))?;
        let stderr = child.stderr.take().context("the error stream of a child is a pipe")?;
        let stdout = child.stdout.take().context("the output of a child is a pipe")?;
        let copier = thread::spawn(move || copy_lines(stderr, std::io::stderr()));
        let mut text = copy_lines(stdout, std::io::stdout());
        text.push_str(&copier.join().unwrap_or_default());
        let success = child.wait().context("waiting for a child")?.success();
        Ok(Heard { success, text })
    }
}

/// Copies `from` to `to` line by line until it ends; gives everything copied.
fn copy_lines(from: impl Read, mut to: impl Write) -> String {
    let mut all = Vec::new();
    let mut reader = BufReader::new(from);
    loop {
        let start = all.len();
        match reader.read_until(b'\n', &mut all) {
            Ok(0) | Err(_) => break,
            // A closed terminal must not stop the child; its exit status is what counts.
            Ok(_) => drop(to.write_all(&all[start..])),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn output_is_an_error_when_the_program_fails() {
        let folder = std::env::temp_dir();
        let error = Command::new("sh", &folder).args(["-c", "echo why >&2; exit 3"]).output().unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
        assert!(Command::new("sh", &folder).args(["-c", "exit 1"]).aloud().is_err());
        assert!(Command::new("no-such-program-here", &folder).output().is_err());
    }

    #[test]
    fn both_streams_are_heard() {
        let heard = Command::new("sh", &std::env::temp_dir()).args(["-c", "echo out; echo err >&2"]).heard().unwrap();
        assert!(heard.success);
        assert!(heard.text.contains("out\n") && heard.text.contains("err\n"), "{}", heard.text);
    }
}
