//! The tools on stores that the engine wrote: sound ones, and ones damaged in every way.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use motte_broker::journal::{DurableTarget, DurableTargets, WillRecord};
use motte_broker::mqtt::packet::RetainHandling;
use motte_broker::mqtt::{ForwardedPropertiesBuf, PacketId, Qos, SubscriptionId, SubscriptionOptions};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::{Banned, Journal as _, Message, Millis, Origin, Position, Record, Restored, ShardId};
use redb::backends::FileBackend;
use redb::{Builder, ReadableTable as _};

use super::*;
use crate::engine::{BLOCKS, ROWS};
use crate::guard::Guard;
use crate::row::RowKind;
use crate::{Keeper, Notice, OpenError as Refusal, Options, ShardJournal, Store};

const PAYLOAD_BYTES: usize = 1_000;

fn subject(client_id: &str) -> Subject {
    let identity = match client_id {
        "b" => Identity::Anonymous,
        other => Identity::User(UserName(format!("user of {other}").into())),
    };
    Subject::new(identity, ClientId(client_id.into()))
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

/// A running store.
struct Running {
    keeper: Keeper,
    notices: Receiver<Notice>,
    journals: Vec<ShardJournal>,
    now: Millis,
}

impl Running {
    fn start(directory: &Path) -> Self {
        let opened = Store::open(&Options::new(directory.to_owned())).unwrap();
        let (notify, notices) = channel();
        // Nobody listens any more when the store is stopped.
        let notify = Box::new(move |notice| drop(notify.send(notice)));
        let (keeper, journals) = opened.store.start(2, notify).unwrap();
        Self { keeper, notices, journals, now: opened.clock }
    }

    fn append(&mut self, shard: usize, record: &Record<'_>) -> Origin {
        let position = self.journals[shard].append(record);
        Origin { shard: ShardId(u16::try_from(shard).unwrap()), position }
    }

    fn publish(&mut self, shard: usize, topic: &str, retain: bool, targets: &[DurableTarget<'_>]) -> Origin {
        self.now = self.now.plus_ms(7);
        let stored = StoredMessage {
            topic: topic.into(),
            payload: vec![b'p'; PAYLOAD_BYTES].into(),
            qos: Qos::ExactlyOnce,
            retain,
            publisher: subject("p"),
            properties: ForwardedPropertiesBuf::new().content_type("text/plain").unwrap(),
            accepted: self.now,
            expires: retain.then(|| self.now.plus_ms(1_000_000_000)),
            origin: Origin { shard: ShardId(0), position: Position(0) },
        };
        let message = Message::restored(stored);
        self.append(shard, &Record::Published { message: &message, targets: DurableTargets::listed(targets) })
    }

    fn hand_over(&mut self) {
        self.journals.iter_mut().for_each(|journal| journal.hand_over(self.now));
    }

    /// Waits until everything of the first shard is durable.
    fn commit(&mut self) {
        self.hand_over();
        let end = self.journals[0].append(&Record::SessionClosed { client_id: "nobody" });
        self.hand_over();
        while self.journals[0].durable() < end {
            self.notices.recv().unwrap();
        }
    }

    fn stop(mut self) {
        self.hand_over();
        self.keeper.stop().unwrap();
    }
}

fn target(client_id: &str, qos: Qos) -> DurableTarget<'_> {
    DurableTarget { client_id, qos, retain: false, ids: &[], share: None }
}

/// A store with something of everything: three sessions, 60 messages in two logs, of which `a` has settled some.
fn fill(directory: &Path) -> Running {
    let mut store = Running::start(directory);
    for (client_id, mount_point) in [("a", ""), ("b", "site/"), ("c", "")] {
        let owner = subject(client_id);
        store.append(0, &Record::SessionOpened { owner: &owner, expiry_s: 3_600, mount_point });
    }
    let options = SubscriptionOptions {
        qos: Qos::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::IfNew,
    };
    let seven = SubscriptionId::new(7);
    store.append(0, &Record::Subscribed { client_id: "a", filter: "t/#", options, id: seven });
    let options = SubscriptionOptions::default();
    store.append(0, &Record::Subscribed { client_id: "a", filter: "$share/g/t/+", options, id: None });
    store.append(0, &Record::Subscribed { client_id: "b", filter: "site/t/#", options, id: None });
    let properties = ForwardedPropertiesBuf::new().user("k", "v").unwrap();
    let will = WillRecord {
        topic: "gone",
        payload: b"by",
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 5,
        message_expiry_s: Some(9),
        properties: properties.as_ref(),
    };
    store.append(0, &Record::WillSet { client_id: "a", will });
    let mut of_a = Vec::new();
    let ids = [seven.unwrap()];
    for n in 0..60 {
        let shared = DurableTarget { ids: &ids, share: Some(("g", "t/+")), ..target("a", Qos::AtLeastOnce) };
        let targets = [target("a", Qos::ExactlyOnce), target("b", Qos::AtLeastOnce), shared];
        let count = if n % 10 == 0 { 3 } else { 2 };
        of_a.push(store.publish(n % 2, &format!("t/{n}"), false, &targets[..count]));
    }
    for origin in of_a[..8].iter().chain([&of_a[12], &of_a[31]]) {
        store.append(0, &Record::Settled { client_id: "a", origin: *origin });
    }
    store.append(0, &Record::Sent { client_id: "b", origin: of_a[0], id: id(5) });
    store.append(0, &Record::Sent { client_id: "b", origin: of_a[1], id: id(6) });
    store.append(0, &Record::Arrived { client_id: "b", origin: Some(of_a[1]), id: id(6) });
    store.append(0, &Record::Received { client_id: "c", id: id(9) });
    store.append(0, &Record::Moved { origin: of_a[20], from: "a", to: target("c", Qos::AtLeastOnce) });
    for (topic, serial) in [("r/1", 1), ("r/2", 2)] {
        let origin = store.publish(0, topic, true, &[]);
        store.append(0, &Record::Retained { topic, origin: Some(origin), serial });
    }
    let at = store.now;
    store.append(0, &Record::SessionLeft { client_id: "b", at });
    store.append(0, &Record::UserRemoved { user: &UserName("old".into()), at });
    for (who, until) in [(Banned::User(UserName("x".into())), None), (Banned::Client(ClientId("y".into())), Some(at))] {
        store.append(0, &Record::Banned { who: &who, until });
    }
    store.hand_over();
    store
}

fn sound(directory: &Path) {
    fill(directory).stop();
}

fn checked(directory: &Path) -> Report {
    check(directory, &mut |_| ()).unwrap()
}

/// Everything that the next start of a broker would get.
fn restored(directory: &Path) -> Restored {
    Store::open(&Options::new(directory.to_owned())).unwrap().restored
}

fn queue_lens(directory: &Path) -> Vec<(String, usize)> {
    let sessions = restored(directory).sessions.into_iter();
    sessions.map(|session| (session.owner.client_id.0.to_string(), session.queue.len())).collect()
}

fn text(directory: &Path) -> String {
    let mut text = Vec::new();
    export(directory, &mut text, &mut |_| ()).unwrap();
    String::from_utf8(text).unwrap()
}

fn file(directory: &Path) -> PathBuf {
    directory.join(file::FILE_NAME)
}

/// Changes rows of a closed store behind its back, so that the engine's own checksums are right.
fn tamper(directory: &Path, change: impl FnOnce(&mut Rows<'_>, &mut Blocks<'_>)) {
    let disk = FileBackend::new(fs::OpenOptions::new().read(true).write(true).open(file(directory)).unwrap()).unwrap();
    let database =
        Builder::new().create_with_backend(Guard::new(Arc::new(disk), Arc::default(), Arc::default())).unwrap();
    let mut write = database.begin_write().unwrap();
    write.set_quick_repair(true);
    change(&mut write.open_table(ROWS).unwrap(), &mut write.open_table(BLOCKS).unwrap());
    write.commit().unwrap();
    database.close().unwrap();
}

type Rows<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;
type Blocks<'t> = redb::Table<'t, &'static crate::block::BlockKey, &'static [u8]>;

/// Flips a bit of the value of the first row of a kind.
fn flip(directory: &Path, kind: RowKind) {
    tamper(directory, |rows, _| {
        let (key, mut value) = {
            let mut all = rows.iter().unwrap().map(|row| row.unwrap());
            let (key, value) = all.find(|(key, _)| RowKind::of(key.value()) == Some(kind)).unwrap();
            (key.value().to_vec(), value.value().to_vec())
        };
        *value.last_mut().unwrap() ^= 4;
        rows.insert(&key[..], &value[..]).unwrap();
    });
}

fn block_keys(directory: &Path) -> Vec<crate::block::BlockKey> {
    let mut keys = Vec::new();
    tamper(directory, |_, blocks| keys.extend(blocks.iter().unwrap().map(|row| *row.unwrap().0.value())));
    keys
}

fn repaired(directory: &Path) -> Repaired {
    let to = directory.with_extension("copy");
    let repaired = repair(directory, &Backup::To(to), &mut |_| ()).unwrap();
    assert_eq!(checked(directory).damage, [], "after a repair the store is sound");
    repaired
}

#[test]
fn a_sound_store_is_counted_as_the_broker_would_take_it() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("store");
    sound(&directory);
    let before = fs::read(file(&directory)).unwrap();
    let Report { counts, damage, was_unclean, .. } = checked(&directory);
    assert_eq!((damage, was_unclean), (vec![], false));
    assert_eq!(fs::read(file(&directory)).unwrap(), before, "not a byte is changed");
    let restored = restored(&directory);
    let queued: usize = restored.sessions.iter().map(|session| session.queue.len()).sum();
    let in_flight: usize = restored.sessions.iter().map(|session| session.in_flight.len()).sum();
    assert_eq!((counts.queued, counts.in_flight), (queued as u64, in_flight as u64));
    assert_eq!((counts.sessions, counts.subscriptions, counts.wills), (3, 3, 1));
    assert_eq!((counts.retained, counts.removals, counts.messages), (2, 1, 62));
    assert!(counts.oldest_ms.is_some_and(|ms| ms >= 60 * 7) && counts.message_bytes > 62 * PAYLOAD_BYTES as u64);
}

