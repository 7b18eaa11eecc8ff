//! Each checker fails when it should: a fault put into the run is found and named, and the failure says how to replay.

use motte_sim::{Fault, Invariant, run_with};

/// Seeds looked at until some of them have an occasion for the fault.
const SEEDS: std::ops::Range<u64> = 0..600;
/// How many have to find it.
const FOUND: usize = 4;

/// Runs seeds with a fault: whoever fails has to name this promise, and some seeds have to fail.
fn is_found(fault: Fault, invariant: Invariant) {
    let mut found = 0;
    for seed in SEEDS {
        if found == FOUND {
            return;
        }
        let Err(failure) = run_with(seed, Some(fault)) else { continue };
        assert_eq!(failure.invariant, invariant, "{failure}");
        let text = failure.to_string();
        assert!(text.starts_with(&format!("seed {seed}: {invariant:?}: ")), "{text}");
        assert!(text.contains(&format!("cargo run -p motte-sim -- --seed {seed} --verbose")), "{text}");
        found += 1;
    }
    panic!("{fault:?} was found in {found} of {} runs", SEEDS.end);
}

#[test]
fn i1_a_swallowed_delivery_is_found() {
    is_found(Fault::SwallowDelivery, Invariant::I1);
}

#[test]
fn i2_a_second_copy_of_qos_2_is_found() {
    is_found(Fault::DuplicateQos2, Invariant::I2);
}

#[test]
fn i3_two_messages_in_the_other_order_are_found() {
    is_found(Fault::SwapTwo, Invariant::I3);
}

#[test]
fn i4_two_owners_at_once_are_found() {
    is_found(Fault::HideTakeover, Invariant::I4);
}

#[test]
fn i5_a_delivery_after_the_right_was_taken_is_found() {
    is_found(Fault::LeakDenied, Invariant::I5);
}

#[test]
fn i6_a_lost_retained_message_is_found() {
    is_found(Fault::LoseRetained, Invariant::I6);
}

#[test]
fn i8_a_wrong_count_is_found() {
    is_found(Fault::CountOneMore, Invariant::I8);
}

#[test]
fn i1_a_record_that_the_journal_lost_is_found() {
    is_found(Fault::LoseRecord, Invariant::I1);
}

#[test]
fn i2_a_message_that_arrived_and_comes_again_after_a_crash_is_found() {
    is_found(Fault::RestoreArrived, Invariant::I2);
}

#[test]
fn i6_an_older_retained_message_after_a_crash_is_found() {
    is_found(Fault::RestoreOldRetained, Invariant::I6);
}

#[test]
fn i7_a_will_that_is_published_twice_is_found() {
    is_found(Fault::RestoreWill, Invariant::I7);
}

#[test]
fn i7_a_will_that_is_forgotten_in_a_crash_is_found() {
    is_found(Fault::DropWill, Invariant::I7);
}
