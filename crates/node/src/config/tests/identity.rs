//! `sources` and `certificate_and_password`: what is said about wrong ones, and what right ones give.

use std::fs;

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
    assert_eq!(rules(&with_lines("", "")).sources, [SourceName::Certificate, SourceName::Password]);
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
