//! What the store relies on in redb, asked of redb itself: when one of these fails after an update, the store needs
//! another way to keep its promise.
//!
//! 1. A commit in one phase (one sync) survives every power cut once it has returned, and one that has not is there as
//!    a whole or not at all.
//! 2. Making a file is not atomic: a power cut in the middle leaves a file that is refused. So the store makes it under
//!    another name.
//! 3. A file that was closed well is trusted, unless `check_integrity_on_open` is set; then damage is refused.
//! 4. Even so, damage to the pages of the last commit passes for a power cut within it, and the commit before it is
//!    opened without a word. So the store has to know by itself how far it was.

use std::panic::{AssertUnwindSafe, catch_unwind};

use motte_store::disk::{Cut, SimDisk, survive};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const ROWS: TableDefinition<'_, u64, u64> = TableDefinition::new("rows");

const BLOCK: usize = 4_096;

/// Everything in a file: keys with the length and the first byte of the values, and rows.
type Content = (Vec<(u64, usize, u8)>, Vec<(u64, u64)>);

/// Numbers that are the same in each run.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

fn open(disk: SimDisk, is_checked: bool) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_check_integrity_on_open(is_checked).create_with_backend(disk)?)
}

fn commit(database: &Database, at: u64, random: &mut impl FnMut() -> u64) {
    let write = database.begin_write().expect("the disk is sound");
    {
        let mut log = write.open_table(LOG).expect("the disk is sound");
        for n in 0..=random() % 3 {
            let first = u8::try_from(at % 251).expect("below 251");
            let block = vec![first; 100 + usize::try_from(random() % 20_000).expect("small")];
            log.insert(at * 8 + n, &block[..]).expect("the disk is sound");
        }
        for _ in 0..2 {
            log.remove(random() % (at * 8 + 1)).expect("the disk is sound");
        }
        let mut rows = write.open_table(ROWS).expect("the disk is sound");
        for _ in 0..random() % 20 {
            rows.insert(random() % 300, at).expect("the disk is sound");
        }
    }
    write.commit().expect("the disk is sound");
}

fn content(database: &Database) -> Result<Content, redb::Error> {
    let read = database.begin_read()?;
    let (mut log, mut rows) = (Vec::new(), Vec::new());
    for entry in read.open_table(LOG)?.iter()? {
        let (key, block) = entry?;
        log.push((key.value(), block.value().len(), block.value()[0]));
    }
    for entry in read.open_table(ROWS)?.iter()? {
        let (key, row) = entry?;
        rows.push((key.value(), row.value()));
    }
    Ok((log, rows))
}

#[test]
fn r02_a_commit_in_one_phase_survives_a_power_cut_whole() {
    let disk = SimDisk::new();
    let mut random = numbers(7);
    let database = open(disk.clone(), true).expect("an empty disk");
    commit(&database, 0, &mut random);
    let made = disk.recorded();
    let mut known = vec![(0, content(&database).expect("the disk is sound"))];
    for at in 1..40 {
        commit(&database, at, &mut random);
        known.push((made.recorded_count(), content(&database).expect("the disk is sound")));
    }
    let requests = made.recorded_count();
    let mut tried = 0;
    made.trace().walk(|at, synced, pending| {
        let one = usize::try_from(random()).expect("31 bits") % pending.len().max(1);
        let cuts =
            [Cut::Nothing, Cut::All, Cut::Lengths, Cut::Only(one), Cut::Without(one), Cut::Some, Cut::Sectors(4_096)];
        let cut = cuts.into_iter().chain([Cut::Sectors(512)]).nth(tried % 8).expect("there are eight");
        if at * 200 / requests < tried {
            return;
        }
        tried += 1;
        let left = SimDisk::from_image(survive(synced, pending, &cut, &mut random));
        let database = open(left, true).unwrap_or_else(|error| panic!("{cut:?} after {at}: {error}"));
        let found = content(&database).expect("what opens can be read");
        let last = known.iter().rposition(|(until, _)| *until <= at).expect("the first is before all");
        let may_be = &known[last..known.len().min(last + 2)];
        assert!(may_be.iter().any(|(_, content)| *content == found), "{cut:?} after {at}");
    });
    assert!(tried >= 200, "{tried}");
}

#[test]
fn r02_making_a_file_is_not_atomic() {
    let disk = SimDisk::new().recorded();
    drop(open(disk.clone(), true).expect("an empty disk"));
    let mut refused = 0;
    disk.trace().walk(|_, synced, pending| {
        let left = SimDisk::from_image(survive(synced, pending, &Cut::Lengths, &mut || 0));
        refused += u32::from(open(left, true).is_err());
    });
    assert!(refused > 0);
}

/// How many of these images, each with one block of zeros, open with what was there, are refused, open with something
/// else, panic.
fn damaged(image: &[u8], blocks: &[usize], expected: &Content, is_checked: bool) -> [u32; 4] {
    let mut counts = [0; 4];
    for block in blocks {
        let mut image = image.to_vec();
        image[block * BLOCK..][..BLOCK].fill(0);
        let disk = SimDisk::from_image(image);
        let found = catch_unwind(AssertUnwindSafe(|| content(&open(disk, is_checked)?)));
        let outcome = match found {
            Ok(Ok(found)) if found == *expected => 0,
            Ok(Err(_)) => 1,
            Ok(Ok(_)) => 2,
            Err(_) => 3,
        };
        counts[outcome] += 1;
    }
    counts
}

#[test]
fn r20_damage_is_found_at_the_start_where_redb_is_asked_to_look() {
    let disk = SimDisk::new();
    let mut random = numbers(7);
    let database = open(disk.clone(), true).expect("an empty disk");
    (0..40).for_each(|at| commit(&database, at, &mut random));
    let before = disk.image();
    commit(&database, 40, &mut random);
    let after = disk.image();
    let blocks = after.len() / BLOCK;
    let is_new = |block: &usize| before.chunks(BLOCK).nth(*block) != after.chunks(BLOCK).nth(*block);
    let newest: Vec<usize> = (1..blocks).filter(is_new).collect();
    let all: Vec<usize> = (0..blocks).step_by(13).collect();
    let expected = content(&database).expect("the disk is sound");
    let killed = damaged(&after, &newest, &expected, true);
    drop(database);
    let trusted = damaged(&disk.image(), &all, &expected, false);
    let checked = damaged(&disk.image(), &all, &expected, true);
    assert!(trusted[3] > 0, "{trusted:?}");
    assert_eq!(checked[2..], [0, 0], "{checked:?}");
    assert!(killed[2] > 0 && killed[3] == 0, "{killed:?}");
}
