//! What a shard thread is sent by others: arrivals, letters, orders.
//!
//! Posted to by the gate, by other shards, by the keeper and by the control task; emptied by the shard in one go. The
//! lock is held for a push or that, and for nothing else. Whoever posts wakes the shard only when it sleeps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mio::Waker;
use motte_audit::CloseCause;
use motte_broker::{Admission, ControlAnswer, Fetched, Letter, LinkId, NodeFigures};
use motte_policy::{Fingerprint, UserName, Vouch};
use rustls_pki_types::CertificateDer;

use crate::gate::limits::ConnectionPlace;
use crate::review::{Departures, Roll};
use crate::snapshot::Snapshot;
use crate::socket::{MovedSocket, Peer};
use crate::wire::Wire;

/// An admitted connection on its way to its shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The socket, taken off the gate's runtime.
    pub(crate) socket: MovedSocket,
    /// Its layers.
    pub(crate) wire: Wire,
    /// Bytes the client sent behind its CONNECT.
    pub(crate) early: Vec<u8>,
    /// The right to be here.
    pub(crate) admission: Admission,
    /// How the identity was proved.
    pub(crate) proof: Arc<Proof>,
    /// The time of day at which that ends; `None`: when somebody takes it back.
    pub(crate) until: Option<Duration>,
    /// What the identity was proved against.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where the client comes from.
    pub(crate) peer: Peer,
    /// Its place among all connections.
    pub(crate) place: ConnectionPlace,
}

/// How an identity was proved, as far as it takes to ask again.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// By the password of a user, told or proved by SCRAM.
    Password {
        /// The place in the settings of the listener whose rules hold.
        listener: usize,
        /// Whose.
        name: UserName,
        /// Which of the user's secrets.
        secret: Option<Fingerprint>,
    },
    /// By a chain of certificates, with a password beside it where both are needed.
    Certificate {
        /// The place in the settings of the listener whose rules hold.
        listener: usize,
        /// The chain, leaf first.
        chain: Arc<[CertificateDer<'static>]>,
        /// Whom it named.
        name: UserName,
        /// Which secret of the same user was proved as well, where both are needed.
        password: Option<Option<Fingerprint>>,
    },
    /// By the word of a source outside.
    Vouched {
        /// The place in the settings of the listener whose rules hold.
        listener: usize,
        /// Whose word, and by what.
        vouch: Vouch,
        /// For whom.
        name: UserName,
        /// The chain of certificates beside it, where both are needed.
        certificate: Option<Arc<[CertificateDer<'static>]>>,
    },
    /// Not at all.
    Nothing {
        /// The place in the settings of the listener that allowed it.
        listener: usize,
    },
}

impl Proof {
    /// The user of dynamic security whose password is part of it: that names no secret of the password file.
    pub(crate) fn entry_of(&self) -> Option<&UserName> {
        match self {
            Self::Password { name, secret: None, .. } | Self::Certificate { name, password: Some(None), .. } => {
                Some(name)
            }
            Self::Password { .. } | Self::Certificate { .. } | Self::Vouched { .. } | Self::Nothing { .. } => None,
        }
    }

    /// The place in the settings of the listener it was shown to.
    pub(crate) fn listener(&self) -> usize {
        match self {
            Self::Password { listener, .. }
            | Self::Certificate { listener, .. }
            | Self::Vouched { listener, .. }
            | Self::Nothing { listener } => *listener,
        }
    }

    /// The user whose password is part of it.
    pub(crate) fn password_of(&self) -> Option<&UserName> {
        match self {
            Self::Password { name, .. } | Self::Certificate { name, password: Some(_), .. } => Some(name),
            Self::Certificate { .. } | Self::Vouched { .. } | Self::Nothing { .. } => None,
        }
    }
}

/// Something for a shard thread.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A connection moves in.
    Arrival(Box<Arrival>),
    /// What another shard wrote for this one.
    Letters(Parcel),
    /// The shared policy was replaced.
    PolicyChanged,
    /// The snapshot was replaced: who is connected, and by what proof? Names the users of whose passwords nothing holds
    /// any more.
    CallRoll {
        /// The users, each with the reason.
        revoked: Arc<BTreeMap<UserName, CloseCause>>,
        /// Where the answer goes.
        roll: Sender<Roll>,
    },
    /// Connections are to be ended, some in each round.
    Depart(Departures),
    /// The `$SYS` tree is to be brought up to date; for the first shard only.
    SysDue(Box<NodeFigures>),
    /// Messages that the shard asked its journal for.
    Fetched(Fetched),
    /// What a client asked of the broker is answered.
    ControlAnswered {
        /// Its connection.
        link: LinkId,
        /// The answer.
        answer: Box<ControlAnswer>,
    },
    /// Nothing that is not durable by now will ever be.
    JournalFailed,
    /// The node stops.
    Stop,
}