#[test]
fn a_store_that_is_killed_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, killed) = (dir.path().join("store"), dir.path().join("killed"));
    fs::create_dir(&killed).unwrap();
    let running = fill(&directory);
    running.stop();
    let text_before = text(&directory);
    let running = Running::start(&directory);
    assert!(matches!(check(&directory, &mut |_| ()), Err(ToolError::Locked { .. })));
    assert!(matches!(repair(&directory, &Backup::None, &mut |_| ()), Err(ToolError::Locked { .. })));
    fs::copy(file(&directory), file(&killed)).unwrap();
    running.stop();
    let report = checked(&killed);
    assert_eq!(report.damage, []);
    assert_eq!(text(&killed).lines().skip(1).count(), text_before.lines().skip(1).count());
}

#[test]
fn what_is_exported_and_imported_is_exported_again_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    sound(&first);
    let exported = text(&first);
    let counts = import(&mut exported.as_bytes(), &second, &mut |_| ()).unwrap();
    assert_eq!(counts.messages, 62);
    assert_eq!(text(&second), exported);
    assert_eq!(format!("{:?}", restored(&second)), format!("{:?}", restored(&first)));
    let again = import(&mut exported.as_bytes(), &second, &mut |_| ());
    assert!(matches!(again, Err(ToolError::NotEmpty { .. })));
}

