//! The sections of `motte.toml` about the broker's own certificates.
//!
//! Part of the one table in `catalogue`; holds no logic.

use super::{SectionEntry, key};

/// `[tls]`.
pub(super) const TLS: SectionEntry = SectionEntry {
    name: "tls",
    doc: "The certificates of this broker (PEM). Read again on SIGHUP.",
    keys: &[
        key("certificate", "\"pki/server.pem\"", "Certificate of the server and those between it and the root."),
        key("key", "\"pki/server.key\"", "Its key; only its owner may read it (mode 0600)."),
        key(
            "key_password",
            "\"file:secrets/key\"",
            "Where the password is of keys that are protected by one, the CA's of [tls.renewal] too: file:PATH,\n\
             env:NAME or credential:NAME. What the broker renews is protected by it as well. Default: none.",
        ),
        key(
            "ocsp",
            "\"auto\"",
            "Staple answers about the certificate's status: \"auto\" (of the responder it names) or a file that\n\
             something else keeps fresh. Only a good answer is shown, and only while it counts. Default: none.",
        ),
        key("client_ca", "\"pki/ca.pem\"", "The CA whose client certificates count. Default: none."),
        key(
            "crl",
            "[\"pki/crl.pem\"]",
            "Revocation lists (PEM or DER; `motte cert crl` makes one): who is named there is refused. Each CA\n\
             whose clients count needs a list, and so does each intermediate one, whose certificate stands in the\n\
             file beside its list; a client of whose status nothing is known is refused. Default: no lists.",
        ),
        key(
            "crl_expired",
            "\"deny\"",
            "When a list has ended, the clients of its CA are refused; the log tells of it from 7 days before.",
        ),
        key(
            "certificates",
            "[]",
            "More certificates, each shown to clients that ask for a DNS name in it (SNI):\n\
             [{ certificate = \"pki/other.pem\", key = \"pki/other.key\" }]",
        ),
        key(
            "sni",
            "\"default\"",
            "What clients get that ask for no name, or for one in none of the certificates: \"default\"\n\
             (the first certificate) or \"strict\" (they are refused).",
        ),
        key("min", "\"1.2\"", "The lowest version of TLS: \"1.2\" or \"1.3\"."),
    ],
};

/// `[tls.renewal]`.
pub(super) const RENEWAL: SectionEntry = SectionEntry {
    name: "tls.renewal",
    doc: "With a private CA the broker renews its own certificate in the last third of its life.",
    keys: &[
        key("ca_certificate", "\"pki/ca.pem\"", "Certificate of the CA."),
        key("ca_key", "\"pki/ca.key\"", "Key of the CA (mode 0600)."),
        key("days", "90", "Life of a new certificate, 1 to 90 days."),
    ],
};

/// `[acme]`.
pub(super) const ACME: SectionEntry = SectionEntry {
    name: "acme",
    doc: "The server certificate from a CA that speaks ACME (RFC 8555): got at the first start, renewed in the last\n\
          third of its life, written where [tls] reads it. Default: none.",
    keys: &[
        key("directory_url", "\"https://ca.example.org/directory\"", "The CA's directory."),
        key("accept_terms", "true", "That you accept the CA's terms of service; without it there is no account."),
        key("names", "[\"broker.example.org\"]", "Names of the certificate, as clients reach the broker."),
        key("contact", "[]", "Where the CA may write to: [\"mailto:ops@example.org\"]."),
        key(
            "challenge",
            "\"tls-alpn-01\"",
            "How the CA is shown that the names are ours: \"tls-alpn-01\" (it connects to port 443, which has to\n\
             lead to a TLS listener) or \"http-01\" (to port 80, which has to lead to http_address).",
        ),
        key("http_address", "\"0.0.0.0:80\"", "Where \"http-01\" is answered, and only while it is asked."),
        key(
            "ca",
            "\"pki/acme-ca.pem\"",
            "CAs by which the directory itself is believed. Default: those of the system.",
        ),
        key("account", "\"pki/acme-account.json\"", "The account and its key (mode 0600); made when it is missing."),
        key("external_key_id", "\"kid-1\"", "For CAs that bind accounts to a customer: the identifier of the key,"),
        key("external_key", "\"file:acme-eab\"", "and the key itself: env:NAME, file:PATH or credential:NAME."),
    ],
};
