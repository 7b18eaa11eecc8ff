//! The life of sessions: CONNECT, the end of connections, wills, expiry.

use motte_broker::{LinkId, Millis};

use super::{Due, Ledger, Session, Will};
use crate::history::{Invariant, MessageNo, SessionBook, Violation, What};

/// A CONNECT, as far as it changes sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming {
    pub(crate) client: usize,
    pub(crate) user: usize,
    pub(crate) shard: usize,
    pub(crate) link: LinkId,
    pub(crate) clean_start: bool,
    /// Asked for, and by then bounded.
    pub(crate) expiry_s: u32,
    pub(crate) packet_size_max: u32,
    pub(crate) will: Option<Will>,
}

impl Ledger {
    /// A CONNECT is about to be handed over: a clean start ends the session it finds, once its will is out.
    pub(crate) fn before_connect(&mut self, coming: &Coming) {
        let Some(session) = self.sessions.get_mut(&coming.client) else { return };
        if coming.clean_start {
            session.is_ending = true;
            self.end_if_due(coming.client);
        }
    }

    /// A CONNECT was taken: the session goes on, or a new one begins.
    pub(crate) fn on_connect(&mut self, coming: &Coming) -> bool {
        let expiry_s = coming.expiry_s.min(self.limits.session_expiry_s_max);
        let is_resumed = self.sessions.contains_key(&coming.client);
        if !is_resumed {
            self.history.sessions.push(SessionBook {
                client: coming.client,
                user: coming.user,
                shard: coming.shard,
                ended: None,
                packet_size_min: u32::MAX,
                memberships: Vec::new(),
            });
        }
        let no = self.history.sessions.len() - 1;
        let session = self.sessions.entry(coming.client).or_insert_with(|| Session {
            no,
            user: coming.user,
            shard: coming.shard,
            link: None,
            expiry_s,
            subscriptions: std::collections::BTreeMap::new(),
            received: std::collections::BTreeMap::new(),
            will: None,
            will_due: None,
            ends: None,
            is_ending: false,
            is_kept: false,
            has_left_unsaid: false,
        });
        session.link = Some(coming.link);
        session.expiry_s = expiry_s;
        session.is_kept |= expiry_s > 0;
        let withdrawn = std::mem::replace(&mut session.will, coming.will);
        session.will_due = None;
        session.ends = None;
        let no = session.no;
        let book = &mut self.history.sessions[no];
        book.packet_size_min = book.packet_size_min.min(coming.packet_size_max);
        if let Some(will) = withdrawn {
            self.note(What::WillWithdrawn { message: will.message });
        }
        if let Some(will) = coming.will {
            self.note(What::WillSet { message: will.message, session: no });
        }
        self.note(What::Opened { client: coming.client, link: coming.link, session: no, is_resumed });
        is_resumed
    }

    /// A DISCONNECT was taken.
    pub(crate) fn on_disconnect(&mut self, client: usize, keeps_will: bool, expiry_s: Option<u32>) {
        let expiry_max = self.limits.session_expiry_s_max;
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if let Some(expiry_s) = expiry_s {
            session.expiry_s = expiry_s.min(expiry_max);
        }
        let withdrawn = session.will.take_if(|_| !keeps_will);
        if let Some(will) = withdrawn {
            self.note(What::WillWithdrawn { message: will.message });
        }
    }

    /// A connection ended; its session waits, or ends once its will is out.
    pub(crate) fn on_closed(&mut self, client: usize) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.link = None;
        session.will_due = session.will.map(|will| Due::after(now, will.delay_s.min(session.expiry_s)));
        if session.expiry_s == 0 {
            session.is_ending = true;
        } else if session.expiry_s != u32::MAX {
            session.ends = Some(Due::after(now, session.expiry_s));
        }
        self.end_if_due(client);
    }

    /// The broker says that a session expired.
    pub(crate) fn on_expired(&mut self, client: usize) -> Result<(), Violation> {
        let now = self.now;
        let session = self.sessions.get_mut(&client);
        let Some(session) = session.filter(|session| session.ends.is_some_and(|Due(at, _)| at <= now)) else {
            return Err(Violation::protocol("a session expired before its time").of_client(client));
        };
        session.is_ending = true;
        self.end_if_due(client);
        Ok(())
    }

    /// The broker says that it published a will, or that it was denied: tells the message if it is now accepted.
    pub(crate) fn on_will(&mut self, client: usize, is_denied: bool) -> Result<Option<(MessageNo, usize)>, Violation> {
        let now = self.now;
        let complain = |what: &str| Err(Violation::new(Invariant::I7, what).of_client(client));
        let Some(session) = self.sessions.get_mut(&client) else { return complain("a will of nobody was published") };
        let is_due =
            session.is_ending || (session.link.is_none() && session.will_due.is_some_and(|Due(at, _)| at <= now));
        if !is_due {
            return complain("a will was published that is not due");
        }
        let Some(will) = session.will.take() else { return complain("a will was published that is gone") };
        session.will_due = None;
        let (user, shard) = (session.user, session.shard);
        let topic = self.history.messages[will.message].topic;
        if is_denied == self.rights.may_publish(user, topic) {
            return complain("a will was published or denied against the rights");
        }
        let mut accepted = None;
        if is_denied {
            self.note(What::Denied { message: will.message });
        } else {
            self.accept(will.message, shard);
            accepted = self.history.messages[will.message].accepted.last().map(|at| (will.message, *at));
        }
        self.end_if_due(client);
        Ok(accepted)
    }

    fn end_if_due(&mut self, client: usize) {
        let is_due = |session: &Session| session.is_ending && session.will.is_none() && session.link.is_none();
        if !self.sessions.get(&client).is_some_and(is_due) {
            return;
        }
        if let Some(session) = self.sessions.remove(&client) {
            let at = self.note(What::SessionEnded { session: session.no });
            self.history.sessions[session.no].ended = Some(at);
        }
    }

    /// Whether anything of a shard should have happened by now: sessions that end and wills that are due.
    pub(crate) fn overdue(&self, shard: usize, now: Millis) -> Option<Violation> {
        let is_over = |due: Option<Due>| due.is_some_and(|Due(_, at)| at <= now);
        self.sessions.iter().filter(|(_, session)| session.shard == shard).find_map(|(client, session)| {
            let is_due = session.link.is_none() && (session.is_ending || is_over(session.will_due));
            let (invariant, what) = if session.will.is_some() && is_due {
                (Invariant::I7, "a will that is due was not published")
            } else if session.is_ending {
                (Invariant::Protocol, "a session that had to end goes on")
            } else if session.link.is_none() && is_over(session.ends) {
                (Invariant::Protocol, "a session did not expire in time")
            } else {
                return None;
            };
            Some(Violation::new(invariant, what).of_client(*client))
        })
    }
}
