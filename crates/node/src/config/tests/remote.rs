//! Sources that are not on this machine, and secrets: what is said about wrong ones, and what right ones give.

use std::fs;
use std::time::{Duration, SystemTime};

use motte_pki::{JwtAlgorithm, write_private};

use super::super::ConfigFile;
use super::{GOOD, check, errors, folder};
use crate::secret::{SecretRef, VaultLogin};
use crate::settings::{JwtKeySource, LdapProtection, TokenIn};

const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const JWT: &str =
    "[[identity.jwt]]\nname = \"i\"\nalgorithms = [\"EdDSA\"]\nissuer = \"https://i\"\naudience = \"motte\"\n";
const HTTP: &str = "[[identity.http]]\nname = \"h\"\n";
const LDAP: &str = "[[identity.ldap]]\nname = \"l\"\nbind_dn = \"cn=m\"\nbase_dn = \"dc=x\"\n";

/// The good file with a list of sources and more sections behind it; the first of those is at line 15.
fn with(sources: &str, sections: &str) -> String {
    let asked = GOOD.replace("[identity]\n", &format!("[identity]\nsources = [{sources}]\n"));
    format!("{asked}{sections}")
}

#[test]
fn k27_a_source_that_is_half_configured_is_an_error() {
    let jwt = |more: &str| with("\"jwt:i\"", &format!("{JWT}{more}"));
    check(&jwt(""), &["motte.toml:15: one of jwks_file, jwks_url, secret is needed, and only one"]);
    check(
        &jwt("jwks_url = \"https://a/\"\nsecret = \"env:A\"\n"),
        &["motte.toml:15: one of jwks_file, jwks_url, secret is needed, and only one"],
    );
    check(&jwt("jwks_url = \"http://a/\"\n"), &["motte.toml:20: jwks_url is not over TLS"]);
    check(
        &jwt("jwks_url = \"https://u:p@a/\"\n"),
        &["motte.toml:20: jwks_url is no URL that can be used: it holds a user name or a password"],
    );
    check(
        &jwt("jwks_file = \"none\"\nstale_s = 5\n"),
        &[
            "motte.toml:15: the source \"jwt:i\" cannot be used: none cannot be read: No such file or directory (os \
             error 2)",
            "motte.toml:21: stale_s is only for jwks_url",
        ],
    );
    check(
        &jwt("jwks_file = \"acl\"\n"),
        &["motte.toml:15: the source \"jwt:i\" cannot be used: acl cannot be used: it is no JWK set: line 1 column 1"],
    );
    let missing = "[[identity.jwt]]\nname = \"i\"\n";
    check(
        &with("\"jwt:i\"", missing),
        &[
            "motte.toml:15: algorithms is missing in [[identity.jwt]]",
            "motte.toml:15: issuer is missing in [[identity.jwt]]",
            "motte.toml:15: audience is missing in [[identity.jwt]]",
            "motte.toml:15: one of jwks_file, jwks_url, secret is needed, and only one",
        ],
    );
}

#[test]
fn a_source_is_declared_once_and_asked_by_somebody() {
    let keys = "jwks_file = \"set\"\n";
    let dir = folder();
    fs::write(dir.path().join("set"), SET).unwrap();
    let told = |text: &str| errors(dir.path(), text.as_bytes(), SystemTime::now());
    assert_eq!(told(&with("\"jwt:i\"", &format!("{JWT}{keys}"))), [""; 0]);
    assert_eq!(
        told(&with("\"password\"", &format!("{JWT}{keys}"))),
        ["motte.toml:15: nobody asks the source \"jwt:i\""]
    );
    assert_eq!(
        told(&with("\"jwt:i\"", &format!("{JWT}{keys}{JWT}{keys}"))),
        ["motte.toml:21: two sources have the name \"jwt:i\""]
    );
    assert_eq!(
        told(&with("\"jwt:i\", \"jwt:j\"", &format!("{JWT}{keys}"))),
        ["motte.toml:10: the source \"jwt:j\" is asked and not configured"]
    );
    let shared = JWT.replace("EdDSA", "HS256");
    assert_eq!(
        told(&with("\"jwt:i\"", &format!("{shared}{keys}"))),
        ["motte.toml:17: the algorithms do not fit the keys"]
    );
    assert_eq!(
        told(&with("\"jwt:i\"", &format!("{}{keys}", JWT.replace("EdDSA", "none")))),
        ["motte.toml:17: \"none\" is no algorithm for tokens"]
    );
    assert_eq!(
        told(&with("\"jwt:i\"", &format!("{}{keys}", JWT.replace("\"i\"", "\"a b\"")))),
        [
            "motte.toml:9: nobody could ever log in: none of the sources that are asked is configured",
            "motte.toml:10: the source \"jwt:i\" is asked and not configured",
            "motte.toml:15: nobody asks the source \"jwt:a b\"",
            "motte.toml:16: \"a b\" cannot be the name of a source",
        ]
    );
}

