//! `[[listener]]` and `[danger] plaintext_listeners`: where clients come in, and what may be spoken there.
//!
//! Called by `parse`. Without TLS a listener stands on loopback only, unless `[danger]` names its address.

use super::address;
use super::catalogue::known;
use super::identity;
use super::reader::{Located, Problems, Section};
use super::rules::{self, Defaults, OwnFiles};
use crate::settings::{
    ClientCertificates, ListenAddress, ListenerRules, ListenerSettings, Speech, Transport, WebSocketSettings,
};

const NAME_CHARS_MAX: usize = 32;
const CONNECTIONS_RANGE: std::ops::RangeInclusive<u64> = 0..=10_000_000;

/// The words of `transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tls,
    Mqtts,
    Wss,
    Tcp,
    Ws,
    Unix,
}

const KINDS: [(&str, Kind); 6] = [
    ("tls", Kind::Tls),
    ("mqtts", Kind::Mqtts),
    ("wss", Kind::Wss),
    ("tcp", Kind::Tcp),
    ("ws", Kind::Ws),
    ("unix", Kind::Unix),
];

/// All listeners, and the files of their own that they name. What weakens security among them is named in `dangers`.
pub(super) fn all(
    root: &Section<'_>,
    danger: &Section<'_>,
    defaults: &Defaults,
    dangers: &mut Vec<&'static str>,
    problems: &mut Problems,
) -> (Vec<ListenerSettings>, OwnFiles) {
    let sections = root.sections("listener", "[[listener]]", &known("listener"), problems);
    let mut listeners: Vec<ListenerSettings> = Vec::new();
    let mut files = OwnFiles::default();
    let mut open = open_addresses(danger, problems);
    for (number, section) in sections.iter().enumerate() {
        let rules = rules::rules(section, defaults, &mut files, problems);
        let has_client_ca = rules.client_ca.is_some() || defaults.has_client_ca;
        let Some(listener) = listener(section, number, (rules, has_client_ca), problems) else { continue };
        identity::check_listener(section, &listener, defaults, problems);
        let line = section.line_of("address", problems);
        if listeners.iter().any(|other| other.address.collides(&listener.address)) {
            problems.at(line, format!("two listeners have the address {}", listener.address), "give each its own");
        }
        if listeners.iter().any(|other| other.name == listener.name) {
            let line = section.line_of("name", problems);
            problems.at(line, format!("two listeners have the name {:?}", listener.name), "give each its own name");
        }
        if !listener.transport.tls {
            let named = open.iter().position(|address| address.value == listener.address);
            if let Some(named) = named {
                open.remove(named);
                name_danger(&listener.address, dangers);
            } else if !listener.address.is_local() {
                let hint = "use \"tls\"; or name the address in [danger] plaintext_listeners as well";
                problems.at(line, "a listener without TLS cannot stand beyond loopback", hint);
            }
        }
        listeners.push(listener);
    }
    for (number, address) in open.into_iter().enumerate() {
        if listeners.iter().any(|other| other.address.collides(&address.value)) {
            let what = format!("two listeners have the address {}", address.value);
            problems.at(address.line, what, "give each its own");
        }
        name_danger(&address.value, dangers);
        listeners.push(ListenerSettings {
            name: format!("plaintext-{}", number + 1),
            address: address.value,
            transport: Transport::PLAINTEXT,
            client_certificates: ClientCertificates::None,
            rules: ListenerRules { sources: defaults.sources.clone(), ..ListenerRules::default() },
            connections_max: None,
            trusted_proxies: Vec::new(),
        });
    }
    (listeners, files)
}

/// Addresses where MQTT may be spoken without TLS.
fn open_addresses(danger: &Section<'_>, problems: &mut Problems) -> Vec<Located<ListenAddress>> {
    let texts = danger.texts("plaintext_listeners", problems).unwrap_or_default();
    let address = |text: Located<String>| {
        let value = ListenAddress::Ip(address::socket_address(&text, problems)?);
        Some(Located { value, line: text.line })
    };
    texts.into_iter().filter_map(address).collect()
}

fn name_danger(address: &ListenAddress, dangers: &mut Vec<&'static str>) {
    let danger = if address.is_local() {
        "plaintext_listeners: MQTT without TLS on this machine"
    } else {
        "plaintext_listeners: MQTT without TLS on the network; all on the way can read and change it"
    };
    if !dangers.contains(&danger) {
        dangers.push(danger);
    }
}