/// Letters for one shard.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) letters: Vec<Letter>,
    /// What they weigh.
    pub(crate) bytes: usize,
}

/// The box of one shard.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    posted: Mutex<Posted>,
    /// Ends the shard's sleep; there once the shard has a poll.
    waker: OnceLock<Waker>,
    parcel_bytes: AtomicUsize,
}

/// What is in the box.
#[derive(Debug, Default)]
struct Posted {
    mail: Vec<Mail>,
    /// Whether the journal got further since the shard last looked.
    durable: bool,
    /// Whether the shard may sleep: whoever posts has to wake it.
    asleep: bool,
}

impl Posted {
    fn is_empty(&self) -> bool {
        self.mail.is_empty() && !self.durable
    }
}

impl Mailbox {
    /// Says what ends the sleep of the shard. What was posted before waits for its first look.
    pub(crate) fn wake_by(&self, waker: Waker) {
        // A box has one shard, which says it once.
        let _ = self.waker.set(waker);
    }

    fn put(&self, put: impl FnOnce(&mut Posted)) {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut posted);
        let was_asleep = std::mem::take(&mut posted.asleep);
        drop(posted);
        if was_asleep && let Some(waker) = self.waker.get() {
            // It fails when the counter behind it is full: then the shard has been told already.
            let _ = waker.wake();
        }
    }

    /// Puts something in.
    pub(crate) fn post(&self, mail: Mail) {
        self.put(|posted| posted.mail.push(mail));
    }

    /// Puts in what was written for the shard; tells how many bytes of letters wait in all.
    pub(crate) fn post_parcel(&self, parcel: Parcel) -> usize {
        let bytes = parcel.bytes;
        let waiting = self.parcel_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.post(Mail::Letters(parcel));
        waiting
    }

    /// The journal of the shard got further. However often it is said, the shard hears it once.
    pub(crate) fn post_durable(&self) {
        self.put(|posted| posted.durable = true);
    }

    /// The letters of a parcel that weighed so much have been read. Only the owning shard may say so.
    pub(crate) fn on_read(&self, bytes: usize) {
        self.parcel_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of letters that were not read yet.
    pub(crate) fn parcel_bytes(&self) -> usize {
        self.parcel_bytes.load(Ordering::Relaxed)
    }

    /// Appends all that is there to `mail`, in the order it was posted; tells whether the journal got further. Only the
    /// owning shard may call it.
    pub(crate) fn collect(&self, mail: &mut VecDeque<Mail>) -> bool {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.asleep = false;
        mail.extend(posted.mail.drain(..));
        std::mem::take(&mut posted.durable)
    }

    /// Whether the owning shard may sleep: nothing is there, and whoever posts from now on wakes it.
    pub(crate) fn may_sleep(&self) -> bool {
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.asleep = posted.is_empty();
        posted.asleep
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::VecDeque;
    use std::time::Duration;

    use mio::{Events, Poll, Token, Waker};

    use super::{Mail, Mailbox};

    #[test]
    fn a_shard_that_sleeps_is_woken_and_one_that_works_is_left_alone() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let (mailbox, mut mail) = (Mailbox::default(), VecDeque::new());
        mailbox.post(Mail::PolicyChanged);
        mailbox.wake_by(Waker::new(poll.registry(), Token(7)).unwrap());
        assert!(!mailbox.may_sleep(), "what came before the poll waits for the first look");
        mailbox.post(Mail::PolicyChanged);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty(), "nobody is woken who does not sleep");
        assert!(!mailbox.collect(&mut mail) && mail.len() == 2 && mailbox.may_sleep());
        mailbox.post_durable();
        poll.poll(&mut events, None).unwrap();
        assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(7)]);
        assert!(mailbox.collect(&mut mail) && mail.len() == 2 && mailbox.may_sleep());
    }
}
