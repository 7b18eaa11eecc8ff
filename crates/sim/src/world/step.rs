//! What may happen next: clients come, act, read and go, parcels arrive, time passes, rights change.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use motte_broker::audit::CloseCause;
use motte_broker::mqtt::{
    Connect, ConnectProperties, ForwardedProperties, ProtocolVersion, Qos, RetainHandling, SubscriptionOptions, Will,
};
use motte_broker::policy::{Authenticated, ClientId, Policy, Publishing, UserName};
use motte_broker::{Admission, LinkId, Millis};

use super::World;
use super::turn::Turn;
use crate::fault::Fault;
use crate::history::{Delivered, Invariant, Message, MessageNo, SessionNo, Violation, What};
use crate::ledger::{self, Coming};
use crate::line::Line;
use crate::packet::{self, Asked};
use crate::rights::{FILTERS, Rights, SHARED, TOPICS, USERS, user_name};
use crate::rogue;

type Step = Result<(), Violation>;

/// How a client comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    pub(super) clean_start: bool,
    pub(super) expiry_s: u32,
    pub(super) keep_alive_s: u16,
    pub(super) receive_maximum: Option<u16>,
    pub(super) packet_size_max: Option<u32>,
    pub(super) alias_max: u16,
    pub(super) will: Option<ledger::Will>,
}

impl World {
    pub(super) fn step(&mut self) -> Step {
        let at = self.random.below(self.clients.len());
        let reads = if self.plan.clients[at].is_slow { 44 } else { 50 };
        match self.random.below(100) {
            0..=2 if self.clients[at].link.is_some() => self.go(at),
            3 if self.clients[at].is_ready => self.be_odd(at),
            4..=6 => self.hear_of_loss(),
            7 => self.intrude(at),
            8 => self.change_policy(),
            9..=11 => self.tell_policy(),
            0..=39 if self.clients[at].is_ready => {
                self.act(at);
                Ok(())
            }
            0..=39 if self.clients[at].link.is_none() => self.come(at),
            40..=43 => self.write_out(at),
            44..=64 if reads == 44 && !self.random.percent(30) => Ok(()),
            0..=57 => {
                self.write_out(at)?;
                let count = self.random.below(6);
                self.read(at, count)
            }
            58..=75 => self.send_some(at),
            76..=89 => self.carry(),
            90..=93 => self.commit_some(),
            _ => self.pass_time(),
        }
    }

    fn come(&mut self, at: usize) -> Step {
        let manners = self.manners(at);
        self.connect(at, manners)
    }

    fn manners(&mut self, at: usize) -> Manners {
        let profile = self.plan.clients[at].clone();
        let is_v5 = profile.version == ProtocolVersion::V5;
        let clean_start = if profile.lasts || is_v5 { self.random.percent(10) } else { true };
        let expiry_s = match (is_v5, profile.lasts) {
            (true, true) => profile.expiry_s,
            (true, false) => 0,
            (false, _) => {
                if clean_start {
                    0
                } else {
                    u32::MAX
                }
            }
        };
        let will = if self.random.percent(25) { Some(self.make_will(at)) } else { None };
        let sizes = self.plan.has_size_limits && is_v5;
        Manners {
            clean_start,
            expiry_s,
            keep_alive_s: profile.keep_alive_s,
            receive_maximum: if is_v5 { self.random.pick(&[None, Some(1), Some(3)]) } else { None },
            packet_size_max: if sizes { self.random.pick(&[None, Some(60), Some(200)]) } else { None },
            alias_max: if is_v5 { self.random.pick(&[0, 0, 2]) } else { 0 },
            will,
        }
    }

    fn make_will(&mut self, at: usize) -> ledger::Will {
        let message = self.compose(at);
        let is_v5 = self.plan.clients[at].version == ProtocolVersion::V5;
        let delay_s = if is_v5 { self.random.pick(&[0, 0, 5, 60]) } else { 0 };
        ledger::Will { message, delay_s }
    }

