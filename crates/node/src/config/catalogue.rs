//! The one table of every key of `motte.toml`: its name, an example or its default, and what it means.
//!
//! Read by `parse` (which keys are known, bounds of numbers) and by `sample` (the commented file). The defaults of
//! numbers are those of the types themselves, so that they are stated once.

mod certificates;
mod danger;
mod durability;
mod remote;
mod tenants;

use std::ops::RangeInclusive;

use motte_broker::Limits;

use crate::settings::{GateLimits, LinkLimits};

/// A section of the file.
#[derive(Debug)]
pub(super) struct SectionEntry {
    /// As it stands in the file, without brackets.
    pub(super) name: &'static str,
    /// Comment above it.
    pub(super) doc: &'static str,
    /// Its keys; those of `[limits]` are [`BOUNDS`].
    pub(super) keys: &'static [KeyEntry],
}

/// A key that is no bound.
#[derive(Debug)]
pub(super) struct KeyEntry {
    /// Its name.
    pub(super) name: &'static str,
    /// Its default, or an example where there is none, as TOML.
    pub(super) value: &'static str,
    /// Comment above it.
    pub(super) doc: &'static str,
}

const fn key(name: &'static str, value: &'static str, doc: &'static str) -> KeyEntry {
    KeyEntry { name, value, doc }
}

