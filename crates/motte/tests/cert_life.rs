//! `motte cert` through the life of certificates: revoked, renewed, requested, imported, packed, rotated. Everything
//! that is made is looked at by OpenSSL.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Outcome, Quickstart, mode, motte};
use tempfile::TempDir;

fn cert(dir: &Path, args: &[&str]) -> Outcome {
    motte(dir, &[&["cert", "--dir", "pki"], args].concat())
}

/// Does it and expects that it was done.
#[track_caller]
fn done(dir: &Path, args: &[&str]) -> Outcome {
    let outcome = cert(dir, args);
    assert_eq!(outcome.code, 0, "{args:?}: {outcome:?}");
    outcome
}

/// Does it and expects that it is refused, with this said.
#[track_caller]
fn refused(dir: &Path, args: &[&str], what: &str) {
    let outcome = cert(dir, args);
    assert!(outcome.code != 0 && outcome.err.contains(what), "{args:?}: {outcome:?}");
    assert!(outcome.err.contains("hint: ") || outcome.code == 2, "{args:?}: {outcome:?}");
}

/// Runs `openssl` in `pki` and gives success and all it wrote.
fn openssl(dir: &Path, args: &str) -> (bool, String) {
    let output = Command::new("openssl").args(args.split(' ')).current_dir(dir.join("pki")).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

#[track_caller]
fn agrees(dir: &Path, args: &str) -> String {
    let (good, text) = openssl(dir, args);
    assert!(good, "openssl {args}: {text}");
    text
}

#[track_caller]
fn differs(dir: &Path, args: &str, what: &str) {
    let (good, text) = openssl(dir, args);
    assert!(!good && text.contains(what), "openssl {args}: {text}");
}

fn entries(dir: &Path) -> Vec<serde_json::Value> {
    serde_json::from_str(&done(dir, &["list", "--json"]).out).unwrap()
}

fn entry(dir: &Path, name: &str) -> serde_json::Value {
    let end = format!("/{name}");
    entries(dir).into_iter().find(|entry| entry["file"].as_str().unwrap().ends_with(&end)).unwrap()
}

fn write_secret(path: &Path, text: &str) {
    motte_pki::write_private(path, text.as_bytes()).unwrap();
}

/// A CA, a server and two clients.
fn made() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    done(dir.path(), &["ca"]);
    done(dir.path(), &["server", "localhost", "127.0.0.1"]);
    done(dir.path(), &["client", "lost", "kept"]);
    dir
}

#[test]
fn k31_what_is_revoked_openssl_refuses_and_the_rest_not() {
    let dir = made();
    let dir = dir.path();
    done(dir, &["crl", "--days", "7", "--der"]);
    let verify = "verify -CAfile ca.pem -crl_check -CRLfile crl.pem";
    for name in ["lost", "kept", "server"] {
        agrees(dir, &format!("{verify} {name}.pem"));
    }
    let told = done(dir, &["revoke", "lost", "--reason", "keyCompromise"]);
    assert!(told.err.contains("revoked CN=lost (keyCompromise)"), "{told:?}");
    differs(dir, &format!("{verify} lost.pem"), "certificate revoked");
    agrees(dir, &format!("{verify} kept.pem"));
    let text = agrees(dir, "crl -in crl.pem -CAfile ca.pem -noout -text");
    assert!(text.contains("verify OK") && text.contains("Key Compromise"), "{text}");
    assert!(text.contains("X509v3 CRL Number: \n                2"), "it grows: {text}");
    assert!(text.contains("X509v3 Authority Key Identifier"), "{text}");
    agrees(dir, "crl -inform DER -in crl.der -noout");
    // By its serial number, and once is enough.
    let serial = entry(dir, "kept.pem")["serial"].as_str().unwrap().to_owned();
    assert!(done(dir, &["revoke", &serial, "--reason", "superseded"]).err.contains("revoked CN=kept"));
    assert!(done(dir, &["revoke", &serial]).err.contains("had been revoked before"));
    let lost = entry(dir, "lost.pem");
    assert_eq!((&lost["state"], &lost["reason"]), (&"revoked".into(), &"keyCompromise".into()));
    assert_eq!(entry(dir, "server.pem")["state"], "good");
    assert!(done(dir, &["list"]).out.contains("revoked: superseded"));
    refused(dir, &["revoke", "0123456789"], "has issued 0123456789");
    assert!(done(dir, &["revoke", "0123456789", "--unknown"]).err.contains("revoked unknown"));
    assert!(agrees(dir, "crl -in crl.pem -noout -text").contains("Serial Number: 0123456789"));
    refused(dir, &["revoke", "nobody"], "there is no certificate \"nobody\"");
    refused(dir, &["revoke", "lost", "--reason", "spite"], "the reason is one of");
    let other = tempfile::tempdir().unwrap();
    done(other.path(), &["ca"]);
    done(other.path(), &["client", "stranger"]);
    let stranger = other.path().join("pki/stranger.pem");
    refused(dir, &["revoke", stranger.to_str().unwrap()], "was not issued by a CA of pki");
    assert_eq!(mode(&dir.join("pki/ca.index")), 0o600);
}