    /// A new message of a client, not published yet.
    fn compose(&mut self, at: usize) -> MessageNo {
        let is_v5 = self.plan.clients[at].version == ProtocolVersion::V5;
        let no = self.ledger.history.messages.len();
        let padding = self.random.pick(&[0, 0, 0, 20, 100]);
        let retain = self.plan.has_retained && self.random.percent(25);
        let is_empty = retain && self.random.percent(15);
        let expires = self.plan.has_expiry && is_v5 && self.random.percent(40);
        self.ledger.enter(Message {
            publisher: at,
            user: self.plan.clients[at].user,
            topic: self.random.pick(&TOPICS),
            qos: self.random.pick(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]),
            retain,
            payload: if is_empty { String::new() } else { packet::payload(no, padding) },
            expiry_s: if expires { Some(self.random.pick(&[0, 1, 10, 1_000])) } else { None },
            expires: Vec::new(),
            accepted: Vec::new(),
            is_acknowledged: false,
        })
    }

    /// A client connects; the connection it had, if any, is left standing as it is.
    pub(super) fn connect(&mut self, at: usize, manners: Manners) -> Step {
        let profile = self.plan.clients[at].clone();
        let (shard, link) = (self.shard_of(at), self.new_link());
        // A client of 3.x that asks for more than there is, or for none, is refused: these know what they may ask for.
        let keep_alive_s_max = self.plan.limits.keep_alive_s_max;
        let is_bound = profile.version != ProtocolVersion::V5 && keep_alive_s_max > 0;
        let too_long = is_bound && !(1..=keep_alive_s_max).contains(&manners.keep_alive_s);
        let keep_alive_s = if too_long { keep_alive_s_max } else { manners.keep_alive_s };
        let manners = Manners { keep_alive_s, ..manners };
        let will_message = manners.will.map(|will| self.ledger.history.messages[will.message].clone());
        let who = Authenticated::by_certificate(UserName(user_name(profile.user).as_str().into()));
        let will_topic = will_message.as_ref().map(|message| message.topic);
        let asked = will_message.as_ref();
        let asked = asked.map(|will| Publishing { topic: will.topic, qos: will.qos.as_u8(), retain: will.retain });
        let permit = self.policy.admit(who, ClientId(profile.name.as_str().into()), asked);
        let is_denied = will_topic.is_some_and(|topic| !self.ledger.rights.may_publish(profile.user, topic));
        let Ok(permit) = permit else {
            let what = "somebody who may come was not admitted";
            return if is_denied { Ok(()) } else { Err(Violation::protocol(what).of_client(at)) };
        };
        let will = manners.will.zip(will_message.as_ref()).map(|(will, message)| Will {
            topic: message.topic,
            payload: message.payload.as_bytes(),
            qos: message.qos,
            retain: message.retain,
            delay_s: will.delay_s,
            message_expiry_s: message.expiry_s,
            properties: ForwardedProperties::EMPTY,
        });
        let connect = Connect {
            version: profile.version,
            clean_start: manners.clean_start,
            keep_alive_s: manners.keep_alive_s,
            client_id: &profile.name,
            will,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_s: (profile.version == ProtocolVersion::V5).then_some(manners.expiry_s),
                receive_maximum: manners.receive_maximum.and_then(NonZeroU16::new),
                packet_size_max: manners.packet_size_max.and_then(NonZeroU32::new),
                topic_alias_maximum: manners.alias_max,
                ..ConnectProperties::default()
            },
        };
        let admission = Admission::new(permit, &connect, false);
        self.lines.insert(link, self.line_of(at, link, manners));
        self.sinks[shard].outboxes.insert(link, Vec::new());
        self.clients[at].on_gone();
        self.clients[at].link = Some(link);
        let coming = Coming {
            client: at,
            user: profile.user,
            shard,
            link,
            clean_start: manners.clean_start,
            expiry_s: manners.expiry_s,
            packet_size_max: manners.packet_size_max.unwrap_or(u32::MAX),
            will: manners.will,
        };
        let turn = Turn { shard, coming: Some(coming), ..Turn::default() };
        self.call(turn, |shard, now, sink| shard.admit(link, admission, now, sink))
    }

    fn line_of(&self, at: usize, link: LinkId, manners: Manners) -> Line {
        let mut line = Line::new(link, at, self.shard_of(at), self.plan.clients[at].version);
        line.keep_alive_s = match (manners.keep_alive_s, self.plan.limits.keep_alive_s_max) {
            (asked, 0) => asked,
            (0, max) => max,
            (asked, max) => asked.min(max),
        };
        line.asked_expiry_s = manners.expiry_s;
        line.packet_size_max = manners.packet_size_max.unwrap_or(u32::MAX);
        line.receive_maximum = manners.receive_maximum.map_or(65_535, usize::from);
        line.alias_max = manners.alias_max;
        line
    }

    /// Another user tries a client identifier that is taken: refused, with no effect on anybody.
    fn intrude(&mut self, at: usize) -> Step {
        let Some(owner) = self.ledger.sessions.get(&at).map(|session| session.user) else { return Ok(()) };
        let name = self.plan.clients[at].name.clone();
        let user = (owner + 1) % USERS;
        let who = Authenticated::by_certificate(UserName(user_name(user).as_str().into()));
        let Ok(permit) = self.policy.admit(who, ClientId(name.as_str().into()), None) else { return Ok(()) };
        let connect = Connect {
            version: ProtocolVersion::V5,
            clean_start: self.random.percent(50),
            keep_alive_s: 0,
            client_id: &name,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        };
        let admission = Admission::new(permit, &connect, false);
        let (shard, link) = (self.shard_of(at), self.new_link());
        self.sinks[shard].outboxes.insert(link, Vec::new());
        self.call(Turn { shard, ..Turn::default() }, |shard, now, sink| shard.admit(link, admission, now, sink))?;
        self.ledger.note(What::Refused { client: at });
        let answer = self.sinks[shard].outboxes.remove(&link).unwrap_or_default();
        let is_refused = answer.first() == Some(&0x20) && answer.get(3) == Some(&0x85);
        if is_refused && self.sinks[shard].closed.remove(&link) {
            return Ok(());
        }
        let what = format!("another user was not refused with 0x85: {answer:02x?}");
        Err(Violation::new(Invariant::I4, what).of_client(at))
    }

    /// A client goes: with a word, without one, or by coming again on another connection.
    fn go(&mut self, at: usize) -> Step {
        let Some(link) = self.clients[at].link else { return Ok(()) };
        match self.random.below(4) {
            0 if self.clients[at].is_ready => {
                let keeps_will = self.random.percent(40);
                let lasts = self.lines.get(&link).is_some_and(|line| line.asked_expiry_s > 0);
                let expiry_s = (lasts && self.random.percent(30)).then(|| self.random.pick(&[0, 5, 100]));
                let version = self.clients[at].version;
                self.clients[at].to_send.push_back(packet::disconnect(version, keeps_will, expiry_s));
                let count = self.clients[at].to_send.len();
                self.send(at, count, false)
            }
            1 => self.come(at),
            _ => {
                self.vanish(at, link);
                Ok(())
            }
        }
    }

    /// The client is gone and its shard does not know; the transport takes bytes for a while or is gone as well.
    fn vanish(&mut self, at: usize, link: LinkId) {
        self.clients[at].on_gone();
        self.ledger.now = self.now;
        self.ledger.note(What::Vanished { client: at, link });
        let shard = self.shard_of(at);
        if self.random.percent(50) {
            self.sinks[shard].outboxes.remove(&link);
        }
        if let Some(line) = self.lines.get_mut(&link) {
            line.is_vanished = true;
        }
    }

    /// A shard hears that a transport ended.
    fn hear_of_loss(&mut self) -> Step {
        let gone =
            self.lines.values().filter(|line| line.is_vanished || self.clients[line.client].link != Some(line.id));
        let gone: Vec<_> = gone.map(|line| (line.id, line.client, line.is_closed)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let (link, client, is_closed) = self.random.pick(&gone);
        self.lose(link, client, is_closed)
    }

    pub(super) fn lose(&mut self, link: LinkId, client: usize, is_closed: bool) -> Step {
        let shard = self.shard_of(client);
        self.sinks[shard].outboxes.remove(&link);
        let lost = Some(client).filter(|_| !is_closed);
        let turn = Turn { shard, lost, ..Turn::default() };
        self.call(turn, |shard, now, sink| shard.on_lost(link, CloseCause::ConnectionLost, now, sink))?;
        self.lines.remove(&link);
        Ok(())
    }

    /// A rogue breaks a rule; others do something odd.
    fn be_odd(&mut self, at: usize) -> Step {
        let Some(line) = self.clients[at].link.and_then(|link| self.lines.get(&link)) else { return Ok(()) };
        let is_rogue = self.plan.clients[at].is_rogue && self.random.percent(50);
        let sent =
            if is_rogue { rogue::break_a_rule(line, &mut self.random) } else { rogue::stray(line, &mut self.random) };
        self.clients[at].to_send.push_back(sent);
        Ok(())
    }

    /// A client has something to say.
    fn act(&mut self, at: usize) {
        let version = self.clients[at].version;
        match self.random.below(100) {
            0..=14 => {
                let count = 1 + self.random.below(2);
                let filters: Vec<Asked> = (0..count).map(|_| self.ask(version)).collect();
                let id = self.clients[at].free_id();
                let has_id = version == ProtocolVersion::V5 && self.random.percent(40);
                let subscription_id = has_id.then(|| self.random.pick(&[1, 2, 300]));
                self.clients[at].to_send.push_back(packet::subscribe(version, id, filters, subscription_id));
            }
            15..=18 => {
                let filter = self.random.pick(&FILTERS).to_owned();
                let id = self.clients[at].free_id();
                self.clients[at].to_send.push_back(packet::unsubscribe(version, id, vec![filter]));
            }
            19..=22 => self.clients[at].to_send.push_back(packet::ack(version, packet::Meaning::Ping)),
            _ if !self.clients[at].has_window() => {}
            _ => {
                let no = self.compose(at);
                let uses_alias = version == ProtocolVersion::V5 && self.random.percent(50);
                let message = self.ledger.history.messages[no].clone();
                self.clients[at].publish(no, &message, uses_alias);
            }
        }
    }

    fn ask(&mut self, version: ProtocolVersion) -> Asked {
        let is_shared = self.plan.has_shared && self.random.percent(40);
        let filter = if is_shared { self.random.pick(&SHARED) } else { self.random.pick(&FILTERS) };
        let is_v5 = version == ProtocolVersion::V5;
        let handlings = [RetainHandling::Always, RetainHandling::IfNew, RetainHandling::Never];
        let options = SubscriptionOptions {
            qos: self.random.pick(&[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce]),
            no_local: is_v5 && !is_shared && self.random.percent(20),
            retain_as_published: is_v5 && self.random.percent(30),
            retain_handling: if is_v5 { self.random.pick(&handlings) } else { RetainHandling::Always },
        };
        (filter.into(), options)
    }

    fn change_policy(&mut self) -> Step {
        if !self.plan.has_policies || !self.random.percent(50) {
            return Ok(());
        }
        let rights = Rights::some(&mut self.random);
        self.policy = Arc::new(Policy::parse(&rights.text()).expect("the rules are valid"));
        self.shared.replace_policy(Arc::clone(&self.policy));
        self.ledger.now = self.now;
        self.ledger.on_policy(rights);
        self.untold.extend(0..self.shards.len());
        if let Some((session, copy)) = self.kept_back.take_if(|_| self.fault == Some(Fault::LeakDenied)) {
            let link = LinkId(0);
            self.ledger.note(What::Wrote { session, link, copy });
        }
        Ok(())
    }

    pub(super) fn tell_policy(&mut self) -> Step {
        let Some(shard) = self.untold.pop_first() else { return Ok(()) };
        let turn = Turn { shard, judges: true, ..Turn::default() };
        self.call(turn, |shard, now, sink| shard.on_policy_changed(now, sink))
    }

    /// For [`Fault::LeakDenied`]: a copy that every receiver of a later policy may or may not have.
    pub(super) fn leak(&mut self, session: SessionNo, _link: LinkId, copy: Delivered) {
        if self.fault == Some(Fault::LeakDenied) {
            self.kept_back = Some((session, copy));
        }
    }

    fn pass_time(&mut self) -> Step {
        let ms = self.random.pick(&[1, 1, 5, 5, 50, 50, 900, 900, 900, 900, 3_000, 3_000, 3_000, 7_000, 7_000, 70_000]);
        if self.plan.timers_lag {
            self.now = self.now.plus_ms(ms);
        }
        let until = if self.plan.timers_lag { self.now } else { self.now.plus_ms(ms) };
        self.run_timers(until)?;
        self.check_overdue(until)
    }

    /// Calls each shard for what is due until then.
    pub(super) fn run_timers(&mut self, until: Millis) -> Step {
        loop {
            let next = self.shards.iter().enumerate().filter_map(|(at, shard)| Some((shard.next_timer()?, at))).min();
            let Some((due, shard)) = next.filter(|(due, _)| *due <= until) else { break };
            self.now = self.now.max(due);
            self.call(Turn { shard, ..Turn::default() }, |shard, now, sink| shard.on_timer(now, sink))?;
        }
        self.now = until;
        Ok(())
    }

    pub(super) fn check_overdue(&self, now: Millis) -> Step {
        let over = (0..self.shards.len()).find_map(|shard| self.ledger.overdue(shard, now));
        if let Some(over) = over {
            return Err(over);
        }
        let silent = self
            .lines
            .values()
            .find(|line| self.attached(line.client) == Some(line.id) && line.silent_at().is_some_and(|at| at <= now));
        match silent {
            Some(line) => {
                Err(Violation::protocol("a silent client was not disconnected in time").of_client(line.client))
            }
            None => Ok(()),
        }
    }
}