#[test]
fn k39_a_secret_in_the_file_is_an_error_that_does_not_show_it() {
    let canary = "canary-in-the-configuration-0123456789";
    let hook = |line: &str| with("\"http:h\"", &format!("{HTTP}url = \"https://a/\"\n{line}\n"));
    let literal = hook(&format!("token = \"{canary}\""));
    check(&literal, &["motte.toml:18: token is a secret in the configuration file itself"]);
    check(&format!("{literal}[danger]\nliteral_secrets = true\n"), &[]);
    check(&hook("token = \"\""), &["motte.toml:18: token cannot be used: the secret is empty"]);
    check(
        &hook("token = \"env:MOTTE_TEST_THERE_IS_NO_SUCH_VARIABLE\""),
        &["motte.toml:15: the source \"http:h\" cannot be used: the environment has no variable \
           MOTTE_TEST_THERE_IS_NO_SUCH_VARIABLE"],
    );
    check(
        &hook("token = \"vault:kv/a#b\""),
        &["motte.toml:15: the source \"http:h\" cannot be used: there is no [vault] to ask"],
    );
    let shared = format!("{}secret = \"{canary}\"\n", JWT.replace("EdDSA", "HS512"));
    check(
        &with("\"jwt:i\"", &format!("{shared}[danger]\nliteral_secrets = true\n")),
        &["motte.toml:15: the source \"jwt:i\" cannot be used: the secret is shorter than the 64 bytes that the \
           algorithm needs"],
    );
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(&path, &literal).unwrap();
    let shown = format!("{:?}", ConfigFile::load(&path).unwrap_err());
    assert!(!shown.contains(canary), "{shown}");
    fs::write(&path, format!("{literal}[danger]\nliteral_secrets = true\n")).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    assert!(!format!("{settings:?}").contains(canary), "the settings show it");
    assert_eq!(settings.dangers, ["literal_secrets: secrets may stand in the configuration file itself"]);
}

#[test]
fn nothing_is_spoken_in_the_clear_unless_danger_says_so() {
    let hook = |url: &str, more: &str| with("\"http:h\"", &format!("{HTTP}url = \"{url}\"\n{more}"));
    check(&hook("http://127.0.0.1:80/", ""), &[]);
    check(&hook("http://10.0.0.1/", ""), &["motte.toml:17: url is not over TLS"]);
    check(&hook("http://10.0.0.1/", "[danger]\nplaintext_sources = [\"http:h\"]\n"), &[]);
    check(
        &hook("http://10.0.0.1/", "[danger]\nplaintext_sources = [\"http:other\"]\n"),
        &["motte.toml:17: url is not over TLS", "motte.toml:19: there is no source \"http:other\""],
    );
    check(
        &hook("https://a/", "client_certificate = \"pki/server.pem\"\n"),
        &["motte.toml:15: client_certificate and client_key belong together"],
    );
    let dir = folder();
    write_private(&dir.path().join("bind"), b"secret\n").unwrap();
    let told = |lines: &str| {
        let text = with("\"ldap:l\"", &format!("{LDAP}bind_password = \"file:bind\"\n{lines}"));
        errors(dir.path(), text.as_bytes(), SystemTime::now())
    };
    assert_eq!(told("url = \"ldaps://a\"\n"), [""; 0]);
    assert_eq!(told("url = \"ldap://a\"\nstarttls = true\n"), [""; 0]);
    for (lines, expected) in [
        ("url = \"ldap://a\"\n", "motte.toml:20: passwords would go to the directory in the clear"),
        ("url = \"ldap://127.0.0.1\"\n", "motte.toml:20: passwords would go to the directory in the clear"),
        ("url = \"ldaps://a\"\nstarttls = true\n", "motte.toml:21: starttls is only for ldap://"),
        ("url = \"https://a\"\n", "motte.toml:20: url begins with neither ldaps:// nor ldap://"),
        ("url = \"ldaps://a/dc=x\"\n", "motte.toml:20: url is not a host and perhaps a port"),
        (
            "url = \"ldaps://a\"\nfilter = \"(uid=anna)\"\n",
            "motte.toml:21: the filter is not in brackets, or does not hold %u",
        ),
        (
            "url = \"ldaps://a\"\nfilter = \"(uid=%u))(\"\n",
            "motte.toml:21: the filter is not in brackets, or does not hold %u",
        ),
        (
            "url = \"ldaps://a\"\nfilter = \"(|(uid=%u)(mail=%u))\"\n",
            "motte.toml:21: the filter does not compare one attribute with %u",
        ),
    ] {
        assert!(told(lines).contains(&expected.to_owned()), "{lines}: {:?}", told(lines));
    }
    assert_eq!(told("url = \"ldap://a\"\n[danger]\nplaintext_sources = [\"ldap:l\"]\n"), [""; 0]);
}

