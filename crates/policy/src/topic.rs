//! The grammar of topic names and topic filters, and the topics nobody may be given the right to publish to.
//!
//! Called by every compiler of rules and by every decision. Never allocates.

/// MQTT-1.5.4: the length of a string is two bytes.
const LENGTH_BYTES_MAX: usize = 65_535;

/// Whether `topic` is a topic name (MQTT-4.7.1-1, MQTT-4.7.3-1, -2, -3).
pub(crate) fn is_topic_name(topic: &str) -> bool {
    // All bytes are looked at, so that the compiler takes many at once; this is asked for every message.
    let is_other = |is_name, byte| is_name & !matches!(byte, b'+' | b'#' | b'\0');
    !topic.is_empty() && topic.len() <= LENGTH_BYTES_MAX && topic.bytes().fold(true, is_other)
}

/// Whether `filter` is a topic filter (MQTT-4.7.1-2, -3, MQTT-4.7.3-1, -2, -3).
pub(crate) fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > LENGTH_BYTES_MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild_is_last = level != "#" || levels.peek().is_none();
        if !wild_is_last || (level.len() > 1 && level.contains(['+', '#'])) {
            return false;
        }
    }
    true
}

/// Whose a topic is that is not for everybody to publish to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// Nobody's in particular.
    No,
    /// Commands to the broker.
    Control,
    /// What the broker tells of itself. The state of a bridge is not: bridges publish it themselves.
    System,
}

/// Whether a topic name is one of the broker's own.
pub(crate) fn reserved(topic: &str) -> Reserved {
    if !topic.starts_with('$') {
        return Reserved::No;
    }
    let mut levels = topic.split('/');
    match levels.next() {
        Some("$CONTROL") => Reserved::Control,
        Some("$SYS") => {
            let mut rest = [None; 5];
            for (place, level) in rest.iter_mut().zip(levels) {
                *place = Some(level);
            }
            let is_bridge = matches!(rest, [Some("broker"), Some("connection"), Some(_), Some("state"), None]);
            if is_bridge { Reserved::No } else { Reserved::System }
        }
        _ => Reserved::No,
    }
}