#[test]
fn a_ca_without_an_index_learns_what_lies_in_its_directory() {
    let dir = made();
    let dir = dir.path();
    fs::remove_file(dir.join("pki/ca.index")).unwrap();
    let serial = entry(dir, "lost.pem")["serial"].as_str().unwrap().to_owned();
    done(dir, &["revoke", &serial]);
    let index = fs::read_to_string(dir.join("pki/ca.index")).unwrap();
    assert_eq!(index.lines().filter(|line| line.starts_with("V\t")).count(), 2, "{index}");
    // Many at once.
    std::thread::scope(|scope| {
        for number in 0..6 {
            scope.spawn(move || done(dir, &["client", &format!("device-{number}")]));
        }
    });
    let index = fs::read_to_string(dir.join("pki/ca.index")).unwrap();
    assert_eq!(index.lines().filter(|line| line.starts_with("V\t")).count(), 8, "{index}");
}

#[test]
fn a_renewed_certificate_has_the_same_names_and_the_old_one_stays() {
    let dir = made();
    let dir = dir.path();
    let read = |name: &str| fs::read_to_string(dir.join("pki").join(name)).unwrap();
    let (certificate, key) = (read("server.pem"), read("server.key"));
    done(dir, &["renew", "server", "--days", "30"]);
    assert_eq!((read("server.pem.old"), read("server.key.old")), (certificate, key.clone()));
    assert_eq!(mode(&dir.join("pki/server.key.old")), 0o600);
    assert_ne!(read("server.key"), key);
    let renewed = entry(dir, "server.pem");
    assert_eq!(renewed["names"], serde_json::json!(["localhost", "127.0.0.1"]));
    assert_eq!(renewed["days_left"], 29);
    agrees(dir, "verify -CAfile ca.pem -purpose sslserver -verify_hostname localhost server.pem");
    let kept = read("kept.key");
    done(dir, &["renew", "kept", "lost", "--keep-key"]);
    assert_eq!(read("kept.key"), kept);
    assert_eq!(agrees(dir, "x509 -in kept.pem -noout -pubkey"), agrees(dir, "pkey -in kept.key -pubout"),);
    refused(dir, &["renew", "server", "--days", "91"], "lasts 1 to 90 days");
    refused(dir, &["renew", "nobody"], "nobody.pem does not exist");
    refused(dir, &["renew", "ca"], "neither for servers only nor for clients only");
}

#[test]
fn an_offline_ca_works_by_requests() {
    let (online, offline) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (online, offline) = (online.path(), offline.path());
    done(offline, &["ca", "--name", "Vault", "--intermediates"]);
    let carry = |from: &Path, to: &Path, name: &str| {
        fs::copy(from.join("pki").join(name), to.join("pki").join(name)).unwrap();
    };
    // The CA that issues every day has its key here and its certificate from there.
    done(online, &["ca", "--name", "Plant", "--csr"]);
    assert_eq!(mode(&online.join("pki/ca.key")), 0o600);
    assert!(agrees(online, "req -in ca.csr -noout -verify -text").contains("CA:TRUE"));
    carry(online, offline, "ca.csr");
    refused(
        offline,
        &["sign", "pki/ca.csr", "--role", "client", "--out", "pki/plant.pem"],
        "asks for the certificate of a CA",
    );
    done(offline, &["sign", "pki/ca.csr", "--role", "ca", "--out", "pki/plant.pem"]);
    agrees(offline, "verify -CAfile ca.pem plant.pem");
    carry(offline, online, "plant.pem");
    done(online, &["import", "pki/plant.pem"]);
    done(online, &["client", "pump-1"]);
    carry(offline, online, "ca.pem");
    fs::rename(online.join("pki/ca.pem"), online.join("pki/root.pem")).unwrap();
    fs::copy(online.join("pki/plant.pem"), online.join("pki/ca.pem")).unwrap();
    agrees(online, "verify -CAfile root.pem -untrusted pump-1.pem -purpose sslclient pump-1.pem");
    // The list of the intermediate CA has its certificate beside it.
    done(online, &["revoke", "pump-1"]);
    assert!(fs::read_to_string(online.join("pki/crl.pem")).unwrap().contains("BEGIN CERTIFICATE"));
    // A server asks as well; what is in the request beside names is not taken over.
    done(online, &["csr", "broker.example.org", "192.0.2.7"]);
    assert!(agrees(online, "req -in server.csr -noout -verify -text").contains("DNS:broker.example.org"));
    carry(online, offline, "server.csr");
    refused(offline, &["sign", "pki/server.csr", "--role", "client"], "extended key usage is not that of a client");
    refused(
        offline,
        &["sign", "pki/server.csr", "--role", "server", "--names", "broker.example.org"],
        "asks for the name \"192.0.2.7\"",
    );
    refused(offline, &["sign", "pki/server.csr", "--role", "server", "--days", "400"], "lasts 1 to 90 days");
    done(offline, &["sign", "pki/server.csr", "--role", "server"]);
    carry(offline, online, "server.pem");
    fs::rename(online.join("pki/server.pem"), online.join("pki/answer.pem")).unwrap();
    done(online, &["import", "pki/answer.pem", "pki/root.pem"]);
    agrees(online, "verify -CAfile root.pem -purpose sslserver -verify_hostname broker.example.org server.pem");
    assert_eq!(agrees(online, "x509 -in server.pem -noout -pubkey"), agrees(online, "pkey -in server.key -pubout"),);
}

