//! `cargo xtask tidy`: the rules of the house that neither the compiler nor clippy checks.
//!
//! Each check is a function from text to findings, so that its tests can show it failing. Nothing is written.

mod arrows;
mod lexer;
mod purity;
mod source;
mod texts;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// File, relative to the root.
    pub(crate) file: String,
    /// Line from 1; 0 when the file as a whole is meant.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
}

impl Finding {
    fn new(file: &str, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Runs all checks and shows all findings. An error when there is one.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut findings = arrows::check(workspace.packages());
    let files = workspace.files()?;
    for file in &files {
        let bytes = fs::read(workspace.root().join(file)).with_context(|| format!("cannot read {file}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(texts::check(file, &text));
        if file.ends_with(".rs") {
            findings.extend(source::check(file, &text));
            findings.extend(purity::check_source(file, &text));
        }
    }
    for room in purity::ROOMS {
        let file = format!("crates/{room}/clippy.toml");
        findings
            .extend(purity::check_bans(&file, &fs::read_to_string(workspace.root().join(&file)).unwrap_or_default()));
        let args = ["tree", "-p", &format!("motte-{room}"), "-e", "normal", "--prefix", "none", "--locked"];
        let tree = workspace.command("cargo").args(args).output()?;
        findings.extend(purity::check_tree(room, &tree));
    }
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    if findings.is_empty() { Ok(()) } else { bail!("{} rules of the house are broken", findings.len()) }
}
