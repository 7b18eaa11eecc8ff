//! What is said about a wrong `[acme]`.

use std::fs;
use std::time::SystemTime;

use super::{ConfigFile, GOOD, errors, folder};
use crate::settings::AcmeChallenge;

const ACME: &str = "
[acme]
directory_url = \"https://ca.example/directory\"
accept_terms = true
names = [\"Broker.Example\"]
";

#[test]
fn a_first_start_needs_no_certificate_where_a_ca_is_to_issue_it() {
    let dir = folder();
    for name in ["pki/server.pem", "pki/server.key"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let found = errors(dir.path(), GOOD.as_bytes(), SystemTime::now());
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(errors(dir.path(), format!("{GOOD}{ACME}").as_bytes(), SystemTime::now()), [""; 0]);
    let settings = ConfigFile::load_at(&dir.path().join("motte.toml"), SystemTime::now()).unwrap();
    let acme = settings.tls.acme.unwrap();
    assert_eq!((acme.names[0].to_string().as_str(), acme.challenge), ("broker.example", AcmeChallenge::TlsAlpn));
    assert_eq!(acme.account, dir.path().join("pki/acme-account.json"));
}

#[test]
fn half_a_pair_is_no_first_start() {
    let dir = folder();
    fs::remove_file(dir.path().join("pki/server.key")).unwrap();
    let found = errors(dir.path(), format!("{GOOD}{ACME}").as_bytes(), SystemTime::now());
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_no_ca_could_be_asked_is_an_error_with_its_line() {
    let dir = folder();
    let of = |section: &str| errors(dir.path(), format!("{GOOD}\n[acme]\n{section}").as_bytes(), SystemTime::now());
    let first = GOOD.lines().count() + 3;
    let at = |line: usize, what: &str| format!("motte.toml:{}: {what}", first + line);
    let good = "directory_url = \"https://ca.example/directory\"\naccept_terms = true\nnames = [\"a.example\"]\n";
    for (added, what) in [
        ("http_address = \"0.0.0.0:80\"\n", "http_address is only for challenge = \"http-01\""),
        ("challenge = \"http-01\"\nhttp_address = \"80\"\n", "\"80\" is no address with a port"),
        ("contact = [\"ops@example.org\"]\n", "\"ops@example.org\" is no address that a CA writes to"),
        ("external_key_id = \"kid\"\n", "external_key_id and external_key go together"),
    ] {
        let line = 2 + added.lines().count();
        assert_eq!(of(&format!("{good}{added}")), [at(line, what)], "{added}");
    }
    for (names, shown) in [("*.example", "\"*.example\""), ("192.0.2.1", "\"192.0.2.1\""), ("a b", "\"a b\"")] {
        let section = good.replace("\"a.example\"", &format!("{names:?}"));
        assert_eq!(of(&section), [at(2, &format!("{shown} is no name that can be asked for"))], "{names}");
    }
    let plain = good.replace("https:", "http:");
    assert_eq!(of(&plain), [at(0, "\"http://ca.example/directory\" is no URL of https")]);
    assert_eq!(
        of(&good.replace("= true", "= false")),
        [at(0, "")
            .replace(&format!(":{first}: "), &format!(":{}: no CA issues before its terms are accepted", first - 1))]
    );
}

#[test]
fn two_ways_of_renewal_are_one_too_many() {
    let dir = folder();
    let renewal = "\n[tls.renewal]\nca_certificate = \"pki/ca.pem\"\nca_key = \"pki/ca.key\"\n";
    let found = errors(dir.path(), format!("{GOOD}{renewal}{ACME}").as_bytes(), SystemTime::now());
    assert_eq!(found, ["motte.toml:4: [acme] and [tls.renewal] both say who renews the certificate"]);
}
