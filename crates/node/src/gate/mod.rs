//! The gate: everything between an accepted socket and an [`motte_broker::Admission`].
//!
//! Started by boot on a runtime of its own. Bytes of unauthenticated peers end here; what passes moves to the shard
//! where its client id lives. One deadline covers the whole way and is never extended.

pub(crate) mod authn;
mod connect;
pub(crate) mod exchange;
mod facts;
pub(crate) mod limits;
pub(crate) mod listener;
mod proxy;
pub(crate) mod tenancy;
pub(crate) mod tls;
pub(crate) mod unix_socket;
mod visitor;
mod websocket;

pub(crate) use websocket::status as upgrade_status;

use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use motte_audit::{Event, EventKind, RefusalReason};
use motte_broker::Admission;
use motte_cluster::{Home, SoloNode};
use motte_mqtt::{Connect, ProtocolVersion, ReasonCode};
use motte_policy::scram::SEED_BYTES;
use motte_policy::{AdmitPermit, Authenticated, ClientId, Identity, Method, Publishing, Refused, Subject};
use rustls_pki_types::UnixTime;
use tokio::time::Instant;

use self::authn::{Desk, Question, scram};
use self::connect::FirstPacket;
use self::exchange::Exchange;
use self::limits::{Pass, Places};
use self::visitor::Visitor;
use crate::acme::Challenges;
use crate::dynamic;
use crate::log::{Entry, Reporter};
use crate::settings::{ListenerRules, Speech, Transport};
use crate::snapshot::Snapshot;
use crate::socket::Peer;
use crate::worker::mailbox::{Arrival, Mail, Mailbox, Proof};

/// What all connections on their way in share.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Settings and files in force.
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    /// The count of connections.
    pub(crate) places: Places,
    /// The count of CONNECT packets, and of CONNACK packets that say no.
    pub(crate) exchange: Exchange,
    /// The bounded queue of password checks, and what sources of identities said.
    pub(crate) desk: Desk,
    /// The boxes of the shards.
    pub(crate) mailboxes: Arc<[Mailbox]>,
    /// Where each client identifier lives.
    placement: SoloNode,
    /// What makes the questions to unknown users look like those to known ones.
    decoy_secret: [u8; SEED_BYTES],
    /// What answers a CA that asks whether a name is ours.
    pub(crate) challenges: Challenges,
    /// The log.
    pub(crate) reporter: Reporter,
}

/// One listener as its connections see it.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Its place in the settings.
    pub(crate) index: usize,
    /// Its name in logs.
    pub(crate) name: Arc<str>,
    /// What it speaks.
    pub(crate) transport: Transport,
}

/// Why somebody stays outside, and what is said to them.
#[derive(Debug)]
pub(crate) struct Refusal {
    reason: RefusalReason,
    /// The CONNACK, when the peer has shown a version to answer in.
    answer: Option<(ProtocolVersion, ReasonCode)>,
    detail: Option<String>,
    /// Whether the log has a line about refusals like this one already.
    unheard: bool,
}

impl Refusal {
    /// A refusal without an MQTT answer.
    fn silent(reason: RefusalReason, detail: impl Into<Option<String>>) -> Self {
        Self { reason, answer: None, detail: detail.into(), unheard: false }
    }

    /// A refusal with a CONNACK.
    fn answered(reason: RefusalReason, version: ProtocolVersion, code: ReasonCode) -> Self {
        Self { reason, answer: Some((version, code)), detail: None, unheard: false }
    }
}

/// Somebody who may come in.
#[derive(Debug)]
struct Admitted {
    admission: Admission,
    proof: Proof,
    /// The time of day at which the proof ends.
    until: Option<Duration>,
    /// Bytes behind the CONNECT.
    early: Vec<u8>,
}

/// Whom a refusal is about, as far as they said so.
#[derive(Debug)]
struct Claim {
    peer: Peer,
    client_id: Option<Arc<str>>,
    user_name: Option<Arc<str>>,
    /// Whether it is decided and told.
    judged: bool,
}

