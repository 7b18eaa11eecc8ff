//! `cargo xtask spec`: which test proves which statement of MQTT 5.0, read from the names of the tests.
//!
//! Called by `main`. It trusts names and runs nothing: a test that is named after a statement and asserts something
//! else is found only by reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workspace::Workspace;

/// Who has to keep a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    Server,
    Client,
    Both,
}

/// One normative statement.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    /// As in the standard, without `MQTT-`: `3.1.0-1`.
    id: String,
    who: Who,
    text: String,
}

/// A rule of the text that carries no id.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unnumbered {
    text: String,
}

/// `spec/mqtt5.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standard {
    statement: Vec<Statement>,
    #[serde(default)]
    noid: Vec<Unnumbered>,
}

/// A statement that is left without a test on purpose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    id: String,
    reason: String,
}

/// `spec/exceptions.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

/// What the names of the tests say of the standard.
#[derive(Debug)]
struct Table {
    standard: Standard,
    exceptions: BTreeMap<String, String>,
    tests: BTreeMap<String, Vec<String>>,
    noid_tests: Vec<String>,
    strays: Vec<String>,
}

/// Prints the table, as text or JSON. An error when a statement for servers has neither a test nor an exception.
pub(crate) fn run(workspace: &Workspace, as_json: bool) -> Result<()> {
    let read = |file: &str| fs::read_to_string(workspace.root().join(file)).with_context(|| format!("read {file}"));
    let mut names = BTreeSet::new();
    for file in workspace.files()?.iter().filter(|file| file.ends_with(".rs")) {
        names.extend(test_names(&read(file)?));
    }
    let table = Table::new(&read("spec/mqtt5.toml")?, &read("spec/exceptions.toml")?, names)?;
    if as_json {
        println!("{:#}", table.json());
    } else {
        print!("{}", table.text());
    }
    match table.missing().len() {
        0 => Ok(()),
        missing => bail!("{missing} statements for servers have neither a test nor an entry in spec/exceptions.toml"),
    }
}

impl Table {
    fn new(standard: &str, exceptions: &str, names: BTreeSet<String>) -> Result<Self> {
        let standard: Standard = toml::from_str(standard).context("spec/mqtt5.toml")?;
        let entries: Exceptions = toml::from_str(exceptions).context("spec/exceptions.toml")?;
        let mut known = BTreeSet::new();
        for statement in &standard.statement {
            if !known.insert(statement.id.clone()) {
                bail!("spec/mqtt5.toml lists {} twice", statement.id);
            }
        }
        let mut exceptions = BTreeMap::new();
        for Exception { id, reason } in entries.exception {
            if !known.contains(&id) || reason.trim().is_empty() {
                bail!("spec/exceptions.toml: {id} is no statement or has no reason");
            }
            exceptions.insert(id, reason);
        }
        let mut table = Self { standard, exceptions, tests: BTreeMap::new(), noid_tests: vec![], strays: vec![] };
        for name in names {
            table.count(&known, name);
        }
        Ok(table)
    }

    fn count(&mut self, known: &BTreeSet<String>, name: String) {
        if name.starts_with("v5_noid_") {
            self.noid_tests.push(name);
            return;
        }
        let ids = statements_of(&name);
        if ids.is_empty() || ids.iter().any(|id| !known.contains(id)) {
            self.strays.push(name.clone());
        }
        for id in ids.into_iter().filter(|id| known.contains(id)) {
            self.tests.entry(id).or_default().push(name.clone());
        }
    }

    /// Statements a server must keep that nothing proves, in the order of the standard.
    fn missing(&self) -> Vec<&Statement> {
        let open = |id: &str| !self.tests.contains_key(id) && !self.exceptions.contains_key(id);
        self.standard.statement.iter().filter(|line| line.who != Who::Client && open(&line.id)).collect()
    }

    fn proof(&self, id: &str) -> String {
        match (self.tests.get(id), self.exceptions.get(id)) {
            (Some(tests), _) => tests.join(" "),
            (None, Some(reason)) => format!("exception: {reason}"),
            (None, None) => "MISSING".to_owned(),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        for line in &self.standard.statement {
            // What only a client must keep is no gap of the server, and is shown apart from one.
            let proof = match self.proof(&line.id) {
                none if none == "MISSING" && line.who == Who::Client => "client, no test".to_owned(),
                proof => proof,
            };
            out += &format!("{:<9} {proof}\n", line.id);
        }
        for name in &self.strays {
            out += &format!("names no statement: {name}\n");
        }
        out += "\nmissing:\n";
        for line in self.missing() {
            out += &format!("{:<9} {}\n", line.id, line.text);
        }
        let server = self.standard.statement.iter().filter(|line| line.who != Who::Client);
        let tested = server.clone().filter(|line| self.tests.contains_key(&line.id)).count();
        out + &format!(
            "\n{} statements, {} for servers: {tested} tested, {} missing; {} exceptions; \
             {} rules without id, {} tests\n",
            self.standard.statement.len(),
            server.count(),
            self.missing().len(),
            self.exceptions.len(),
            self.standard.noid.len(),
            self.noid_tests.len(),
        )
    }

    fn json(&self) -> Value {
        let statements: Vec<Value> = self
            .standard
            .statement
            .iter()
            .map(|line| {
                json!({
                    "id": line.id,
                    "server": line.who != Who::Client,
                    "tests": self.tests.get(&line.id).cloned().unwrap_or_default(),
                    "exception": self.exceptions.get(&line.id),
                })
            })
            .collect();
        let missing: Vec<&str> = self.missing().into_iter().map(|line| line.id.as_str()).collect();
        let rules: Vec<&str> = self.standard.noid.iter().map(|rule| rule.text.as_str()).collect();
        json!({
            "statements": statements,
            "missing": missing,
            "noid": rules,
            "noid_tests": self.noid_tests,
            "names_without_statement": self.strays,
        })
    }
}

/// Names of functions marked as tests that are called after a statement of 5.0. A helper or a comment is none.
fn test_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.contains("::test]") || line.contains("::test(");
        } else if !line.starts_with("//") {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            let name = function.and_then(|rest| rest.split(['(', '<']).next());
            names.extend(name.filter(|name| marked && name.starts_with("v5_")).map(str::to_owned));
            marked = false;
        }
    }
    names
}

