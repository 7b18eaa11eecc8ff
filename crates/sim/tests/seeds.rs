//! Two thousand seeds of the simulation in eight tests, so that all cores work, and the seeds that once failed.
//!
//! A failure says which promise was broken, shows what led to it, and how to run the seed again.

use std::ops::Range;

use motte_sim::run;

/// Runs seeds and tells what failed. All together they give applications messages enough, and the broker dies often.
fn keep_every_promise(seeds: Range<u64>) {
    let (mut given, mut crashes) = (0, 0);
    let mut failures = Vec::new();
    for seed in seeds.clone() {
        match run(seed) {
            Ok(outcome) => {
                given += outcome.given as u64;
                crashes += outcome.crashes as u64;
            }
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    let count = seeds.end - seeds.start;
    let shown = failures.iter().take(3).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(failures.is_empty(), "{} of {count} seeds failed\n{shown}", failures.len());
    assert!(given > 70 * count, "the runs are about something: {given} messages were given");
    assert!(crashes > count, "the broker died only {crashes} times");
}

macro_rules! seeds {
    ($($name:ident: $range:expr;)*) => {
        $(#[test]
        fn $name() {
            keep_every_promise($range);
        })*
    };
}

seeds! {
    seeds_from_0: 0..250;
    seeds_from_250: 250..500;
    seeds_from_500: 500..750;
    seeds_from_750: 750..1_000;
    seeds_from_1000: 1_000..1_250;
    seeds_from_1250: 1_250..1_500;
    seeds_from_1500: 1_500..1_750;
    seeds_from_1750: 1_750..2_000;
}

#[test]
fn seeds_that_once_failed() {
    let lines = include_str!("../regressions.txt").lines();
    let seeds = lines.map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|seed| !seed.is_empty());
    for seed in seeds {
        let seed: u64 = seed.parse().expect("a line holds a seed");
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let outcome = run(7).expect("seed 7 keeps every promise");
    assert_eq!(outcome, run(7).expect("and again"));
    assert!(outcome.facts > 100, "{outcome:?}");
}
