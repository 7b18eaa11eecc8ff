//! Everybody who takes part in a load: connected, subscribed, and ready to begin.
//!
//! Called by the commands of `motte bench`, then by `flow`. Never begins with less than what was asked for.

use std::time::{Duration, Instant};

use motte_client::error::{EXIT_OVERSIZE, EXIT_USAGE};
use motte_client::{ConnectError, Granted, Qos, ReasonCode, RetainHandling, Subscription};
use motte_mqtt::{
    Decoder, Encoder, Packet, PacketId, ProtocolVersion, Subscribe, SubscribeFilters, SubscriptionOptions,
    UserProperties,
};

use super::clock::Schedule;
use super::dial::{Dialed, Dialer, system};
use super::flow::Load;
use super::link::Ended;
use super::net::{Net, Slot};
use super::peer::{self, Role};
use super::publisher::Publisher;
use super::scan::{self, broken};
use super::subscriber::{Subscriber, Tally};
use super::template::Template;
use crate::cli::{check_granted, refused};
use crate::ui::{Failure, random};

/// Most filters in one SUBSCRIBE.
const FILTERS_PER_PACKET: usize = 50;
/// Most connections on their way at once.
const WIDTH: usize = 100;
/// How long the answer to SUBSCRIBE may take.
const SUBACK_WITHIN: Duration = Duration::from_secs(30);
/// PINGREQ.
pub(crate) const PING: [u8; 2] = [0xC0, 0];
/// DISCONNECT without a reason, in every version.
pub(crate) const FAREWELL: [u8; 2] = [0xE0, 0];

/// Who takes part.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) net: Net,
    /// By the place of the connection.
    pub(crate) roles: Vec<Role>,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) tally: Tally,
    pub(crate) decoder: Decoder,
    pub(crate) is_v5: bool,
    /// The mark of this run's messages; `None` where any message counts.
    pub(crate) run: Option<u16>,
    qos: Qos,
    own_topics: bool,
    ping_every: Option<Duration>,
    ping_at: Instant,
    /// Whether a ping was sent behind the last message.
    is_asked: bool,
}

impl Crew {
    /// Connects and subscribes.
    pub(crate) fn gather(load: &Load, dialer: &mut Dialer) -> Result<Self, Failure> {
        let version = dialer.opening.config().protocol_version;
        let template = |topic: &str| {
            Template::new(version, topic, load.qos, load.size)
                .map_err(|error| refused(&ConnectError::Request(error)).with_code(EXIT_USAGE))
        };
        let mut net = Net::new(load.size).map_err(|error| system(&error))?;
        let mut dialed: Vec<Option<Dialed>> = Vec::new();
        let total = load.subscribers + load.publishers;
        dialed.resize_with(total, || None);
        dialer.dial(&mut net, (total, WIDTH), &mut |_, one| {
            let number = one.number;
            dialed[number] = Some(one);
            Ok(())
        })?;
        let dialed: Vec<Dialed> = dialed.into_iter().flatten().collect();
        let (hearing, speaking) = dialed.split_at(load.subscribers);
        let run = u16::from_ne_bytes(random()?) & 0xFFF;
        let mut publishers = Vec::with_capacity(load.publishers);
        for (number, one) in speaking.iter().enumerate() {
            let template = template(&load.topic_of(number))?;
            check_limits(load, one, &template)?;
            let number = u16::try_from(number).expect("the command line allows no more");
            publishers.push(load.publisher(one, (run, number), template));
        }
        let stride = if load.own_topics { load.subscribers.max(1) } else { 1 };
        let subscribers: Vec<_> = hearing.iter().map(|one| Subscriber::new(one.slot, &publishers, stride)).collect();
        let mut roles = vec![Role::Subscriber(0); net.links.len()];
        subscribers.iter().enumerate().for_each(|(number, one)| roles[one.slot] = Role::Subscriber(number));
        publishers.iter().enumerate().for_each(|(number, one)| roles[one.slot] = Role::Publisher(number));
        let keep_alive_s = dialed.iter().map(|one| one.accepted.facts.keep_alive_s).filter(|s| *s > 0).min();
        let ping_every = keep_alive_s.map(|s| Duration::from_secs_f64(f64::from(s) / 2.0));
        let mut crew = Self {
            net,
            roles,
            publishers,
            subscribers,
            tally: Tally::new(if load.rate.is_some() || load.window < 256 { 0 } else { 15 }),
            decoder: dialer.decoder(),
            is_v5: version == ProtocolVersion::V5,
            run: (load.publishers > 0).then_some(run),
            qos: load.qos,
            own_topics: load.own_topics,
            ping_every,
            ping_at: Instant::now() + ping_every.unwrap_or_default(),
            is_asked: false,
        };
        crew.subscribe(load, version)?;
        Ok(crew)
    }