/// Every section in the order of the sample file.
pub(super) static SECTIONS: &[SectionEntry] = &[
    SectionEntry {
        name: "node",
        doc: "The process.",
        keys: &[
            key("shards", "1", "Threads that hold sessions, 1 to 256. Default: one for each core."),
            key(
                "server_reference",
                "\"other.example.org:8883\"",
                "Another broker that MQTT 5.0 clients are told to use when this one stops: host or host:port, more of\n\
                 them separated by spaces. Default: none.",
            ),
            key(
                "response_topic_prefix",
                "\"responses\"",
                "MQTT 5.0 clients that ask where responses may be sent to are told PREFIX/CLIENT-ID. Allow it in the\n\
                 access rules, for instance with: pattern read responses/%c/#. Default: they are told nothing.",
            ),
            key(
                "sys_interval_s",
                "10",
                "Seconds between two updates of the figures under $SYS/broker, which only rules that name $SYS/…\n\
                 let anybody read; up to 86400. 0: no figures.",
            ),
            key(
                "watch",
                "true",
                "Whether this file and those it names are read again as soon as one of them changes. All of them are\n\
                 right, or the old ones stay in force. Without: on SIGHUP and `motte reload`.",
            ),
            key(
                "control_socket",
                "\"store/control.sock\"",
                "The unix socket at which `motte reload` and `motte rotate` speak to the broker, as its user or root.\n\
                 Default: control.sock in the directory of [durability]; none with mode = \"memory\".",
            ),
        ],
    },
    SectionEntry {
        name: "listener",
        doc: "Where clients come in. Repeat the section for each address.",
        keys: &[
            key("name", "\"mqtts\"", "Its name in the log. Default: listener-1, listener-2, …"),
            key(
                "address",
                "\"127.0.0.1:8883\"",
                "IP address and port; 0.0.0.0 or [::] for all networks. For \"unix\" the file of the socket;\n\
                 mode = \"0660\" lets its group connect beside its owner.",
            ),
            key(
                "transport",
                "\"tls\"",
                "\"tls\": MQTT and WebSocket over TLS, as the client begins. Only one of them: \"mqtts\", \"wss\".\n\
                 Without TLS, on loopback only: \"tcp\" (MQTT), \"ws\" (WebSocket). MQTT on a unix socket: \"unix\".",
            ),
            key("mode", "\"0600\"", "Only for \"unix\": who may connect, as the mode of the socket's file."),
            key("path", "\"/mqtt\"", "The path of the WebSocket."),
            key("origins", "[]", "Web origins that may connect by WebSocket. Default: the broker's own."),
            key(
                "client_certificates",
                "\"optional\"",
                "\"none\", \"optional\" (a certificate or a password is needed) or \"required\".\n\
                 Default: optional if a client_ca is set here or in [tls], else none.",
            ),
            key("client_ca", "\"pki/ca.pem\"", "The CA whose client certificates count here. Default: that of [tls]."),
            key("crl", "[\"pki/crl.pem\"]", "Revocation lists that count here. Default: those of [tls]."),
            key("certificate", "\"pki/server.pem\"", "The certificate shown here. Default: those of [tls]."),
            key("key", "\"pki/server.key\"", "Its key; needed beside it."),
            key("certificates", "[]", "More certificates shown here by name, as in [tls]."),
            key("sni", "\"default\"", "Clients that ask for no known name, as in [tls], which is the default."),
            key(
                "certificate_identity",
                "\"common-name\"",
                "The user name of a client certificate, as in [identity], which is the default.",
            ),
            key(
                "certificate_and_password",
                "false",
                "Whether a certificate and a password of the same user are needed, both.",
            ),
            key(
                "sources",
                "[\"certificate\", \"password\", \"dynamic\"]",
                "Who is asked for the identity of a client here, as in [identity], which is the default.",
            ),
            key(
                "mount_point",
                "\"\"",
                "Stands before every topic of the clients here, unseen by them, such as \"site-1/\": in PUBLISH,\n\
                 wills and filters, behind $share/NAME/ too, not in response topics. Access rules name the whole;\n\
                 topics that begin with $ do not exist behind it.",
            ),
            key("assign_client_ids", "true", "Whether a client without an identifier is given one, or refused."),
            key("protocol_versions", "[\"3.1\", \"3.1.1\", \"5.0\"]", "Versions of MQTT; others are refused."),
            key("connections_max", "0", "Connections through this listener; 0: no bound of its own."),
            key(
                "proxy_protocol",
                "false",
                "Whether each connection comes through a proxy (HAProxy and others) and begins with its PROXY header,\n\
                 version 1 or 2. Such a listener takes connections of trusted_proxies and of nobody else.",
            ),
            key("trusted_proxies", "[]", "Addresses and networks of those proxies, such as \"10.0.0.0/8\"."),
        ],
    },
    certificates::TLS,
    certificates::RENEWAL,
    certificates::ACME,
    SectionEntry {
        name: "identity",
        doc: "How clients prove who they are. Nobody comes in without proof. Read again on SIGHUP.",
        keys: &[
            key(
                "sources",
                "[\"certificate\", \"password\", \"dynamic\"]",
                "Who is asked for the identity of a client, in this order: the first that knows it decides, and one\n\
                 that cannot answer lets nobody in. Default: those of these that are configured.",
            ),
            key("password_file", "\"passwords\"", "Written by `motte passwd`. Default: no passwords."),
            key(
                "certificate_identity",
                "\"common-name\"",
                "The field of a client certificate that is the user name of its holder: \"common-name\",\n\
                 \"san-dns\", \"san-uri\", \"san-email\" (the only alternative name of the kind), \"subject\"\n\
                 (the whole, as CN=pump,O=Example) or \"none\". Without a clear one nobody comes in.",
            ),
        ],
    },
    remote::JWT,
    remote::HTTP,
    remote::LDAP,
    remote::VAULT,
    tenants::TENANT,
    tenants::TENANCY,
    SectionEntry {
        name: "policy",
        doc: "Who may do what; what no rule allows is denied. Read again on SIGHUP.",
        keys: &[
            key("acl_file", "\"acl\"", "Access rules in the grammar of Mosquitto's acl_file."),
            key(
                "policy_file",
                "\"policy.toml\"",
                "Rules with conditions in Motte's own grammar, beside the acl_file or in its place. Default: none.",
            ),
            key(
                "dynamic_file",
                "\"dynamic-security.json\"",
                "Clients, groups and roles that are changed while the broker runs, as by `mosquitto_ctrl dynsec`; in\n\
                 Mosquitto's form. For its own clients it alone allows, the other rules can only deny. Made at the\n\
                 start when it is not there. Default: none.",
            ),
            key(
                "dynamic_admin_password",
                "\"file:admin-password\"",
                "The password of `admin` in a dynamic_file that is made: env:NAME, file:PATH or credential:NAME.\n\
                 Default: MOSQUITTO_DYNSEC_PASSWORD of the environment, or else one that is made and left beside\n\
                 the file, under its name and .pw.",
            ),
        ],
    },
    SectionEntry {
        name: "limits",
        doc: "Bounds, all inclusive. Names end in their unit.",
        keys: &[key(
            "queue_policy",
            "\"reject\"",
            "When as much waits for a session that outlives its connection as the bounds of its queue allow:\n\
             \"reject\" (who publishes to it at QoS 1 or 2 is refused: 0x97 in MQTT 5.0, no answer in 3.x) or\n\
             \"drop-oldest\" (what waits longest is lost, and counted).",
        )],
    },
    SectionEntry {
        name: "durability",
        doc: "What survives a restart, a crash and a power cut: sessions, queued and retained messages, wills.",
        keys: durability::KEYS,
    },
    SectionEntry {
        name: "log",
        doc: "The log, on standard error.",
        keys: &[
            key("format", "\"auto\"", "\"auto\" (human on a terminal, JSON otherwise), \"human\" or \"json\"."),
            key("level", "\"info\"", "\"error\", \"warn\", \"info\" or \"debug\"."),
        ],
    },
    SectionEntry {
        name: "danger",
        doc: "What stands here weakens security, and the log names it at every start.",
        keys: danger::KEYS,
    },
];

