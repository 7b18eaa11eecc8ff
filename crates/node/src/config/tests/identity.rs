//! `sources` and `certificate_and_password`: what is said about wrong ones, and what right ones give.

use std::fs;

use motte_pki::write_private;

use super::super::ConfigFile;
use super::{check, folder, with};
use crate::settings::SourceName;

/// The good file with a line more in `[identity]` and one in `[[listener]]`.
fn with_lines(identity: &str, listener: &str) -> String {
    with("[identity]\n", &format!("[identity]\n{identity}\n"))
        .replace("address = \"127.0.0.1:0\"\n", &format!("address = \"127.0.0.1:0\"\n{listener}\n"))
}

#[test]
fn sources_are_asked_in_the_order_they_are_named_and_a_listener_may_have_its_own() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    let rules = |text: &str| {
        fs::write(&path, text).unwrap();
        ConfigFile::load(&path).unwrap().listeners.remove(0).rules
    };
    assert_eq!(rules(&with_lines("", "")).sources, SourceName::DEFAULT);
    let turned = "sources = [\"password\", \"certificate\"]";
    assert_eq!(rules(&with_lines(turned, "")).sources, [SourceName::Password, SourceName::Certificate]);
    assert_eq!(rules(&with_lines(turned, "sources = [\"certificate\"]")).sources, [SourceName::Certificate]);
    assert!(rules(&with_lines("", "certificate_and_password = true")).certificate_and_password);
}

#[test]
fn k27_a_source_that_is_named_and_not_configured_is_an_error() {
    check(&with_lines("sources = [\"pasword\"]", ""), &["motte.toml:11: there is no source \"pasword\""]);
    check(&with_lines("sources = [\"password\", \"password\"]", ""), &["motte.toml:11: \"password\" is asked twice"]);
    check(&with_lines("sources = []", ""), &["motte.toml:11: sources names nobody to ask"]);
    let no_passwords = |text: String| text.replace("password_file = \"passwords\"\n", "");
    check(
        &no_passwords(with_lines("sources = [\"certificate\", \"password\"]", "")),
        &["motte.toml:11: the source \"password\" is asked and not configured"],
    );
    let no_certificates = |text: String| text.replace("client_ca = \"pki/ca.pem\"\n", "");
    check(
        &no_certificates(with_lines("sources = [\"certificate\", \"password\"]", "")),
        &["motte.toml:10: the source \"certificate\" is asked and not configured"],
    );
    check(
        &no_certificates(with_lines("", "sources = [\"certificate\"]")),
        &[
            "motte.toml:3: the source \"certificate\" is asked and not configured",
            "motte.toml:9: nobody could ever log in: there is neither a password file nor a CA for client \
             certificates in use",
        ],
    );
    check(
        &no_passwords(with_lines("", "certificate_and_password = true")),
        &["motte.toml:3: certificate_and_password needs certificates and passwords, and one of them is not in use \
             here"],
    );
}

#[test]
fn k27_the_file_of_dynamic_security_is_made_later_or_has_to_be_right_and_is_a_source() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    let file = dir.path().join("dynamic.json");
    let found = |rules: &str| {
        let text = with_lines("", "").replace("acl_file = \"acl\"\n", rules);
        let text = text.replace("password_file = \"passwords\"\n", "");
        fs::write(&path, text.replace("client_ca = \"pki/ca.pem\"\n", "")).unwrap();
        ConfigFile::load(&path).map_err(|errors| errors.into_iter().map(|error| error.what).collect::<Vec<_>>())
    };
    let settings = found("dynamic_file = \"dynamic.json\"\ndynamic_admin_password = \"env:WORD\"\n").unwrap();
    assert_eq!(settings.dynamic.unwrap().file, file);
    assert_eq!(settings.acl_file, None, "no other rules are needed, and nobody else to ask");
    let literal = found("dynamic_file = \"dynamic.json\"\ndynamic_admin_password = \"secret\"\n").unwrap_err();
    assert_eq!(literal, ["dynamic_admin_password is no reference to a secret"]);
    write_private(&file, b"{\"clients\": [{\"username\": \"a\", \"rolls\": []}]}").unwrap();
    let broken = found("dynamic_file = \"dynamic.json\"\n").unwrap_err();
    assert!(broken[0].contains("client \"a\" has a member \"rolls\""), "{broken:?}");
}
