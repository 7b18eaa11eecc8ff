//! What is said about wrong configurations, as `file:line: what`, and that the sample file is right.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod acme;
mod identity;
mod remote;
mod revocation;
mod tenancy;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use motte_broker::QueuePolicy;
use motte_pki::{Authority, IdentityField, LeafRequest, Role, create_private_dir, write_private, write_public};
use tempfile::TempDir;

use super::catalogue::Bounds;
use super::{ConfigFile, SampleListener, sample};
use crate::settings::{
    CertificateFiles, ClientCertificates, DurabilityMode, DurabilitySettings, LinkLimits, ListenAddress, ListenerRules,
    ListenerSettings, LogSettings, ProtocolVersions, Transport,
};

/// A password of nobody: salt and hash are of the right form.
const PASSWORDS: &str = "anna:$7$101$AAAAAAAAAAAAAAAA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";

/// A right configuration.
pub(crate) const GOOD: &str = "\
[[listener]]
address = \"127.0.0.1:0\"

[tls]
certificate = \"pki/server.pem\"
key = \"pki/server.key\"
client_ca = \"pki/ca.pem\"

[identity]
password_file = \"passwords\"

[policy]
acl_file = \"acl\"
";

/// A policy file.
const ROLE: &str = "[[role]]\nname = \"r\"\neverybody = true\n[[role.rule]]\nallow = [\"receive\"]\ntopics = [\"a\"]\n";

/// A folder with a CA, a server certificate, passwords and rules, all right.
pub(crate) fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    create_private_dir(&pki).unwrap();
    let now = SystemTime::now();
    let ca = Authority::create("Test CA", now).unwrap();
    let names = vec!["localhost".parse().unwrap()];
    let request = LeafRequest { role: Role::Server, common_name: "localhost".into(), names, days: 30 };
    let server = ca.issue(&request, now).unwrap();
    write_public(&pki.join("ca.pem"), ca.certificate_pem().as_bytes()).unwrap();
    write_private(&pki.join("ca.key"), ca.key_pem().as_bytes()).unwrap();
    write_public(&pki.join("server.pem"), server.chain_pem.as_bytes()).unwrap();
    write_private(&pki.join("server.key"), server.key_pem.as_bytes()).unwrap();
    write_private(&dir.path().join("passwords"), PASSWORDS.as_bytes()).unwrap();
    write_private(&dir.path().join("acl"), b"pattern readwrite data/%u/#\n").unwrap();
    dir
}

/// All errors as lines, with the folder's own path taken out and without hints.
fn errors(dir: &Path, text: &[u8], now: SystemTime) -> Vec<String> {
    let path = dir.join("motte.toml");
    write_private(&path, text).unwrap();
    let errors = match ConfigFile::load_at(&path, now) {
        Ok(_) => return Vec::new(),
        Err(errors) => errors,
    };
    let shown = errors.iter().map(ToString::to_string);
    let prefix = format!("{}/", dir.display());
    shown
        .map(|line| {
            let (what, hint) = line.split_once(" — hint: ").unwrap_or_else(|| panic!("no hint: {line}"));
            assert!(!hint.is_empty(), "{line}");
            what.replace(&prefix, "")
        })
        .collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let dir = folder();
    assert_eq!(errors(dir.path(), text.as_bytes(), SystemTime::now()), expected, "{text}");
}

/// `GOOD` with one line replaced.
fn with(line: &str, replacement: &str) -> String {
    assert!(GOOD.contains(line), "{line}");
    GOOD.replace(line, replacement)
}

#[test]
fn a_right_file_gives_the_secure_defaults() {
    check(GOOD, &[]);
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(&path, GOOD).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    assert_eq!(settings.acl_file, Some(dir.path().join("acl")));
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].transport, Transport::tls());
    assert_eq!(settings.listeners[0].client_certificates, ClientCertificates::Optional);
    assert_eq!(settings.listeners[0].rules, ListenerRules::default());
    assert!(settings.dangers.is_empty());
}

#[test]
fn unknown_names_get_a_suggestion() {
    let dir = folder();
    let text = format!("{GOOD}[lmits]\n[limits]\ninflight = 3\nkeep_alive_max_s = 10\n");
    write_private(&dir.path().join("motte.toml"), text.as_bytes()).unwrap();
    let errors = ConfigFile::load(&dir.path().join("motte.toml")).unwrap_err();
    let hints: Vec<_> = errors.iter().map(|error| (error.line, error.what.as_str(), error.hint.as_str())).collect();
    assert_eq!(
        hints[..2],
        [
            (14, "unknown section \"lmits\"", "did you mean limits?"),
            (16, "unknown key \"inflight\" in [limits]", "did you mean inflight_max?"),
        ]
    );
    assert_eq!((errors[2].line, errors[2].what.as_str()), (17, "unknown key \"keep_alive_max_s\" in [limits]"));
}

