//! How fast the store is, without a broker around it.
//!
//! Run by hand: `cargo run --release -p motte-store --example throughput -- DIRECTORY [MESSAGES [single]]`. Two shards
//! publish 64-byte messages for offline durable sessions, 5,000 in flight as 50 publishers with 100 each have, then
//! everything is opened again, and drained. Prints messages a second, CPU time and bytes for each message.

#![allow(clippy::print_stdout, reason = "it is a program whose output is read by people")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use motte_broker::journal::{DurableTarget, DurableTargets};
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::{Fetch, StoredMessage};
use motte_broker::{Journal, Message, Millis, Origin, Position, Record, ShardId};
use motte_store::{Keeper, Mode, Notice, Options, Restored, ShardJournal, Store};

const SHARDS: u16 = 2;
const IN_FLIGHT: u64 = 5_000;
/// Messages of one turn.
const BURST: u64 = 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("a directory that does not exist yet"));
    let count: u64 = arguments.next().map_or(1_000_000, |text| text.parse().expect("a number"));
    println!("| case | messages/s | CPU µs/message | bytes written/message | commits | longest commit |");
    println!("|---|---|---|---|---|---|");
    let only = arguments.next();
    for targets in [1, 50].into_iter().filter(|_| only.is_none()) {
        memory(count, targets);
        let directory = directory.join(targets.to_string());
        publish(&directory, count, (targets, false));
        reopen(&directory, count);
        if targets == 1 {
            drain(&directory);
        }
    }
    if only.is_none() {
        let directory = directory.join("spread");
        publish(&directory, count, (10_000, true));
        reopen(&directory, count);
    }
    for in_flight in [1, 50] {
        single(&directory.join(format!("single-{in_flight}")), in_flight);
    }
}

fn subject(client_id: &str) -> Subject {
    Subject::new(Identity::User(UserName("device-17".into())), ClientId(client_id.into()))
}

fn message(publisher: u64) -> Message {
    Message::restored(StoredMessage {
        topic: format!("site/4/line/{publisher}/temperature").into(),
        payload: [b'x'; 64].into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        publisher: subject(&format!("publisher-{publisher}")),
        properties: ForwardedPropertiesBuf::new(),
        accepted: Millis(1),
        expires: None,
        origin: Origin { shard: ShardId(0), position: Position(0) },
    })
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn rss_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4_096 / 1_000_000
}

struct Run {
    start: Instant,
    cpu: Duration,
    written: u64,
    commits: u64,
}

impl Run {
    fn new(keeper: Option<&Keeper>) -> Self {
        let figures = keeper.map(Keeper::figures).unwrap_or_default();
        Self { start: Instant::now(), cpu: cpu(), written: figures.written_bytes, commits: figures.commits }
    }

    fn show(&self, name: &str, count: u64, keeper: Option<&Keeper>) {
        let took = self.start.elapsed().as_secs_f64();
        let used = (cpu() - self.cpu).as_secs_f64();
        let figures = keeper.map(Keeper::figures).unwrap_or_default();
        let n = count as f64;
        println!(
            "| {name} | {:.0} | {:.3} | {:.0} | {} | {:.1} ms |",
            n / took,
            used / n * 1e6,
            (figures.written_bytes - self.written) as f64 / n,
            figures.commits - self.commits,
            figures.longest_commit.as_secs_f64() * 1e3
        );
    }
}

fn append(journal: &mut ShardJournal, messages: &[Message], at: u64, targets: &[DurableTarget<'_>]) {
    let message = &messages[usize::try_from(at / BURST).expect("small") % messages.len()];
    journal.append(&Record::Published { message, targets: DurableTargets::listed(targets) });
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("offline-{number}")).collect()
}

fn targets(names: &[String]) -> Vec<DurableTarget<'_>> {
    let target = |name| DurableTarget { client_id: name, qos: Qos::AtLeastOnce, retain: false, ids: &[], share: None };
    names.iter().map(|name| target(name.as_str())).collect()
}

fn memory(count: u64, target_count: usize) {
    let (names, messages) = (names(target_count), (0..50).map(message).collect::<Vec<_>>());
    let targets = targets(&names);
    let mut journal = ShardJournal::memory();
    let run = Run::new(None);
    for at in 0..count {
        append(&mut journal, &messages, at, &targets);
        if at % BURST == BURST - 1 {
            journal.hand_over(Millis(at));
        }
    }
    run.show(&format!("memory mode, {target_count} targets"), count, None);
}

