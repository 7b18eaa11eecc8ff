//! Who is kept out: users and client identifiers, each for a time or for good.
//!
//! Changed through [`Shared`] by whoever administers the node, asked at each admission. One shard writes the changes
//! down for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use motte_audit::CloseCause;
use motte_mqtt::ReasonCode;
use motte_policy::{ClientId, Identity, Subject, TenantName, UserName};

use crate::effects::Effects;
use crate::handle::Ending;
use crate::journal::{Journal, Record};
use crate::shard::{Millis, Shard, ShardId};
use crate::shared::Shared;
use crate::tenant::scoped;

/// Who is kept out. Made by [`Banned::user`] and [`Banned::client`]: in a tenant the name stands behind that of the
/// tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Banned {
    /// A user, whatever its client identifier.
    User(UserName),
    /// A client identifier, whoever comes with it.
    Client(ClientId),
}

impl Banned {
    /// A user of a tenant, or of none.
    #[must_use]
    pub fn user(tenant: Option<&TenantName>, name: &str) -> Self {
        Self::User(UserName(scoped(tenant, name).into()))
    }

    /// A client identifier in a tenant, or in none.
    #[must_use]
    pub fn client(tenant: Option<&TenantName>, id: &str) -> Self {
        Self::Client(ClientId(scoped(tenant, id).into()))
    }
}

/// Everybody who is kept out, and until when; `None` is for good.
pub(crate) type Bans = BTreeMap<Banned, Option<Millis>>;

/// Whether somebody is kept out now.
fn is_banned(bans: &Bans, subject: &Subject, now: Millis) -> bool {
    let holds = |who: &Banned| bans.get(who).is_some_and(|until| until.is_none_or(|at| now < at));
    let tenant = subject.tenant.as_ref();
    let is_user_banned = match &subject.identity {
        Identity::User(name) => holds(&Banned::user(tenant, &name.0)),
        Identity::Anonymous => false,
    };
    is_user_banned || holds(&Banned::client(tenant, &subject.client_id.0))
}

impl Shared {
    /// Keeps a user or a client identifier out until then, or for good; call [`Shard::on_bans_changed`] on each shard.
    /// What has run out is forgotten.
    pub fn ban(&self, who: Banned, until: Option<Millis>, now: Millis) {
        let mut bans = self.bans.write();
        let bans = Arc::make_mut(&mut bans);
        bans.retain(|_, until| until.is_none_or(|at| now < at));
        bans.insert(who, until);
    }

    /// Lets somebody in again; call [`Shard::on_bans_changed`] on each shard.
    pub fn unban(&self, who: &Banned) {
        Arc::make_mut(&mut self.bans.write()).remove(who);
    }

    /// Everybody who is kept out, and until when; `None` is for good. What has run out may still be among them.
    #[must_use]
    pub fn bans(&self) -> Vec<(Banned, Option<Millis>)> {
        self.bans.read().iter().map(|(who, until)| (who.clone(), *until)).collect()
    }

    /// Takes back who was kept out in the last run. Called before the first shard is made.
    pub fn restore_bans(&self, bans: impl IntoIterator<Item = (Banned, Option<Millis>)>) {
        Arc::make_mut(&mut self.bans.write()).extend(bans);
    }
}

impl<J: Journal> Shard<J> {
    /// Somebody was banned, or is so no longer: links of those who are kept out end with 0x98.
    /// 0x8A is for CONNACK alone (MQTT 5.0, table 2-6).
    pub fn on_bans_changed(&mut self, now: Millis, fx: &mut impl Effects) {
        let bans = Arc::clone(&self.core.shared.bans.read());
        let known = std::mem::replace(&mut self.core.bans, Arc::clone(&bans));
        if self.core.id == ShardId(0) {
            for who in known.keys().filter(|who| !bans.contains_key(*who)) {
                self.journal.append(&Record::Unbanned { who });
            }
            for (who, &until) in bans.iter().filter(|(who, until)| known.get(*who) != Some(until)) {
                self.journal.append(&Record::Banned { who, until });
            }
        }
        let is_meant = |slot: &usize| is_banned(&bans, &self.sessions[*slot].facts.subject, now);
        let slots: Vec<usize> = self.links.values().copied().filter(is_meant).collect();
        for slot in slots {
            self.end_link(slot, Ending::told(ReasonCode::AdministrativeAction, CloseCause::Banned), now, fx);
        }
    }

    /// Whether somebody is kept out now.
    pub(crate) fn is_banned(&self, subject: &Subject, now: Millis) -> bool {
        let bans = self.core.shared.bans.read();
        !bans.is_empty() && is_banned(&bans, subject, now)
    }
}