#[test]
fn a_directory_with_nothing_but_a_reserve_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    sound(&first);
    fs::create_dir(&second).unwrap();
    fs::write(second.join("reserve"), [0; 4_096]).unwrap();
    import(&mut text(&first).as_bytes(), &second, &mut |_| ()).unwrap();
    assert_eq!(text(&second), text(&first));
}

#[test]
fn a_text_that_is_wrong_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    sound(&first);
    let exported = text(&first);
    let cuts = [exported.len() / 2, exported.len() - 1, exported.rfind("{\"end\"").unwrap(), 0];
    for cut in cuts {
        let refused = import(&mut &exported.as_bytes()[..cut], &second, &mut |_| ()).unwrap_err();
        assert!(matches!(refused, ToolError::Text(TextError::Cut { .. })), "{cut}: {refused}");
        assert!(!second.exists());
    }
    let said = |from: &str, to: &str| {
        let changed = exported.replacen(from, to, 1);
        assert_ne!(changed, exported, "{from}");
        let error = import(&mut changed.as_bytes(), &second, &mut |_| ()).unwrap_err().to_string();
        assert!(!second.exists());
        error
    };
    assert!(said("\"topic\":\"t/3\"", "\"topic\":\"t/4\"").contains("checksum"));
    assert!(said("{\"format\":1", "{\"format\":2").contains("version 2"));
    assert!(said("\"filter\":\"t/#\",\"qos\":2", "\"filter\":\"t/#\",\"qos\":3").contains("a QoS is 0, 1 or 2"));
    assert!(said("\"filter\":\"t/#\"", "\"filter\":\"t/#/x\"").contains("it is no filter"));
    assert!(said("\"topic\":\"t/3\"", "\"topic\":\"t/+\"").contains("it is no topic name"));
    assert!(said("{\"client_id\":\"a\",\"filter\"", "{\"client_id\":\"z\",\"filter\"").contains("no session \"z\""));
}