#[test]
fn requests_of_others_are_read_with_suspicion() {
    let dir = made();
    let dir = dir.path();
    let make = |subject: &str, extensions: &str| {
        let mut args = format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout x.key -out x.csr -subj {subject}"
        );
        for extension in extensions.split('|').filter(|extension| !extension.is_empty()) {
            args.push_str(" -addext ");
            args.push_str(extension);
        }
        agrees(dir, &args);
    };
    let sign = ["sign", "pki/x.csr", "--role", "client", "--force"];
    make("/O=Evil/CN=pump-7", "subjectAltName=DNS:pump-7.example,URI:urn:pump:7|nsComment=hello|keyUsage=keyCertSign");
    let told = done(dir, &sign);
    assert!(told.err.contains("pump-7.example, urn:pump:7"), "{told:?}");
    assert!(told.err.contains("not taken over") && told.err.contains("the subject beside"), "{told:?}");
    let text = agrees(dir, "x509 -in x.pem -noout -text");
    assert!(text.contains("Subject: CN = pump-7\n") && !text.contains("hello") && !text.contains("Certificate Sign"));
    assert!(text.contains("TLS Web Client Authentication") && text.contains("CA:FALSE"), "{text}");
    agrees(dir, "verify -CAfile ca.pem -purpose sslclient x.pem");
    refused(dir, &[&sign[..], &["--cn", "pump-8"]].concat(), "is for \"pump-7\", not for \"pump-8\"");
    make("/CN=pump-7", "basicConstraints=critical,CA:TRUE");
    refused(dir, &sign, "asks for the certificate of a CA");
    make("/CN=pump#7", "");
    refused(dir, &sign, "cannot be the name of a client");
    make("/CN=pump-7", "subjectAltName=RID:1.2.3.4");
    refused(dir, &sign, "error");
    agrees(dir, "req -new -newkey rsa:1024 -nodes -keyout x.key -out x.csr -subj /CN=pump-7");
    refused(dir, &sign, "RSA 1024");
    // Whoever made it has to own the key.
    make("/CN=pump-7", "");
    agrees(dir, "req -in x.csr -outform DER -out x.der");
    let mut der = fs::read(dir.join("pki/x.der")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    fs::write(dir.join("pki/x.csr"), der).unwrap();
    refused(dir, &sign, "not signed with its own key");
}

