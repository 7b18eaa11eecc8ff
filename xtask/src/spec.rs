//! `cargo xtask spec`: which test proves which statement of the three MQTT standards, read from the names of the tests.
//!
//! Called by `main` and by `test`. It trusts names and runs nothing: a test that is named after a statement and asserts
//! something else is found only by reading it.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::workspace::Workspace;
use names::{statements_of, test_names, version_of};

/// The standards: first word of the tests' names, name, list of the statements.
const STANDARDS: [(&str, &str, &str); 3] =
    [("v5", "5.0", "spec/mqtt5.toml"), ("v311", "3.1.1", "spec/mqtt311.toml"), ("v31", "3.1", "spec/mqtt31.toml")];
const EXCEPTIONS: &str = "spec/exceptions.toml";

/// Who has to keep a statement. What only a client must keep is proven on our client.
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

/// A rule that its standard gives no id; its tests are listed beside it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unnumbered {
    text: String,
    #[serde(default)]
    tests: Vec<String>,
}

/// A list of statements: one of `spec/*.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    statement: Vec<Statement>,
    #[serde(default)]
    noid: Vec<Unnumbered>,
}

/// A statement that is left without a test on purpose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    /// The version of the standard: `5.0`.
    standard: String,
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

/// What the names of the tests say of one standard.
#[derive(Debug)]
struct Table {
    version: String,
    list: List,
    exceptions: BTreeMap<String, String>,
    /// Statement to the tests that are named after it.
    tests: BTreeMap<String, Vec<String>>,
    /// Every test of this standard.
    names: BTreeSet<String>,
    /// Tests whose name fits no statement, and that no rule without id lists.
    strays: Vec<String>,
}

/// Prints the tables, as text or JSON. An error when a statement has neither a test nor an exception.
pub(crate) fn run(workspace: &Workspace, as_json: bool) -> Result<()> {
    let tables = tables(workspace)?;
    let proven = check(&tables);
    if as_json {
        println!("{:#}", Value::Array(tables.iter().map(Table::json).collect()));
        return proven.map(drop);
    }
    tables.iter().for_each(|table| print!("{}", table.text()));
    println!("{}", proven?);
    Ok(())
}

/// The count of all that is proven, for a summary. An error as [`run`].
pub(crate) fn judge(workspace: &Workspace) -> Result<String> {
    check(&tables(workspace)?)
}

fn tables(workspace: &Workspace) -> Result<Vec<Table>> {
    let read = |file: &str| fs::read_to_string(workspace.root().join(file)).with_context(|| format!("read {file}"));
    let mut names = BTreeSet::new();
    for file in workspace.files()?.iter().filter(|file| file.ends_with(".rs")) {
        names.extend(test_names(&read(file)?));
    }
    let exceptions: Exceptions = toml::from_str(&read(EXCEPTIONS)?).context(EXCEPTIONS)?;
    if let Some(lost) = exceptions.exception.iter().find(|entry| STANDARDS.iter().all(|one| one.1 != entry.standard)) {
        bail!("{EXCEPTIONS}: {} is of no known standard", lost.id);
    }
    let table = |&(prefix, version, file): &(&str, &str, &str)| {
        let list: List = toml::from_str(&read(file)?).context(file.to_owned())?;
        let own = exceptions.exception.iter().filter(|entry| entry.standard == version);
        let names = names.iter().filter(|name| version_of(name) == Some(prefix)).cloned();
        Table::new(version, list, own, names.collect())
    };
    STANDARDS.iter().map(table).collect()
}

/// The count of all that is proven, in one line.
fn check(tables: &[Table]) -> Result<String> {
    let mut faults: Vec<String> = Vec::new();
    for table in tables {
        let (statements, rules) = (table.missing().len(), table.unproven().len());
        if statements + rules > 0 {
            faults.push(format!("{}: {statements} statements and {rules} rules without a test", table.version));
        }
    }
    if !faults.is_empty() {
        bail!("{}; see `cargo xtask spec` (an exception stands in {EXCEPTIONS})", faults.join("; "));
    }
    let count = |of: fn(&Table) -> usize| tables.iter().map(of).sum::<usize>();
    Ok(format!(
        "{} statements and {} rules proven, {} exceptions",
        count(|table| table.list.statement.len()),
        count(|table| table.list.noid.len()),
        count(|table| table.exceptions.len())
    ))
}