#[test]
fn who_the_broker_is_to_a_vault_is_said_once() {
    let dir = folder();
    write_private(&dir.path().join("token"), b"t\n").unwrap();
    let told = |lines: &str| {
        let hook = format!("{HTTP}url = \"https://a/\"\ntoken = \"vault:kv/a#b\"\n");
        let text = with("\"http:h\"", &format!("{hook}[vault]\n{lines}"));
        errors(dir.path(), text.as_bytes(), SystemTime::now())
    };
    assert_eq!(told("url = \"https://v\"\ntoken = \"file:token\"\n"), [""; 0], "nobody is asked for a check");
    assert_eq!(told("url = \"https://v\"\nrole_id = \"r\"\nsecret_id = \"file:token\"\n"), [""; 0]);
    let twice = "motte.toml:19: who the broker is to the vault is not said, or is said twice".to_owned();
    for lines in ["", "role_id = \"r\"\n", "token = \"file:token\"\nrole_id = \"r\"\nsecret_id = \"file:token\"\n"] {
        let lines = format!("url = \"https://v\"\n{lines}");
        assert!(told(&lines).contains(&twice), "{lines}: {:?}", told(&lines));
    }
    let own = "motte.toml:21: token cannot be in the vault that it opens".to_owned();
    assert!(told("url = \"https://v\"\ntoken = \"vault:kv/a#b\"\n").contains(&own));
    assert_eq!(
        told("url = \"https://v\"\ntoken = \"file:none\"\n"),
        ["motte.toml:19: [vault] cannot be used: none does not exist"]
    );
}

#[test]
fn right_sources_become_settings() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(dir.path().join("set"), SET).unwrap();
    write_private(&dir.path().join("bind"), b"secret\n").unwrap();
    let text = with(
        "\"jwt:i\", \"http:h\", \"ldap:l\", \"certificate\"",
        &format!(
            "{JWT}jwks_file = \"set\"\ntoken_in = \"username\"\nleeway_s = 5\nacl_claim = \"acl\"\n\
             {HTTP}url = \"https://a/b\"\ntimeout_ms = 100\ncache_s = 9\nsession_s = 60\n\
             {LDAP}url = \"ldap://d:3890\"\nstarttls = true\nbind_password = \"file:bind\"\n\
             filter = \"(&(objectClass=person)(mail=%u))\"\nattributes = [\"ou\"]\n\
             [vault]\nurl = \"https://v:8200\"\nrole_id = \"r\"\nsecret_id = \"file:bind\"\n"
        ),
    );
    fs::write(&path, text).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    let remote = &settings.identity.remote;
    let jwt = &remote.jwt[0];
    assert_eq!((&jwt.algorithms[..], jwt.token_in), (&[JwtAlgorithm::EdDsa][..], TokenIn::Username));
    assert_eq!(jwt.keys, JwtKeySource::File(dir.path().join("set")));
    assert_eq!((&*jwt.username_claim, jwt.acl_claim.as_deref(), jwt.leeway.as_secs()), ("sub", Some("acl"), 5));
    let http = &remote.http[0];
    assert_eq!((http.timeout, http.cache), (Duration::from_millis(100), Duration::from_secs(9)));
    assert_eq!((http.session_max.as_secs(), http.connections_max), (60, 16));
    let ldap = &remote.ldap[0];
    assert_eq!((ldap.url.port, ldap.url.protection), (3890, LdapProtection::StartTls));
    assert_eq!((&*ldap.username_attribute, ldap.session_max.as_secs()), ("mail", 86_400));
    assert_eq!(ldap.bind_password, SecretRef::File(dir.path().join("bind")));
    assert!(matches!(&settings.vault.unwrap().login, VaultLogin::AppRole { role_id, .. } if role_id == "r"));
    let names: Vec<_> = settings.listeners[0].rules.sources.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["jwt:i", "http:h", "ldap:l", "certificate"]);
}
