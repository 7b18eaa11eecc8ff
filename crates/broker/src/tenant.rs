//! Where tenants are kept apart: the space of topics of each, and the names its sessions and users have among all.
//!
//! Called by every room of the broker that gives something a name, and by the store. A topic of a tenant stands behind
//! a first level that no client can write itself; rules are asked about the name without it. Sessions and users of a
//! tenant are kept under its name, U+0000 and their own: no text of MQTT holds that character.

use std::borrow::Cow;
use std::sync::Arc;

use motte_policy::{Action, ClientId, Identity, Policy, Publishing, Subject, SubscribeVerdict, TenantName};

/// What the first level of every topic of a tenant begins with; the name of the tenant follows. Names that begin so are
/// nobody's to write: see [`is_reserved`].
const SPACE: &str = "$tenant=";
/// Between the name of a tenant and that of one of its sessions or users.
const MARK: char = '\0';

/// Whether a topic or filter as a client writes it reaches into the space of a tenant. A level that begins with `$` is
/// matched by no wildcard where it is the first (MQTT-4.7.2-1), so what does not begin so cannot.
pub(crate) fn is_reserved(topic: &str) -> bool {
    topic.starts_with(SPACE)
}

/// What stands before all topics of a tenant.
pub(crate) fn prefix(tenant: &TenantName) -> String {
    [SPACE, tenant.as_str(), "/"].concat()
}

/// The first level of a full name, if it is the space of a tenant: what the room of a tenant is counted by.
pub(crate) fn space(topic: &str) -> Option<&str> {
    let first = topic.split('/').next()?;
    first.starts_with(SPACE).then_some(first)
}

/// The tenant whose space this is.
pub(crate) fn of_space(space: &str) -> &str {
    space.strip_prefix(SPACE).unwrap_or_default()
}

/// A full name as it is in the tenant of `subject`, mount point included; `None` when it is not of that tenant.
pub(crate) fn local<'a>(subject: &Subject, topic: &'a str) -> Option<&'a str> {
    match &subject.tenant {
        None => Some(topic).filter(|topic| !is_reserved(topic)),
        Some(tenant) => topic.strip_prefix(SPACE)?.strip_prefix(tenant.as_str())?.strip_prefix('/'),
    }
}

/// A full filter for people to read: as it is in the tenant of `subject`, `$share/NAME/` in front.
pub(crate) fn shown(subject: &Subject, text: &Arc<str>) -> Arc<str> {
    match &subject.tenant {
        None => Arc::clone(text),
        Some(tenant) => text.replacen(&prefix(tenant), "", 1).into(),
    }
}

/// Whether rules let `subject` be given a topic. They know the name as it is in its tenant; what is of another tenant
/// nobody is given.
pub(crate) fn may_receive(policy: &Policy, subject: &Subject, topic: &str) -> bool {
    local(subject, topic).is_some_and(|topic| policy.allows(subject, Action::Receive, topic))
}

/// Whether rules let `subject` publish that, likewise.
pub(crate) fn may_publish(policy: &Policy, subject: &Subject, what: Publishing<'_>) -> bool {
    local(subject, what.topic).is_some_and(|topic| policy.may_publish(subject, Publishing { topic, ..what }))
}

/// Whether rules let the will of `subject` be published, likewise.
pub(crate) fn may_will(policy: &Policy, subject: &Subject, will: Publishing<'_>) -> bool {
    local(subject, will.topic).is_some_and(|topic| policy.may_will(subject, Publishing { topic, ..will }))
}

/// What rules say of a full filter without `$share/NAME/`.
pub(crate) fn may_subscribe(policy: &Policy, subject: &Subject, filter: &str) -> SubscribeVerdict {
    local(subject, filter).map_or(SubscribeVerdict::Refused, |filter| policy.may_subscribe(subject, filter))
}

/// A name of a user or a client of a tenant, as it is among those of all tenants.
pub(crate) fn scoped<'a>(tenant: Option<&TenantName>, name: &'a str) -> Cow<'a, str> {
    match tenant {
        None => Cow::Borrowed(name),
        Some(tenant) => Cow::Owned(format!("{}{MARK}{name}", tenant.as_str())),
    }
}

/// The name a session of `subject` is kept under: the client identifier, behind the tenant where there is one. Where
/// the session lives, who takes it over and what the journal says of it goes by this name.
#[must_use]
pub fn session_name(subject: &Subject) -> Cow<'_, str> {
    scoped(subject.tenant.as_ref(), &subject.client_id.0)
}

/// The name the sessions and connections of a user are counted under; `None` for who has no name.
pub(crate) fn user_key(subject: &Subject) -> Option<Cow<'_, str>> {
    subject.identity.user_name().map(|user| scoped(subject.tenant.as_ref(), user))
}

/// Whom a session name is about, with the identity it is kept with.
#[must_use]
pub fn subject_of(identity: Identity, session_name: &str) -> Subject {
    let (tenant, client_id) = parts(session_name);
    Subject { tenant, ..Subject::new(identity, ClientId(client_id.into())) }
}

/// Tenant and name out of a name among those of all tenants.
#[must_use]
pub fn parts(name: &str) -> (Option<TenantName>, &str) {
    match name.split_once(MARK) {
        None => (None, name),
        // A name that no tenant can have stays whole: no client can come by it.
        Some((tenant, rest)) => TenantName::parse(tenant).map_or((None, name), |tenant| (Some(tenant), rest)),
    }
}