#[test]
fn a_damaged_row_of_each_kind_is_named_and_costs_no_more_than_it_says() {
    let cases = [
        (RowKind::State, DamageKind::State, "the state of the store", [3, 3, 1, 2, 1, 2]),
        (RowKind::Cursor, DamageKind::Cursor, "what a acknowledged", [3, 3, 1, 2, 1, 2]),
        (
            RowKind::Subscription,
            DamageKind::Subscription,
            "the subscription of a to \"$share/g/t/+\"",
            [3, 2, 1, 2, 1, 2],
        ),
        (RowKind::Retained, DamageKind::Retained, "which message \"r/1\" retains", [3, 3, 1, 1, 1, 2]),
        (RowKind::Session, DamageKind::Session, "session number 1", [2, 1, 0, 2, 1, 2]),
        (RowKind::Will, DamageKind::Will, "the will of a", [3, 3, 0, 2, 1, 2]),
        (RowKind::Removal, DamageKind::Removal, "\"old\"", [3, 3, 1, 2, 0, 2]),
        (RowKind::Ban, DamageKind::Ban, "that the client identifier \"y\" is kept out", [3, 3, 1, 2, 1, 1]),
    ];
    for (row, kind, named, left) in cases {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("store");
        sound(&directory);
        let queued = queue_lens(&directory);
        flip(&directory, row);
        let report = checked(&directory);
        let [damage] = &report.damage[..] else { panic!("{row:?}: {:#?}", report.damage) };
        assert_eq!(damage.kind, kind, "{damage:?}");
        assert!(damage.what.contains(named) && damage.what.contains("checksum"), "{damage:?}");
        let refused = Store::open(&Options::new(directory.clone()));
        assert!(matches!(refused, Err(Refusal::Corrupt { .. })), "{row:?}");
        assert!(matches!(export(&directory, &mut Vec::new(), &mut |_| ()), Err(ToolError::Damaged { places: 1, .. })));
        let Repaired { after, before, .. } = repaired(&directory);
        assert_eq!(before.damage, report.damage);
        let counts = [after.sessions, after.subscriptions, after.wills, after.retained, after.removals, after.bans];
        assert_eq!(counts, left, "{row:?}");
        let mut expected = queued.clone();
        match row {
            // All that is stored for it comes again: 60 messages and three copies.
            RowKind::Cursor => expected[0].1 = 66,
            RowKind::Session => drop(expected.remove(0)),
            _ => {}
        }
        assert_eq!(queue_lens(&directory), expected, "{row:?}");
        if row == RowKind::Cursor {
            assert_eq!(damage.sessions, ["a"]);
            assert!(damage.lost.contains("66 stored messages") && damage.lost.contains("again"), "{damage:?}");
        }
    }
}