fn listener(
    section: &Section<'_>,
    number: usize,
    (rules, has_client_ca): (ListenerRules, bool),
    problems: &mut Problems,
) -> Option<ListenerSettings> {
    let name = name(section, problems).unwrap_or_else(|| format!("listener-{}", number + 1));
    let kind = section.word("transport", &KINDS, problems).unwrap_or(Kind::Tls);
    let transport = transport(section, kind, problems);
    if !transport.tls {
        rules::refuse_tls_keys(section, problems);
    }
    let client_certificates = client_certificates(section, transport.tls, has_client_ca, problems);
    let connections_max = section.number("connections_max", CONNECTIONS_RANGE, problems);
    let connections_max = connections_max.and_then(|most| usize::try_from(most).ok()).filter(|most| *most > 0);
    let unix = kind == Kind::Unix;
    let trusted_proxies = address::trusted_proxies(section, unix, problems);
    let address = address::listen_address(section, unix, problems)?;
    let settings =
        ListenerSettings { name, address, transport, client_certificates, rules, connections_max, trusted_proxies };
    Some(settings)
}

fn name(section: &Section<'_>, problems: &mut Problems) -> Option<String> {
    let name = section.text("name", problems)?;
    let plain = name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if name.value.is_empty() || name.value.len() > NAME_CHARS_MAX || !plain {
        let hint = "use 1 to 32 letters, digits, hyphens, underscores and dots";
        problems.at(name.line, format!("{:?} cannot be the name of a listener", name.value), hint);
    }
    Some(name.value)
}

fn client_certificates(
    section: &Section<'_>,
    tls: bool,
    client_ca: bool,
    problems: &mut Problems,
) -> ClientCertificates {
    let words = [
        ("none", ClientCertificates::None),
        ("optional", ClientCertificates::Optional),
        ("required", ClientCertificates::Required),
    ];
    let written = section.word("client_certificates", &words, problems);
    let asked = written.is_some_and(|asked| asked != ClientCertificates::None);
    let line = section.line_of("client_certificates", problems);
    if asked && !tls {
        problems.at(line, "a listener without TLS cannot ask for client certificates", "remove the line");
    } else if asked && !client_ca {
        problems.at(line, "client certificates are asked for without a CA", "set client_ca here or in [tls]");
    }
    let default = if client_ca && tls { ClientCertificates::Optional } else { ClientCertificates::None };
    written.unwrap_or(default)
}

fn transport(section: &Section<'_>, kind: Kind, problems: &mut Problems) -> Transport {
    let tls = matches!(kind, Kind::Tls | Kind::Mqtts | Kind::Wss);
    if matches!(kind, Kind::Mqtts | Kind::Tcp | Kind::Unix) {
        for key in ["path", "origins"].into_iter().filter(|key| section.has(key)) {
            let line = section.line_of(key, problems);
            let hint = format!("set transport = {:?}, or remove the line", if tls { "tls" } else { "ws" });
            problems.at(line, format!("{key} is only for WebSocket"), hint);
        }
        return Transport { tls, speech: Speech::Mqtt };
    }
    let websocket = websocket(section, problems);
    let speech = if kind == Kind::Tls { Speech::Either(websocket) } else { Speech::WebSocket(websocket) };
    Transport { tls, speech }
}

fn websocket(section: &Section<'_>, problems: &mut Problems) -> WebSocketSettings {
    let path = section.text("path", problems);
    if let Some(path) = path.as_ref().filter(|path| !is_path(&path.value)) {
        problems.at(path.line, format!("{:?} is not the path of a URL", path.value), "write path = \"/mqtt\"");
    }
    let origins = section.texts("origins", problems).unwrap_or_default();
    for origin in origins.iter().filter(|origin| !is_origin(&origin.value)) {
        let what = format!("{:?} is not a web origin", origin.value);
        problems.at(origin.line, what, "write it as a browser sends it: \"https://app.example.org\", without path");
    }
    WebSocketSettings {
        path: path.map_or_else(|| WebSocketSettings::default().path, |path| path.value),
        origins: origins.into_iter().map(|origin| origin.value).collect(),
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
}

/// Scheme, host and perhaps port (RFC 6454, section 6.2).
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
    })
}
