//! Who belongs to which tenant.
//!
//! Made by `config`, asked by the gate once an identity is proved, and again after each reload. Whoever belongs to no
//! tenant for certain stays outside.

use std::collections::BTreeSet;

use motte_broker::TenantLimits;
use motte_policy::{Attributes, Identity, TenantName};
use thiserror::Error;

/// All tenants. By default there are none, and nobody belongs to any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenancy {
    /// The tenants, each with another name.
    pub tenants: Vec<TenantSettings>,
    /// Who belongs to none of them on purpose: operators, mostly.
    pub outside: Members,
    /// The attribute of a proof of identity that names the tenant itself, such as `jwt.tenant`.
    pub attribute: Option<String>,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Its name.
    pub name: TenantName,
    /// Whether its clients are kept out for now.
    pub suspended: bool,
    /// How to tell them.
    pub members: Members,
    /// What it may have.
    pub limits: TenantLimits,
}

/// How to tell that somebody belongs here: any of these is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// By the whole name.
    pub users: BTreeSet<String>,
    /// By what the name begins with.
    pub user_prefix: Option<String>,
    /// By what the name ends with.
    pub user_suffix: Option<String>,
    /// By the name of the listener they come in through.
    pub listeners: BTreeSet<String>,
    /// By what the proof of identity says beside the name: attribute and value.
    pub attributes: Vec<(String, String)>,
}

/// Somebody whose tenant is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Who it is.
    pub identity: &'a Identity,
    /// The name of the listener.
    pub listener: &'a str,
    /// What the proof says beside the name.
    pub attributes: &'a Attributes,
    /// The tenant the source of the identity says.
    pub claimed: Option<&'a TenantName>,
}

/// Why somebody is let into no tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoTenant {
    /// Nothing says which it is, or there is no such tenant.
    #[error("the client belongs to no tenant that is known")]
    Unknown,
    /// It could be more than one.
    #[error("the client could belong to more than one tenant")]
    Ambiguous,
    /// It is suspended.
    #[error("the tenant is suspended")]
    Suspended,
}

impl Members {
    fn include(&self, who: &Candidate<'_>) -> bool {
        let by_name = who.identity.user_name().is_some_and(|user| {
            // A name that is nothing but the affix names nobody in the tenant.
            let has = |affix: &Option<String>, matches: fn(&str, &str) -> bool| {
                affix.as_deref().is_some_and(|affix| user.len() > affix.len() && matches(user, affix))
            };
            self.users.contains(user)
                || has(&self.user_prefix, |user, affix| user.starts_with(affix))
                || has(&self.user_suffix, |user, affix| user.ends_with(affix))
        });
        let has_value =
            |(name, value): &(String, String)| who.attributes.values(name).any(|known| known == value.as_str());
        by_name || self.listeners.contains(who.listener) || self.attributes.iter().any(has_value)
    }

    /// Whether nothing tells members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Tenancy {
    /// The tenant somebody belongs to; `None` for one who belongs to none, as all do where there are no tenants.
    ///
    /// # Errors
    /// Where there are tenants: it is not certain, or the tenant is suspended.
    pub fn of(&self, who: &Candidate<'_>) -> Result<Option<TenantName>, NoTenant> {
        let mut named: BTreeSet<&str> = who.claimed.iter().map(|claimed| claimed.as_str()).collect();
        named.extend(self.attribute.iter().flat_map(|attribute| who.attributes.values(attribute)));
        let mut found = Vec::new();
        for tenant in &self.tenants {
            let is_named = named.remove(tenant.name.as_str());
            if is_named || tenant.members.include(who) {
                found.push(tenant);
            }
        }
        if !named.is_empty() {
            return Err(NoTenant::Unknown);
        }
        let is_outside = self.outside.include(who);
        match found[..] {
            [] if is_outside || self.tenants.is_empty() => Ok(None),
            [] => Err(NoTenant::Unknown),
            [tenant] if !is_outside && tenant.suspended => Err(NoTenant::Suspended),
            [tenant] if !is_outside => Ok(Some(tenant.name.clone())),
            _ => Err(NoTenant::Ambiguous),
        }
    }

