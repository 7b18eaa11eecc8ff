//! Runs seeds of the simulation by hand: `cargo run -p motte-sim -- --seed 7 --verbose`, or `-- --seeds 0..20000`; and
//! `-- --choices FILE` runs what the fuzzer of conversations found.

use std::io::{self, Write as _};
use std::process::ExitCode;

const USAGE: &str = "usage: motte-sim --seed N [--verbose] | --seeds FROM..TO | --choices FILE";

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (seeds, is_verbose) = match words.as_slice() {
        ["--seed", seed, rest @ ..] if rest.is_empty() || rest == ["--verbose"] => {
            (seed.parse().ok().map(|seed: u64| seed..seed.saturating_add(1)), !rest.is_empty())
        }
        ["--seeds", range] => (parse_range(range), false),
        _ => (None, false),
    };
    let mut out = io::stdout().lock();
    if let ["--choices", file] = words.as_slice() {
        return Ok(match motte_sim::run_choices(&std::fs::read(file)?) {
            Ok(outcome) => {
                writeln!(out, "{file} keeps every promise: {outcome:?}")?;
                ExitCode::SUCCESS
            }
            Err(failure) => {
                failure.log().iter().try_for_each(|line| writeln!(out, "{line}"))?;
                writeln!(out, "{failure}")?;
                ExitCode::FAILURE
            }
        });
    }
    let Some(seeds) = seeds else {
        writeln!(out, "{USAGE}")?;
        return Ok(ExitCode::FAILURE);
    };
    let mut failed = 0_u64;
    for seed in seeds.clone() {
        let failure = match motte_sim::run(seed) {
            Ok(outcome) if is_verbose => {
                writeln!(out, "seed {seed} keeps every promise: {outcome:?}")?;
                continue;
            }
            Ok(_) => continue,
            Err(failure) => failure,
        };
        failed += 1;
        for line in failure.log().iter().filter(|_| is_verbose) {
            writeln!(out, "{line}")?;
        }
        writeln!(out, "{failure}\n")?;
    }
    writeln!(out, "{failed} of {} seeds failed", seeds.end - seeds.start)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse_range(text: &str) -> Option<std::ops::Range<u64>> {
    let (from, to) = text.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}