#[test]
fn a_damaged_block_of_messages_is_named_with_its_positions_topics_and_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("store");
    sound(&directory);
    let keys = block_keys(&directory);
    assert!(keys.len() >= 4, "{keys:?}");
    let before = text(&directory);
    tamper(&directory, |_, blocks| {
        let mut value = blocks.get(&keys[0]).unwrap().unwrap().value().to_vec();
        let last = value.len() - 10;
        value[last] ^= 1;
        blocks.insert(&keys[0], &value[..]).unwrap();
    });
    let report = checked(&directory);
    let blocks: Vec<_> = report.damage.iter().filter(|damage| damage.what.contains("checksum")).collect();
    let [damage] = blocks[..] else { panic!("{:#?}", report.damage) };
    assert_eq!((damage.kind, &damage.sessions[..]), (DamageKind::Messages, &["a".to_owned(), "b".to_owned()][..]));
    let (shard, first, last) = damage.ranges[0];
    assert_eq!((shard, first), crate::block::split_key(&keys[0]));
    repaired(&directory);
    let after = text(&directory);
    let lines = |text: &str| -> BTreeSet<String> {
        text.lines().filter(|line| line.starts_with("{\"message\"")).map(str::to_owned).collect()
    };
    let place = |line: &str| -> (u16, u64) {
        let (_, place) = line.split_once("\"at\":[").unwrap();
        let (shard, rest) = place.split_once(',').unwrap();
        (shard.parse().unwrap(), rest.split_once(']').unwrap().0.parse().unwrap())
    };
    assert!(lines(&after).is_subset(&lines(&before)));
    let lost: Vec<String> = lines(&before).difference(&lines(&after)).cloned().collect();
    assert!(!lost.is_empty());
    for line in lost {
        let (log, position) = place(&line);
        assert!(log == shard && (first..=last).contains(&position), "{line}");
        let (_, topic) = line.split_once("\"topic\":\"").unwrap();
        assert!(damage.topics.contains(&topic.split_once('"').unwrap().0.to_owned()), "{line}");
    }
}

#[test]
fn a_repair_keeps_the_damaged_store_and_touches_a_sound_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, copy) = (dir.path().join("store"), dir.path().join("copy"));
    sound(&directory);
    flip(&directory, RowKind::Will);
    let damaged = fs::read(file(&directory)).unwrap();
    let done = repair(&directory, &Backup::To(copy.clone()), &mut |_| ()).unwrap();
    assert_eq!(done.backup.as_deref(), Some(&*copy));
    assert_eq!(fs::read(file(&copy)).unwrap(), damaged);
    let mended = fs::read(file(&directory)).unwrap();
    let again = repair(&directory, &Backup::To(dir.path().join("other")), &mut |_| ()).unwrap();
    assert_eq!((again.before.damage, again.backup), (vec![], None));
    assert_eq!(fs::read(file(&directory)).unwrap(), mended);
    assert!(!dir.path().join("other").exists());
}

#[test]
fn r20_damage_anywhere_in_a_store_that_was_closed_is_found_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("store");
    sound(&directory);
    damage_each_page(&directory);
}

#[test]
fn r20_damage_anywhere_in_a_store_that_was_killed_is_found_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, killed) = (dir.path().join("store"), dir.path().join("killed"));
    let mut running = fill(&directory);
    running.commit();
    for n in 0..4 {
        let origin = running.publish(0, &format!("late/{n}"), false, &[target("c", Qos::ExactlyOnce)]);
        running.append(0, &Record::Sent { client_id: "c", origin, id: id(100 + n) });
        let options = SubscriptionOptions::default();
        running.append(0, &Record::Subscribed { client_id: "b", filter: &format!("site/late/{n}"), options, id: None });
        running.commit();
    }
    fs::create_dir(&killed).unwrap();
    fs::copy(file(&directory), file(&killed)).unwrap();
    running.stop();
    assert!(checked(&killed).was_unclean);
    damage_each_page(&killed);
}

