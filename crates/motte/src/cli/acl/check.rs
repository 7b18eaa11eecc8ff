//! `motte acl check`: rules that never decide, contradict each other, open too much, or are for nobody.
//!
//! Called by `motte acl`.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use motte_policy::analysis::{self, Finding, FindingKind};
use serde_json::json;

use super::source::{Rules, read_passwords};
use crate::ui::{FAILURE, Failure, SUCCESS, USAGE, Ui};

/// Find rules that never decide, contradict each other, or open too much
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Exit codes: 0 done; 1 a file is broken, or --strict and something was found; 2 wrong command line."
)]
pub(crate) struct Args {
    /// An ACL file, a policy file, or both
    #[arg(value_name = "FILE", required_unless_present = "config")]
    files: Vec<PathBuf>,
    /// Take the files that a configuration names
    #[arg(short, long, value_name = "FILE", conflicts_with = "files")]
    config: Option<PathBuf>,
    /// A password file: users the rules speak of that are not in it are told
    #[arg(long, value_name = "FILE")]
    passwords: Option<PathBuf>,
    /// End with exit code 1 when something is found
    #[arg(long)]
    strict: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let mut rules = match &args.config {
        Some(config) => Rules::of_configuration(config)?,
        None => Rules::of_files(&args.files, None)?,
    };
    if let Some(path) = &args.passwords {
        rules.passwords = Some(read_passwords(path)?);
    }
    if rules.files.is_empty() {
        return Err(Failure::new("there are no rules to check", "name an ACL file or a policy file").with_code(USAGE));
    }
    let mut found = Vec::new();
    for file in &rules.files {
        let mut of_file = analysis::check(file.rules());
        let warned = |warning: &motte_policy::AclError| Finding {
            line: warning.line,
            kind: FindingKind::Idle,
            what: warning.what.clone(),
            hint: warning.hint.clone(),
        };
        of_file.extend(file.warnings.iter().map(warned));
        if let Some(passwords) = &rules.passwords {
            let named = file.named.iter().map(|(name, line)| (&**name, *line));
            of_file.extend(analysis::unknown_users(named, |name| passwords.contains(name)));
        }
        of_file.sort_by_key(|finding| finding.line);
        found.extend(of_file.into_iter().map(|finding| (file.path.display().to_string(), finding)));
    }
    show(args, &found, ui)?;
    Ok(if args.strict && !found.is_empty() { FAILURE } else { SUCCESS })
}

fn show(args: &Args, found: &[(String, Finding)], ui: &mut Ui) -> Result<(), Failure> {
    if args.json {
        let findings: Vec<_> = found
            .iter()
            .map(|(file, found)| {
                json!({ "file": file, "line": found.line, "kind": found.kind.name(), "what": found.what,
                    "hint": found.hint })
            })
            .collect();
        return ui.line(json!({ "findings": findings }));
    }
    for (file, found) in found {
        let Finding { line, kind, what, hint } = found;
        ui.line(format_args!("{file}:{line}: {}: {what} — hint: {hint}", kind.name()))?;
    }
    if found.is_empty() {
        ui.line("nothing found")?;
    }
    Ok(())
}
