//! `[[identity.ldap]]`: a directory.
//!
//! Called by `remote`.

use motte_pki::HostName;

use super::{Weakened, connections_max, name, needed, optional, session_max, timeout};
use crate::config::reader::{Located, Problems, Section};
use crate::settings::{LdapProtection, LdapSettings, LdapUrl};

/// What stands for the user name in a filter.
const USER: &str = "%u";
/// A comparison with it.
const COMPARED: &str = "=%u)";

/// The settings of a directory.
pub(super) fn directory(section: &Section<'_>, weakened: &Weakened, problems: &mut Problems) -> Option<LdapSettings> {
    let name = name(section, problems);
    let starttls = section.flag("starttls", problems).unwrap_or(false);
    let allowed = weakened.allows_plaintext(&format!("ldap:{}", name.as_deref().unwrap_or_default()));
    let url = url(section, starttls, allowed, problems);
    let bind_dn = needed(section, "bind_dn", "name who searches; the broker never searches as nobody", problems);
    if !section.has("bind_password") {
        section.missing("bind_password", "write bind_password = \"file:PATH\"", problems);
    }
    let bind_password = weakened.secret(section, "bind_password", problems);
    let base_dn = needed(section, "base_dn", "name the part of the tree that users are in", problems);
    let filter = filter(section, problems);
    let username_attribute = optional(section, "username_attribute", problems);
    let attributes = section.texts("attributes", problems).unwrap_or_default();
    let filter = filter?;
    let compared = compared_attribute(&filter.value).map(str::to_owned);
    let Some(username_attribute) = username_attribute.or(compared) else {
        let hint = "set username_attribute to the attribute that holds the user name";
        problems.at(filter.line, "the filter does not compare one attribute with %u", hint);
        return None;
    };
    Some(LdapSettings {
        ca: section.path("ca", problems).map(|path| path.value),
        attributes: attributes.into_iter().map(|name| name.value).collect(),
        timeout: timeout(section, problems),
        connections_max: connections_max(section, problems),
        session_max: session_max(section, problems),
        name: name?,
        line: section.line,
        url: url?,
        bind_dn: bind_dn?.value,
        bind_password: bind_password?,
        base_dn: base_dn?.value,
        filter: filter.value,
        username_attribute,
    })
}

fn url(section: &Section<'_>, starttls: bool, allowed: bool, problems: &mut Problems) -> Option<LdapUrl> {
    const HINT: &str = "write url = \"ldaps://HOST\", or \"ldap://HOST\" with starttls = true";
    let text = needed(section, "url", HINT, problems)?;
    let (tls, rest) = match (text.value.strip_prefix("ldaps://"), text.value.strip_prefix("ldap://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => {
            problems.at(text.line, "url begins with neither ldaps:// nor ldap://", HINT);
            return None;
        }
    };
    let protection = match (tls, starttls) {
        (true, false) => LdapProtection::Tls,
        (false, true) => LdapProtection::StartTls,
        (false, false) if allowed => LdapProtection::None,
        (true, true) => {
            let line = section.line_of("starttls", problems);
            problems.at(line, "starttls is only for ldap://", "remove the line: ldaps:// begins with TLS");
            return None;
        }
        (false, false) => {
            problems.at(text.line, "passwords would go to the directory in the clear", HINT);
            return None;
        }
    };
    let found = host_and_port(rest, if tls { 636 } else { 389 });
    if found.is_none() {
        problems.at(text.line, "url is not a host and perhaps a port", HINT);
    }
    found.map(|(host, port)| LdapUrl { host, port, protection })
}

fn host_and_port(text: &str, default: u16) -> Option<(HostName, u16)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (host, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], text[at + 1..].parse().ok().filter(|port| *port > 0)?),
        None => (text, default),
    };
    let host: HostName = host.parse().ok()?;
    let is_pattern = matches!(&host, HostName::Dns(name) if name.starts_with('*'));
    (!is_pattern).then_some((host, port))
}

/// The filter: in brackets, and about the user.
fn filter(section: &Section<'_>, problems: &mut Problems) -> Option<Located<String>> {
    const HINT: &str = "write filter = \"(uid=%u)\"";
    if !section.has("filter") {
        return Some(Located { value: String::from("(uid=%u)"), line: section.line });
    }
    let filter = needed(section, "filter", HINT, problems)?;
    let balance = filter.value.bytes().try_fold(0_u32, |depth, byte| match byte {
        b'(' => Some(depth + 1),
        b')' => depth.checked_sub(1),
        _ => Some(depth),
    });
    let bracketed = filter.value.starts_with('(') && filter.value.ends_with(')') && balance == Some(0);
    if !bracketed || !filter.value.contains(USER) {
        problems.at(filter.line, "the filter is not in brackets, or does not hold %u", HINT);
        return None;
    }
    Some(filter)
}

/// The attribute that a filter compares with the user name, if it is one.
fn compared_attribute(filter: &str) -> Option<&str> {
    let mut names = filter.match_indices(COMPARED).map(|(at, _)| {
        let before = &filter[..at];
        before.rsplit('(').next().unwrap_or(before)
    });
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let first = names.next().filter(is_name)?;
    names.next().is_none().then_some(first)
}