impl Claim {
    /// Somebody who has said nothing so far.
    fn of(peer: Peer) -> Self {
        Self { peer, client_id: None, user_name: None, judged: false }
    }
}

impl Gate {
    /// A gate in front of the shards with `mailboxes`.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        mailboxes: Arc<[Mailbox]>,
        reporter: Reporter,
    ) -> io::Result<Self> {
        let desk = Desk::new(&snapshot.load().settings.gate, reporter.clone());
        let shards = u16::try_from(mailboxes.len()).expect("the settings count shards in 16 bits");
        let (places, exchange, placement) = (Places::default(), Exchange::default(), SoloNode::new(shards));
        let mut decoy_secret = [0; SEED_BYTES];
        getrandom::fill(&mut decoy_secret).map_err(|error| io::Error::other(error.to_string()))?;
        let challenges = Challenges::default();
        Ok(Self { snapshot, places, exchange, desk, mailboxes, placement, decoy_secret, challenges, reporter })
    }

    /// Leads one socket through the gate, within the deadline that began when it was accepted.
    async fn welcome(&self, entrance: &Entrance, snapshot: Arc<Snapshot>, visitor: Visitor, pass: Pass) {
        let deadline = Instant::now() + snapshot.settings.gate.admission_deadline;
        let mut claim = Claim::of(visitor.peer);
        let way = self.lead(entrance, &snapshot, visitor, pass, &mut claim);
        let outcome = tokio::time::timeout_at(deadline, way).await;
        if outcome.is_err() && !claim.judged {
            self.report(entrance, &claim, RefusalReason::Deadline, None);
        }
    }

    /// The way in, to its end at the shard or outside.
    async fn lead(
        &self,
        entrance: &Entrance,
        snapshot: &Arc<Snapshot>,
        mut visitor: Visitor,
        mut pass: Pass,
        claim: &mut Claim,
    ) {
        let announced = self.hear_proxy(entrance, snapshot, &mut visitor, &mut pass).await;
        claim.peer = visitor.peer;
        let admitted = match announced {
            Ok(()) => self.admit(entrance, snapshot, &mut visitor, claim).await,
            Err(refusal) => Err(refusal),
        };
        let refusal = match admitted {
            Ok(Admitted { admission, proof, until, early }) => {
                claim.judged = true;
                let (peer, place) = (visitor.peer, pass.connection);
                return match visitor.leave() {
                    Ok((socket, wire)) => {
                        let (snapshot, proof) =
                            (self.judged_by(snapshot, &proof, admission.subject()), Arc::new(proof));
                        let arrival = Arrival { socket, wire, early, admission, proof, until, snapshot, peer, place };
                        self.send_home(arrival);
                    }
                    Err(error) => {
                        self.report(entrance, claim, RefusalReason::Overloaded, Some(error.to_string()));
                    }
                };
            }
            Err(refusal) => refusal,
        };
        // The verdict stands from here on; what follows is only how the peer is told.
        claim.judged = true;
        if !visitor.was_answered_in_http() && !refusal.unheard {
            self.report(entrance, claim, refusal.reason, refusal.detail);
        }
        visitor.refuse(refusal.answer, &self.exchange).await;
    }

    /// Where a proxy is expected: whom it speaks for, and whether that address may have another connection.
    async fn hear_proxy(
        &self,
        entrance: &Entrance,
        snapshot: &Arc<Snapshot>,
        visitor: &mut Visitor,
        pass: &mut Pass,
    ) -> Result<(), Refusal> {
        if !snapshot.settings.listeners[entrance.index].expects_proxy() {
            return Ok(());
        }
        proxy::accept(visitor).await?;
        match self.places.attribute(pass, visitor.peer, &snapshot.settings.gate) {
            true => Ok(()),
            false => Err(Refusal::silent(RefusalReason::TooManyConnections, None)),
        }
    }

    /// Transport, CONNECT, identity, policy: each step needs the one before.
    async fn admit(
        &self,
        entrance: &Entrance,
        snapshot: &Arc<Snapshot>,
        visitor: &mut Visitor,
        claim: &mut Claim,
    ) -> Result<Admitted, Refusal> {
        if let Some(configs) = &snapshot.tls[entrance.index] {
            tls::accept(visitor, configs, &self.challenges).await?;
        }
        let connect_bytes_max = snapshot.settings.gate.connect_bytes_max;
        match &entrance.transport.speech {
            Speech::WebSocket(settings) => websocket::accept(visitor, settings, connect_bytes_max).await?,
            Speech::Either(settings) if websocket::is_begun(visitor).await? => {
                websocket::accept(visitor, settings, connect_bytes_max).await?;
            }
            Speech::Mqtt | Speech::Either(_) => {}
        }
        let FirstPacket { bytes, length } = connect::read(visitor, connect_bytes_max).await?;
        self.exchange.on_connect(length);
        let connect = connect::parse(&bytes[..length], connect_bytes_max)?;
        visitor.answer_bytes_max = connect.properties.packet_size_max.map_or(u32::MAX, NonZeroU32::get);
        claim.client_id = Some(Arc::from(connect.client_id));
        claim.user_name = connect.user_name.map(Arc::from);
        let rules = &snapshot.settings.listeners[entrance.index].rules;
        connect::check_version(&connect, rules)?;
        let characters_max = snapshot.settings.gate.client_id_31_characters_max;
        let (client_id, assigned) = connect::client_id(&connect, rules, characters_max)?;
        visitor.plain.extend_from_slice(&bytes[length..]);
        let (who, last) = self.identify(entrance, snapshot, &connect, (visitor, claim)).await?;
        let known = facts::of(visitor).and_then(|facts| who.with_facts(facts));
        let who = known.map_err(|error| {
            let refusal = Refusal::answered(RefusalReason::BadCredentials, connect.version, ReasonCode::NotAuthorized);
            Refusal { detail: Some(error.to_string()), ..refusal }
        })?;
        let who = tenancy::assign(&snapshot.settings, entrance.index, who, connect.version)?;
        let permit = judge(snapshot, rules, who, &connect, client_id)?;
        let proof = proof_of(&permit, (entrance.index, rules), visitor);
        let of_certificate = visitor.certificates().and_then(tls::end_of);
        let until = permit.until().map(Duration::from_secs).into_iter().chain(of_certificate).min();
        let early = std::mem::take(&mut visitor.plain);
        let admission = Admission::new(permit, &connect, assigned).behind(&rules.mount_point);
        Ok(Admitted { admission: admission.with_authentication_data(&last), proof, until, early })
    }

    /// Who it is, and the data of an exchange that CONNACK ends.
    async fn identify(
        &self,
        entrance: &Entrance,
        snapshot: &Snapshot,
        connect: &Connect<'_>,
        (visitor, claim): (&mut Visitor, &mut Claim),
    ) -> Result<(Authenticated, Vec<u8>), Refusal> {
        let rules = &snapshot.settings.listeners[entrance.index].rules;
        let certificates: Option<Vec<_>> = visitor.certificates().map(<[_]>::to_vec);
        let question = Question {
            snapshot,
            rules,
            certificates: certificates.as_deref(),
            address: visitor.peer.client().map(|client| client.ip()),
            listener: &entrance.name,
            connect,
            peer: visitor.peer,
            desk: &self.desk,
        };
        if connect.properties.authentication_method.is_some() {
            return scram::prove(visitor, &question, &self.decoy_secret, claim).await;
        }
        let who = snapshot.chains[entrance.index].authenticate(&question).await?;
        Ok((who, Vec::new()))
    }

    /// The snapshot that upholds a proof which was made against `earlier`: the one in force if it does, so that the
    /// shard has no chain to verify; else the earlier one, and the shard turns the client away.
    fn judged_by(&self, earlier: &Arc<Snapshot>, proof: &Proof, subject: &Subject) -> Arc<Snapshot> {
        let current = self.snapshot.load_full();
        let is_upheld = Arc::ptr_eq(&current, earlier)
            || current.upholds(earlier, proof, UnixTime::now()) && current.keeps_tenant(proof.listener(), subject);
        if is_upheld { current } else { Arc::clone(earlier) }
    }

    /// Sends an admitted connection to the shard where its client id lives.
    fn send_home(&self, arrival: Arrival) {
        let Home::Here(shard) = self.placement.home(arrival.admission.session_name());
        self.mailboxes[usize::from(shard.0)].post(Mail::Arrival(Box::new(arrival)));
    }

    fn report(&self, entrance: &Entrance, claim: &Claim, reason: RefusalReason, detail: Option<String>) {
        let kind = EventKind::Refused { reason };
        let (client_id, user_name) = (claim.client_id.clone(), claim.user_name.clone());
        let event = Event { client_id, user_name, tenant: None, kind };
        let listener = Some(Arc::clone(&entrance.name));
        self.reporter.report(Entry { event, peer: Some(claim.peer), listener, detail });
    }
}

