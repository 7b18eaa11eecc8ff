//! The commented `motte.toml`: every key with its meaning, those that are chosen set, the others commented out.
//!
//! Called by `quickstart`. Made from the catalogue, so that it cannot name a key that is not read.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::catalogue::{BOUNDS, Bounds, SECTIONS, SectionEntry};

const HEAD: &str = "\
# Configuration of a Motte broker.
#
# `motte serve -c FILE --check` shows everything that is wrong in it; SIGHUP reads certificates, passwords, access rules
# and what listeners ask of clients again. Relative paths start at the folder of this file. A key that is commented out
# shows its default, or an example where it says so. The defaults are the secure choice.
";

/// Keys that no sample shows: one is wrong beside the mode that is shown, which tells of it, the other is for tests.
const UNSHOWN: [&str; 2] = ["interval_ms", "crash_at"];

/// Sections that are examples as a whole: what stands in them is nobody's default.
const EXAMPLES: [&str; 6] = ["identity.jwt", "identity.http", "identity.ldap", "vault", "tenant", "tenancy"];

/// Those of them that stand in a file once.
const ONCE: [&str; 2] = ["vault", "tenancy"];

/// A listener of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleListener {
    /// Its name.
    pub name: String,
    /// Address and port.
    pub address: SocketAddr,
    /// Whether it speaks WebSocket.
    pub websocket: bool,
}

/// The text of a configuration file with these listeners and these keys set: section, key, value as TOML. All other
/// keys are there too, commented out with their defaults.
#[must_use]
pub fn sample(listeners: &[SampleListener], set: &[(&str, &str, &str)]) -> String {
    let mut text = String::from(HEAD);
    for section in SECTIONS {
        if section.name == "listener" {
            for (number, listener) in listeners.iter().enumerate() {
                listener_section(&mut text, section, listener, number == 0);
            }
            continue;
        }
        if EXAMPLES.contains(&section.name) {
            example(&mut text, section);
            continue;
        }
        head(&mut text, section.doc, &format!("[{}]", section.name));
        for key in section.keys.iter().filter(|key| !UNSHOWN.contains(&key.name)) {
            let chosen = set.iter().find(|(name, word, _)| *name == section.name && *word == key.name);
            entry(&mut text, key.doc, key.name, key.value, chosen.map(|(_, _, value)| *value));
        }
        if section.name == "limits" {
            let defaults = Bounds::default();
            for bound in BOUNDS {
                let chosen = set.iter().find(|(name, word, _)| *name == section.name && *word == bound.name);
                let default = (bound.read)(&defaults).to_string();
                entry(&mut text, bound.doc, bound.name, &default, chosen.map(|(_, _, value)| *value));
            }
        }
    }
    text
}

fn listener_section(text: &mut String, section: &SectionEntry, listener: &SampleListener, first: bool) {
    head(text, if first { section.doc } else { "" }, "[[listener]]");
    for key in section.keys {
        let chosen = match key.name {
            "name" => Some(format!("{:?}", listener.name)),
            "address" => Some(format!("\"{}\"", listener.address)),
            "transport" => Some(String::from(if listener.websocket { "\"wss\"" } else { "\"tls\"" })),
            "path" if listener.websocket => Some(String::from(key.value)),
            // Wrong on every other listener.
            "mode" => continue,
            _ => None,
        };
        // Each key is explained where it stands first.
        let doc = if first { key.doc } else { "" };
        entry(text, doc, key.name, key.value, chosen.as_deref());
    }
}

/// A section of which every line is a comment.
fn example(text: &mut String, section: &SectionEntry) {
    text.push('\n');
    comment(text, section.doc);
    let is_once = ONCE.contains(&section.name);
    let title = if is_once { format!("[{}]", section.name) } else { format!("[[{}]]", section.name) };
    line(text, format_args!("# {title}"));
    for key in section.keys {
        comment(text, key.doc);
        line(text, format_args!("#   {} = {}", key.name, key.value));
    }
}

fn head(text: &mut String, doc: &str, title: &str) {
    text.push('\n');
    comment(text, doc);
    line(text, format_args!("{title}"));
}

fn entry(text: &mut String, doc: &str, name: &str, default: &str, chosen: Option<&str>) {
    comment(text, doc);
    match chosen {
        Some(value) => line(text, format_args!("{name} = {value}")),
        None => line(text, format_args!("#{name} = {default}")),
    }
}

fn comment(text: &mut String, doc: &str) {
    for part in doc.lines() {
        line(text, format_args!("# {part}"));
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{content}");
}
