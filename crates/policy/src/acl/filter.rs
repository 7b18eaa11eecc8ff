//! The grammar of topic names and topic filters, and the topics nobody may be given the right to publish to.
//!
//! Called by the ACL compiler and by every decision. Never allocates.

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

/// Whether a topic name is one of the broker's own, which no rule can open for publishing. The state of a bridge is
/// not: bridges publish it themselves.
pub(crate) fn is_reserved_write(topic: &str) -> bool {
    let mut levels = topic.split('/');
    match levels.next() {
        Some("$CONTROL") => true,
        Some("$SYS") => {
            let mut rest = [None; 5];
            for (place, level) in rest.iter_mut().zip(levels) {
                *place = Some(level);
            }
            !matches!(rest, [Some("broker"), Some("connection"), Some(_), Some("state"), None])
        }
        _ => false,
    }
}
