//! Connections one after the other, many at once: how many a second, how long each takes, what an idle one costs.
//!
//! Called by `motte bench connect`. Never keeps a connection open that nobody asked to hold.

use std::time::{Duration, Instant};

use motte_mqtt::Decoder;

use super::crew::{FAREWELL, PING};
use super::dial::{Dialed, Dialer, system};
use super::flow::Progress;
use super::link::{Ended, Link};
use super::measure::{BrokerProcess, Latencies, Usage, own_cpu_s};
use super::net::Net;
use super::peer;
use super::scan;
use crate::ui::Failure;

/// Longest sleep while connections are held.
const TURN_MAX: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) connections: usize,
    /// How many are on their way at once.
    pub(crate) width: usize,
    /// How long they are held when all are open; without it each is closed at once.
    pub(crate) hold: Option<Duration>,
    pub(crate) broker: Option<BrokerProcess>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From the first packet of the first to the CONNACK of the last.
    pub(crate) seconds: f64,
    /// How many went on with an earlier TLS session.
    pub(crate) resumed: u64,
    /// From the first packet to the CONNACK of each.
    pub(crate) latencies: Latencies,
    /// Use of the broker's process before the first and after the last.
    pub(crate) broker: Option<(Usage, Usage)>,
    /// Its use when the connections had been held.
    pub(crate) held: Option<Usage>,
    /// Our own processor time, in seconds.
    pub(crate) load_cpu_s: f64,
}

/// Opens the connections.
pub(crate) fn run(storm: &Storm, dialer: &mut Dialer, tell: &mut dyn FnMut(Progress)) -> Result<Outcome, Failure> {
    let usage = || storm.broker.map(BrokerProcess::usage).transpose();
    let mut net = Net::new(0).map_err(|error| system(&error))?;
    let (mut done, mut resumed, mut latencies) = (0_usize, 0, Latencies::new());
    let mut keep_alive_s = u16::MAX;
    let (before, own_before, began) = (usage()?, own_cpu_s(), Instant::now());
    dialer.dial(&mut net, (storm.connections, storm.width), &mut |net, one| {
        done += 1;
        resumed += u64::from(one.is_resumed);
        latencies.record(u64::try_from(one.took.as_nanos()).unwrap_or(u64::MAX));
        if done.is_multiple_of(64) {
            tell(Progress { part: Some(done as f64 / storm.connections as f64), messages: done as u64 });
        }
        match one.accepted.facts.keep_alive_s {
            0 => {}
            seconds => keep_alive_s = keep_alive_s.min(seconds),
        }
        if storm.hold.is_none() {
            close(net, &one);
        }
        Ok(())
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let after = usage()?;
    let load_cpu_s = own_cpu_s() - own_before;
    let mut held = None;
    if let Some(time) = storm.hold {
        let ping_every = Duration::from_secs_f64(f64::from(keep_alive_s) / 2.0);
        hold(&mut net, time, (ping_every, &dialer.decoder()), tell)?;
        held = usage()?;
        net.links.iter_mut().flatten().for_each(say_farewell);
    }
    Ok(Outcome { seconds, resumed, latencies, broker: before.zip(after), held, load_cpu_s })
}

fn close(net: &mut Net, one: &Dialed) {
    if let Some(mut link) = net.remove(one.slot) {
        say_farewell(&mut link);
    }
}

/// Ends a connection in order, as far as its socket takes it; nothing is owed.
fn say_farewell(link: &mut Link) {
    link.out.extend_from_slice(&FAREWELL);
    let _ = link.flush();
    if let Some(tls) = &mut link.tls {
        tls.send_close_notify();
        let _ = link.flush();
    }
}

/// Keeps all connections open, and alive, for this time.
fn hold(
    net: &mut Net,
    time: Duration,
    (ping_every, decoder): (Duration, &Decoder),
    tell: &mut dyn FnMut(Progress),
) -> Result<(), Failure> {
    let (began, connections) = (Instant::now(), net.links.len() as u64);
    let mut ping_at = began + ping_every;
    let mut ready = Vec::new();
    while began.elapsed() < time {
        let left = time.saturating_sub(began.elapsed());
        net.turn(Some(left.min(TURN_MAX)), &mut ready).map_err(|error| system(&error))?;
        for slot in &ready {
            let Some(link) = &mut net.links[*slot] else { continue };
            link.read(&mut net.buffers, &mut |bytes| skip(decoder, bytes)).map_err(peer::lost)?;
            link.flush().map_err(|error| peer::lost(Ended::Io(error)))?;
        }
        if Instant::now() >= ping_at {
            ping_at += ping_every;
            for link in net.links.iter_mut().flatten() {
                link.out.extend_from_slice(&PING);
                link.flush().map_err(|error| peer::lost(Ended::Io(error)))?;
            }
        }
        tell(Progress { part: Some(began.elapsed().as_secs_f64() / time.as_secs_f64()), messages: connections });
    }
    Ok(())
}

/// Reads over what comes to an idle connection; a farewell is the end.
fn skip(decoder: &Decoder, bytes: &[u8]) -> Result<usize, Ended> {
    let mut at = 0;
    while let Some(frame) = scan::frame(&bytes[at..])? {
        if frame.kind() != scan::PINGRESP {
            peer::unexpected(decoder, &bytes[at..at + frame.len])?;
        }
        at += frame.len;
    }
    Ok(at)
}
