//! Corruption (R20): a store file with damage opens with exactly what was there, or is refused by name.

use std::panic::{AssertUnwindSafe, catch_unwind};

use motte_store::OpenError;
use motte_store::disk::SimDisk;

use crate::engine::{Unusable, open, report, states};
use crate::random::Random;
use crate::workload::Workload;

/// A store as a process leaves it that is killed or stops in order, and what is in it.
fn left(is_killed: bool) -> (Vec<u8>, Workload) {
    let disk = SimDisk::new();
    let (mut running, _) = open(disk.clone()).expect("an empty disk is sound");
    let mut workload = Workload::new(5);
    for _ in 0..25 {
        workload.turns(&mut running);
        running.commit().expect("the disk is sound");
    }
    if is_killed {
        return (running.kill(), workload);
    }
    running.close().expect("the disk is sound");
    (disk.image(), workload)
}

/// One piece of damage, in words.
fn damage(image: &mut Vec<u8>, random: &mut Random) -> String {
    let at = random.below(image.len());
    let size = *random.pick(&[512, 4_096]);
    let block = at / size * size;
    match random.below(8) {
        0..3 => {
            image[at] ^= 1 << random.below(8);
            format!("a bit of {at} is another")
        }
        3 => {
            // The first page is where the file says what is where.
            let at = random.below(400);
            image[at] ^= 1 << random.below(8);
            format!("a bit of {at} is another")
        }
        4 | 5 => {
            let end = image.len().min(block + size);
            image[block..end].fill(0);
            format!("{size} bytes of {block} are zeros")
        }
        6 => {
            let (end, other) = (image.len().min(block + size), random.below(image.len() / size) * size);
            let copy = image[other..image.len().min(other + end - block)].to_vec();
            image[block..block + copy.len()].copy_from_slice(&copy);
            format!("{size} bytes of {block} are those of {other}")
        }
        _ => {
            image.truncate(at);
            format!("it ends at {at}")
        }
    }
}

/// What became of opening a file.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    Refused,
}

fn outcome(image: Vec<u8>, expected: &Workload, what: &str) -> Outcome {
    let opened = catch_unwind(AssertUnwindSafe(|| open(SimDisk::from_image(image))));
    match opened.unwrap_or_else(|_| panic!("{what}: panics")) {
        Ok((_, model)) => {
            assert!(expected.model.is(&model), "{what}: {}", expected.model.difference(&model));
            Outcome::Right
        }
        Err(Unusable::Refused(OpenError::Corrupt { .. } | OpenError::TooNew { .. })) => Outcome::Refused,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn r20_damage_is_refused_or_did_not_matter() {
    let images = states(200);
    let mut random = Random(20);
    let (mut right, mut refused) = (0, 0);
    let stores = [left(true), left(false)];
    for number in 0..images {
        let (image, expected) = &stores[number % 2];
        let mut image = image.clone();
        let what = format!("{} {}", ["killed", "stopped"][number % 2], damage(&mut image, &mut random));
        match outcome(image, expected, &what) {
            Outcome::Right => right += 1,
            Outcome::Refused => refused += 1,
        }
    }
    report(&format!("{images} images: {right} right, {refused} refused"));
    assert!(right > 0 && refused > 0);
}

#[test]
fn r20_what_is_no_store_is_refused() {
    let nothing = Workload::new(0);
    let (image, _) = left(false);
    let mut random = Random(1);
    let noise: Vec<u8> = (0..100_000).map(|_| random.byte()).collect();
    let half = image[..image.len() / 2].to_vec();
    let magic = [&image[..64], &noise].concat();
    let text = b"#!/bin/sh\nexit 0\n".to_vec();
    for (image, what) in [(noise, "noise"), (half, "half"), (magic, "noise behind a header"), (text, "a script")] {
        assert_eq!(outcome(image, &nothing, what), Outcome::Refused, "{what}");
    }
}
