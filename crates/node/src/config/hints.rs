//! What MQTT 5.0 clients are told beside the answers to their packets: the last two keys of `[node]`.
//!
//! Called by `parse`. Both texts end up in packets, so nothing may stand in them that MQTT does not carry.

use motte_broker::Hints;

use super::reader::{Problems, Section};

/// Bytes of a text that is told to clients.
const HINT_BYTES_MAX: usize = 256;

/// The hints of `[node]`.
pub(super) fn parse(node: &Section<'_>, problems: &mut Problems) -> Hints {
    let server_reference = node.text("server_reference", problems);
    if let Some(text) = server_reference.as_ref().filter(|text| !is_server_reference(&text.value)) {
        let hint = "write server_reference = \"other.example.org:8883\", or several separated by one space";
        problems.at(text.line, format!("{:?} does not name a server", text.value), hint);
    }
    let prefix = node.text("response_topic_prefix", problems);
    if let Some(text) = prefix.as_ref().filter(|text| !is_topic_prefix(&text.value)) {
        let hint = "write it without wildcards, control characters and a slash at its end: \"responses\"";
        problems.at(text.line, format!("{:?} is not the beginning of a topic", text.value), hint);
    }
    Hints {
        response_topic_prefix: prefix.map(|text| text.value.into()),
        server_reference: server_reference.map(|text| text.value.into()),
    }
}

fn is_server_reference(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    text.len() <= HINT_BYTES_MAX && text.split(' ').all(is_name)
}

fn is_topic_prefix(text: &str) -> bool {
    let is_plain = !text.contains(|c: char| c.is_control() || matches!(c, '+' | '#'));
    is_plain && !text.is_empty() && !text.ends_with('/') && text.len() <= HINT_BYTES_MAX
}