/// Whether policy lets somebody in whose identity is known.
fn judge(
    snapshot: &Snapshot,
    rules: &ListenerRules,
    who: Authenticated,
    connect: &Connect<'_>,
    client_id: ClientId,
) -> Result<AdmitPermit, Refusal> {
    let user = who.identity().user_name();
    if let Some(barred) = dynamic::barred(snapshot.dynamic.as_ref(), user, &client_id.0) {
        let refused = Refusal::answered(RefusalReason::BadCredentials, connect.version, ReasonCode::NotAuthorized);
        return Err(Refusal { detail: Some(barred), ..refused });
    }
    let topic = connect.will.map(|will| rules.mount_point.mounted(will.topic));
    let will = connect.will.as_ref().zip(topic.as_deref());
    let will = will.map(|(will, topic)| Publishing { topic, qos: will.qos.as_u8(), retain: will.retain });
    snapshot.policy.admit(who, client_id, will).map_err(|refused| {
        let (reason, code) = match refused {
            Refused::UnsafeName => (RefusalReason::ClientId, ReasonCode::ClientIdNotValid),
            Refused::WillDenied => (RefusalReason::WillDenied, ReasonCode::NotAuthorized),
        };
        Refusal { detail: Some(refused.to_string()), ..Refusal::answered(reason, connect.version, code) }
    })
}

/// What is kept of the proof, to ask for it again after a reload.
fn proof_of(permit: &AdmitPermit, (listener, rules): (usize, &ListenerRules), visitor: &Visitor) -> Proof {
    let chain = || visitor.certificates().unwrap_or_default().into();
    match (permit.method(), &permit.subject().identity) {
        (Method::Certificate, Identity::User(name)) => {
            Proof::Certificate { listener, chain: chain(), name: name.clone(), password: None }
        }
        (Method::Password | Method::Scram, Identity::User(name)) if rules.certificate_and_password => {
            Proof::Certificate { listener, chain: chain(), name: name.clone(), password: Some(permit.secret()) }
        }
        (Method::Password | Method::Scram, Identity::User(name)) => {
            Proof::Password { listener, name: name.clone(), secret: permit.secret() }
        }
        (Method::Source, Identity::User(name)) => {
            let vouch = permit.vouch().cloned().expect("who came in by a source has its word");
            let certificate = rules.certificate_and_password.then(chain);
            Proof::Vouched { listener, vouch, name: name.clone(), certificate }
        }
        (_, Identity::Anonymous) | (Method::Anonymous, _) => Proof::Nothing { listener },
    }
}