    /// Subscribes everybody who is to hear, and waits until the broker has granted it.
    fn subscribe(&mut self, load: &Load, version: ProtocolVersion) -> Result<(), Failure> {
        let mut waiting: Vec<Vec<Vec<String>>> = Vec::new();
        for (number, subscriber) in self.subscribers.iter().enumerate() {
            let filters = load.filters_of(number);
            let link = self.net.links[subscriber.slot].as_mut().expect("it was opened");
            let packets: Vec<Vec<String>> = filters.chunks(FILTERS_PER_PACKET).map(<[_]>::to_vec).collect();
            for (index, filters) in packets.iter().enumerate() {
                subscribe_packet(version, load.qos, index, filters, &mut link.out)
                    .map_err(|error| refused(&ConnectError::Request(error)).with_code(EXIT_USAGE))?;
            }
            link.flush().map_err(|error| peer::lost(Ended::Io(error)))?;
            waiting.push(packets);
        }
        let mut missing: usize = waiting.iter().map(Vec::len).sum();
        let deadline = Instant::now() + SUBACK_WITHIN;
        let mut ready = Vec::new();
        while missing > 0 {
            self.net.turn(Some(Duration::from_millis(500)), &mut ready).map_err(|error| system(&error))?;
            for &slot in &ready {
                missing -= self.granted(slot, load.qos, &waiting).map_err(peer::lost)?;
            }
            if Instant::now() > deadline {
                let what = "the broker did not answer a subscription in time";
                return Err(Failure::new(what, "its log may say why").with_code(motte_client::error::EXIT_TIMEOUT));
            }
        }
        // What was looked at while waiting may have more to do.
        for slot in 0..self.net.links.len() {
            self.net.wake(slot);
        }
        Ok(())
    }

    /// Reads answers to SUBSCRIBE; how many came.
    fn granted(&mut self, slot: Slot, qos: Qos, waiting: &[Vec<Vec<String>>]) -> Result<usize, Ended> {
        let Role::Subscriber(number) = self.roles[slot] else { return Ok(0) };
        let decoder = self.decoder;
        let Some(link) = &mut self.net.links[slot] else { return Ok(0) };
        link.flush()?;
        let mut answered = 0;
        link.read(&mut self.net.buffers, &mut |bytes| {
            let mut at = 0;
            while let Some(frame) = scan::frame(&bytes[at..])? {
                match decoder.decode(&bytes[at..]) {
                    Ok(Some((Packet::SubAck(suback), _))) => {
                        let index = usize::from(suback.id.value()) - 1;
                        let filters = waiting.get(number).and_then(|packets| packets.get(index));
                        let filters = filters.ok_or_else(|| broken("SUBACK for what was not asked"))?;
                        let asked: Vec<_> = filters.iter().map(|one| Subscription::new(one.as_str(), qos)).collect();
                        let granted: Vec<_> = suback.codes.iter().copied().map(granted).collect();
                        check_granted(&asked, &granted)?;
                        answered += 1;
                    }
                    _ => peer::unexpected(&decoder, &bytes[at..at + frame.len])?,
                }
                at += frame.len;
            }
            Ok(at)
        })?;
        Ok(answered)
    }

    /// Pings where the broker would otherwise take a connection for dead.
    pub(crate) fn keep_alive(&mut self, now: Instant) -> Result<(), Ended> {
        let Some(every) = self.ping_every.filter(|_| now >= self.ping_at) else { return Ok(()) };
        self.ping_at = now + every;
        for link in self.net.links.iter_mut().flatten() {
            link.out.extend_from_slice(&PING);
            link.flush()?;
        }
        Ok(())
    }

    /// Messages sent so far; acknowledged ones at QoS 1 and 2.
    pub(crate) fn published(&self) -> u64 {
        if self.qos == Qos::AtMostOnce { self.tally.sent } else { self.tally.acknowledged }
    }

    /// How many deliveries all that was sent is worth, or acknowledgements where nobody subscribes; `None` where
    /// nobody can know.
    pub(crate) fn expected(&self) -> Option<u64> {
        let sent = |one: &Publisher| one.sent;
        if self.publishers.is_empty() || self.subscribers.is_empty() && self.qos == Qos::AtMostOnce {
            return None;
        }
        if self.subscribers.is_empty() {
            return Some(self.publishers.iter().map(sent).sum());
        }
        let fanout = |number| fanout(number, self.publishers.len(), self.subscribers.len(), self.own_topics) as u64;
        Some(self.publishers.iter().enumerate().map(|(number, one)| one.sent * fanout(number)).sum())
    }

    /// Whether all that was sent has arrived. Where nobody can know, whether the broker has read it: a ping behind it
    /// is answered.
    pub(crate) fn has_everything(&mut self) -> Result<bool, Ended> {
        if !self.publishers.iter().all(Publisher::is_settled) {
            return Ok(false);
        }
        match self.expected() {
            Some(_) if self.subscribers.is_empty() => Ok(true),
            Some(expected) => Ok(self.tally.delivered >= expected),
            None if !self.is_asked => {
                self.is_asked = true;
                self.tally.pongs = 0;
                for publisher in &self.publishers {
                    if let Some(link) = &mut self.net.links[publisher.slot] {
                        link.out.extend_from_slice(&PING);
                        link.flush()?;
                    }
                }
                Ok(self.publishers.is_empty())
            }
            None => Ok(self.tally.pongs >= self.publishers.len()),
        }
    }