#[test]
fn every_error_is_told_at_once_with_its_line() {
    check(
        &format!("{}[log]\nlevel = \"loud\"\n[node]\nshards = 0\n", with("key = \"pki/server.key\"\n", "kee = 1\n")),
        &[
            "motte.toml:4: key is missing in [tls]",
            "motte.toml:6: unknown key \"kee\" in [tls]",
            "motte.toml:15: level cannot be \"loud\"",
            "motte.toml:17: shards must be a whole number from 1 to 256",
        ],
    );
}

#[test]
fn everything_is_kept_in_a_directory_beside_the_file_unless_another_mode_is_chosen() {
    let dir = folder();
    let durability = |lines: &str| {
        let path = dir.path().join("motte.toml");
        write_private(&path, format!("{GOOD}[durability]\n{lines}").as_bytes()).unwrap();
        ConfigFile::load(&path).unwrap().durability
    };
    let default = DurabilitySettings::sync(dir.path().join("store"));
    assert_eq!((durability(""), durability("max_bytes = 0\n")), (default.clone(), default.clone()));
    assert_eq!(default.mode.loses(), None);
    let chosen = durability("directory = \"/srv/motte\"\nmax_bytes = 16777216\nreserve_bytes = 1048576\n");
    let directory = Path::new("/srv/motte").into();
    assert_eq!(chosen, DurabilitySettings { directory, bytes_max: Some(16 << 20), reserve_bytes: 1 << 20, ..default });
    let interval = |ms| DurabilityMode::Interval(Duration::from_millis(ms));
    assert_eq!(durability("mode = \"interval\"\n").mode, interval(1_000));
    assert_eq!(durability("mode = \"interval\"\ninterval_ms = 50\n").mode, interval(50));
    assert!(interval(50).loses().is_some_and(|loss| loss.ends_with("in the last 50 ms")));
    assert_eq!(durability("mode = \"memory\"\n").mode, DurabilityMode::Memory);
}

#[test]
fn what_cannot_be_kept_that_way() {
    let durability = |lines: &str| format!("{GOOD}[durability]\n{lines}");
    check(
        &durability("mode = \"syn\"\ninterval_ms = 50\nmax_bytes = 1024\nreserve_bytes = 0\ndirectory = \"\"\n"),
        &[
            "motte.toml:15: mode cannot be \"syn\"",
            "motte.toml:16: interval_ms is only for mode = \"interval\"",
            "motte.toml:17: max_bytes is too little for a store: 1024",
            "motte.toml:18: reserve_bytes must be a whole number from 1048576 to 1125899906842624",
            "motte.toml:19: directory is empty",
        ],
    );
    check(
        &durability("mode = \"interval\"\ninterval_ms = 9\n"),
        &["motte.toml:16: interval_ms must be a whole number from 10 to 60000"],
    );
}

#[test]
fn a_broker_that_kills_itself_is_named_as_a_danger() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    write_private(&path, format!("{GOOD}[danger]\ncrash_at = \"before_ack:3\"\n").as_bytes()).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    assert_eq!(settings.durability.crash_at.map(|point| point.to_string()).as_deref(), Some("before_ack:3"));
    assert!(settings.dangers.len() == 1 && settings.dangers[0].starts_with("crash_at: "), "{:?}", settings.dangers);
    check(
        &format!("{GOOD}[danger]\ncrash_at = \"somewhere\"\n"),
        &["motte.toml:15: there is no crash point of this name"],
    );
}

#[test]
fn hints_for_clients_have_to_fit_into_their_packets() {
    let hints = |lines: &str| format!("{GOOD}[node]\n{lines}");
    check(&hints("server_reference = \"a.example b.example:8883\"\nresponse_topic_prefix = \"r/x\"\n"), &[]);
    check(
        &hints("server_reference = \"\"\nresponse_topic_prefix = \"r/#\"\n"),
        &["motte.toml:15: \"\" does not name a server", "motte.toml:16: \"r/#\" is not the beginning of a topic"],
    );
    check(&hints("server_reference = \"a  b\"\n"), &["motte.toml:15: \"a  b\" does not name a server"]);
    check(&hints("response_topic_prefix = \"r/\"\n"), &["motte.toml:15: \"r/\" is not the beginning of a topic"]);
}