/// The section of a name.
pub(super) fn section(name: &str) -> &'static SectionEntry {
    SECTIONS.iter().find(|section| section.name == name).expect("the catalogue holds every section that is read")
}

/// The names of all keys of a section, and of the sections below it.
pub(super) fn known(name: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = section(name).keys.iter().map(|key| key.name).collect();
    if name == "limits" {
        names.extend(BOUNDS.iter().map(|bound| bound.name));
    }
    let below = SECTIONS.iter().filter_map(|section| section.name.strip_prefix(name)?.strip_prefix('.'));
    names.extend(below);
    names
}

/// All kinds of limits, which share one section.
#[derive(Clone, Debug, Default)]
pub(super) struct Bounds {
    pub(super) gate: GateLimits,
    pub(super) shard: Limits,
    pub(super) links: LinkLimits,
}

/// One bound.
#[derive(Debug)]
pub(super) struct Bound {
    /// Its key under `[limits]`, with the unit last.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) doc: &'static str,
    /// What may be written.
    pub(super) range: RangeInclusive<u64>,
    /// Its value in a set of bounds.
    pub(super) read: fn(&Bounds) -> u64,
    /// Sets it; the number is within the range.
    pub(super) write: fn(&mut Bounds, u64),
}

macro_rules! bound {
    ($part:ident.$field:ident: $type:ty, $range:expr, $doc:literal) => {
        Bound {
            name: stringify!($field),
            doc: $doc,
            range: $range,
            read: |bounds| bounds.$part.$field as u64,
            write: |bounds, value| {
                bounds.$part.$field = <$type>::try_from(value).expect("the range fits the type");
            },
        }
    };
}

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Every bound in the order of the sample file.
pub(super) static BOUNDS: &[Bound] = &[
    Bound {
        name: "admission_deadline_s",
        doc: "Seconds from accept to CONNACK: TCP, TLS, WebSocket, CONNECT and password check together.",
        range: 1..=120,
        read: |bounds| bounds.gate.admission_deadline.as_secs(),
        write: |bounds, value| bounds.gate.admission_deadline = std::time::Duration::from_secs(value),
    },
    bound!(gate.connect_bytes_max: u32, 256..=MIB, "Bytes of a CONNECT."),
    bound!(gate.client_id_31_characters_max: usize, 23..=256, "Characters of a client identifier of MQTT 3.1."),
    bound!(gate.handshakes_max: usize, 1..=65_536, "Connections before CONNACK, in all; beyond, the oldest ends."),
    bound!(gate.handshakes_per_address_max: usize, 1..=65_536, "Connections between accept and CONNACK, per address."),
    bound!(gate.connections_max: usize, 1..=10_000_000, "Connections in all."),
    bound!(gate.connections_per_address_max: usize, 1..=10_000_000, "Connections per address (IPv6: per /64)."),
    bound!(gate.hashes_at_once_max: usize, 1..=256, "Password hashes computed at once."),
    bound!(gate.hashes_waiting_max: usize, 1..=65_536, "Password checks that may wait."),
    Bound {
        name: "hash_deadline_s",
        doc: "Seconds a password check may wait for its turn and take.",
        range: 1..=120,
        read: |bounds| bounds.gate.hash_deadline.as_secs(),
        write: |bounds, value| bounds.gate.hash_deadline = std::time::Duration::from_secs(value),
    },
    bound!(
        gate.proofs_max: usize,
        0..=1_000_000,
        "Passwords that were right a moment ago and are not hashed again; 0 for none. None is stored, only digests\n\
         under a key of the process."
    ),
    Bound {
        name: "proof_life_s",
        doc: "Seconds for which they are known.",
        range: 0..=86_400,
        read: |bounds| bounds.gate.proof_life.as_secs(),
        write: |bounds, value| bounds.gate.proof_life = std::time::Duration::from_secs(value),
    },
    Bound {
        name: "wrong_proofs_max",
        doc: "Wrong passwords of one user from one address before it waits for 1 s, then 2 s, up to 60 s; 0 for any.",
        range: 0..=1_000_000,
        read: |bounds| u64::from(bounds.gate.guesses.wrong_max),
        write: |bounds, value| bounds.gate.guesses.wrong_max = u32::try_from(value).expect("the range fits the type"),
    },
    Bound {
        name: "wrong_proofs_per_address_max",
        doc: "Wrong passwords from one address before it waits; one is forgotten every 3 s. 0 for any number.",
        range: 0..=1_000_000,
        read: |bounds| u64::from(bounds.gate.guesses.wrong_per_address_max),
        write: |bounds, value| {
            bounds.gate.guesses.wrong_per_address_max = u32::try_from(value).expect("the range fits the type");
        },
    },
    Bound {
        name: "wrong_proofs_per_user_max",
        doc: "Wrong passwords of one user before its checks are 2 s late; one is forgotten every second. 0 for any.",
        range: 0..=1_000_000,
        read: |bounds| u64::from(bounds.gate.guesses.wrong_per_user_max),
        write: |bounds, value| {
            bounds.gate.guesses.wrong_per_user_max = u32::try_from(value).expect("the range fits the type");
        },
    },
    Bound {
        name: "packet_deadline_s",
        doc: "Seconds from the first byte of a packet to its last.",
        range: 1..=3_600,
        read: |bounds| bounds.links.packet_deadline.as_secs(),
        write: |bounds, value| bounds.links.packet_deadline = std::time::Duration::from_secs(value),
    },
    Bound {
        name: "write_timeout_s",
        doc: "Seconds for which a client may take nothing of what waits for it.",
        range: 1..=3_600,
        read: |bounds| bounds.links.write_timeout.as_secs(),
        write: |bounds, value| bounds.links.write_timeout = std::time::Duration::from_secs(value),
    },
    bound!(shard.packet_size_bytes_max: u32, 1024..=268_435_460, "Bytes of a whole packet from a client."),
    Bound {
        name: "qos_max",
        doc: "QoS of messages from clients; subscriptions may ask for more and get this.",
        range: 0..=2,
        read: |bounds| u64::from(bounds.shard.qos_max.as_u8()),
        write: |bounds, value| {
            let qos = u8::try_from(value).ok().and_then(motte_broker::mqtt::Qos::from_u8);
            bounds.shard.qos_max = qos.expect("the range is that of QoS");
        },
    },
    bound!(shard.topic_levels_max: usize, 1..=65_535, "Levels of a topic."),
    bound!(shard.topic_bytes_max: usize, 16..=65_535, "Bytes of a topic."),
    bound!(shard.subscriptions_max: usize, 1..=1_000_000, "Subscriptions of one session."),
    bound!(shard.inflight_max: u16, 1..=65_535, "Unacknowledged QoS 1 and 2 messages towards a client."),
    bound!(shard.inflight_bytes_max: usize, 1..=64 * GIB, "Bytes of such messages; a larger one goes alone."),
    bound!(shard.receive_maximum: u16, 1..=65_535, "Unacknowledged QoS 1 and 2 messages from a client."),
    bound!(shard.queue_messages_max: usize, 1..=100_000_000, "Messages waiting for one session."),
    bound!(shard.queue_bytes_max: usize, 1024..=64 * GIB, "Bytes of topics and payloads waiting for one session."),
    bound!(
        shard.queue_memory_bytes_max: usize,
        1024..=64 * GIB,
        "Bytes of memory for what waits for one session where nothing is stored: each message takes 256 beside itself."
    ),
    bound!(shard.queue_age_s_max: u32, 0..=4_294_967_295, "Seconds a message may wait for a session; 0 for any time."),
    bound!(shard.outbox_bytes_max: usize, 4096..=GIB, "Unsent bytes of a connection above which QoS 0 is dropped."),
    bound!(shard.letter_bytes_max: usize, 4096..=GIB, "Bytes waiting for a shard above which its publishers wait."),
    bound!(shard.retained_messages_max: usize, 0..=100_000_000, "Retained messages in all; 0 for none."),
    bound!(shard.retained_bytes_max: usize, 0..=1024 * GIB, "Bytes of retained messages in all."),
    bound!(shard.session_expiry_s_max: u32, 0..=4_294_967_294, "Seconds a session may outlive its connection."),
    bound!(shard.sessions_max: usize, 1..=10_000_000, "Sessions of one shard."),
    bound!(shard.sessions_per_user_max: usize, 1..=10_000_000, "Sessions of one user."),
    bound!(
        shard.connects_per_user_per_min_max: u32,
        0..=4_294_967_295,
        "Connections of one user in a minute; 0 for any number."
    ),
    bound!(
        shard.connects_per_client_per_min_max: u32,
        0..=4_294_967_295,
        "Connections of one user under the same client identifier in a minute; 0 for any number."
    ),
    bound!(
        shard.publishes_per_s_max: u32,
        0..=4_294_967_295,
        "PUBLISH packets of a connection in a second; above, it is not read for a while. 0 for any number."
    ),
    bound!(
        shard.publishes_per_s_hard_max: u32,
        0..=4_294_967_295,
        "PUBLISH packets of a connection in a second; above, it ends. 0 for any number."
    ),
    bound!(
        shard.publish_bytes_per_s_max: u32,
        0..=4_294_967_295,
        "Bytes of PUBLISH packets of a connection in a second; above, it is not read for a while. 0 for any number."
    ),
    bound!(
        shard.publish_bytes_per_s_hard_max: u32,
        0..=4_294_967_295,
        "Bytes of PUBLISH packets of a connection in a second; above, it ends. 0 for any number."
    ),
    bound!(
        shard.keep_alive_s_max: u16,
        0..=65_535,
        "Seconds of keep alive; 0 for no maximum. MQTT 5.0 clients that ask for more, or for no keep alive, are\n\
         told this one; MQTT 3.x clients cannot be told and are refused."
    ),
    bound!(shard.topic_alias_maximum: u16, 0..=65_535, "Topic aliases a client may set."),
    bound!(shard.topic_alias_outbound_max: u16, 0..=65_535, "Topic aliases used towards a client; 0 for none."),
];
