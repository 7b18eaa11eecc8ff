//! Failing I/O (R4): one call to the disk after another fails, until a run passes without.

use motte_store::disk::{Calls, Cut, Failure, Fault, SimDisk};

use crate::engine::{open, report, states};
use crate::workload::Workload;

/// A sound store and what is in it.
struct Sound {
    image: Vec<u8>,
    workload: Workload,
    /// How far it is run on a disk with a fault.
    commits: usize,
}

impl Sound {
    fn new() -> Self {
        let disk = SimDisk::new();
        let (mut running, _) = open(disk.clone()).expect("an empty disk is sound");
        let mut workload = Workload::new(11);
        for _ in 0..10 {
            workload.turns(&mut running);
            running.commit().expect("the disk is sound");
        }
        running.close().expect("the disk is sound");
        let commits = if states(200) > 200 { 40 } else { 6 };
        Self { image: disk.image(), workload, commits }
    }

    /// No store yet, so that the making of one fails too.
    fn unborn() -> Self {
        Self { image: Vec::new(), workload: Workload::new(12), commits: 20 }
    }

    /// Runs over a few commits on a disk with a fault. What was reported durable is there afterwards. False when no
    /// call failed.
    fn run(&self, fault: Fault) -> bool {
        let disk = SimDisk::from_image(self.image.clone());
        disk.fail(Some(fault));
        let what = format!("{fault:?}");
        let Ok((mut running, model)) = open(disk.clone()) else {
            assert!(disk.failures() > 0, "{what}: refused without a reason");
            if self.image.is_empty() {
                // Nothing was promised, and a file that is not whole never gets the name of a store.
                return true;
            }
            after(images(&disk), &[&self.workload], &what);
            return true;
        };
        let mut durable = self.workload.clone();
        assert!(durable.model.is(&model), "{what}: {}", durable.model.difference(&model));
        let mut workload = durable.clone();
        if !self.image.is_empty() {
            workload = workload.restarted(running.now());
        }
        for _ in 0..self.commits {
            workload.turns(&mut running);
            if running.commit().is_err() {
                assert!(disk.failures() > 0, "{what}: failed without a reason");
                // Final: nothing that comes later is durable, whatever the disk does from here on.
                disk.fail(None);
                let mut later = workload.clone();
                for _ in 0..3 {
                    later.turns(&mut running);
                    running.commit().expect_err("a failed store stays failed");
                }
                let left = images(&disk);
                running.kill();
                after(left, &[&durable, &workload], &what);
                return true;
            }
            durable = workload.clone();
        }
        let (left, has_failed) = (images(&disk), disk.failures() > 0);
        running.kill();
        after(left, &[&durable], &what);
        has_failed
    }
}

/// What a later process finds after a kill, and after a power cut.
fn images(disk: &SimDisk) -> [Vec<u8>; 2] {
    [disk.image(), disk.power_cut(&Cut::Nothing, &mut || 0)]
}

/// A later process finds one of these.
fn after(images: [Vec<u8>; 2], may_be: &[&Workload], what: &str) {
    for (image, end) in images.into_iter().zip(["kill", "power cut"]) {
        let (_, model) = open(SimDisk::from_image(image)).unwrap_or_else(|error| panic!("{what}, {end}: {error}"));
        let is_one = may_be.iter().any(|workload| workload.model.is(&model));
        assert!(is_one, "{what}, {end}: {}", may_be[0].model.difference(&model));
    }
}

/// Lets each call fail in turn, or some of them spread over the run. How many failed.
fn every_call(sound: &Sound, calls: Calls, failure: Failure, times: u64) -> u64 {
    let step = if states(200) > 200 || matches!(calls, Calls::Sync | Calls::SetLen) { 1 } else { 9 };
    let mut failed = 0;
    for after in (0_u64..).step_by(step) {
        if !sound.run(Fault { calls, after, times, failure }) {
            break;
        }
        failed += 1;
    }
    report(&format!("{calls:?} {failure:?}: {failed} faults"));
    failed
}

#[test]
fn r04_a_failed_write_is_final_and_costs_nothing_that_was_durable() {
    for failure in [Failure::Io, Failure::NoSpace, Failure::Short] {
        assert!(every_call(&Sound::new(), Calls::Write, failure, 1) > 0);
    }
    assert!(every_call(&Sound::new(), Calls::Write, Failure::Io, u64::MAX) > 0);
}

#[test]
fn r04_a_failed_sync_is_final_though_the_next_would_succeed() {
    assert!(every_call(&Sound::new(), Calls::Sync, Failure::Io, 1) > 0);
    assert!(every_call(&Sound::new(), Calls::Sync, Failure::Interrupted, 1) > 0);
}

#[test]
fn r04_a_failed_change_of_length_costs_nothing_that_was_durable() {
    assert!(every_call(&Sound::unborn(), Calls::SetLen, Failure::NoSpace, 1) > 0);
}

#[test]
fn r04_a_failed_read_gives_no_wrong_data() {
    assert!(every_call(&Sound::new(), Calls::Read, Failure::Io, 1) > 0);
}

#[test]
fn r04_any_call_fails() {
    assert!(every_call(&Sound::new(), Calls::Any, Failure::Interrupted, 1) > 0);
    assert!(every_call(&Sound::unborn(), Calls::Any, Failure::Io, u64::MAX) > 0);
}