#[test]
fn what_a_listener_cannot_be() {
    let address = "address = \"127.0.0.1:0\"\n";
    check(
        &with(address, "address = \"localhost:8883\"\n"),
        &["motte.toml:2: \"localhost:8883\" is not an address with a port"],
    );
    check(&with(address, ""), &["motte.toml:1: address is missing in [[listener]]"]);
    check(&with(address, "address = 8883\n"), &["motte.toml:2: address must be a text"]);
    check(
        &with(address, "address = \"127.0.0.1:0\"\ntransport = \"mqtts\"\npath = \"/mqtt\"\n"),
        &["motte.toml:4: path is only for WebSocket"],
    );
    check(
        &with(address, "address = \"127.0.0.1:0\"\ntransport = \"wss\"\npath = \"mqtt\"\norigins = [\"*\"]\n"),
        &["motte.toml:4: \"mqtt\" is not the path of a URL", "motte.toml:5: \"*\" is not a web origin"],
    );
    check(
        &with(address, "address = \"127.0.0.1:81\"\n[[listener]]\naddress = \"127.0.0.1:81\"\n"),
        &["motte.toml:4: two listeners have the address 127.0.0.1:81"],
    );
    check(&with("[[listener]]", "[listener]"), &["motte.toml:1: listener is a list of sections"]);
    check(&with("[[listener]]\naddress = \"127.0.0.1:0\"\n", ""), &["motte.toml: there is no listener"]);
}

#[test]
fn a_listener_without_tls_stands_on_loopback_and_elsewhere_only_under_danger() {
    let address = "address = \"127.0.0.1:0\"\n";
    let beyond = "a listener without TLS cannot stand beyond loopback";
    for transport in ["tcp", "ws"] {
        let at = |place: &str| with(address, &format!("address = \"{place}\"\ntransport = \"{transport}\"\n"));
        check(&at("127.0.0.1:1883"), &[]);
        check(&at("[::1]:1883"), &[]);
        for place in ["0.0.0.0:1883", "192.0.2.1:1883", "[::]:1883"] {
            check(&at(place), &[&format!("motte.toml:2: {beyond}")]);
            check(&format!("{}[danger]\nplaintext_listeners = [\"{place}\"]\n", at(place)), &[]);
        }
        check(
            &at("192.0.2.1:1883").replace("[tls]", "client_certificates = \"required\"\n[tls]"),
            &[
                &format!("motte.toml:2: {beyond}"),
                "motte.toml:5: a listener without TLS cannot ask for client certificates",
            ],
        );
    }
}

/// `GOOD` with a unix socket beside its listener.
fn with_unix(lines: &str) -> String {
    with("[tls]", &format!("[[listener]]\ntransport = \"unix\"\n{lines}\n[tls]"))
}

#[test]
fn a_unix_socket_is_a_path_and_its_owners_unless_told_otherwise() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    for (mode, bits) in [("", 0o600), ("mode = \"0660\"", 0o660), ("mode = \"666\"", 0o666)] {
        fs::write(&path, with_unix(&format!("address = \"mqtt.sock\"\n{mode}"))).unwrap();
        let settings = ConfigFile::load(&path).unwrap();
        let expected = ListenAddress::Unix { path: dir.path().join("mqtt.sock"), mode: bits };
        assert_eq!(settings.listeners[1].address, expected);
        assert_eq!(settings.listeners[1].transport, Transport::PLAINTEXT);
        assert!(settings.dangers.is_empty());
    }
    check(&with_unix(""), &["motte.toml:4: address is missing in [[listener]]"]);
    let socket = "address = \"mqtt.sock\"\n";
    for mode in ["0777", "0400", "rw", "0o600", "00600", "", "-600"] {
        let what = format!("motte.toml:7: {mode:?} cannot be the mode of a socket");
        check(&with_unix(&format!("{socket}mode = {mode:?}")), &[&what]);
    }
    check(
        &with_unix(&format!("{socket}path = \"/mqtt\"\nproxy_protocol = true\ntrusted_proxies = [\"::1\"]")),
        &[
            "motte.toml:7: path is only for WebSocket",
            "motte.toml:8: a unix socket has no addresses of proxies to trust",
        ],
    );
    let twice = format!("{socket}[[listener]]\ntransport = \"unix\"\n{socket}");
    let found = errors(dir.path(), with_unix(&twice).as_bytes(), SystemTime::now());
    assert_eq!(found, ["motte.toml:9: two listeners have the address mqtt.sock"]);
    let long =
        errors(dir.path(), with_unix(&format!("address = \"/{}\"", "x".repeat(103))).as_bytes(), SystemTime::now());
    assert_eq!(long, ["motte.toml:6: the path of a unix socket has at most 103 bytes, this one has 104"]);
    let tls = with("address = \"127.0.0.1:0\"\n", "address = \"127.0.0.1:0\"\nmode = \"0600\"\n");
    check(&tls, &["motte.toml:3: mode is only for a unix socket"]);
}

