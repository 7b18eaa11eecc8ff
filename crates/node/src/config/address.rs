//! Where a listener listens, and which proxies it believes.
//!
//! Called by `listener`, for the keys of one `[[listener]]`. Looks at no file and at no network.

use std::net::SocketAddr;

use super::reader::{Located, Problems, Section};
use crate::settings::{ListenAddress, Network, NetworkError};

/// Bytes of a path that every system takes (`sun_path` of macOS has 104, one of them the end).
const SOCKET_PATH_BYTES_MAX: usize = 103;
/// A unix socket is its owner's unless told otherwise.
const SOCKET_MODE: u32 = 0o600;

/// Where a listener listens: address and port, or the file of a unix socket.
pub(super) fn listen_address(section: &Section<'_>, unix: bool, problems: &mut Problems) -> Option<ListenAddress> {
    if !section.has("address") {
        let example = if unix { "run/mqtt.sock" } else { "127.0.0.1:8883" };
        section.missing("address", &format!("write address = {example:?}"), problems);
    }
    let mode = mode(section, unix, problems);
    if !unix {
        return section
            .text("address", problems)
            .and_then(|text| socket_address(&text, problems))
            .map(ListenAddress::Ip);
    }
    let path = section.path("address", problems)?;
    let bytes = path.value.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        let what = format!("the path of a unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes, this one has {bytes}");
        problems.at(path.line, what, "choose a folder nearer to the root, such as /run/motte");
    }
    Some(ListenAddress::Unix { path: path.value, mode })
}

/// Who may connect to a unix socket, as permission bits of its file.
fn mode(section: &Section<'_>, unix: bool, problems: &mut Problems) -> u32 {
    let Some(text) = section.text("mode", problems) else { return SOCKET_MODE };
    if !unix {
        problems.at(text.line, "mode is only for a unix socket", "set transport = \"unix\", or remove the line");
    }
    let octal =
        Some(&text.value).filter(|digits| digits.len() <= 4 && digits.bytes().all(|digit| digit.is_ascii_digit()));
    let mode = octal.and_then(|digits| u32::from_str_radix(digits, 8).ok()).filter(|mode| mode & !0o666 == 0);
    mode.filter(|mode| mode & 0o600 == 0o600).unwrap_or_else(|| {
        let hint = "write \"0600\" (its owner), \"0660\" (its group too) or \"0666\" (all users of this machine)";
        problems.at(text.line, format!("{:?} cannot be the mode of a socket", text.value), hint);
        SOCKET_MODE
    })
}

/// The proxies that `proxy_protocol` makes necessary.
pub(super) fn trusted_proxies(section: &Section<'_>, unix: bool, problems: &mut Problems) -> Vec<Network> {
    let wanted = section.flag("proxy_protocol", problems).unwrap_or(false);
    let texts = section.texts("trusted_proxies", problems).unwrap_or_default();
    if wanted && unix {
        let line = section.line_of("proxy_protocol", problems);
        problems.at(line, "a unix socket has no addresses of proxies to trust", "remove proxy_protocol");
    } else if wanted && texts.is_empty() {
        let line = section.line_of("proxy_protocol", problems);
        let hint = "write trusted_proxies = [\"10.0.0.5\"] with the addresses of your proxies";
        problems.at(line, "proxy_protocol without trusted_proxies would believe everybody", hint);
    } else if !wanted && !texts.is_empty() {
        let line = section.line_of("trusted_proxies", problems);
        problems.at(line, "trusted_proxies is set without proxy_protocol", "set proxy_protocol = true, or remove it");
    }
    texts.iter().filter_map(|text| network(text, problems)).collect()
}

fn network(text: &Located<String>, problems: &mut Problems) -> Option<Network> {
    let (what, hint) = match text.value.parse::<Network>() {
        Ok(network) if network.is_everything() => {
            (format!("{:?} is every address, so everybody would be believed", text.value), "name your proxies".into())
        }
        Ok(network) => return Some(network),
        Err(NetworkError::Text) => {
            let hint = String::from("write an address or a network, such as \"10.0.0.5\" or \"10.0.0.0/8\"");
            (format!("{:?} is no network", text.value), hint)
        }
        Err(NetworkError::Beyond(address)) => {
            let prefix = text.value.split_once('/').map_or("", |(_, bits)| bits);
            (format!("{:?} has bits beyond its prefix", text.value), format!("write \"{address}/{prefix}\""))
        }
    };
    problems.at(text.line, what, hint);
    None
}

/// An address with its port.
pub(super) fn socket_address(text: &Located<String>, problems: &mut Problems) -> Option<SocketAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let hint = "write IP address and port, such as \"127.0.0.1:8883\", \"0.0.0.0:8883\" or \"[::]:8883\"";
        problems.at(text.line, format!("{:?} is not an address with a port", text.value), hint);
    }
    address
}