#[test]
fn keys_under_a_password_work_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write_secret(&dir.join("word"), "long enough\n");
    write_secret(&dir.join("wrong"), "something else\n");
    write_secret(&dir.join("short"), "short\n");
    refused(dir, &["ca", "--encrypt", "--new-password-file", "short"], "shorter than 8");
    done(dir, &["ca", "--encrypt", "--new-password-file", "word"]);
    assert!(fs::read_to_string(dir.join("pki/ca.key")).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!(mode(&dir.join("pki/ca.key")), 0o600);
    agrees(dir, "pkey -in ca.key -passin file:../word -noout");
    refused(dir, &["client", "a"], "no terminal");
    refused(dir, &["client", "a", "--key-password-file", "wrong"], "the password of the key pki/ca.key is wrong");
    let with = ["--key-password-file", "word", "--new-password-file", "word"];
    done(dir, &[&["client", "a", "--encrypt"][..], &with].concat());
    agrees(dir, "pkey -in a.key -passin file:../word -noout");
    done(dir, &[&["revoke", "a"][..], &with].concat());
    done(dir, &[&["rotate-ca", "--encrypt"][..], &with].concat());
    agrees(dir, "pkey -in ca.key -passin file:../word -noout");
    done(dir, &[&["p12", "a"][..], &with].concat());
    assert_eq!(mode(&dir.join("pki/a.p12")), 0o600);
    let text = agrees(dir, "pkcs12 -in a.p12 -passin file:../word -info -nodes");
    assert!(text.contains("AES-256-CBC") && text.contains("MAC: sha256") && text.contains("subject=CN = a"), "{text}");
    for place in fs::read_dir(dir.join("pki")).unwrap() {
        let bytes = fs::read(place.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("long enough"), "k39");
    }
}

