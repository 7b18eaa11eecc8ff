//! Store files: damaged ones, and ones whose pages and checksums are right around rows and blocks of any content.

use std::num::NonZeroU16;
use std::sync::{Arc, OnceLock};

use motte_broker::journal::{DurableTarget, DurableTargets, Journal, Record, WillRecord};
use motte_broker::mqtt::{ForwardedPropertiesBuf, PacketId, Qos, RetainHandling, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::{Fetch, SessionKey, StoredMessage};
use motte_broker::{Message, Millis, Origin, Position, Restored, ShardId};
use motte_store::disk::SimDisk;
use motte_store::{Clock, Engine, Reading, Settings, ShardJournal};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

/// The header of a store comes before what the storage engine has.
const HEADER_BYTES: usize = 4_096;
const BLOCKS: TableDefinition<'_, &[u8; 10], &[u8]> = TableDefinition::new("blocks");
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// A sound store, taken apart.
struct Sound {
    image: Vec<u8>,
    facts: String,
    /// Key and body of each block and row.
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The first byte says what the others are: damage to a sound file, or blocks and rows for one, in place of those of a
/// sound one or among them. What opens with damage is exactly what was there; nothing panics.
pub fn open(data: &[u8]) {
    match data.split_first() {
        Some((how, data)) if how % 4 < 2 => damaged(data),
        Some((how, data)) => written(data, how % 4 == 2),
        None => {}
    }
}

/// Inputs to begin with: some damage, and the blocks and rows of a sound store.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let sound = sound();
    let mut seeds: Vec<Vec<u8>> =
        (0..12_u8).map(|at| vec![0, at, at.wrapping_mul(37), 0, at * 20, 1, 2, 3, 4, 5, 6, 7, 8]).collect();
    let mut all = vec![2];
    for (key, body) in &sound.blocks {
        put(&mut all, 0, key, body);
        seeds.push([&[3][..], &piece(0, key, body)].concat());
    }
    for (key, body) in &sound.rows {
        put(&mut all, 1, key, body);
        seeds.push([&[3][..], &piece(1, key, body)].concat());
    }
    seeds.push(all);
    seeds
}

fn piece(kind: u8, key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, key, body);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, key: &[u8], body: &[u8]) {
    out.push(kind);
    out.push(u8::try_from(key.len()).expect("keys are short"));
    out.extend_from_slice(key);
    out.extend(u16::try_from(body.len()).expect("bodies are short").to_le_bytes());
    out.extend_from_slice(body);
}

fn damaged(mut data: &[u8]) {
    let sound = sound();
    let mut image = sound.image.clone();
    while let Some(([a, b, c, how], rest)) = data.split_first_chunk::<4>() {
        let at = u32::from_le_bytes([*a, *b, *c, 0]) as usize % image.len().max(1);
        match how {
            0..200 => {
                let len = usize::from(how % 32).min(rest.len()).min(image.len() - at);
                image[at..at + len].copy_from_slice(&rest[..len]);
                data = &rest[len..];
            }
            200..240 => {
                let end = image.len().min(at + 512);
                image[at..end].fill(0);
                data = rest;
            }
            _ => {
                // An empty disk is a new store to the engine; an empty file is refused before.
                image.truncate(at.max(1));
                data = rest;
            }
        }
    }
    if let Ok(opened) = Engine::open(SimDisk::from_image(image), settings()) {
        assert_eq!(facts(&opened.restored), sound.facts, "damage became data");
    }
}

fn written(mut data: &[u8], is_alone: bool) {
    let sound = sound();
    let (mut blocks, mut rows) = (sound.blocks.clone(), sound.rows.clone());
    if is_alone {
        blocks.clear();
        rows.retain(|(key, _)| key == b"S");
    }
    while let Some((kind, key, body, rest)) = next(data) {
        let table = if kind % 2 == 0 { &mut blocks } else { &mut rows };
        table.retain(|(other, _)| other != key);
        if kind < 128 {
            table.push((key.to_vec(), body.to_vec()));
        }
        data = rest;
    }
    let disk = SimDisk::new();
    let database = Builder::new().create_with_backend(disk.clone()).expect("the disk is sound");
    let write = database.begin_write().expect("the disk is sound");
    {
        let mut table = write.open_table(BLOCKS).expect("the disk is sound");
        for (key, messages) in &blocks {
            let mut short = [0; 10];
            let len = key.len().min(10);
            short[..len].copy_from_slice(&key[..len]);
            table.insert(&short, &framed(&short, messages, b'B')[..]).expect("the disk is sound");
        }
        let mut table = write.open_table(ROWS).expect("the disk is sound");
        for (key, body) in &rows {
            let kind = key.first().copied().unwrap_or(0);
            table.insert(&key[..], &framed(key, body, kind)[..]).expect("the disk is sound");
        }
    }
    write.commit().expect("the disk is sound");
    drop(database);
    // The witness of the sound one is left out.
    let mut image = sound.image[..512].to_vec();
    image.resize(HEADER_BYTES, 0);
    image.extend(disk.image());
    if let Ok(opened) = Engine::open(SimDisk::from_image(image), settings()) {
        use_all(opened.engine, &opened.restored, opened.clock);
    }
}

/// The first piece of some input: its kind, key and body, and what is behind it.
fn next(data: &[u8]) -> Option<(u8, &[u8], &[u8], &[u8])> {
    let ([kind, key_len], rest) = data.split_first_chunk::<2>()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_len))?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let (body, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
    Some((*kind, key, body, rest))
}

/// Version, kind, checksum of key and body, body.
fn framed(key: &[u8], body: &[u8], kind: u8) -> Vec<u8> {
    let crc = crc32fast::hash(&[key, body].concat()).to_le_bytes();
    [&[1, kind], &crc[..], body].concat()
}

