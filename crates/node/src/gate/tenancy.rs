//! Which tenant somebody belongs to whose identity is proved.
//!
//! Called by the gate between identity and policy. Whoever belongs to none for certain is refused, where there are any.

use std::sync::Arc;

use motte_audit::RefusalReason;
use motte_mqtt::{ProtocolVersion, ReasonCode};
use motte_policy::{Attributes, Authenticated, Facts, TenantName};

use super::Refusal;
use crate::settings::{Candidate, NoTenant, Settings};

/// The attribute that keeps what a source of identities said of the tenant, to be looked at again after a reload. No
/// source gives it: their attributes are named after them.
const CLAIM: &str = "source.tenant";

/// The tenant that the source of an identity said.
pub(crate) fn claim(attributes: &Attributes) -> Option<TenantName> {
    attributes.values(CLAIM).next().and_then(|text| TenantName::parse(text).ok())
}

/// The same with the tenant it belongs to.
pub(super) fn assign(
    settings: &Settings,
    listener: usize,
    who: Authenticated,
    version: ProtocolVersion,
) -> Result<Authenticated, Refusal> {
    let facts = who.facts();
    let candidate = Candidate {
        identity: who.identity(),
        listener: &settings.listeners[listener].name,
        attributes: &facts.attributes,
        claimed: facts.tenant.as_ref(),
    };
    let refused = |why: NoTenant| {
        let (reason, code) = match why {
            NoTenant::Unknown | NoTenant::Ambiguous => (RefusalReason::NoTenant, ReasonCode::NotAuthorized),
            NoTenant::Suspended => (RefusalReason::TenantSuspended, ReasonCode::Banned),
        };
        Refusal { detail: Some(why.to_string()), ..Refusal::answered(reason, version, code) }
    };
    let tenant = settings.tenancy.of(&candidate).map_err(refused)?;
    let mut claim = Attributes::default();
    let noted = facts.tenant.as_ref().map_or(Ok(()), |claimed| claim.add(CLAIM, claimed.as_str()));
    let facts = Facts { tenant, attributes: Arc::new(claim), ..Facts::default() };
    noted.and_then(|()| who.with_facts(facts)).map_err(|_| refused(NoTenant::Unknown))
}
