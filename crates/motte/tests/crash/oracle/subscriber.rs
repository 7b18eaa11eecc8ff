//! A session that outlives its connections and is owed every message that was acknowledged.
//!
//! Like a device that keeps its own state: identifiers of QoS 2 that are not released survive its connections.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use motte_mqtt::{ProtocolVersion, Qos};

use super::publisher::Publisher;
use super::{Fault, Findings, SILENCE, content};
use crate::client::{Client, Heard, Hello, Incoming};

/// What a session does while the broker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Acknowledges what comes.
    Online,
    /// Takes what comes and acknowledges nothing.
    Mute,
    /// Comes, takes so many, goes without a word, and comes again.
    Restless(usize),
    /// Is not there.
    Offline,
}

/// Messages by publisher and number.
pub(crate) type Owed = BTreeSet<(u8, u64)>;

/// How often a message came.
#[derive(Clone, Debug, Default)]
struct Got {
    plain: u8,
    dup: u8,
    /// In which lives of the broker, under which identifiers, and with DUP or without.
    history: Vec<(u64, u16, bool)>,
    /// It was reported as lost, once.
    written_off: bool,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) name: String,
    hello: Hello,
    qos: Qos,
    filter: String,
    subscription_id: Option<u32>,
    established: bool,
    /// Identifiers of QoS 2 whose PUBREL did not come, and what came under them.
    unreleased: HashMap<u16, (u8, u64)>,
    /// By publisher and number.
    got: Vec<Vec<Got>>,
    /// The highest number of each publisher.
    highest: Vec<Option<u64>>,
    /// QoS of each publisher.
    published_as: Vec<Qos>,
    /// Which life of the broker it is, for those who read what went wrong.
    pub(crate) life: u64,
    pub(crate) duplicates: u64,
    pub(crate) delivered: u64,
    pub(crate) findings: Findings,
}

impl Subscriber {
    pub(crate) fn new(number: u32, version: ProtocolVersion, qos: Qos, filter: &str) -> Self {
        let name = format!("subscriber-{number}");
        let mut hello = Hello::durable(&name, version);
        hello.receive_maximum = (number == 6).then_some(8);
        Self {
            name,
            hello,
            qos,
            filter: filter.to_owned(),
            subscription_id: (version == ProtocolVersion::V5).then_some(number + 1),
            established: false,
            unreleased: HashMap::new(),
            got: Vec::new(),
            highest: Vec::new(),
            published_as: Vec::new(),
            life: 0,
            duplicates: 0,
            delivered: 0,
            findings: Findings::default(),
        }
    }

    /// Makes the session and its subscription, before anything is published.
    #[track_caller]
    pub(crate) fn establish(&mut self, port: u16, publishers: &[Publisher]) {
        let mut client = Client::admitted(port, &self.hello);
        assert_eq!(client.subscribe(&self.filter, self.qos, self.subscription_id), Some(self.qos.as_u8()));
        self.established = true;
        client.disconnect();
        self.got = vec![Vec::new(); publishers.len()];
        self.highest = vec![None; publishers.len()];
        self.published_as = publishers.iter().map(|publisher| publisher.qos).collect();
    }

    fn come_in(&mut self, port: u16) -> Option<Client> {
        let client = match Client::connect(port, &self.hello) {
            Ok(client) => client,
            Err(why) if why.is_over() => return None,
            Err(why) => {
                self.findings.add(Fault::Silent, format!("{} is not admitted: {why:?}", self.name));
                return None;
            }
        };
        if !client.present {
            self.findings.add(Fault::SessionLost, &self.name);
            self.unreleased.clear();
        }
        Some(client)
    }

    /// Until the broker ends.
    pub(crate) fn run(&mut self, port: u16, role: Role) {
        let most = match role {
            Role::Offline => return,
            Role::Restless(most) => most,
            Role::Online | Role::Mute => usize::MAX,
        };
        while let Some(mut client) = self.come_in(port) {
            for _ in 0..most {
                match client.hear(10 * SILENCE) {
                    Heard::End | Heard::Silence => return,
                    heard => self.on(heard, &mut client, role != Role::Mute),
                }
                client.flush();
            }
        }
    }

    /// Comes back and takes everything it is owed; what does not come is lost.
    pub(crate) fn audit(&mut self, port: u16, publishers: &[Publisher]) {
        let owed = Mutex::new(self.owed(publishers));
        self.take(port, &owed);
        self.write_off(owed);
        self.judge_copies(publishers);
    }