#[test]
fn k38_a_proxy_protocol_needs_proxies_that_are_trusted() {
    let proxy = |lines: &str| with("address = \"127.0.0.1:0\"\n", &format!("address = \"127.0.0.1:0\"\n{lines}\n"));
    check(&proxy("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]"), &[]);
    check(&proxy("proxy_protocol = false"), &[]);
    for none in ["", "trusted_proxies = []"] {
        let what = "motte.toml:3: proxy_protocol without trusted_proxies would believe everybody";
        check(&proxy(&format!("proxy_protocol = true\n{none}")), &[what]);
    }
    check(
        &proxy("trusted_proxies = [\"10.0.0.0/8\"]"),
        &["motte.toml:3: trusted_proxies is set without proxy_protocol"],
    );
    check(
        &proxy("proxy_protocol = true\ntrusted_proxies = [\"0.0.0.0/0\",\n\"lan\",\n\"10.1.0.0/8\"]"),
        &[
            "motte.toml:4: \"0.0.0.0/0\" is every address, so everybody would be believed",
            "motte.toml:5: \"lan\" is no network",
            "motte.toml:6: \"10.1.0.0/8\" has bits beyond its prefix",
        ],
    );
}

#[test]
fn an_address_under_danger_belongs_to_the_listener_that_has_it() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    let listener = "[[listener]]\nname = \"web\"\naddress = \"0.0.0.0:80\"\ntransport = \"ws\"\norigins = []\n";
    fs::write(&path, format!("{GOOD}{listener}[danger]\nplaintext_listeners = [\"0.0.0.0:80\"]\n")).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    assert_eq!(settings.listeners.len(), 2);
    assert_eq!((settings.listeners[1].name.as_str(), settings.listeners[1].transport.scheme()), ("web", "ws"));
    assert_eq!(settings.dangers.len(), 1, "{:?}", settings.dangers);
}

#[test]
fn k27_nobody_could_log_in_is_an_error() {
    let nobody = "nobody could ever log in: there is neither a password file nor a CA for client certificates in use";
    let no_passwords = with("password_file = \"passwords\"\n", "");
    let neither = no_passwords.replace("client_ca = \"pki/ca.pem\"\n", "");
    check(&neither, &[&format!("motte.toml:8: {nobody}")]);
    check(&no_passwords, &[]);
    check(
        &no_passwords.replace("[identity]\n", "[identity]\ncertificate_identity = \"none\"\n"),
        &[&format!("motte.toml:9: {nobody}")],
    );
    check(&format!("{neither}[danger]\nallow_anonymous = true\n"), &[]);
    let two = neither.replace("[tls]", "name = \"local\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[tls]");
    let one_is_shut = nobody.replace("log in:", "log in through the listener \"listener-2\":");
    check(&format!("{two}[danger]\nallow_anonymous = [\"local\"]\n"), &[&format!("motte.toml:11: {one_is_shut}")]);
}

/// The listeners of a file that is right.
fn listeners(text: &str) -> Vec<ListenerSettings> {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(&path, text).unwrap();
    let mut listeners = ConfigFile::load(&path).unwrap().listeners;
    for file in listeners.iter_mut().filter_map(|listener| listener.rules.client_ca.as_mut()) {
        *file = file.strip_prefix(dir.path()).unwrap().to_path_buf();
    }
    listeners
}

#[test]
fn anonymous_clients_are_let_in_by_the_listeners_that_danger_names() {
    let two = with("[tls]", "name = \"local\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[tls]");
    let open = |danger: &str| {
        let text = format!("{two}[danger]\n{danger}\nplaintext_listeners = [\"127.0.0.1:0\"]\n");
        listeners(&text).iter().map(|listener| listener.rules.allow_anonymous).collect::<Vec<_>>()
    };
    assert_eq!(open(""), [false; 3]);
    assert_eq!(open("allow_anonymous = false"), [false; 3]);
    assert_eq!(open("allow_anonymous = []"), [false; 3]);
    assert_eq!(open("allow_anonymous = [\"local\"]"), [true, false, false]);
    assert_eq!(open("allow_anonymous = [\"plaintext-1\", \"listener-2\"]"), [false, true, true]);
    assert_eq!(open("allow_anonymous = true"), [true; 3]);
    let wrong = format!("{two}[danger]\nallow_anonymous = [\"locale\"]\n");
    check(&wrong, &["motte.toml:18: there is no listener \"locale\""]);
    check(
        &format!("{two}[danger]\nallow_anonymous = \"local\"\n"),
        &["motte.toml:18: allow_anonymous must be true or false"],
    );
    check(
        &with("[tls]", "allow_anonymous = true\n[tls]"),
        &["motte.toml:4: unknown key \"allow_anonymous\" in [[listener]]"],
    );
}

