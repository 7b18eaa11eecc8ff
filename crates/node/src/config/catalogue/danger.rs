//! The keys of `[danger]`.
//!
//! A part of the catalogue. Holds no value.

use super::{KeyEntry, key};

/// Its keys.
pub(super) static KEYS: &[KeyEntry] = &[
    key(
        "allow_anonymous",
        "false",
        "Let clients in without any proof of who they are: true, or names of listeners such as [\"local\"].\n\
                 Where there is no password file, what they call themselves is not looked at.",
    ),
    key(
        "plaintext_listeners",
        "[]",
        "Addresses where MQTT is spoken without TLS, such as \"10.0.0.1:1883\": all on the way can read and\n\
                 change it. One that a \"tcp\" or \"ws\" [[listener]] has lets that stand beyond loopback.",
    ),
    key(
        "crl_expired",
        "\"deny\"",
        "\"accept\" lets revocation lists count beyond their end: what was revoked since is let in.",
    ),
    key(
        "plaintext_sources",
        "[]",
        "Sources such as \"ldap:corp\" or \"http:hook\" that are spoken with in the clear beyond loopback:\n\
                 all on the way can read passwords, and say yes.",
    ),
    key("literal_secrets", "false", "Whether secrets may stand in this file itself, in the place of references."),
    key(
        "crash_at",
        "\"before_fsync:1\"",
        "For tests: the broker kills itself when it passes this point of the store for the N-th time.",
    ),
];
