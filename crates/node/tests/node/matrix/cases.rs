//! The dimensions of the matrix, what cannot go together, and the cases made of them.

use std::fmt;

use motte_mqtt::ProtocolVersion::{self, V5, V31, V311};

use super::pairs::covering;
use crate::transports::Carrier;

/// How a message gets from the publisher to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Published while the receiver is subscribed.
    Live,
    /// The same by nothing but a topic alias.
    Alias,
    /// The publisher vanishes and its will is published.
    Will,
    /// The same a second later.
    DelayedWill,
    /// Stored, and served to a subscription that is made later.
    Retained,
    /// Queued for a session without a connection.
    Queued,
    /// Sent, not acknowledged, and sent again on the next connection.
    InFlight,
    /// Waits until the receiver acknowledges another one.
    Window,
    /// Published while the receiver is the member of a group.
    Shared,
    /// Published at QoS 2, and released a while later.
    Released,
}

/// How the one who loses a right proves who it is. The other one has a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Anonymous,
    Password,
    /// Its CA is trusted no more when it is shut out.
    Certificate,
    /// It stands on the revocation list of its CA when it is shut out.
    Listed,
    Scram,
}

/// When the right is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The message has arrived before: nothing is to be seen of the revocation but that it is the last one.
    AfterArrival,
    /// The message is on its way.
    During,
    /// Everybody is connected and subscribed, and nothing has been published.
    BeforePublish,
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The publisher may write the topic no more.
    Write,
    /// The receiver may read the topic no more.
    Read,
    /// The topic is denied to the receiver within a wildcard that stays allowed (K18).
    Deny,
    /// The publisher is let in no more.
    Publisher,
    /// The receiver is let in no more.
    Receiver,
}

const PATHS: [Path; 10] = [
    Path::Live,
    Path::Alias,
    Path::Will,
    Path::DelayedWill,
    Path::Retained,
    Path::Queued,
    Path::InFlight,
    Path::Window,
    Path::Shared,
    Path::Released,
];
/// Also the places of the listeners.
pub(super) const CARRIERS: [Carrier; 5] =
    [Carrier::Tcp, Carrier::Tls, Carrier::WebSocket, Carrier::SecureWebSocket, Carrier::Unix];
pub(super) const VERSIONS: [ProtocolVersion; 3] = [V31, V311, V5];
const PROOFS: [Proof; 5] = [Proof::Anonymous, Proof::Password, Proof::Certificate, Proof::Listed, Proof::Scram];
const MOMENTS: [Moment; 3] = [Moment::AfterArrival, Moment::During, Moment::BeforePublish];
const LOSSES: [Loss; 5] = [Loss::Write, Loss::Read, Loss::Deny, Loss::Publisher, Loss::Receiver];

/// One combination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// From 1; names of people and topics are made of it.
    pub(super) number: usize,
    pub(super) path: Path,
    /// Place of the listener.
    pub(super) carrier: usize,
    /// Version of the publisher.
    pub(super) publisher: ProtocolVersion,
    /// Version of the receiver.
    pub(super) receiver: ProtocolVersion,
    pub(super) proof: Proof,
    pub(super) moment: Moment,
    pub(super) loss: Loss,
}

impl Case {
    fn of(row: &[usize]) -> Self {
        Self {
            number: 0,
            path: PATHS[row[0]],
            carrier: row[1],
            publisher: VERSIONS[row[2]],
            receiver: VERSIONS[row[3]],
            proof: PROOFS[row[4]],
            moment: MOMENTS[row[5]],
            loss: LOSSES[row[6]],
        }
    }

    /// Whether it is the publisher who loses something.
    pub(super) fn publisher_loses(&self) -> bool {
        matches!(self.loss, Loss::Write | Loss::Publisher)
    }

    /// Whether somebody is let in no more.
    pub(super) fn shuts_out(&self) -> bool {
        matches!(self.loss, Loss::Publisher | Loss::Receiver)
    }

    fn is_possible(&self) -> bool {
        let of_loser = if self.publisher_loses() { self.publisher } else { self.receiver };
        let is_proof_possible = match self.proof {
            // Nobody in particular can be shut out only together with everybody else who is nobody.
            Proof::Anonymous => !self.shuts_out(),
            Proof::Password => true,
            Proof::Certificate | Proof::Listed => {
                matches!(CARRIERS[self.carrier], Carrier::Tls | Carrier::SecureWebSocket)
            }
            Proof::Scram => of_loser == V5,
        };
        let is_path_possible = match self.path {
            Path::Alias | Path::DelayedWill => self.publisher == V5,
            // Only 5.0 says how much it takes at once.
            Path::Window => self.receiver == V5,
            _ => true,
        };
        // Nobody tells the broker which names of a CA that is trusted no more there were, nor that nobody else has the
        // name in a certificate that was revoked: what they left behind is judged by the rules alone.
        let is_left_behind =
            !matches!(self.path, Path::Live | Path::Alias | Path::Shared | Path::Will | Path::Released);
        let is_certified = matches!(self.proof, Proof::Certificate | Proof::Listed);
        let is_unknown = is_left_behind && self.loss == Loss::Publisher && is_certified;
        is_proof_possible && is_path_possible && !is_unknown
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, path, carrier, publisher, receiver, proof, moment, loss } = self;
        let carrier = CARRIERS[*carrier];
        write!(f, "case {number}: {path:?} over {carrier:?}, {publisher:?} to {receiver:?}, {proof:?}; ")?;
        write!(f, "loss of {loss:?}, {moment:?}")
    }
}

/// All cases, the same ones each time: every path with every loss at every moment, and every pair of all values.
pub(super) fn cases() -> Vec<Case> {
    let sizes = [10, 5, 3, 3, 5, 3, 5];
    let rows = covering(&sizes, &[0, 5, 6], |row| Case::of(row).is_possible());
    rows.iter().enumerate().map(|(index, row)| Case { number: index + 1, ..Case::of(row) }).collect()
}

#[test]
fn the_cases_are_few_and_leave_no_value_out() {
    let cases = cases();
    assert!((130..=170).contains(&cases.len()), "{} cases", cases.len());
    for path in PATHS {
        assert!(cases.iter().filter(|case| case.path == path).count() >= LOSSES.len(), "{path:?}");
    }
    for (place, carrier) in CARRIERS.iter().enumerate() {
        for proof in [Proof::Anonymous, Proof::Password, Proof::Scram] {
            assert!(cases.iter().any(|case| case.carrier == place && case.proof == proof), "{carrier:?} {proof:?}");
        }
    }
}