/// `v5_3_1_2_11_13_x` is for 3.1.2-11 and 3.1.2-13, `v5_3_1_2_18_to_22_x` for all five of them.
fn statements_of(name: &str) -> Vec<String> {
    let mut words = name.split('_').skip(1).peekable();
    let mut section = Vec::new();
    while section.len() < 3 {
        match words.next().map(str::parse::<u16>) {
            Some(Ok(number)) => section.push(number.to_string()),
            _ => return Vec::new(),
        }
    }
    let section = section.join(".");
    let mut numbers: Vec<u16> = Vec::new();
    while let Some(word) = words.next() {
        if let Ok(number) = word.parse() {
            numbers.push(number);
            continue;
        }
        let end = words.peek().and_then(|next| next.parse::<u16>().ok());
        match (word, numbers.last().copied(), end) {
            ("to", Some(start), Some(end)) => numbers.extend(start.saturating_add(1)..end),
            _ => break,
        }
    }
    numbers.into_iter().map(|number| format!("{section}-{number}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TWO: &str = "[[statement]]\nid = '3.1.0-1'\nwho = 'client'\ntext = 'a'\n\
        [[statement]]\nid = '3.1.0-2'\nwho = 'server'\ntext = 'b'\n";

    fn table(exceptions: &str, names: &[&str]) -> Result<Table> {
        Table::new(TWO, exceptions, names.iter().map(|&name| name.to_owned()).collect())
    }

    fn missing(exceptions: &str, names: &[&str]) -> Vec<String> {
        table(exceptions, names).unwrap().missing().into_iter().map(|line| line.id.clone()).collect()
    }

    #[test]
    fn a_server_statement_needs_a_test_or_an_exception() {
        assert_eq!(missing("", &[]), ["3.1.0-2"], "the client's statement is no gap of the server");
        assert_eq!(missing("", &["v5_3_1_0_1_x"]), ["3.1.0-2"]);
        assert!(missing("", &["v5_3_1_0_2_x"]).is_empty());
        assert!(missing("[[exception]]\nid = '3.1.0-2'\nreason = 'why'", &[]).is_empty());
    }

    #[test]
    fn an_exception_needs_a_statement_and_a_reason() {
        assert!(table("[[exception]]\nid = '9.9.9-9'\nreason = 'why'", &[]).is_err());
        assert!(table("[[exception]]\nid = '3.1.0-2'\nreason = ' '", &[]).is_err());
        assert!(table("[[exception]]\nid = '3.1.0-2'", &[]).is_err());
    }

    #[test]
    fn a_name_that_fits_no_statement_is_shown_and_proves_nothing() {
        let table = table("", &["v5_3_1_0_x", "v5_3_1_0_7_x"]).unwrap();
        assert_eq!(table.strays, ["v5_3_1_0_7_x", "v5_3_1_0_x"]);
        assert!(table.tests.is_empty());
    }

    #[test]
    fn one_name_may_stand_for_several_statements() {
        assert_eq!(statements_of("v5_3_1_2_11_13_x_4"), ["3.1.2-11", "3.1.2-13"]);
        assert_eq!(statements_of("v5_3_1_2_18_to_20_x"), ["3.1.2-18", "3.1.2-19", "3.1.2-20"]);
        assert_eq!(statements_of("v5_3_1_2_18_to_the_end"), ["3.1.2-18"]);
    }

    #[test]
    fn only_what_runs_as_a_test_is_counted() {
        let source = "#[test]\nfn v5_1_1_1_1_a() {}\nfn v5_1_1_1_2_helper() {}\n// #[test]\n// fn v5_1_1_1_3_c() {}\n\
            #[tokio::test]\nasync fn v5_1_1_1_4_d() {}\n";
        assert_eq!(test_names(source), ["v5_1_1_1_1_a", "v5_1_1_1_4_d"]);
    }

    #[test]
    fn the_list_has_every_statement_of_the_standard() {
        let table = Table::new(include_str!("../../spec/mqtt5.toml"), "", BTreeSet::new()).unwrap();
        assert_eq!(table.standard.statement.len(), 251);
    }
}