#[test]
fn a_listener_has_rules_of_its_own() {
    let own = "mount_point = \"site-1/\"\nassign_client_ids = false\ncertificate_identity = \"san-uri\"\n\
               protocol_versions = [\"5.0\"]\nclient_ca = \"pki/ca.pem\"\n";
    let text = with("[tls]", &format!("{own}[[listener]]\naddress = \"127.0.0.1:0\"\n[tls]"))
        .replace("[identity]\n", "[identity]\ncertificate_identity = \"subject\"\n")
        .replace("\nclient_ca = \"pki/ca.pem\"\n\n", "\n\n");
    let [first, second] = &listeners(&text)[..] else { panic!("two listeners") };
    assert_eq!(first.rules.certificate_identity, Some(IdentityField::SanUri));
    assert_eq!(second.rules.certificate_identity, Some(IdentityField::Subject));
    assert_eq!((first.rules.mount_point.as_str(), second.rules.mount_point.as_str()), ("site-1/", ""));
    assert_eq!((first.rules.assign_client_ids, second.rules.assign_client_ids), (false, true));
    assert_eq!(first.rules.client_ca.as_deref(), Some(Path::new("pki/ca.pem")));
    assert_eq!(first.client_certificates, ClientCertificates::Optional);
    assert_eq!(second.client_certificates, ClientCertificates::None, "no CA is named for it");
    let ProtocolVersions { v31, v311, v5 } = first.rules.protocol_versions;
    assert_eq!((v31, v311, v5), (false, false, true));
    for (line, what) in [
        ("protocol_versions = []", "protocol_versions names no version"),
        ("protocol_versions = [\"4\"]", "\"4\" is no version of MQTT"),
        ("protocol_versions = \"5.0\"", "protocol_versions must be a list of texts"),
        ("mount_point = \"site\"", "the mount point \"site\" does not end in a slash"),
        ("mount_point = \"a/+/\"", "the mount point \"a/+/\" holds a wildcard, a dollar sign or a control character"),
        ("mount_point = \"$SYS/\"", "the mount point \"$SYS/\" holds a wildcard, a dollar sign or a control character"),
        ("certificate_identity = \"cn\"", "certificate_identity cannot be \"cn\""),
        ("client_ca = \"pki/nowhere.pem\"", "pki/nowhere.pem does not exist"),
        ("client_ca = \"pki/server.pem\"", "pki/server.pem holds a certificate that is not a CA's"),
    ] {
        check(&with("[tls]", &format!("{line}\n[tls]")), &[&format!("motte.toml:4: {what}")]);
    }
}

#[test]
fn weakened_security_is_named() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    let danger = "[danger]\nallow_anonymous = true\nplaintext_listeners = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\n";
    fs::write(&path, format!("{GOOD}{danger}")).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    let plaintext = settings.listeners.iter().filter(|listener| listener.transport == Transport::PLAINTEXT);
    assert_eq!(plaintext.count(), 2);
    assert_eq!(settings.dangers.len(), 3, "{:?}", settings.dangers);
}

#[test]
fn k27_a_file_that_is_no_text_is_told_as_such() {
    let dir = folder();
    let now = SystemTime::now();
    let one = |text: &[u8]| errors(dir.path(), text, now);
    assert_eq!(one(b""), ["motte.toml: the file is empty"]);
    assert_eq!(one(b"# nothing\n"), ["motte.toml: the file holds no settings"]);
    assert_eq!(one(b"\xef\xbb\xbf[tls]\n"), ["motte.toml:1: the file begins with a byte order mark"]);
    assert_eq!(one(b"[tls]\nmin = \"\xff\"\n"), ["motte.toml:2: the file is not UTF-8 here"]);
    for cut in 1..GOOD.len() - 1 {
        assert!(!one(&GOOD.as_bytes()[..cut]).is_empty(), "cut at byte {cut}");
    }
    let broken = one(b"[tls]\ncertificate = pki/server.pem\n[log\n");
    assert!(broken[0].starts_with("motte.toml:2: ") && broken.len() >= 2, "{broken:?}");
}

