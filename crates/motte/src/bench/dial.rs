//! Opening connections, many at once: socket, TLS, CONNECT, CONNACK.
//!
//! Called by every load. Never goes on without TLS where it was asked for, and never takes a refusal for a connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use motte_client::opening::{Accepted, Opening};
use motte_client::{ConnectError, Stage, Transport};
use motte_mqtt::{Decoder, Packet, Sender};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::link::{Ended, Link};
use super::net::{Net, Slot};
use super::socket::Socket;
use super::tickets::Tickets;
use crate::cli::refused;
use crate::ui::{Failure, random};

/// Far more than any CONNACK.
const CONNACK_BYTES_MAX: u32 = 64 * 1024;
/// How often attempts are looked through for those that take too long.
const DEADLINES_EVERY: Duration = Duration::from_millis(500);

/// Where to connect.
#[derive(Debug)]
enum Places {
    Tcp(Vec<std::net::SocketAddr>),
    Unix(PathBuf),
}

/// What all attempts have in common.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) opening: Opening,
    places: Places,
    /// Which address of the name is tried; the next one when nobody answers there.
    place: usize,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    client_ids: String,
    is_single: bool,
}

/// A connection on its way.
#[derive(Debug)]
struct Attempt {
    number: usize,
    client_id: String,
    began: Instant,
    stage: Stage,
    place: usize,
}

/// A connection that the broker has accepted.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// Which of those that were asked for.
    pub(crate) number: usize,
    /// Where it is.
    pub(crate) slot: Slot,
    /// What the broker grants.
    pub(crate) accepted: Accepted,
    /// Whether TLS went on with an earlier session.
    pub(crate) is_resumed: bool,
    /// From the first packet to the CONNACK.
    pub(crate) took: Duration,
}

impl Dialer {
    /// Makes ready to open connections: reads the files, looks the name up. `resume` has TLS go on with sessions.
    pub(crate) fn new(opening: Opening, connections: usize, resume: bool) -> Result<Self, Failure> {
        let config = opening.config();
        let places = match &config.transport {
            Transport::Unix { path } => Places::Unix(path.clone()),
            _ => Places::Tcp(opening.addresses().map_err(|error| refused(&error))?),
        };
        let tls = opening.tls().map(|(tls, name)| {
            let mut tls = ClientConfig::clone(tls);
            tls.resumption = if resume { Resumption::store(Arc::new(Tickets::new())) } else { Resumption::disabled() };
            (Arc::new(tls), name.clone())
        });
        let named = config.client_id.clone();
        let is_single = connections == 1 && !named.is_empty();
        let client_ids = if named.is_empty() { format!("mb{:08x}", u32::from_ne_bytes(random()?)) } else { named };
        Ok(Self { opening, places, place: 0, tls, client_ids, is_single })
    }

    /// Opens `count` connections, at most `width` on their way at once, and gives each to `up`.
    pub(crate) fn dial(
        &mut self,
        net: &mut Net,
        (count, width): (usize, usize),
        up: &mut dyn FnMut(&mut Net, Dialed) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut attempts: Vec<Option<Attempt>> = Vec::new();
        let (mut begun, mut done) = (0, 0);
        let mut ready = Vec::new();
        let mut deadlines = Instant::now() + DEADLINES_EVERY;
        while done < count {
            while begun < count && begun - done < width {
                self.begin(net, begun, &mut attempts)?;
                begun += 1;
            }
            net.turn(Some(DEADLINES_EVERY), &mut ready).map_err(|error| system(&error))?;
            for &slot in &ready {
                let Some(attempt) = attempts.get_mut(slot).and_then(Option::as_mut) else { continue };
                let accepted = match step(&self.opening, net, slot, attempt) {
                    Ok(accepted) => accepted,
                    Err(ConnectOutcome::Failed(failure)) => return Err(failure),
                    Err(ConnectOutcome::Connect(error)) => {
                        self.elsewhere(net, slot, &mut attempts, &error)?;
                        continue;
                    }
                };
                let Some(accepted) = accepted else { continue };
                let attempt = attempts[slot].take().expect("it was there a moment ago");
                let tls = net.links[slot].as_ref().and_then(|link| link.tls.as_ref());
                let is_resumed = tls.is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed));
                done += 1;
                let took = attempt.began.elapsed();
                up(net, Dialed { number: attempt.number, slot, accepted, is_resumed, took })?;
            }
            if Instant::now() > deadlines {
                self.check_deadlines(&attempts)?;
                deadlines = Instant::now() + DEADLINES_EVERY;
            }
        }
        Ok(())
    }

    /// What reads the broker's packets.
    pub(crate) fn decoder(&self) -> Decoder {
        Decoder::new(Sender::Server, self.opening.config().protocol_version, u32::MAX)
    }

    fn begin(&self, net: &mut Net, number: usize, attempts: &mut Vec<Option<Attempt>>) -> Result<(), Failure> {
        let client_id = if self.is_single { self.client_ids.clone() } else { format!("{}-{number}", self.client_ids) };
        let connect = self.opening.connect_packet(&client_id).map_err(|error| refused(&error))?;
        let began = Instant::now();
        let socket = match &self.places {
            Places::Tcp(addresses) => Socket::tcp(addresses[self.place]),
            Places::Unix(path) => Socket::unix(path),
        };
        let socket = socket.map_err(|error| refused(&self.opening.unreachable(&error)))?;
        let tls = match &self.tls {
            None => None,
            Some((config, name)) => {
                let made = ClientConnection::new(Arc::clone(config), name.clone());
                let faulty = |error| refused(&self.opening.unshaken(&std::io::Error::other(error)));
                Some(made.map_err(faulty)?)
            }
        };
        let mut link = Link::new(socket, tls);
        link.out = connect;
        let slot = net.add(link).map_err(|error| system(&error))?;
        if slot >= attempts.len() {
            attempts.resize_with(slot + 1, || None);
        }
        attempts[slot] = Some(Attempt { number, client_id, began, stage: Stage::Tcp, place: self.place });
        Ok(())
    }

    /// Tries the next address of the name when nobody listens at this one.
    fn elsewhere(
        &mut self,
        net: &mut Net,
        slot: Slot,
        attempts: &mut Vec<Option<Attempt>>,
        error: &ConnectError,
    ) -> Result<(), Failure> {
        let places = if let Places::Tcp(addresses) = &self.places { addresses.len() } else { 1 };
        let attempt = attempts[slot].take().expect("the caller had it");
        if attempt.stage != Stage::Tcp || attempt.place + 1 >= places {
            return Err(refused(error));
        }
        self.place = self.place.max(attempt.place + 1);
        net.remove(slot);
        self.begin(net, attempt.number, attempts)
    }

    fn check_deadlines(&self, attempts: &[Option<Attempt>]) -> Result<(), Failure> {
        let late = |attempt: &&Attempt| attempt.began.elapsed() > self.opening.config().connect_timeout;
        match attempts.iter().flatten().find(late) {
            Some(attempt) => Err(refused(&self.opening.timed_out(attempt.stage))),
            None => Ok(()),
        }
    }
}