impl Table {
    fn new<'a>(
        version: &str,
        list: List,
        entries: impl Iterator<Item = &'a Exception>,
        names: BTreeSet<String>,
    ) -> Result<Self> {
        let mut known = BTreeSet::new();
        for statement in &list.statement {
            if !known.insert(statement.id.clone()) {
                bail!("MQTT {version}: the list has {} twice", statement.id);
            }
        }
        let mut exceptions = BTreeMap::new();
        for Exception { id, reason, .. } in entries {
            if !known.contains(id) || reason.trim().is_empty() {
                bail!("{EXCEPTIONS}: {id} is no statement of {version} or has no reason");
            }
            exceptions.insert(id.clone(), reason.clone());
        }
        let listed: BTreeSet<&str> = list.noid.iter().flat_map(|rule| &rule.tests).map(String::as_str).collect();
        if let Some(name) = listed.iter().find(|name| !names.contains(**name)) {
            bail!("MQTT {version}: there is no test {name}, which a rule without id lists");
        }
        let (mut tests, mut strays) = (BTreeMap::<String, Vec<String>>::new(), vec![]);
        for name in &names {
            let ids = statements_of(name);
            let fits = !ids.is_empty() && ids.iter().all(|id| known.contains(id));
            if !fits && !name.contains("_noid_") && !listed.contains(name.as_str()) {
                strays.push(name.clone());
            }
            for id in ids.into_iter().filter(|id| known.contains(id)) {
                tests.entry(id).or_default().push(name.clone());
            }
        }
        Ok(Self { version: version.to_owned(), list, exceptions, tests, names, strays })
    }

    /// Statements that nothing proves, in the order of the standard.
    fn missing(&self) -> Vec<&Statement> {
        let open = |id: &str| !self.tests.contains_key(id) && !self.exceptions.contains_key(id);
        self.list.statement.iter().filter(|line| open(&line.id)).collect()
    }

    /// Rules without id that no test proves.
    fn unproven(&self) -> Vec<&Unnumbered> {
        self.list.noid.iter().filter(|rule| rule.tests.is_empty()).collect()
    }

    fn proof(&self, id: &str) -> String {
        match (self.tests.get(id), self.exceptions.get(id)) {
            (Some(tests), _) => tests.join(" "),
            (None, Some(reason)) => format!("exception: {reason}"),
            (None, None) => "MISSING".to_owned(),
        }
    }

    fn text(&self) -> String {
        let mut out = format!("MQTT {}\n", self.version);
        for line in &self.list.statement {
            out += &format!("{:<9} {}\n", line.id, self.proof(&line.id));
        }
        for rule in &self.list.noid {
            let proof = if rule.tests.is_empty() { "MISSING".to_owned() } else { rule.tests.join(" ") };
            out += &format!("no id     {}: {proof}\n", rule.text);
        }
        for name in &self.strays {
            out += &format!("names no statement: {name}\n");
        }
        for line in self.missing() {
            let who = if line.who == Who::Client { "client" } else { "server" };
            out += &format!("missing ({who}): {:<9} {}\n", line.id, line.text);
        }
        out + &format!(
            "{} statements, {} missing, {} exceptions; {} rules without id, {} missing; {} tests\n\n",
            self.list.statement.len(),
            self.missing().len(),
            self.exceptions.len(),
            self.list.noid.len(),
            self.unproven().len(),
            self.names.len(),
        )
    }

    fn json(&self) -> Value {
        let statement = |line: &Statement| {
            json!({
                "id": line.id,
                "text": line.text,
                "server": line.who != Who::Client,
                "tests": self.tests.get(&line.id).cloned().unwrap_or_default(),
                "exception": self.exceptions.get(&line.id),
            })
        };
        json!({
            "standard": self.version,
            "statements": self.list.statement.iter().map(statement).collect::<Vec<_>>(),
            "missing": self.missing().into_iter().map(|line| &line.id).collect::<Vec<_>>(),
            "rules_without_id": self.list.noid.iter().map(|rule| json!({"text": rule.text, "tests": rule.tests}))
                .collect::<Vec<_>>(),
            "names_without_statement": self.strays,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const TWO: &str = "[[statement]]\nid = '3.1.0-1'\nwho = 'client'\ntext = 'a'\n\
        [[statement]]\nid = '3.1.0-2'\nwho = 'server'\ntext = 'b'\n";

    fn table_of(list: &str, exceptions: &str, names: &[&str]) -> Result<Table> {
        let entries: Exceptions = toml::from_str(exceptions).context("exceptions")?;
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Table::new("5.0", toml::from_str(list).unwrap(), entries.exception.iter(), names)
    }

    fn table(exceptions: &str, names: &[&str]) -> Result<Table> {
        table_of(TWO, exceptions, names)
    }

    fn missing(exceptions: &str, names: &[&str]) -> Vec<String> {
        table(exceptions, names).unwrap().missing().into_iter().map(|line| line.id.clone()).collect()
    }

    #[test]
    fn a_statement_needs_a_test_or_an_exception() {
        assert_eq!(missing("", &[]), ["3.1.0-1", "3.1.0-2"]);
        assert_eq!(missing("", &["v5_3_1_0_1_x"]), ["3.1.0-2"]);
        assert!(missing("", &["v5_3_1_0_1_2_x"]).is_empty());
        let exception = "[[exception]]\nstandard = '5.0'\nid = '3.1.0-2'\nreason = 'why'";
        assert_eq!(missing(exception, &[]), ["3.1.0-1"]);
        assert!(check(&[table(exception, &[]).unwrap()]).is_err());
        assert!(check(&[table(exception, &["v5_3_1_0_1_x"]).unwrap()]).is_ok());
    }

    #[test]
    fn an_exception_needs_a_statement_and_a_reason() {
        assert!(table("[[exception]]\nstandard = '5.0'\nid = '9.9.9-9'\nreason = 'why'", &[]).is_err());
        assert!(table("[[exception]]\nstandard = '5.0'\nid = '3.1.0-2'\nreason = ' '", &[]).is_err());
        assert!(table("[[exception]]\nid = '3.1.0-2'\nreason = 'why'", &[]).is_err());
    }

    #[test]
    fn a_name_that_fits_no_statement_is_shown_and_proves_nothing() {
        let table = table("", &["v5_3_1_0_x", "v5_3_1_0_7_x"]).unwrap();
        assert_eq!(table.strays, ["v5_3_1_0_7_x", "v5_3_1_0_x"]);
        assert!(table.tests.is_empty());
    }

    #[test]
    fn a_rule_without_id_needs_tests_that_exist() {
        let rule = "[[noid]]\ntext = 'a'\ntests = ['v5_noid_a']\n";
        let proven = table_of(rule, "", &["v5_noid_a"]).unwrap();
        assert!(proven.strays.is_empty() && check(&[proven]).is_ok());
        assert!(table_of(rule, "", &["v5_noid_b"]).is_err(), "the test it lists does not exist");
        let bare = table_of("[[noid]]\ntext = 'a'\n", "", &["v5_noid_b"]).unwrap();
        assert!(check(&[bare]).is_err());
    }

    #[test]
    fn the_lists_have_every_statement_of_their_standards() {
        let count = |text: &str| toml::from_str::<List>(text).unwrap().statement.len();
        assert_eq!(count(include_str!("../../spec/mqtt5.toml")), 251);
        assert_eq!(count(include_str!("../../spec/mqtt311.toml")), 141);
    }
}