#[test]
fn k27_files_that_are_named_are_checked() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let one = || errors(dir.path(), GOOD.as_bytes(), SystemTime::now());
    let chmod = |name: &str, mode| fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    chmod("passwords", 0o644);
    chmod("acl", 0o666);
    chmod("pki/server.key", 0o640);
    assert_eq!(
        one(),
        [
            "motte.toml:6: pki/server.key holds a private key that other users can read (mode 640)",
            "acl: other users can read or change the file (mode 666)",
            "passwords: other users can read or change the file (mode 644)",
        ]
    );
    chmod("passwords", 0o600);
    chmod("acl", 0o640);
    chmod("pki/server.key", 0o600);
    assert_eq!(one(), [""; 0]);
    fs::remove_file(at("pki/ca.pem")).unwrap();
    write_private(&at("acl"), b"# no rule\n\n").unwrap();
    write_private(&at("passwords"), b"# nobody\n").unwrap();
    assert_eq!(
        one(),
        [
            "motte.toml:7: pki/ca.pem does not exist",
            "acl: the file holds no rule, so everything would be denied to everybody",
            "passwords: the file holds no user, so nobody could log in by password",
        ]
    );
    write_private(&at("acl"), b"topic read a/#\ntopic read a/#/b\n").unwrap();
    write_private(&at("passwords"), b"anna:secret\n").unwrap();
    fs::copy(at("pki/server.key"), at("pki/ca.pem")).unwrap();
    let found = one();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "motte.toml:7: pki/ca.pem cannot be used: there is no certificate in PEM form in it");
    assert!(found[1].starts_with("acl:2: ") && found[2].starts_with("passwords:1: "), "{found:?}");
}

#[test]
fn certificates_must_be_in_force_and_fit() {
    let dir = folder();
    let day = Duration::from_secs(24 * 3600);
    let later = SystemTime::now() + 40 * day + day / 2;
    let ended = "motte.toml:5: the certificate in pki/server.pem ended 10 days ago";
    assert_eq!(errors(dir.path(), GOOD.as_bytes(), later), [ended]);
    let renewal = "[tls.renewal]\nca_certificate = \"pki/ca.pem\"\nca_key = \"pki/ca.key\"\n";
    let text = format!("{GOOD}{renewal}");
    assert_eq!(errors(dir.path(), text.as_bytes(), later), [""; 0], "the broker renews it at its start");
    let early = errors(dir.path(), GOOD.as_bytes(), SystemTime::now() - day);
    assert_eq!(early[0], "motte.toml:5: the certificate in pki/server.pem is not valid yet");
    let text = with("pki/server.key", "pki/ca.key");
    let found = errors(dir.path(), text.as_bytes(), SystemTime::now());
    assert_eq!(found, ["motte.toml:6: the key pki/ca.key does not belong to the certificate pki/server.pem"]);
    let text = with("certificate = \"pki/server.pem\"", "certificate = \"pki/ca.pem\"");
    let found = errors(dir.path(), text.as_bytes(), SystemTime::now());
    assert_eq!(found[0], "motte.toml:5: pki/ca.pem holds a ca certificate first, which clients would refuse");
}

/// A second server certificate in the folder, with or without a DNS name.
fn another(dir: &Path, stem: &str, name: &str) {
    let now = SystemTime::now();
    let ca = Authority::create("Other CA", now).unwrap();
    let names = vec![name.parse().unwrap()];
    let issued = ca.issue(&LeafRequest { role: Role::Server, common_name: "x".into(), names, days: 30 }, now).unwrap();
    write_public(&dir.join(format!("pki/{stem}.pem")), issued.chain_pem.as_bytes()).unwrap();
    write_private(&dir.join(format!("pki/{stem}.key")), issued.key_pem.as_bytes()).unwrap();
}