/// Reads every message back, ends every session, and stops in order.
fn use_all(mut engine: Engine, restored: &Restored, now: Millis) {
    let mut journals = engine.journals(1);
    let journal = &mut journals[0];
    for session in &restored.sessions {
        let client_id = Arc::clone(&session.owner.client_id.0);
        let flights = session.in_flight.iter().filter_map(|flight| flight.message);
        let origins = flights.chain(session.queue.iter().copied()).map(|found| found.origin).collect();
        journal.fetch(Fetch { session: SessionKey::default(), client_id, origins });
    }
    journal.hand_over(now);
    let _ = engine.commit(usize::MAX);
    for session in &restored.sessions {
        journal.append(&Record::SessionClosed { client_id: &session.owner.client_id.0 });
    }
    journal.hand_over(now.plus_ms(60_000));
    let _ = engine.commit(usize::MAX);
    let _ = engine.close();
}

fn facts(restored: &Restored) -> String {
    format!("{restored:?}")
}

fn settings() -> Settings {
    Settings::new(Clock::new(|| Reading { wall_ms: 1_000_000, since_boot_ms: 1_000, boot_id: 1 }))
}

fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimDisk::new();
        let mut engine = Engine::open(disk.clone(), settings()).expect("an empty disk is sound").engine;
        let mut journals = engine.journals(1);
        write_all(&mut journals[0]);
        journals[0].hand_over(Millis(10));
        engine.commit(usize::MAX).expect("the disk is sound");
        engine.close().expect("the disk is sound");
        let image = disk.image();
        let opened = Engine::open(SimDisk::from_image(image.clone()), settings()).expect("it is sound");
        let facts = facts(&opened.restored);
        drop(opened);
        let inner = SimDisk::from_image(image[HEADER_BYTES..].to_vec());
        let database = Builder::new().create_with_backend(inner).expect("it is sound");
        let (blocks, rows) = tables(&database).expect("it is sound");
        Sound { image, facts, blocks, rows }
    })
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Keys and bodies of blocks and rows.
fn tables(database: &Database) -> Result<(Pairs, Pairs), redb::Error> {
    let read = database.begin_read()?;
    let (mut blocks, mut rows) = (Pairs::new(), Pairs::new());
    for pair in read.open_table(BLOCKS)?.iter()? {
        let (key, value) = pair?;
        blocks.push((key.value().to_vec(), value.value()[6..].to_vec()));
    }
    for pair in read.open_table(ROWS)?.iter()? {
        let (key, value) = pair?;
        rows.push((key.value().to_vec(), value.value()[6..].to_vec()));
    }
    Ok((blocks, rows))
}

/// One of each record.
fn write_all(journal: &mut ShardJournal) {
    let origin = |position| Origin { shard: ShardId(0), position };
    let id = |number| PacketId(NonZeroU16::new(number).expect("not 0"));
    let ids = [SubscriptionId::new(1).expect("fits")];
    for client_id in ["a", "b"] {
        journal.append(&Record::SessionOpened { owner: &subject(client_id), expiry_s: 60, mount_point: "m/" });
        let options = SubscriptionOptions {
            qos: Qos::AtLeastOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::IfNew,
        };
        journal.append(&Record::Subscribed { client_id, filter: "$share/g/t/#", options, id: Some(ids[0]) });
    }
    let a = DurableTarget { client_id: "a", qos: Qos::AtLeastOnce, retain: true, ids: &ids, share: Some(("g", "t/#")) };
    let b = DurableTarget { client_id: "b", qos: Qos::ExactlyOnce, retain: false, ids: &[], share: None };
    let mut positions = Vec::new();
    for _ in 0..6 {
        let message = message();
        let targets = [a, b];
        let targets = DurableTargets::listed(&targets);
        positions.push(journal.append(&Record::Published { message: &message, targets }));
    }
    let (first, second, third) = (origin(positions[0]), origin(positions[1]), origin(positions[2]));
    journal.append(&Record::Retained { topic: "t/1", origin: Some(origin(positions[5])), serial: 3 });
    journal.append(&Record::Sent { client_id: "a", origin: first, id: id(1) });
    journal.append(&Record::Sent { client_id: "b", origin: first, id: id(7) });
    journal.append(&Record::Arrived { client_id: "b", origin: Some(first), id: id(7) });
    journal.append(&Record::Settled { client_id: "b", origin: second });
    journal.append(&Record::Settled { client_id: "b", origin: third });
    journal.append(&Record::Moved { origin: third, from: "a", to: DurableTarget { client_id: "b", ..a } });
    journal.append(&Record::Received { client_id: "a", id: id(9) });
    let properties = ForwardedPropertiesBuf::new();
    let will = WillRecord {
        topic: "gone",
        payload: b"payload",
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 5,
        message_expiry_s: Some(9),
        properties: properties.as_ref(),
    };
    journal.append(&Record::WillSet { client_id: "a", will });
    journal.append(&Record::SessionLeft { client_id: "b", at: Millis(7) });
    journal.append(&Record::UserRemoved { user: &UserName("u".into()), at: Millis(3) });
}

fn subject(client_id: &str) -> Subject {
    Subject::new(Identity::User(UserName("u".into())), ClientId(client_id.into()))
}

fn message() -> Message {
    Message::restored(StoredMessage {
        topic: "t/1".into(),
        payload: (*b"payload").into(),
        qos: Qos::ExactlyOnce,
        retain: true,
        publisher: subject("p"),
        properties: ForwardedPropertiesBuf::new().payload_utf8(),
        accepted: Millis(1),
        expires: Some(Millis(60_000)),
        origin: Origin { shard: ShardId(0), position: Position(0) },
    })
}