/// Why an attempt ended.
enum ConnectOutcome {
    Connect(ConnectError),
    Failed(Failure),
}

impl From<ConnectError> for ConnectOutcome {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

/// Goes on with an attempt as far as it goes.
fn step(
    opening: &Opening,
    net: &mut Net,
    slot: Slot,
    attempt: &mut Attempt,
) -> Result<Option<Accepted>, ConnectOutcome> {
    let Net { links, buffers, .. } = net;
    let Some(link) = &mut links[slot] else { return Ok(None) };
    if attempt.stage == Stage::Tcp {
        if !link.socket.is_open().map_err(|error| opening.unreachable(&error))? {
            link.writable = false;
            return Ok(None);
        }
        attempt.stage = if link.tls.is_some() { Stage::Tls } else { Stage::Mqtt };
    }
    let version = opening.config().protocol_version;
    let decoder = Decoder::new(Sender::Server, version, CONNACK_BYTES_MAX);
    let mut answer = None;
    let client_id = &attempt.client_id;
    let mut take = |bytes: &[u8]| {
        if answer.is_some() {
            return Ok(0);
        }
        match decoder.decode(bytes) {
            Ok(None) => Ok(0),
            Ok(Some((Packet::ConnAck(connack), len))) => {
                answer = Some(opening.accepted(&connack, client_id));
                Ok(len)
            }
            Ok(Some(_)) => Err(Ended::Failed(refused(&opening.not_mqtt("its first packet is not a CONNACK")))),
            Err(error) => Err(Ended::Failed(refused(&opening.not_mqtt(&error.to_string())))),
        }
    };
    let outcome = link.flush().map_err(Ended::Io);
    let outcome = outcome.and_then(|()| link.read(buffers, &mut take));
    let outcome = outcome.and_then(|()| link.flush().map_err(Ended::Io));
    if attempt.stage == Stage::Tls && link.tls.as_ref().is_some_and(|tls| !tls.is_handshaking()) {
        attempt.stage = Stage::Mqtt;
    }
    match (answer, outcome) {
        (Some(answer), _) => Ok(Some(answer?)),
        (None, Ok(())) => Ok(None),
        (None, Err(Ended::Failed(failure))) => Err(ConnectOutcome::Failed(failure)),
        (None, Err(Ended::Closed)) if attempt.stage == Stage::Tls => {
            let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            Err(opening.unshaken(&error).into())
        }
        (None, Err(Ended::Closed)) => Err(opening.closed_early().into()),
        (None, Err(Ended::Io(error))) if attempt.stage == Stage::Tls => Err(opening.unshaken(&error).into()),
        (None, Err(Ended::Io(error))) => Err(opening.unanswered(&error).into()),
    }
}

/// The system refused something.
pub(crate) fn system(error: &std::io::Error) -> Failure {
    let reason = error.to_string();
    refused(&ConnectError::System { reason })
}