/// Damages each page in turn. What is called sound is opened by the broker and is all there; what is not is mended, and
/// what is lost was named.
fn damage_each_page(directory: &Path) {
    let image = fs::read(file(directory)).unwrap();
    let whole = text(directory);
    let mut found = 0;
    for (block, how) in (0..image.len() / 4_096).zip([0_u8, 1, 2].into_iter().cycle()) {
        let mut image = image.clone();
        let page = &mut image[block * 4_096..][..4_096];
        match how {
            0 => page.fill(0),
            1 => page[(block * 13) % 700] ^= 1 << (block % 8),
            _ => page.reverse(),
        }
        fs::write(file(directory), &image).unwrap();
        let is_refused = Store::open(&Options::new(directory.to_owned())).is_err();
        fs::write(file(directory), &image).unwrap();
        let report = check(directory, &mut |_| ()).unwrap_or_else(|error| panic!("page {block}: {error}"));
        assert!(!is_refused || !report.is_sound(), "page {block}: the broker refuses what is called sound");
        if report.is_sound() {
            assert!(text(directory) == whole, "page {block}: something is lost of what is called sound");
            continue;
        }
        found += 1;
        let done =
            repair(directory, &Backup::None, &mut |_| ()).unwrap_or_else(|error| panic!("page {block}: {error}"));
        assert_eq!(checked(directory).damage, [], "page {block}");
        assert_eq!(done.before.damage, report.damage);
        drop(restored(directory));
        assert_nothing_comes_back(&whole, &text(directory), &report.damage, block);
        assert_all_is_named(&whole, &text(directory), &report.damage, block);
    }
    assert!(found > 10, "{found}");
}

/// Each message that is lost for a session is in a range that was named, and so is each session.
fn assert_all_is_named(before: &str, after: &str, damage: &[Damage], page: usize) {
    let said = format!("{damage:?}");
    for (at, client_id) in owed(before).difference(&owed(after)) {
        let (shard, position) = at.trim_matches(['[', ']']).split_once(',').unwrap();
        let (shard, position): (u16, u64) = (shard.parse().unwrap(), position.parse().unwrap());
        let ranges = damage.iter().flat_map(|damage| damage.ranges.iter().copied());
        let mut covering = ranges.filter(|(log, first, last)| *log == shard && (first..=last).contains(&&position));
        let is_told = covering.next().is_some() || said.contains("all messages") || said.contains("session");
        assert!(is_told, "page {page}: {client_id} loses {at} without a word: {damage:#?}");
    }
}

/// Whatever a repaired store holds was there before; only sessions that are named may get messages again.
fn assert_nothing_comes_back(before: &str, after: &str, damage: &[Damage], page: usize) {
    let named: BTreeSet<&String> = damage.iter().flat_map(|damage| &damage.sessions).collect();
    for (at, client_id) in owed(after).difference(&owed(before)) {
        assert!(named.contains(client_id), "page {page}: {client_id} gets {at} again without a word: {damage:#?}");
    }
    let others = |text: &str| -> BTreeSet<String> {
        let kinds = ["{\"retained\"", "{\"subscription\"", "{\"removed\"", "{\"banned\""];
        text.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).map(str::to_owned).collect()
    };
    let new: Vec<_> = others(after).difference(&others(before)).cloned().collect();
    assert!(new.is_empty(), "page {page}: {new:?}");
}

/// Which messages which sessions are owed by a text.
fn owed(text: &str) -> BTreeSet<(String, String)> {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let messages = lines.filter_map(|mut line| line.get_mut("message").map(serde_json::Value::take));
    let each = messages.flat_map(|message| {
        let owed = message["owed"].as_array().unwrap().clone();
        owed.into_iter().map(move |owed| (message["at"].to_string(), owed["client_id"].as_str().unwrap().to_owned()))
    });
    each.collect()
}