    /// Comes back and takes what comes until nothing is owed any more, to it or to the group it is a member of.
    fn take(&mut self, port: u16, owed: &Mutex<Owed>) {
        let Some(mut client) = self.come_in(port) else {
            return self.findings.add(Fault::Silent, format!("{} cannot come back", self.name));
        };
        // A session that is gone gets nothing any more.
        let patience = if client.present { SILENCE } else { Duration::from_millis(200) };
        let (mut last_progress, mut taken) = (Instant::now(), 0);
        while !owed.lock().unwrap().is_empty() && last_progress.elapsed() < patience {
            let heard = client.hear(Duration::from_millis(200));
            match &heard {
                Heard::End => break,
                Heard::Silence => continue,
                Heard::Publish(message) if was_owed(message, owed) => last_progress = Instant::now(),
                _ => {}
            }
            taken += 1;
            self.on(heard, &mut client, true);
            client.flush();
        }
        if !owed.lock().unwrap().is_empty() {
            let (life, unreleased) = (self.life, &self.unreleased);
            let text = format!("{} in life {life} after {taken} packets; unreleased {unreleased:?}", self.name);
            self.findings.add(Fault::Silent, text);
        }
        if !client.present && client.subscribe(&self.filter, self.qos, self.subscription_id).is_none() {
            self.findings.add(Fault::Silent, format!("{} cannot subscribe again", self.name));
        }
        self.listen_out(&mut client);
        client.disconnect();
    }

    fn write_off(&mut self, owed: Mutex<Owed>) {
        for (publisher, number) in owed.into_inner().unwrap() {
            self.findings.add(Fault::MessageLost, format!("{} lost {publisher}/{number}", self.name));
            self.entry(publisher, number).written_off = true;
        }
    }

    /// Takes what may still come, up to the answer to a ping.
    fn listen_out(&mut self, client: &mut Client) {
        client.ping();
        loop {
            match client.hear(SILENCE) {
                Heard::Pong => return,
                Heard::End | Heard::Silence => {
                    return self.findings.add(Fault::Silent, format!("{}: no PINGRESP", self.name));
                }
                heard => self.on(heard, client, true),
            }
            client.flush();
        }
    }

    /// Acknowledged messages that did not come yet.
    pub(crate) fn owed(&self, publishers: &[Publisher]) -> Owed {
        let mut owed = BTreeSet::new();
        for publisher in publishers.iter().filter(|publisher| self.wants(&publisher.topic)) {
            let accepted = publisher.book.iter().enumerate().filter(|(_, entry)| entry.accepted);
            let numbers = accepted.map(|(number, _)| number as u64);
            owed.extend(numbers.filter(|number| !self.has(publisher.number, *number)).map(|n| (publisher.number, n)));
        }
        owed
    }

    /// Whether a message came, or was reported as lost.
    fn has(&self, publisher: u8, number: u64) -> bool {
        let got = self.got[usize::from(publisher)].get(usize::try_from(number).unwrap());
        got.is_some_and(|got| got.plain + got.dup > 0 || got.written_off)
    }

    fn wants(&self, topic: &str) -> bool {
        self.is_member() || self.filter == "m/#" || self.filter == topic || self.filter == "m/+/t"
    }

    fn is_member(&self) -> bool {
        self.filter.starts_with("$share/")
    }

    fn entry(&mut self, publisher: u8, number: u64) -> &mut Got {
        let number = usize::try_from(number).unwrap();
        let got = &mut self.got[usize::from(publisher)];
        if got.len() <= number {
            got.resize(number + 1, Got::default());
        }
        &mut got[number]
    }

    fn on(&mut self, heard: Heard, client: &mut Client, acknowledges: bool) {
        match heard {
            Heard::Publish(message) => self.on_publish(&message, client, acknowledges),
            Heard::PubRel(id) => {
                self.unreleased.remove(&id);
                if acknowledges {
                    client.write_pubcomp(id);
                }
            }
            Heard::Disconnect(_) | Heard::Pong => {}
            other => self.findings.add(Fault::Unexpected, format!("{} got {other:?}", self.name)),
        }
    }

    fn on_publish(&mut self, message: &Incoming, client: &mut Client, acknowledges: bool) {
        let Some((publisher, number)) = content::read(&message.payload) else {
            let text = format!("{} on {}: {} bytes", self.name, message.topic, message.payload.len());
            return self.findings.add(Fault::ContentWrong, text);
        };
        self.check_head(message, publisher, number);
        if message.qos == Qos::ExactlyOnce {
            if acknowledges {
                client.write_pubrec(message.id);
            }
            match self.unreleased.insert(message.id, (publisher, number)) {
                None => {}
                Some(before) if before == (publisher, number) => {
                    // The same message under the same identifier: not taken twice.
                    if !message.dup {
                        let text = format!("{}: {publisher}/{number} again as QoS 2", self.name);
                        self.findings.add(Fault::CopyWithoutDup, text);
                    }
                    return;
                }
                Some(before) => {
                    let text = format!("{}: {} for {before:?} and {publisher}/{number}", self.name, message.id);
                    self.findings.add(Fault::IdentifierReused, text);
                }
            }
        } else if acknowledges {
            client.write_puback(message.id);
        }
        self.count(message, publisher, number);
    }

