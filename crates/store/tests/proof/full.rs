//! A disk that fills up (R3, R4): what makes room is still taken, and the end of the disk is never met.

use std::sync::Arc;

use motte_broker::journal::{DurableTarget, DurableTargets, Journal, Record};
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos};
use motte_broker::policy::{ClientId, Identity, Subject};
use motte_broker::restore::StoredMessage;
use motte_broker::{JournalState, Message, Millis, Origin, Position, ShardId};
use motte_store::disk::{SimDisk, survive};
use motte_store::{FreeBytes, Settings};

use crate::engine::{Running, clock, open, open_with};
use crate::power::cut;
use crate::random::Random;

const DISK_BYTES: u64 = 40 << 20;

fn subject(client_id: &str) -> Subject {
    Subject::new(Identity::Anonymous, ClientId(client_id.into()))
}

/// Hands over a message of 8 KiB for one client.
fn publish(running: &mut Running, now: Millis) -> Origin {
    let target = DurableTarget { client_id: "slow", qos: Qos::AtLeastOnce, retain: false, ids: &[], share: None };
    let message = Message::restored(StoredMessage {
        topic: "a".into(),
        payload: vec![7; 8_192].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        publisher: subject("who"),
        properties: ForwardedPropertiesBuf::new(),
        accepted: now,
        expires: None,
        origin: Origin { shard: ShardId(0), position: Position(0) },
    });
    let targets = DurableTargets::listed(std::slice::from_ref(&target));
    let position = running.journal().append(&Record::Published { message: &message, targets });
    Origin { shard: ShardId(0), position }
}

fn commit(running: &mut Running, now: Millis) {
    running.journal().hand_over(now);
    running.commit().expect("the end of the disk is not met");
}

#[test]
fn r03_a_full_disk_takes_what_makes_room_and_is_ready_again() {
    let disk = SimDisk::new();
    disk.limit(Some(DISK_BYTES));
    let free = disk.clone();
    let settings = Settings { free: FreeBytes(Arc::new(move || free.free_bytes())), ..Settings::new(clock()) };
    let (mut running, _) = open_with(disk.clone(), settings).expect("an empty disk is sound");
    let mut now = Millis(0);
    running.journal().append(&Record::SessionOpened { owner: &subject("slow"), expiry_s: u32::MAX, mount_point: "" });
    let mut waiting = Vec::new();
    for round in 0..4 {
        while running.journal().state() == JournalState::Ready {
            waiting.extend((0..16).map(|_| publish(&mut running, now)));
            commit(&mut running, now);
            assert!(waiting.len() < 5_000, "a disk of 40 MiB takes no end");
        }
        assert_eq!(running.journal().state(), JournalState::Full, "round {round}");
        // The client comes and takes all but a few, which lie far apart.
        let (left, taken): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|origin| origin.position.0 % 499 == 0);
        for some in taken.chunks(100) {
            for origin in some {
                running.journal().append(&Record::Settled { client_id: "slow", origin: *origin });
            }
            now = now.plus_ms(100);
            commit(&mut running, now);
        }
        waiting = left;
        let idle = (0..50).find(|_| {
            running.idle();
            running.journal().state() == JournalState::Ready
        });
        assert!(idle.is_some(), "round {round}: still full, with {:?} bytes free", disk.free_bytes());
    }
    assert_eq!(disk.failures(), 0);
    let (_, model) = open(SimDisk::from_image(running.kill())).expect("it is sound");
    assert!(model.sessions["slow"].queue.keys().copied().eq(waiting), "what was not taken is there");
}

#[test]
fn r02_a_power_cut_while_the_file_is_made_shorter() {
    let disk = SimDisk::new();
    let settings = Settings { bytes_max: Some(1), ..Settings::new(clock()) };
    let (mut running, _) = open_with(disk.clone(), settings).expect("an empty disk is sound");
    let now = Millis(0);
    running.journal().append(&Record::SessionOpened { owner: &subject("slow"), expiry_s: u32::MAX, mount_point: "" });
    let waiting: Vec<_> = (0..1_200).map(|_| publish(&mut running, now)).collect();
    commit(&mut running, now);
    for origin in waiting.iter().filter(|origin| origin.position.0 % 97 != 0) {
        running.journal().append(&Record::Settled { client_id: "slow", origin: *origin });
    }
    commit(&mut running, now);
    let (_, expected) = open(SimDisk::from_image(disk.image())).expect("it is sound");
    let before = disk.image().len();
    let disk = disk.recorded();
    running.idle();
    assert!(disk.image().len() < before / 2, "{before} bytes became {}", disk.image().len());
    let (mut number, mut random, requests) = (0, Random(4), disk.recorded_count());
    disk.trace().walk(|at, synced, pending| {
        if at * 60 / requests < number {
            return;
        }
        let cut = cut(number, pending, &mut random);
        let image = survive(synced, pending, &cut, &mut || random.next());
        let what = format!("{cut:?} after {at} of {requests}");
        let (_, model) = open(SimDisk::from_image(image)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(expected.is(&model), "{what}: {}", expected.difference(&model));
        number += 1;
    });
    assert!(number > 30, "{number} states");
}