    /// Whether a publisher may send at this time, or is about to.
    pub(crate) fn may_send(&self) -> bool {
        self.publishers.iter().any(|one| one.allowance() > 0)
    }

    /// What has not come by now is lost: publishers go on without it.
    pub(crate) fn forget_missing(&mut self) {
        for publisher in &mut self.publishers {
            publisher.forget_missing();
            self.net.wake(publisher.slot);
        }
    }

    /// Ends every connection in order, as far as its socket takes it.
    pub(crate) fn farewell(&mut self) {
        for link in self.net.links.iter_mut().flatten() {
            link.out.extend_from_slice(&FAREWELL);
            // The connection ends anyway, and nothing is owed.
            let _ = link.flush();
        }
    }
}

impl Load {
    /// The topic of a publisher.
    fn topic_of(&self, publisher: usize) -> String {
        if self.own_topics { format!("{}/{publisher}", self.topic) } else { self.topic.clone() }
    }

    /// What a subscriber subscribes to: its share of the publishers' topics.
    fn filters_of(&self, subscriber: usize) -> Vec<String> {
        let (publishers, subscribers) = (self.publishers, self.subscribers);
        if !self.own_topics {
            return vec![self.topic.clone()];
        }
        if publishers == 0 {
            return vec![self.topic_of(subscriber)];
        }
        if subscribers >= publishers {
            return vec![self.topic_of(subscriber % publishers)];
        }
        (subscriber..publishers).step_by(subscribers).map(|number| self.topic_of(number)).collect()
    }

    fn publisher(&self, one: &Dialed, (run, number): (u16, u16), template: Template) -> Publisher {
        let granted = usize::from(one.accepted.in_flight_max);
        let window = usize::try_from(self.window).unwrap_or(usize::MAX);
        let in_flight = match self.rate {
            None => granted.min(window),
            Some(_) => granted,
        };
        let in_flight = (self.qos != Qos::AtMostOnce).then_some(in_flight);
        let publisher = Publisher::new(one.slot, (run, number), template, in_flight);
        let fanout = fanout(number.into(), self.publishers, self.subscribers, self.own_topics);
        match Schedule::pace(self) {
            Some(pace) => publisher.paced(pace),
            None if fanout > 0 => publisher.windowed(self.window, fanout),
            None => publisher,
        }
    }
}

/// How many subscribers hear a publisher.
fn fanout(publisher: usize, publishers: usize, subscribers: usize, own_topics: bool) -> usize {
    match own_topics {
        false => subscribers,
        true if subscribers >= publishers => {
            subscribers / publishers + usize::from(publisher < subscribers % publishers)
        }
        true => subscribers.min(1),
    }
}

fn check_limits(load: &Load, one: &Dialed, template: &Template) -> Result<(), Failure> {
    if load.qos > one.accepted.qos_max {
        let what = format!("the broker takes at most QoS {}", one.accepted.qos_max.as_u8());
        return Err(Failure::new(what, "choose a lower --qos").with_code(EXIT_USAGE));
    }
    if template.len() > usize::try_from(one.accepted.packet_size_max).unwrap_or(usize::MAX) {
        let what = format!("the broker takes packets of at most {} bytes", one.accepted.packet_size_max);
        return Err(Failure::new(what, "choose a smaller --size").with_code(EXIT_OVERSIZE));
    }
    Ok(())
}

/// What a code of a SUBACK says; one that nobody knows is a refusal.
fn granted(code: u8) -> Granted {
    Qos::from_u8(code).ok_or_else(|| ReasonCode::from_u8(code).unwrap_or(ReasonCode::UnspecifiedError))
}

fn subscribe_packet(
    version: ProtocolVersion,
    qos: Qos,
    index: usize,
    filters: &[String],
    out: &mut Vec<u8>,
) -> Result<(), motte_mqtt::EncodeError> {
    let retain_handling = if version == ProtocolVersion::V5 { RetainHandling::Never } else { RetainHandling::Always };
    let options = SubscriptionOptions { qos, retain_handling, ..SubscriptionOptions::default() };
    let filters: Vec<_> = filters.iter().map(|filter| (filter.as_str(), options)).collect();
    let id = u16::try_from(index + 1).ok().and_then(PacketId::new).expect("at most 65,536 publishers, 50 a packet");
    let packet = Subscribe {
        id,
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    };
    Encoder::new(version, u32::MAX).encode(&Packet::Subscribe(packet), out)
}

#[cfg(test)]
mod tests {
    use super::fanout;

    #[test]
    fn own_topics_are_shared_out_evenly() {
        let of = |publishers, subscribers| {
            (0..publishers).map(|one| fanout(one, publishers, subscribers, true)).collect::<Vec<_>>()
        };
        assert_eq!(of(2, 5), [3, 2]);
        assert_eq!(of(3, 3), [1, 1, 1]);
        assert_eq!(of(4, 2), [1, 1, 1, 1]);
        assert_eq!(of(2, 0), [0, 0]);
        assert_eq!(fanout(0, 4, 7, false), 7);
    }
}