    fn check_head(&mut self, message: &Incoming, publisher: u8, number: u64) {
        let qos = self.published_as[usize::from(publisher)].min(self.qos);
        let is_right = message.topic == format!("m/{publisher}/t")
            && message.qos == qos
            && !message.retain
            && message.subscription_ids.iter().copied().eq(self.subscription_id)
            // Publishers with an odd number speak 3.1.1 and have no properties.
            && (self.hello.version != ProtocolVersion::V5 || publisher % 2 == 1 || is_kept(message));
        if !is_right {
            let Incoming { topic, qos, retain, subscription_ids, user, expiry_s, .. } = message;
            self.findings.add(
                Fault::ContentWrong,
                format!(
                    "{}: {publisher}/{number} as {topic} {qos:?} {retain} {subscription_ids:?} {user:?} {expiry_s:?}",
                    self.name
                ),
            );
        }
    }

    fn count(&mut self, message: &Incoming, publisher: u8, number: u64) {
        self.delivered += 1;
        let life = self.life;
        let entry = self.entry(publisher, number);
        let is_first = entry.plain + entry.dup == 0;
        let times = if message.dup { &mut entry.dup } else { &mut entry.plain };
        *times = times.saturating_add(1);
        entry.history.push((life, message.id, message.dup));
        if !is_first {
            let history = format!("{:?}", entry.history);
            self.duplicates += 1;
            if message.qos == Qos::ExactlyOnce {
                self.findings.add(Fault::SecondCopy, format!("{}: {publisher}/{number} {history}", self.name));
            }
            return;
        }
        if self.is_member() {
            // Messages of a group go from member to member.
            return;
        }
        let highest = &mut self.highest[usize::from(publisher)];
        if highest.is_some_and(|highest| highest > number) {
            self.findings.add(Fault::OutOfOrder, format!("{}: {publisher}/{number} after {highest:?}", self.name));
        } else {
            *highest = Some(number);
        }
    }

    /// A message that its publisher sends again may have become two for a session that gets it at QoS 1: the broker
    /// delivers such a message before it is durable, and forgets it in the crash. Beyond that every copy has DUP.
    fn judge_copies(&mut self, publishers: &[Publisher]) {
        for publisher in publishers {
            let got = &mut self.got[usize::from(publisher.number)];
            for (number, (got, entry)) in got.iter_mut().zip(&publisher.book).enumerate() {
                if got.plain > entry.sent {
                    got.plain = entry.sent;
                    let text = format!("{}: {}/{number} in {:?}", self.name, publisher.number, got.history);
                    self.findings.add(Fault::CopyWithoutDup, text);
                }
            }
        }
    }
}

/// Whether a message was owed; it is not any more.
fn was_owed(message: &Incoming, owed: &Mutex<Owed>) -> bool {
    content::read(&message.payload).is_some_and(|which| owed.lock().unwrap().remove(&which))
}

/// Two sessions that share what one of them is owed.
#[derive(Debug)]
pub(crate) struct Group(pub(crate) [Subscriber; 2]);

impl Group {
    /// Comes back and takes everything; each message came to one of the two.
    pub(crate) fn audit(&mut self, port: u16, publishers: &[Publisher]) {
        let [one, other] = &mut self.0;
        let owed = Mutex::new(&one.owed(publishers) & &other.owed(publishers));
        thread::scope(|scope| {
            for member in [&mut *one, &mut *other] {
                scope.spawn(|| member.take(port, &owed));
            }
        });
        one.write_off(owed);
        for publisher in publishers.iter().filter(|publisher| publisher.qos == Qos::ExactlyOnce) {
            let both = (0..publisher.book.len() as u64)
                .filter(|number| one.has(publisher.number, *number) && other.has(publisher.number, *number));
            for number in both.collect::<Vec<_>>() {
                one.findings.add(Fault::SecondCopy, format!("both members: {}/{number}", publisher.number));
                one.got[usize::from(publisher.number)][usize::try_from(number).unwrap()] = Got::default();
            }
        }
    }
}

/// Whether the properties a publisher gave came along.
fn is_kept(message: &Incoming) -> bool {
    let user = message.user.iter().any(|(name, value)| (name.as_str(), value.as_str()) == ("kept", "yes"));
    user && message.expiry_s.is_some_and(|left_s| left_s > 80_000 && left_s <= 86_400)
}
