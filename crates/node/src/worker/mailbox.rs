//! What a shard thread is sent by others: arrivals, letters, orders.
//!
//! Posted to by the gate, by other shards and by the control task; emptied by the shard in one exchange. The lock is
//! held for a push or a swap and for nothing else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use motte_broker::{Admission, Fetched, Letter, NodeFigures};
use motte_policy::UserName;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::gate::limits::ConnectionPlace;
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
    pub(crate) proof: Proof,
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
    /// By the password of this user, told or proved by SCRAM.
    Password(UserName),
    /// By a chain of certificates.
    Certificate {
        /// The place in the settings of the listener whose rules hold.
        listener: usize,
        /// The chain, leaf first.
        chain: Arc<[CertificateDer<'static>]>,
        /// Whom it named.
        name: UserName,
    },
    /// Not at all.
    Nothing {
        /// The place in the settings of the listener that allowed it.
        listener: usize,
    },
}

/// Something for a shard thread.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A connection moves in.
    Arrival(Box<Arrival>),
    /// What another shard wrote in one turn.
    Letters(Parcel),
    /// The shared policy was replaced.
    PolicyChanged,
    /// The snapshot was replaced: proofs are asked for again. Names the users whose line in the password file is gone
    /// or changed.
    Reloaded(Arc<BTreeSet<UserName>>),
    /// The `$SYS` tree is to be brought up to date; for the first shard only.
    SysDue(Box<NodeFigures>),
    /// Messages that the shard asked its journal for.
    Fetched(Fetched),
    /// Nothing that is not durable by now will ever be.
    JournalFailed,
    /// The node stops.
    Stop,
}

/// The letters of one turn for one shard.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) letters: Vec<Letter>,
    /// What they weigh.
    pub(crate) bytes: usize,
}

/// The box of one shard.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<Vec<Mail>>,
    posted: Notify,
    parcel_bytes: AtomicUsize,
    /// Whether the journal got further since the shard last looked.
    durable: AtomicBool,
}

impl Mailbox {
    /// Puts something in.
    pub(crate) fn post(&self, mail: Mail) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.is_empty();
        queue.push(mail);
        drop(queue);
        if was_empty {
            self.posted.notify_one();
        }
    }

    /// Puts in what one turn wrote; tells how many bytes of letters wait in all.
    pub(crate) fn post_parcel(&self, parcel: Parcel) -> usize {
        let bytes = parcel.bytes;
        let waiting = self.parcel_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.post(Mail::Letters(parcel));
        waiting
    }

    /// The journal of the shard got further. However often it is said, the shard hears it once.
    pub(crate) fn post_durable(&self) {
        if !self.durable.swap(true, Ordering::Release) {
            self.posted.notify_one();
        }
    }

    /// Whether the journal got further since this was asked last. Only the owning shard may ask.
    pub(crate) fn take_durable(&self) -> bool {
        self.durable.swap(false, Ordering::Acquire)
    }

    /// The letters of a parcel that weighed so much have been read. Only the owning shard may say so.
    pub(crate) fn on_read(&self, bytes: usize) {
        self.parcel_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of letters that were not read yet.
    pub(crate) fn parcel_bytes(&self) -> usize {
        self.parcel_bytes.load(Ordering::Relaxed)
    }

    /// Waits until something is there and takes all of it, in the order it was posted; nothing when there is only news
    /// of the journal. Only the owning shard may call it.
    pub(crate) async fn collect(&self) -> Vec<Mail> {
        loop {
            let mail = std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
            if !mail.is_empty() || self.durable.load(Ordering::Relaxed) {
                return mail;
            }
            self.posted.notified().await;
        }
    }
}
