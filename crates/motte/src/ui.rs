//! What a person sees: lines on standard output, and errors with a hint on standard error.
//!
//! Called by every command. A reader that goes away (`motte … | head`) ends the command quietly; colour is used on a
//! terminal only, and never when `NO_COLOR` is set.

use std::fmt;
use std::io::{self, Write};

/// Exit code of a command that did what it was asked.
pub(crate) const SUCCESS: u8 = 0;
/// Exit code of a command that could not.
pub(crate) const FAILURE: u8 = 1;
/// Exit code of a wrong command line or a wrong configuration.
pub(crate) const USAGE: u8 = 2;

/// Why a command ends without having done what it was asked: shown as `error: …` and `hint: …`.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    hint: String,
    code: u8,
}

impl Failure {
    /// A failure with what to do about it, a sentence each; exit code 1.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into(), code: FAILURE }
    }

    /// The same with another exit code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// A failure that was already shown, or that nobody is there to read.
    pub(crate) fn silent(code: u8) -> Self {
        Self { what: String::new(), hint: String::new(), code }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Writes both sentences to standard error.
    pub(crate) fn show(&self) {
        let mut err = io::stderr().lock();
        let (red, cyan, off) = if colour(&io::stderr()) { ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") } else { ("", "", "") };
        // When standard error is gone there is nobody left to tell.
        if !self.what.is_empty() {
            let _ = writeln!(err, "{red}error:{off} {}", self.what);
        }
        if !self.hint.is_empty() {
            let _ = writeln!(err, "{cyan}hint:{off} {}", self.hint);
        }
    }
}

/// A write that failed: quiet when the reader went away.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(SUCCESS);
        }
        Self::new(format!("cannot write the output: {error}"), "check where the output goes")
    }
}

/// Standard output of a command.
pub(crate) struct Ui {
    out: io::Stdout,
    colour: bool,
}

impl Ui {
    /// Standard output, in colour when it is a terminal.
    pub(crate) fn new() -> Self {
        let out = io::stdout();
        let colour = colour(&out);
        Self { out, colour }
    }

    /// Writes one line.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        let mut out = self.out.lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = self.out.lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// The text in bold on a terminal.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// The text in a paler shade on a terminal.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The text in yellow on a terminal.
    pub(crate) fn yellow(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// The text in red on a terminal.
    pub(crate) fn red(&self, text: &str) -> String {
        self.paint("31", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on standard error that is neither an error nor output.
pub(crate) fn note(text: impl fmt::Display) {
    // When standard error is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A warning on standard error.
pub(crate) fn warning(text: impl fmt::Display) {
    let (yellow, off) = if colour(&io::stderr()) { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
    note(format_args!("{yellow}warning:{off} {text}"));
}

/// Whether a stream gets colours: a terminal, and the user did not say no (<https://no-color.org>).
fn colour(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Rows under headings in columns as wide as their widest cell; the last is not padded.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |row: &&Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect()
}

/// Bytes of the system's randomness.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the system gave no randomness: {error}"), "try again"))?;
    Ok(bytes)
}
