//! One entry for every check of the project: `cargo xtask test` is what continuous integration runs and nothing else.
//!
//! Called by people and by `.ci/run`. It never changes a committed file; what it installs goes below the target
//! directory, except Debian packages.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its terminal")]

mod command;
mod deny;
mod report;
mod setup;
mod spec;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use crate::workspace::Workspace;

const HELP: &str = "\
cargo xtask <what>

  test     everything: setup, fmt, clippy, tidy, deny, tests, doctests, release build; prints a summary (what CI runs)
  setup    installs what the tests need: Debian packages, Python and npm clients, cargo-nextest, cargo-deny
  tidy     the rules of the house: arrows between crates, purity, sizes, headers, forbidden texts
  deny     licences, bans and sources of the dependencies, and advisories where their database can be had
  spec     which test proves which statement of MQTT 5.0, 3.1.1 and 3.1, and which have none; `spec --json` for machines
  help     this text
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = words.collect();
    let as_json = what == "spec" && rest == ["--json"];
    if let (Some(extra), false) = (rest.first(), as_json) {
        eprintln!("error: `{extra}` is one word too many\nhint: cargo xtask help");
        return ExitCode::from(2);
    }
    let outcome = match what.as_str() {
        "test" => Workspace::find().and_then(|workspace| test::run(&workspace)),
        "setup" => Workspace::find().and_then(|workspace| setup::run(&workspace)),
        "tidy" => Workspace::find().and_then(|workspace| tidy::run(&workspace)),
        "deny" => Workspace::find().and_then(|workspace| deny::run_alone(&workspace)),
        "spec" => Workspace::find().and_then(|workspace| spec::run(&workspace, as_json)),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        unknown => {
            eprintln!("error: there is no `cargo xtask {unknown}`\nhint: cargo xtask help");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
