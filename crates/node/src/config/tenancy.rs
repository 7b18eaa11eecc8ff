//! `[[tenant]]` and `[tenancy]`: who belongs to which tenant, and what each may have.
//!
//! Called by `parse`. Looks at no file.

use std::collections::BTreeSet;

use motte_broker::TenantLimits;
use motte_policy::{TenantName, suggestion};

use super::catalogue::known;
use super::reader::{Located, Problems, Section};
use crate::settings::{ListenerSettings, Members, Tenancy, TenantSettings};

/// Largest bound that can be written.
const COUNT_MAX: u64 = 10_000_000;

/// Reads both sections.
pub(super) fn parse(root: &Section<'_>, listeners: &[ListenerSettings], problems: &mut Problems) -> Tenancy {
    let mut tenants: Vec<TenantSettings> = Vec::new();
    let mut lines = Vec::new();
    let shared = root.section("tenancy", "[tenancy]", &known("tenancy"), problems);
    let attribute = shared.text("attribute", problems);
    for section in root.sections("tenant", "[[tenant]]", &known("tenant"), problems) {
        let Some(tenant) = tenant(&section, listeners, problems) else { continue };
        if tenant.members.is_empty() && attribute.is_none() {
            let hint = "say who belongs to it: users, user_prefix, user_suffix, listeners or attributes";
            problems.at(section.line, format!("nobody belongs to the tenant {}", tenant.name.as_str()), hint);
        }
        if tenants.iter().any(|known| known.name == tenant.name) {
            let what = format!("there are two tenants {}", tenant.name.as_str());
            problems.at(section.line_of("name", problems), what, "give each tenant a name of its own");
        }
        lines.push(section.line);
        tenants.push(tenant);
    }
    if tenants.is_empty() && !shared.is_empty() {
        problems.at(
            shared.line,
            "[tenancy] is for tenants, and there are none",
            "add a section [[tenant]], or remove it",
        );
    }
    let outside = members(&shared, ("outside_users", "outside_listeners"), listeners, problems);
    overlapping(&tenants, &outside, &lines, problems);
    Tenancy { tenants, outside, attribute: attribute.map(|text| text.value) }
}

fn tenant(section: &Section<'_>, listeners: &[ListenerSettings], problems: &mut Problems) -> Option<TenantSettings> {
    let members = Members {
        user_prefix: affix(section, "user_prefix", problems),
        user_suffix: affix(section, "user_suffix", problems),
        attributes: attributes(section, problems),
        ..members(section, ("users", "listeners"), listeners, problems)
    };
    let mut bound = |key| {
        let count = section.number(key, 0..=COUNT_MAX, problems).filter(|count| *count > 0);
        count.and_then(|count| usize::try_from(count).ok())
    };
    let limits = TenantLimits {
        sessions_max: bound("sessions_max"),
        connections_max: bound("connections_max"),
        retained_messages_max: bound("retained_messages_max"),
    };
    let suspended = section.flag("suspended", problems).unwrap_or(false);
    if !section.has("name") {
        section.missing("name", "name the tenant: name = \"acme\"", problems);
    }
    let name = section.text("name", problems)?;
    match TenantName::parse(&name.value) {
        Ok(name) => Some(TenantSettings { name, suspended, members, limits }),
        Err(error) => {
            problems.at(name.line, error.to_string(), "choose a short name such as \"acme\"");
            None
        }
    }
}

/// What is told by the same two keys, under other names, for a tenant and for those who belong to none.
fn members(
    section: &Section<'_>,
    (users, through): (&str, &str),
    listeners: &[ListenerSettings],
    problems: &mut Problems,
) -> Members {
    let users = section.texts(users, problems).unwrap_or_default();
    let through = section.texts(through, problems).unwrap_or_default();
    for named in &through {
        let names: Vec<_> = listeners.iter().map(|listener| listener.name.as_str()).collect();
        if !names.contains(&named.value.as_str()) {
            let hint = match suggestion(&named.value, &names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names.join(", ")),
            };
            problems.at(named.line, format!("there is no listener {:?}", named.value), hint);
        }
    }
    let texts = |list: Vec<Located<String>>| list.into_iter().map(|text| text.value).collect::<BTreeSet<_>>();
    Members { users: texts(users), listeners: texts(through), ..Members::default() }
}

fn affix(section: &Section<'_>, key: &str, problems: &mut Problems) -> Option<String> {
    let text = section.text(key, problems)?;
    if text.value.is_empty() {
        problems.at(
            text.line,
            format!("{key} is empty, and everybody's name has that"),
            "write it, or remove the line",
        );
        return None;
    }
    Some(text.value)
}

/// Attributes as `NAME=VALUE`.
fn attributes(section: &Section<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for text in section.texts("attributes", problems).unwrap_or_default() {
        match text.value.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => found.push((name.into(), value.into())),
            _ => {
                let hint = "write NAME=VALUE, such as \"cert.o=Acme\" or \"jwt.tenant=acme\"";
                problems.at(text.line, format!("{:?} is no attribute with a value", text.value), hint);
            }
        }
    }
    found
}

/// What would make members of two tenants is an error already here, as far as it can be seen.
fn overlapping(tenants: &[TenantSettings], outside: &Members, lines: &[usize], problems: &mut Problems) {
    for (at, (tenant, line)) in tenants.iter().zip(lines).enumerate() {
        let others = tenants[..at].iter().map(|other| (other.name.as_str(), &other.members));
        for (other, members) in others.chain([("[tenancy]", outside)]) {
            let both = |one: &BTreeSet<String>, two: &BTreeSet<String>| one.intersection(two).next().cloned();
            let users = both(&tenant.members.users, &members.users);
            let Some(shared) = users.or_else(|| both(&tenant.members.listeners, &members.listeners)) else { continue };
            let what = format!("{shared:?} belongs to the tenant {} and to {other}", tenant.name.as_str());
            problems.at(*line, what, "name each user and each listener in one place");
        }
    }
}
