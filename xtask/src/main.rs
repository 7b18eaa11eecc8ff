//! One entry for every check of the project: `cargo xtask test` is what continuous integration runs and nothing else.
//!
//! Called by people and by `.ci/run`. It never changes a committed file; what it installs goes below the target
//! directory, except Debian packages.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its terminal")]

mod command;
mod cost;
mod deny;
mod fuzz;
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

  test     everything: setup, fmt, clippy, tidy, deny, tests, doctests, fuzz, release build, cost (what CI runs)
  setup    installs what the tests need: Debian packages, foreign clients, cargo-nextest, cargo-deny, cargo-fuzz
  tidy     the rules of the house: arrows between crates, purity, sizes, headers, forbidden texts
  deny     licences, bans and sources of the dependencies, and advisories where their database can be had
  spec     which test proves which statement of MQTT 5.0, 3.1.1 and 3.1, and which have none; `spec --json` for machines
  fuzz     searches with the fuzz targets, 60 s each; `fuzz --seconds N [TARGET…]` for longer or with some of them;
           `fuzz --fixed [TARGET…]` tries the inputs that `test` does, the same for the same code
  cost     instructions and system calls per message against bench/cost.toml; `cost --json` for machines,
           `cost --accept WHY` to write the baseline
  help     this text
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let what = words.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = words.collect();
    let as_json = what == "spec" && rest == ["--json"];
    let purpose = cost::Purpose::parse(&rest).filter(|_| what == "cost");
    if let (Some(extra), false) = (rest.first(), as_json || purpose.is_some() || what == "fuzz") {
        eprintln!("error: `{extra}` is one word too many\nhint: cargo xtask help");
        return ExitCode::from(2);
    }
    let outcome = match what.as_str() {
        "test" => Workspace::find().and_then(|workspace| test::run(&workspace)),
        "setup" => Workspace::find().and_then(|workspace| setup::run(&workspace)),
        "tidy" => Workspace::find().and_then(|workspace| tidy::run(&workspace)),
        "deny" => Workspace::find().and_then(|workspace| deny::run_alone(&workspace)),
        "spec" => Workspace::find().and_then(|workspace| spec::run(&workspace, as_json)),
        "fuzz" => Workspace::find().and_then(|workspace| run_fuzz(&workspace, &rest)),
        "cost" => Workspace::find().and_then(|workspace| {
            println!("{}", cost::run(&workspace, &purpose.unwrap_or(cost::Purpose::Judge))?);
            Ok(())
        }),
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

/// `fuzz [--seconds N | --fixed] [TARGET…]`.
fn run_fuzz(workspace: &Workspace, words: &[String]) -> anyhow::Result<()> {
    let (extent, only) = fuzz::parse(words)?;
    println!("{}", fuzz::run(workspace, extent, only)?);
    Ok(())
}
