//! The keys of `[durability]`.
//!
//! A part of the catalogue. Holds no value.

use super::{KeyEntry, key};

/// Its keys.
pub(super) static KEYS: &[KeyEntry] = &[
    key(
        "mode",
        "\"sync\"",
        "\"sync\": nothing is acknowledged before it is on the disk. \"interval\": a crash loses what was\n\
                 acknowledged in the last interval_ms = 1000 (10 to 60000). \"memory\": every stop loses everything.",
    ),
    key("directory", "\"store\"", "Where it is kept; a directory of this broker alone."),
    key("interval_ms", "1000", "Only for \"interval\": milliseconds between two commits, 10 to 60000."),
    key(
        "max_bytes",
        "0",
        "Bytes of sessions and messages it may keep, from 16777216; 0: no bound. The file may take twice\n\
                 as much. Beyond, messages of QoS 1 and 2 and new sessions that outlive their connections are\n\
                 refused until there is room.",
    ),
    key(
        "reserve_bytes",
        "8388608",
        "Bytes of the disk that are left free, from 1048576, so that what was delivered can always be removed.",
    ),
];
