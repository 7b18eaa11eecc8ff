//! `motte passwd list`: every secret of every user, and whether it counts.
//!
//! Called by `cli::passwd`. Shows no hash.

use std::path::Path;

use motte_audit::Escaped;
use motte_policy::password::moment;
use motte_policy::{PasswordFile, Term};
use serde_json::{Value, json};

use super::{load, now};
use crate::ui::{Failure, SUCCESS, Ui, table};

/// One secret.
struct Row<'a> {
    user: &'a str,
    /// None for a SCRAM record, of which there is one at a time.
    term: Option<Term>,
    scheme: &'static str,
}

/// Runs it.
pub(super) fn run(path: &Path, json: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let file = load(path)?;
    let (rows, now) = (rows(&file), now());
    if json {
        ui.line(Value::Array(rows.iter().map(|row| row.json(now)).collect()))?;
        return Ok(SUCCESS);
    }
    let cells: Vec<_> = rows.iter().map(|row| row.cells(now)).collect();
    for line in table(&["USER", "LABEL", "SCHEME", "FROM", "UNTIL", "STATE"], &cells) {
        ui.line(line)?;
    }
    Ok(SUCCESS)
}

fn rows(file: &PasswordFile) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for name in file.names() {
        let user = &*name.0;
        for secret in file.secrets(user) {
            rows.push(Row { user, scheme: secret.hash.scheme(), term: Some(secret.term) });
        }
        if file.scram_keys(user).is_some() {
            rows.push(Row { user, term: None, scheme: "scram-sha-256" });
        }
    }
    rows
}

impl Row<'_> {
    fn label(&self) -> Option<&str> {
        self.term.as_ref().map(|term| term.label.as_str())
    }

    fn dates(&self) -> (Option<String>, Option<String>) {
        let text = |time: Option<u64>| time.map(moment::format);
        self.term.as_ref().map_or((None, None), |term| (text(term.not_before), text(term.expires)))
    }

    fn state(&self, now: u64) -> &'static str {
        match &self.term {
            Some(term) if term.expires.is_some_and(|end| end <= now) => "ended",
            Some(term) if !term.holds_at(now) => "not yet",
            _ => "counts",
        }
    }

    fn cells(&self, now: u64) -> Vec<String> {
        let (from, until) = self.dates();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| String::from("-"));
        vec![
            Escaped(self.user).to_string(),
            self.label().unwrap_or("-").to_owned(),
            self.scheme.to_owned(),
            or_dash(from),
            or_dash(until),
            self.state(now).to_owned(),
        ]
    }

    fn json(&self, now: u64) -> Value {
        let (from, until) = self.dates();
        json!({
            "user": self.user,
            "label": self.label(),
            "scheme": self.scheme,
            "not_before": from,
            "expires": until,
            "state": self.state(now),
        })
    }
}
