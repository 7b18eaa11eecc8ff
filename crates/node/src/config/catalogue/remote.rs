//! The keys of sources of identities and of secrets that are not on this machine.
//!
//! Part of the catalogue.

use super::{KeyEntry, SectionEntry, key};

const TIMEOUT: KeyEntry = key("timeout_ms", "3000", "Milliseconds that an answer may take, 50 to 60000.");
const CONNECTIONS: KeyEntry = key("connections_max", "16", "Connections to it at once, 1 to 256.");
const CA: KeyEntry =
    key("ca", "\"pki/ca.pem\"", "The CA that it is believed by. Default: those that this system trusts.");
const SESSION: KeyEntry = key(
    "session_s",
    "86400",
    "Seconds after which a session has to prove itself again, from 60: nobody stays for longer who was locked\n\
     out there.",
);

/// `[[identity.jwt]]`.
pub(super) const JWT: SectionEntry = SectionEntry {
    name: "identity.jwt",
    doc: "An issuer of signed tokens (JWT) that are shown as passwords. Repeat the section for each; name it in\n\
          sources as \"jwt:NAME\". Tokens need exp, nbf, iss and aud; a session ends when its token does.",
    keys: &[
        key("name", "\"issuer\"", "Its name."),
        key(
            "algorithms",
            "[\"ES256\"]",
            "What its tokens may be signed with: RS256, PS256, ES256, EdDSA, HS256 and their longer kinds.",
        ),
        key("issuer", "\"https://issuer.example.org\"", "The iss of its tokens."),
        key("audience", "\"motte\"", "The aud that tokens for this broker have."),
        key("jwks_url", "\"https://issuer.example.org/jwks.json\"", "Where its public keys are. Or:"),
        key("jwks_file", "\"issuer.jwks\"", "A file with them; read again on SIGHUP. Or:"),
        key(
            "secret",
            "\"file:issuer.secret\"",
            "The secret shared with it, of 32 bytes at least for HS256, 48 for HS384, 64 for HS512. As all secrets by\n\
             reference: env:NAME, file:PATH, credential:NAME (systemd) or vault:MOUNT/PATH#KEY.",
        ),
        CA,
        TIMEOUT,
        key("refresh_s", "300", "Seconds until keys are fetched again, unless the server says less."),
        key("refetch_s", "10", "Least seconds between two fetches, also when tokens name unknown keys."),
        key("stale_s", "86400", "Seconds for which the last good keys count while the server does not answer."),
        key("leeway_s", "0", "Seconds by which its clock may differ, up to 300."),
        key("token_in", "\"password\"", "Where in CONNECT the token stands: \"password\" or \"username\"."),
        key("username_claim", "\"sub\"", "The claim that is the user name. With dots: a path into objects."),
        key("client_id_claim", "\"client_id\"", "The claim that has to be the client identifier. Default: none."),
        key("acl_claim", "\"acl\"", "The claim with access rules of this client alone. Default: none."),
        key("tenant_claim", "\"tenant\"", "The claim that names the tenant. Default: none."),
    ],
};

/// `[[identity.http]]`.
pub(super) const HTTP: SectionEntry = SectionEntry {
    name: "identity.http",
    doc: "A server that is asked about each client. Repeat the section for each; name it in sources as\n\
          \"http:NAME\". Any answer but a clear yes lets nobody in.",
    keys: &[
        key("name", "\"hook\"", "Its name."),
        key("url", "\"https://auth.example.org/mqtt\"", "Where the question is posted; http:// on loopback only."),
        key("token", "\"file:hook.token\"", "A token that the broker shows to it (Bearer). Default: none."),
        key("client_certificate", "\"pki/broker.pem\"", "A certificate that the broker shows to it. Default: none."),
        key("client_key", "\"pki/broker.key\"", "Its key (mode 0600)."),
        CA,
        TIMEOUT,
        CONNECTIONS,
        key("cache_s", "0", "Seconds for which a yes counts without asking again, up to 3600; 0: it is always asked."),
        key("cache_entries_max", "10000", "How many such answers are kept."),
        SESSION,
    ],
};

/// `[[identity.ldap]]`.
pub(super) const LDAP: SectionEntry = SectionEntry {
    name: "identity.ldap",
    doc: "A directory (LDAP): the user is searched, then bound with the password. Repeat the section for each; name\n\
          it in sources as \"ldap:NAME\".",
    keys: &[
        key("name", "\"corp\"", "Its name."),
        key("url", "\"ldaps://ldap.example.org\"", "Where it is: ldaps://, or ldap:// with starttls = true."),
        key("starttls", "false", "Whether TLS begins before anything is said on ldap://."),
        CA,
        key("bind_dn", "\"cn=motte,dc=example,dc=org\"", "Who searches."),
        key("bind_password", "\"file:ldap.password\"", "With which password, by reference."),
        key("base_dn", "\"ou=people,dc=example,dc=org\"", "The part of the tree that users are in."),
        key("filter", "\"(uid=%u)\"", "How they are found; %u is the user name. It has to find one entry."),
        key(
            "username_attribute",
            "\"uid\"",
            "The attribute in which the user name stands letter for letter. Default: the one in the filter.",
        ),
        key("attributes", "[]", "Attributes of the entry that access rules may use, as ldap.NAME."),
        TIMEOUT,
        CONNECTIONS,
        SESSION,
    ],
};

/// `[vault]`.
pub(super) const VAULT: SectionEntry = SectionEntry {
    name: "vault",
    doc: "Where references vault:MOUNT/PATH#KEY lead: HashiCorp Vault or OpenBao, KV version 2. Read on SIGHUP too.",
    keys: &[
        key("url", "\"https://vault.example.org:8200\"", "Where it is."),
        CA,
        key("namespace", "\"team\"", "The namespace there. Default: none."),
        key("token", "\"file:vault.token\"", "Who the broker is to it, by reference. Or:"),
        key("role_id", "\"motte\"", "The role it logs in as (AppRole),"),
        key("secret_id", "\"file:vault.secret\"", "and the secret of that role, by reference."),
        TIMEOUT,
    ],
};