    /// The bounds of each tenant.
    pub fn limits(&self) -> impl Iterator<Item = (TenantName, TenantLimits)> {
        self.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.limits))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop")]
    use motte_policy::UserName;

    use super::*;

    fn name(text: &str) -> TenantName {
        TenantName::parse(text).unwrap()
    }

    fn tenant(text: &str, members: Members) -> TenantSettings {
        TenantSettings { name: name(text), suspended: false, members, limits: TenantLimits::default() }
    }

    fn suffix(text: &str) -> Members {
        Members { user_suffix: Some(text.into()), ..Members::default() }
    }

    fn ask(tenancy: &Tenancy, user: &str, listener: &str, attributes: &[(&str, &str)]) -> Result<String, NoTenant> {
        let mut all = Attributes::default();
        attributes.iter().for_each(|(name, value)| all.add(name, value).unwrap());
        let identity = if user.is_empty() { Identity::Anonymous } else { Identity::User(UserName(user.into())) };
        let who = Candidate { identity: &identity, listener, attributes: &all, claimed: None };
        tenancy.of(&who).map(|tenant| tenant.map_or_else(String::new, |tenant| tenant.as_str().to_owned()))
    }

    #[test]
    fn a_tenant_is_found_by_name_listener_or_attribute_and_only_if_it_is_one() {
        let by_listener = Members { listeners: ["b-only".to_owned()].into(), ..Members::default() };
        let by_field = Members {
            attributes: vec![("cert.o".into(), "Globex".into())],
            user_prefix: Some("globex/".into()),
            ..Members::default()
        };
        let tenancy = Tenancy {
            tenants: vec![tenant("acme", suffix("@acme")), tenant("b", by_listener), tenant("globex", by_field)],
            outside: Members { users: ["root".to_owned()].into(), ..Members::default() },
            attribute: Some("jwt.tenant".into()),
        };
        let found = |user: &str, listener: &str, attributes: &[(&str, &str)]| ask(&tenancy, user, listener, attributes);
        assert_eq!(found("x@acme", "tls", &[]).unwrap(), "acme");
        assert_eq!(found("", "b-only", &[]).unwrap(), "b");
        assert_eq!(found("x", "tls", &[("cert.o", "Globex")]).unwrap(), "globex");
        assert_eq!(found("globex/x", "tls", &[("cert.o", "Globex")]).unwrap(), "globex");
        assert_eq!(found("x", "tls", &[("jwt.tenant", "acme")]).unwrap(), "acme");
        assert_eq!(found("root", "tls", &[]).unwrap(), "");
        for (user, listener, attributes, why) in [
            ("x", "tls", &[][..], NoTenant::Unknown),
            ("", "tls", &[], NoTenant::Unknown),
            ("@acme", "tls", &[], NoTenant::Unknown),
            ("x", "tls", &[("cert.o", "globex")], NoTenant::Unknown),
            ("x", "tls", &[("jwt.tenant", "nosuch")], NoTenant::Unknown),
            ("x@acme", "tls", &[("jwt.tenant", "nosuch")], NoTenant::Unknown),
            ("x@acme", "b-only", &[], NoTenant::Ambiguous),
            ("x", "tls", &[("jwt.tenant", "acme"), ("jwt.tenant", "b")], NoTenant::Ambiguous),
            ("root", "b-only", &[], NoTenant::Ambiguous),
        ] {
            assert_eq!(found(user, listener, attributes), Err(why), "{user} {listener} {attributes:?}");
        }
    }

    #[test]
    fn without_tenants_nobody_belongs_to_one_and_a_claim_is_refused() {
        let none = Tenancy::default();
        assert_eq!(ask(&none, "x", "tls", &[]).unwrap(), "");
        let (identity, acme) = (Identity::Anonymous, name("acme"));
        let attributes = Attributes::default();
        let who = Candidate { identity: &identity, listener: "tls", attributes: &attributes, claimed: Some(&acme) };
        assert_eq!(none.of(&who), Err(NoTenant::Unknown));
    }

    #[test]
    fn a_suspended_tenant_lets_nobody_in() {
        let suspended = TenantSettings { suspended: true, ..tenant("acme", suffix("@acme")) };
        let tenancy = Tenancy { tenants: vec![suspended], ..Tenancy::default() };
        assert_eq!(ask(&tenancy, "x@acme", "tls", &[]), Err(NoTenant::Suspended));
    }
}