#[test]
fn certificates_by_name_are_checked_each() {
    let dir = folder();
    another(dir.path(), "other", "other.example.org");
    another(dir.path(), "nameless", "192.0.2.1");
    let one = |text: &str| errors(dir.path(), text.as_bytes(), SystemTime::now());
    let tls = "\n[[tls.certificates]]\ncertificate = \"pki/other.pem\"\nkey = \"pki/other.key\"\n";
    assert_eq!(one(&format!("{GOOD}{tls}")), [""; 0]);
    let inline =
        "certificates = [{ certificate = \"pki/other.pem\", key = \"pki/other.key\" }]\nsni = \"strict\"\n[tls]";
    assert_eq!(one(&with("[tls]", inline)), [""; 0]);
    for (text, expected) in [
        (
            tls.replace("other.key", "server.key"),
            "17: the key pki/server.key does not belong to the certificate pki/other.pem",
        ),
        (tls.replace("other.key", "nowhere.key"), "17: pki/nowhere.key does not exist"),
        (tls.replace("other.pem", "ca.pem"), "16: pki/ca.pem holds a ca certificate first, which clients would refuse"),
        (tls.replace("key =", "ky ="), "15: key is missing in [[tls.certificates]]"),
        (tls.replace("/other", "/nameless"), "16: pki/nameless.pem holds no DNS name, so no client could ask for it"),
        (format!("sni = \"loose\"{tls}"), "14: unknown key"),
    ] {
        let found = one(&format!("{GOOD}{text}"));
        assert!(found[0].starts_with(&format!("motte.toml:{expected}")), "{text} {found:?}");
    }
    fs::set_permissions(dir.path().join("pki/other.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        one(&format!("{GOOD}{tls}")),
        ["motte.toml:17: pki/other.key holds a private key that other users can read (mode 640)"]
    );
    let half = with("[tls]", "certificate = \"pki/other.pem\"\n[tls]");
    assert_eq!(one(&half), ["motte.toml:1: key is missing in [[listener]]"]);
    let plain = with("address = \"127.0.0.1:0\"", "address = \"127.0.0.1:0\"\ntransport = \"tcp\"\nsni = \"strict\"");
    assert_eq!(one(&plain), ["motte.toml:4: sni is only for TLS"]);
}

#[test]
fn a_listener_shows_its_own_certificate_or_those_of_all() {
    let dir = folder();
    for name in ["own", "common", "more"] {
        another(dir.path(), name, &format!("{name}.example.org"));
    }
    let pair = |name: &str| format!("certificate = \"pki/{name}.pem\"\nkey = \"pki/{name}.key\"\n");
    let (own, more, common) = (pair("own"), pair("more"), pair("common"));
    let listeners = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n{own}[[listener.certificates]]\n{more}\
         [[listener]]\naddress = \"127.0.0.1:0\"\nsni = \"default\"\n[[listener.certificates]]\n{more}"
    );
    let text = with("[[listener]]\naddress = \"127.0.0.1:0\"\n", &listeners)
        .replace("[identity]", &format!("sni = \"strict\"\n[[tls.certificates]]\n{common}[identity]"));
    let path = dir.path().join("motte.toml");
    fs::write(&path, text).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    let stems = |listener: &ListenerSettings| {
        let rules = &listener.rules;
        let all = rules.certificate.iter().chain(&rules.certificates);
        let stem = |files: &CertificateFiles| files.key.file_stem().unwrap().to_str().unwrap().to_owned();
        (all.map(stem).collect::<Vec<_>>().join(" "), rules.sni_strict)
    };
    assert_eq!(stems(&settings.listeners[0]), ("own more".to_owned(), true));
    assert_eq!(stems(&settings.listeners[1]), ("more common".to_owned(), false));
}

#[test]
fn a_renewal_cut_short_is_no_error() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    fs::rename(at("pki/server.pem"), at("pki/server.pem.next")).unwrap();
    fs::copy(at("pki/ca.pem"), at("pki/server.pem")).unwrap();
    let renewal = "[tls.renewal]\nca_certificate = \"pki/ca.pem\"\nca_key = \"pki/ca.key\"\n";
    let found = errors(dir.path(), format!("{GOOD}{renewal}").as_bytes(), SystemTime::now());
    assert!(!found.iter().any(|line| line.contains("does not belong")), "{found:?}");
}

fn sample_text() -> String {
    let listener = |name: &str, websocket| SampleListener {
        name: name.into(),
        address: "127.0.0.1:0".parse().unwrap(),
        websocket,
    };
    sample(
        &[listener("mqtts", false), listener("wss", true)],
        &[
            ("tls", "certificate", "\"pki/server.pem\""),
            ("tls", "key", "\"pki/server.key\""),
            ("tls", "client_ca", "\"pki/ca.pem\""),
            ("identity", "password_file", "\"passwords\""),
            ("policy", "acl_file", "\"acl\""),
        ],
    )
}

#[test]
fn what_a_full_queue_means_is_one_of_two_words() {
    let load = |lines: &str| {
        let dir = folder();
        let path = dir.path().join("motte.toml");
        fs::write(&path, format!("{GOOD}[limits]\n{lines}\n")).unwrap();
        ConfigFile::load(&path)
    };
    let limits = load("queue_policy = \"drop-oldest\"\nqueue_age_s_max = 60").unwrap().limits;
    assert_eq!((limits.queue_policy, limits.queue_age_s_max), (QueuePolicy::DropOldest, 60));
    assert_eq!(load("").unwrap().limits.queue_policy, QueuePolicy::Reject);
    let errors = load("queue_policy = \"drop-newest\"").unwrap_err();
    assert_eq!(errors[0].hint, "did you mean \"drop-oldest\"?");
}