fn open(directory: &Path) -> (Keeper, Vec<ShardJournal>, Receiver<Notice>, Restored) {
    let options = Options { mode: Mode::Sync, ..Options::new(directory.to_owned()) };
    let opened = Store::open(&options).expect("the store opens");
    let (tell, told) = channel();
    let notify = Box::new(move |notice| drop(tell.send(notice)));
    let (keeper, journals) = opened.store.start(SHARDS, notify).expect("a thread starts");
    (keeper, journals, told, opened.restored)
}

fn open_sessions(journal: &mut ShardJournal, names: &[String], told: &Receiver<Notice>) {
    for name in names {
        journal.append(&Record::SessionOpened { owner: &subject(name), expiry_s: u32::MAX, mount_point: "" });
    }
    journal.hand_over(Millis(1));
    told.recv().expect("the keeper runs");
}

/// Each message is for all of the sessions, or for the next one.
fn publish(directory: &Path, count: u64, (target_count, is_spread): (usize, bool)) {
    let (names, messages) = (names(target_count), (0..50).map(message).collect::<Vec<_>>());
    let targets = targets(&names);
    let (keeper, mut journals, told, _) = open(directory);
    open_sessions(&mut journals[0], &names, &told);
    let before = rss_mb();
    let run = Run::new(Some(&keeper));
    let durable = |journals: &[ShardJournal]| journals.iter().map(|journal| journal.durable().0).sum::<u64>();
    let (base, mut sent) = (durable(&journals), 0);
    while durable(&journals) - base < count {
        while sent < count && sent - (durable(&journals) - base) < IN_FLIGHT {
            let journal = &mut journals[usize::from((sent / BURST).is_multiple_of(2))];
            for at in sent..sent + BURST {
                let one = usize::try_from(at).expect("small") % targets.len();
                append(journal, &messages, at, if is_spread { &targets[one..=one] } else { &targets });
            }
            journal.hand_over(Millis(sent));
            sent += BURST;
        }
        told.recv().expect("the keeper runs");
    }
    let spread = if is_spread { "one of " } else { "" };
    run.show(&format!("sync, {spread}{target_count} targets, {IN_FLIGHT} in flight"), count, Some(&keeper));
    println!("memory grew by {} MB", rss_mb() - before);
    keeper.stop().expect("it closes in order");
}

fn reopen(directory: &Path, count: u64) {
    let (start, used) = (Instant::now(), cpu());
    let (keeper, _, _, restored) = open(directory);
    let owed: usize = restored.sessions.iter().map(|session| session.queue.len()).sum();
    let figures = keeper.figures();
    println!(
        "opened with {count} messages, {owed} references in {:.2} s, CPU {:.2} s, file {} MB, data {} MB",
        start.elapsed().as_secs_f64(),
        (cpu() - used).as_secs_f64(),
        figures.file_bytes / 1_000_000,
        figures.bytes / 1_000_000
    );
    keeper.stop().expect("it closes in order");
}

/// Everything is read back in windows of 100 and settled.
fn drain(directory: &Path) {
    let (keeper, mut journals, told, restored) = open(directory);
    let journal = &mut journals[0];
    let run = Run::new(Some(&keeper));
    let session = restored.sessions.first().expect("there is one");
    let client_id = &session.owner.client_id.0;
    let origins: Vec<_> = session.queue.iter().map(|found| found.origin).collect();
    for window in origins.chunks(100) {
        journal.fetch(Fetch { session: Default::default(), client_id: client_id.clone(), origins: window.to_vec() });
        journal.hand_over(Millis(1));
        let fetched = loop {
            if let Notice::Fetched(_, fetched) = told.recv().expect("the keeper runs") {
                break fetched;
            }
        };
        for message in fetched.messages {
            assert!(message.found.is_some(), "it is kept");
            journal.append(&Record::Settled { client_id, origin: message.origin });
        }
    }
    let count = origins.len() as u64;
    run.show("drained in windows of 100", count, Some(&keeper));
    keeper.stop().expect("it closes in order");
}

/// A few publishers that wait for each acknowledgement.
fn single(directory: &Path, in_flight: u64) {
    let (names, messages) = (names(1), (0..50).map(message).collect::<Vec<_>>());
    let targets = targets(&names);
    let (keeper, mut journals, told, _) = open(directory);
    open_sessions(&mut journals[0], &names, &told);
    let run = Run::new(Some(&keeper));
    let mut count = 0;
    while run.start.elapsed() < Duration::from_secs(2) {
        for _ in 0..in_flight {
            append(&mut journals[0], &messages, count, &targets);
            journals[0].hand_over(Millis(count));
            count += 1;
        }
        while journals[0].durable().0 < count + 1 {
            told.recv().expect("the keeper runs");
        }
    }
    run.show(&format!("sync, 1 target, {in_flight} in flight"), count, Some(&keeper));
    keeper.stop().expect("it closes in order");
}
