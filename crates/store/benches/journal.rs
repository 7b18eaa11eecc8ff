//! What it takes to write down that a message was accepted, and that it is owed no more.
//!
//! `cargo bench -p motte-store`. The disk is in memory: this is the processor's part. `append` is what a shard's thread
//! does for a message of a turn of 20, `commit` what the keeper's thread does beside it.

#![allow(missing_docs, reason = "a bench is nobody's library")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use motte_broker::journal::{DurableTarget, DurableTargets};
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::{Journal, Message, Millis, Origin, Position, Record, ShardId};
use motte_store::disk::SimDisk;
use motte_store::{Clock, Engine, OpenedEngine, Reading, Settings, ShardJournal};

/// Messages of one turn.
const TURN: u64 = 20;

fn subject(client_id: &str) -> Subject {
    Subject::new(Identity::User(UserName("device-17".into())), ClientId(client_id.into()))
}

fn message() -> Message {
    Message::restored(StoredMessage {
        topic: "site/7/line/3".into(),
        payload: [b'p'; 64].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        publisher: subject("publisher"),
        properties: ForwardedPropertiesBuf::new(),
        accepted: Millis(1),
        expires: None,
        origin: Origin { shard: ShardId(0), position: Position(0) },
    })
}

/// A store with one session in it, and the journal of its only shard.
fn store() -> (Engine, ShardJournal) {
    let settings = Settings::new(Clock::new(|| Reading { wall_ms: 1, since_boot_ms: 1, boot_id: 1 }));
    let opened = Engine::open(SimDisk::new(), settings).expect("an empty disk takes a store");
    let OpenedEngine { mut engine, .. } = opened;
    let mut journal = engine.journals(1).pop().expect("one shard has one journal");
    journal.append(&Record::SessionOpened { owner: &subject("subscriber"), expiry_s: 3_600, mount_point: "" });
    journal.hand_over(Millis(1));
    engine.commit(usize::MAX).expect("the disk works");
    (engine, journal)
}

/// A turn in which messages are accepted and, as their receiver has them already, settled.
fn turn(journal: &mut ShardJournal, message: &Message) {
    let client_id = "subscriber";
    let target = DurableTarget { client_id, qos: Qos::AtLeastOnce, retain: false, ids: &[], share: None };
    for _ in 0..TURN {
        let targets = DurableTargets::listed(std::slice::from_ref(&target));
        let position = journal.append(&Record::Published { message, targets });
        journal.append(&Record::Settled { client_id, origin: Origin { shard: ShardId(0), position } });
    }
    journal.hand_over(Millis(1));
}

fn journal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(TURN));
    let message = message();
    group.bench_function("append", |bencher| {
        bencher.iter_batched_ref(store, |(_, journal)| turn(journal, &message), BatchSize::SmallInput);
    });
    let (mut engine, mut journal) = store();
    group.bench_function("append and commit", |bencher| {
        bencher.iter(|| {
            turn(&mut journal, &message);
            engine.commit(usize::MAX).expect("the disk works")
        });
    });
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