#[test]
fn the_sample_is_right_and_shows_the_defaults() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    let text = sample_text();
    fs::write(&path, &text).unwrap();
    let chosen = ConfigFile::load(&path).unwrap();
    // With every key that is commented out put in force, the same comes out: what is shown as default is the default.
    // [acme] is another way of what [tls.renewal] shows.
    let mut section = "";
    let shown: String = text
        .lines()
        .map(|line| {
            section = if line.starts_with('[') { line } else { section };
            if section == "[acme]" {
                return String::new();
            }
            let key = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.is_empty());
            format!("{}\n", key.unwrap_or(line))
        })
        .collect();
    fs::write(&path, &shown).unwrap();
    write_private(&dir.path().join("policy.toml"), ROLE.as_bytes()).unwrap();
    create_private_dir(&dir.path().join("secrets")).unwrap();
    write_private(&dir.path().join("secrets/key"), b"word\n").unwrap();
    write_public(&dir.path().join("pki/crl.pem"), revocation::list_of(dir.path()).pem.as_bytes()).unwrap();
    let spelled = ConfigFile::load(&path).unwrap();
    assert_eq!(format!("{:?}", spelled.limits), format!("{:?}", chosen.limits));
    assert_eq!(format!("{:?}", spelled.limits), format!("{:?}", Bounds::default().shard));
    assert_eq!((&spelled.gate, &spelled.gate), (&chosen.gate, &Bounds::default().gate));
    assert_eq!((spelled.links, chosen.links), (LinkLimits::default(), LinkLimits::default()));
    assert_eq!(
        (&spelled.durability, &chosen.durability),
        (&chosen.durability, &DurabilitySettings::sync(dir.path().join("store")))
    );
    assert_eq!((spelled.log, chosen.log), (LogSettings::default(), LogSettings::default()));
    // The files of a listener are examples: without them those of [tls] count.
    let mut listeners = spelled.listeners.clone();
    for listener in &mut listeners {
        assert_eq!(listener.rules.client_ca.take(), chosen.tls.client_ca);
        assert_eq!(listener.rules.crls.take(), Some(vec![dir.path().join("pki/crl.pem")]));
        assert_eq!(listener.rules.certificate.take().unwrap().certificate, chosen.tls.certificate);
    }
    assert_eq!(listeners, chosen.listeners);
    assert_eq!(spelled.identity, chosen.identity);
    assert_eq!(spelled.tls.tls12, chosen.tls.tls12);
    assert!(spelled.dangers.is_empty() && chosen.dangers.is_empty());
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn k27_a_policy_file_stands_beside_the_access_rules_or_in_their_place() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let with = |policy: &str| GOOD.replace("acl_file = \"acl\"\n", policy);
    write_private(&at("policy"), ROLE.as_bytes()).unwrap();
    let found = |text: &str| errors(dir.path(), text.as_bytes(), SystemTime::now());
    for good in ["policy_file = \"policy\"\n", "policy_file = \"policy\"\nacl_file = \"acl\"\n"] {
        assert_eq!(found(&with(good)), [""; 0]);
    }
    let settings = ConfigFile::load(&at("motte.toml")).unwrap();
    assert_eq!((settings.acl_file, settings.policy_file), (Some(at("acl")), Some(at("policy"))));
    assert_eq!(found(&with("")), ["motte.toml:12: acl_file is missing in [policy]"]);
    let alone = with("policy_file = \"policy\"\n");
    for (text, expected) in [
        ("", "policy: the file is empty"),
        (
            "# nothing\n",
            "policy: the file holds no rule that is given to anybody, so everything would be denied to everybody",
        ),
        ("\u{feff}[[role]]\n", "policy:1: the file begins with a byte order mark"),
        ("[[role]]\n", "policy:1: name is missing in [[role]]"),
        ("[[role]]\nname = \"r\"\neverybdy = true\n", "policy:3: unknown key \"everybdy\" in [[role]]"),
    ] {
        write_private(&at("policy"), text.as_bytes()).unwrap();
        let told = found(&alone);
        assert!(told.iter().any(|told| told == expected), "{text:?}: {told:?}");
    }
    fs::set_permissions(at("policy"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(found(&alone)[0].starts_with("policy: "), "others can write it");
}
