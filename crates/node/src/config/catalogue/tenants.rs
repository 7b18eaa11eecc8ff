//! The part of the table that is about tenants.
//!
//! Read with the rest of the table.

use super::{SectionEntry, key};

/// `[[tenant]]`.
pub(super) const TENANT: SectionEntry = SectionEntry {
    name: "tenant",
    doc: "Tenants share this broker and see nothing of one another: topics, sessions, retained messages, groups.\n\
          Repeat the section for each. Where there are any, whoever belongs to none for certain is refused.\n\
          Read again on SIGHUP.",
    keys: &[
        key("name", "\"acme\"", "Its name: letters, digits, \".\", \"_\" and \"-\". %t in access rules."),
        key("suspended", "false", "Whether its clients are kept out; those that are connected are disconnected."),
        key("users", "[]", "Who belongs to it: users by name. One of these six keys is enough."),
        key("user_prefix", "\"acme/\"", "… users whose names begin so."),
        key("user_suffix", "\"@acme\"", "… users whose names end so."),
        key("listeners", "[]", "… all who come in through these listeners, by their names."),
        key(
            "attributes",
            "[\"cert.o=Acme\"]",
            "… all whose certificate, token or directory entry says so: NAME=VALUE.",
        ),
        key("sessions_max", "0", "Sessions it may have; 0: no bound. Beyond, CONNECT is refused (0x97 in MQTT 5.0)."),
        key("connections_max", "0", "Connections it may have; 0: no bound. Beyond, as above."),
        key("retained_messages_max", "0", "Retained messages it may have; 0: no bound."),
    ],
};

/// `[tenancy]`.
pub(super) const TENANCY: SectionEntry = SectionEntry {
    name: "tenancy",
    doc: "What is for all tenants together.",
    keys: &[
        key("attribute", "\"jwt.tenant\"", "The attribute of a proof of identity that names the tenant."),
        key("outside_users", "[]", "Users who belong to no tenant on purpose, such as the operators."),
        key("outside_listeners", "[]", "Listeners whose clients belong to no tenant on purpose."),
    ],
};