#[test]
fn a_commercial_chain_is_put_in_order() {
    let shop = tempfile::tempdir().unwrap();
    let (shop, dir) = (shop.path(), tempfile::tempdir().unwrap());
    let dir = dir.path();
    done(shop, &["ca", "--name", "Shop Root", "--intermediates"]);
    done(shop, &["intermediate", "issuing", "--cn", "Shop CA"]);
    let below = motte(shop, &["cert", "--dir", "pki/issuing", "server", "broker.example.org"]);
    assert_eq!(below.code, 0, "{below:?}");
    agrees(shop, "verify -CAfile ca.pem -untrusted issuing/ca.pem -purpose sslserver issuing/server.pem");
    let at = |name: &str| shop.join("pki").join(name).to_str().unwrap().to_owned();
    agrees(shop, "x509 -in issuing/server.pem -out leaf.pem");
    agrees(shop, "x509 -in issuing/ca.pem -outform DER -out middle.der");
    let (leaf, middle, root, key) = (at("leaf.pem"), at("middle.der"), at("ca.pem"), at("issuing/server.key"));
    refused(dir, &["import", &leaf, &key], "the chain is not complete: CN=Shop CA is missing");
    refused(dir, &["import", &leaf, &middle, &root], "no certificate belongs to a key");
    done(dir, &["import", &root, &key, &middle, &leaf]);
    assert_eq!(mode(&dir.join("pki/server.key")), 0o600);
    let chain = fs::read_to_string(dir.join("pki/server.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    agrees(dir, &format!("verify -CAfile {root} -untrusted server.pem -purpose sslserver server.pem"));
    refused(dir, &["import", &root, &key, &middle, &leaf], "exists");
    // The same in PKCS#12.
    write_secret(&dir.join("word"), "shop\n");
    let pack =
        format!("pkcs12 -export -in {leaf} -certfile issuing/ca.pem -inkey {key} -passout pass:shop -out all.p12");
    agrees(shop, &pack);
    let all = at("all.p12");
    fs::set_permissions(&all, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    refused(dir, &["import", &all, "--force", "--key-password-file", "word"], "other users can read");
    fs::set_permissions(&all, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    done(dir, &["import", &all, "--force", "--key-password-file", "word"]);
    assert_eq!(fs::read_to_string(dir.join("pki/server.pem")).unwrap(), chain);
}

#[test]
fn a_ca_is_rotated_while_both_are_trusted() {
    let dir = made();
    let dir = dir.path();
    done(dir, &["crl"]);
    let old_leaf = "kept.pem";
    fs::copy(dir.join("pki/ca.pem"), dir.join("pki/known-before.crt")).unwrap();
    refused(dir, &["rotate-ca", "--finish"], "no rotation is under way");
    done(dir, &["rotate-ca"]);
    refused(dir, &["rotate-ca"], "a rotation is under way");
    done(dir, &["client", "new"]);
    done(dir, &["renew", "server"]);
    // Both trust both: by the bundle, and each alone by the other's word.
    agrees(dir, &format!("verify -CAfile ca.pem -purpose sslclient new.pem {old_leaf}"));
    agrees(dir, "x509 -in ca.pem -out known-after.crt");
    let server = "-purpose sslserver -verify_hostname localhost server.pem";
    agrees(dir, &format!("verify -x509_strict -CAfile known-before.crt -untrusted server.pem {server}"));
    agrees(dir, &format!("verify -x509_strict -CAfile known-after.crt {server}"));
    agrees(dir, &format!("verify -CAfile known-after.crt -untrusted ca-old.cross.pem -purpose sslclient {old_leaf}"));
    differs(dir, &format!("verify -CAfile known-after.crt {old_leaf}"), "verification failed");
    // Lists of both.
    done(dir, &["revoke", "lost"]);
    let verify = "verify -CAfile ca.pem -crl_check -CRLfile crl.pem";
    differs(dir, &format!("{verify} lost.pem"), "certificate revoked");
    agrees(dir, &format!("{verify} {old_leaf}"));
    agrees(dir, &format!("{verify} new.pem"));
    let listed = done(dir, &["list"]);
    assert!(listed.out.contains("rotating out"), "{listed:?}");
    assert!(listed.err.contains("the old one is needed until CN=kept ends at"), "{listed:?}");
    refused(dir, &["rotate-ca", "--finish"], "the old CA is still needed: CN=kept ends only at");
    let old = entry(dir, "ca-old.pem");
    assert_eq!((&old["state"], &old["needed_until"]), (&"rotating out".into(), &entry(dir, "kept.pem")["not_after"]));
    // The server's old certificate counts too, until it is revoked.
    done(dir, &["revoke", "kept"]);
    refused(dir, &["rotate-ca", "--finish"], "the old CA is still needed: CN=localhost");
    let old_server = dir.join("pki/server.pem.old");
    done(dir, &["revoke", old_server.to_str().unwrap(), "--reason", "superseded"]);
    assert!(done(dir, &["list"]).err.contains("nothing needs the old one any longer"));
    done(dir, &["rotate-ca", "--finish"]);
    let left: Vec<_> = fs::read_dir(dir.join("pki")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().contains("old.")
            && name != "ca-old.pem"
            && name.to_string_lossy().starts_with("ca")),
        "{left:?}"
    );
    let trusted = fs::read_to_string(dir.join("pki/ca.pem")).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 1);
    agrees(dir, "verify -CAfile ca.pem -crl_check -CRLfile crl.pem new.pem");
    done(dir, &["client", "after"]);
    agrees(dir, "verify -CAfile ca.pem after.pem");
}

#[test]
fn k24_a_device_with_a_protected_key_is_admitted_until_it_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let broker = Quickstart::start(dir, &[]);
    let pki = ["cert", "--dir", "motte-data/pki"];
    write_secret(&dir.join("word"), "long enough\n");
    let make = ["client", "pump", "--encrypt", "--new-password-file", "word"];
    assert_eq!(motte(dir, &[&pki[..], &make].concat()).code, 0);
    let port = broker.port("mqtts").to_string();
    let at = |name: &str| format!("motte-data/pki/{name}");
    let (ca, certificate, key) = (at("ca.pem"), at("pump.pem"), at("pump.key"));
    let send = ["pub", "-h", "localhost", "-p", &port, "--cafile", &ca, "--cert", &certificate, "--key", &key];
    let message = ["-t", "sensors/pump/flow", "-m", "1", "-q", "1"];
    let publish = |more: &[&str]| motte(dir, &[&send[..], &message, more].concat());
    let without = publish(&[]);
    assert!(without.code != 0 && without.err.contains("--key-password-file"), "{without:?}");
    assert_eq!(publish(&["--key-password-file", "word"]).code, 0);
    // The list comes into force with the next reload.
    assert_eq!(motte(dir, &[&pki[..], &["revoke", "pump"]].concat()).code, 0);
    let path = dir.join("motte-data/motte.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (head, tls) = text.split_once("\n[tls]\n").unwrap();
    fs::write(&path, format!("{head}\n[tls]\n{}", tls.replacen("#crl = ", "crl = ", 1))).unwrap();
    broker.hang_up();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let refused = publish(&["--key-password-file", "word"]);
        if refused.code != 0 {
            assert!(refused.err.contains("has been revoked"), "{refused:?}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}", fs::read_to_string(dir.join("log")).unwrap());
    }
    assert!(broker.stop().success());
}

/// The files as they are when the rotation is cut short before its last step.
#[test]
fn a_rotation_that_was_cut_short_is_begun_again() {
    let dir = made();
    let dir = dir.path();
    let key = fs::read(dir.join("pki/ca.key")).unwrap();
    done(dir, &["rotate-ca"]);
    motte_pki::write_private(&dir.join("pki/ca.key"), &key).unwrap();
    done(dir, &["client", "between"]);
    agrees(dir, "verify -CAfile ca-old.pem between.pem");
    done(dir, &["rotate-ca"]);
    assert!(done(dir, &["list"]).err.contains("the old one is needed"));
    done(dir, &["client", "new"]);
    agrees(dir, "verify -CAfile ca.pem new.pem between.pem kept.pem");
    assert!(fs::read_to_string(dir.join("pki/ca-old.index")).unwrap().contains("/CN=between"));
}
