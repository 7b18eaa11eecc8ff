//! Power loss (R2): the store is recovered from states that a power cut can leave of a recorded run.

use motte_store::disk::{Cut, Request, SimDisk, Trace, survive};

use crate::engine::{open, report, states};
use crate::random::Random;
use crate::workload::Workload;

/// A run of a store as the disk saw it, and what was durable when.
struct Run {
    trace: Trace,
    requests: usize,
    /// What is durable once so many requests were answered.
    durable: Vec<(usize, Workload)>,
}

/// Runs a store from an empty one over `commits` commits, with a stop in order and a start among them.
fn run(seed: u64, commits: usize) -> Run {
    let disk = SimDisk::new();
    let (mut running, _) = open(disk.clone()).expect("an empty disk is sound");
    let disk = disk.recorded();
    let mut workload = Workload::new(seed);
    let mut durable = vec![(0, workload.clone())];
    for commit in 1..=commits {
        workload.turns(&mut running);
        running.commit().expect("the disk is sound");
        durable.push((disk.recorded_count(), workload.clone()));
        if commit == commits / 2 {
            running.close().expect("the disk is sound");
            let (again, model) = open(disk.clone()).expect("the disk is sound");
            assert!(workload.model.is(&model), "{}", workload.model.difference(&model));
            running = again;
            workload = workload.restarted(running.now());
            durable.push((disk.recorded_count(), workload.clone()));
        }
    }
    Run { trace: disk.trace(), requests: disk.recorded_count(), durable }
}

impl Run {
    /// What must be there, and what may be, when the power is cut after so many requests.
    fn durable_at(&self, at: usize) -> &[(usize, Workload)] {
        let last = self.durable.iter().rposition(|(until, _)| *until <= at).expect("the first is before all");
        &self.durable[last..self.durable.len().min(last + 2)]
    }
}

/// One way after another in which power is cut.
pub(crate) fn cut(number: usize, pending: &[Request], random: &mut Random) -> Cut {
    let one = random.below(pending.len().max(1));
    match number % 9 {
        0 => Cut::All,
        1 => Cut::Nothing,
        2 | 3 => Cut::Sectors(512),
        4 | 5 => Cut::Sectors(4_096),
        6 => Cut::Some,
        7 => Cut::Without(one),
        _ => *random.pick(&[Cut::Only(one), Cut::Only(pending.len().saturating_sub(1)), Cut::Lengths]),
    }
}

/// The store opens with what was durable, opens again with the same, and goes on.
fn recover(image: Vec<u8>, may_be: &[(usize, Workload)], what: &str) {
    let disk = SimDisk::from_image(image);
    let (running, first) = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (_, workload) = may_be.iter().find(|(_, workload)| workload.model.is(&first)).unwrap_or_else(|| {
        panic!("{what}: {}", may_be[0].1.model.difference(&first));
    });
    let disk = SimDisk::from_image(running.kill());
    let (mut running, second) = open(disk).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert!(first.is(&second), "{what}, again: {}", first.difference(&second));
    let mut workload = workload.clone().restarted(running.now());
    workload.turns(&mut running);
    running.commit().unwrap_or_else(|error| panic!("{what}, going on: {error}"));
    let (_, third) =
        open(SimDisk::from_image(running.kill())).unwrap_or_else(|error| panic!("{what}, after going on: {error}"));
    assert!(workload.model.is(&third), "{what}, after going on: {}", workload.model.difference(&third));
}

#[test]
fn r02_what_was_durable_is_there_after_a_power_cut() {
    let states = states(200);
    let mut tried = 0;
    let runs = states.div_ceil(2_500);
    for seed in 0..runs {
        let run = run(seed as u64, 30);
        let mut random = Random(seed as u64);
        let goal = states * (seed + 1) / runs;
        let before = tried;
        run.trace.walk(|at, synced, pending| {
            while (tried - before) * run.requests < (goal - before) * at.max(1) {
                let cut = cut(tried, pending, &mut random);
                let image = survive(synced, pending, &cut, &mut || random.next());
                recover(image, run.durable_at(at), &format!("seed {seed}, {cut:?} after {at} of {}", run.requests));
                tried += 1;
            }
        });
    }
    report(&format!("{tried} states"));
    assert!(tried >= states);
}
