//! Which revocation lists a configuration may name, and what is said of the others.

use motte_pki::Crl;

use super::*;

const CRL: &str = "client_ca = \"pki/ca.pem\"\ncrl = [\"pki/crl.pem\"]";

/// An empty list of the folder's CA.
pub(super) fn list_of(dir: &Path) -> Crl {
    list_at(dir, SystemTime::now(), 30)
}

fn list_at(dir: &Path, now: SystemTime, days: u16) -> Crl {
    let read = |name: &str| fs::read_to_string(dir.join("pki").join(name)).unwrap();
    Authority::from_pem(&read("ca.pem"), &read("ca.key")).unwrap().revocation_list(&[], 1, days, now).unwrap()
}

#[test]
fn k27_revocation_lists_are_checked_at_their_line() {
    let dir = folder();
    let now = SystemTime::now();
    let text = with("client_ca = \"pki/ca.pem\"", CRL);
    let at = dir.path().join("pki/crl.pem");
    let one = || errors(dir.path(), text.as_bytes(), now);
    assert_eq!(one(), ["motte.toml:8: pki/crl.pem does not exist"]);
    write_public(&at, b"").unwrap();
    assert_eq!(one(), ["motte.toml:8: pki/crl.pem holds no revocation list"]);
    let list = list_at(dir.path(), now, 30);
    write_public(&at, &list.der).unwrap();
    assert_eq!(one(), [""; 0]);
    write_public(&at, &list.der[1..]).unwrap();
    assert_eq!(one(), ["motte.toml:8: pki/crl.pem holds no usable revocation list: it is damaged or cut short"]);
    let other = Authority::create("Other CA", now).unwrap();
    write_public(&at, other.revocation_list(&[], 1, 30, now).unwrap().pem.as_bytes()).unwrap();
    assert_eq!(
        one(),
        ["motte.toml:8: pki/crl.pem holds a revocation list of CN=Other CA, which is none of the CAs that count"]
    );
    let day = Duration::from_secs(24 * 3600);
    write_public(&at, list_at(dir.path(), now + day, 30).pem.as_bytes()).unwrap();
    assert_eq!(one(), ["motte.toml:8: the revocation list of CN=Test CA in pki/crl.pem is of a time to come"]);
    write_public(&at, list.pem.as_bytes()).unwrap();
    let both = [fs::read(dir.path().join("pki/ca.pem")).unwrap(), other.certificate_pem().into()].concat();
    write_public(&dir.path().join("pki/ca.pem"), &both).unwrap();
    assert_eq!(
        one(),
        ["motte.toml:7: no revocation list is of CN=Other CA in pki/ca.pem, so all its clients would be refused"]
    );
}

#[test]
fn an_ended_list_is_no_error_of_the_configuration() {
    let dir = folder();
    let now = SystemTime::now();
    write_public(&dir.path().join("pki/crl.pem"), list_at(dir.path(), now, 2).pem.as_bytes()).unwrap();
    let text = with("client_ca = \"pki/ca.pem\"", CRL);
    assert_eq!(errors(dir.path(), text.as_bytes(), now + Duration::from_secs(3 * 24 * 3600)), [""; 0]);
}

#[test]
fn a_listener_with_a_ca_of_its_own_needs_a_list_of_that() {
    let dir = folder();
    let now = SystemTime::now();
    let other = Authority::create("Other CA", now).unwrap();
    let pki = |name: &str| dir.path().join("pki").join(name);
    write_public(&pki("other.pem"), other.certificate_pem().as_bytes()).unwrap();
    write_public(&pki("crl.pem"), list_at(dir.path(), now, 30).pem.as_bytes()).unwrap();
    let listener = "[[listener]]\naddress = \"127.0.0.1:1\"\nclient_ca = \"pki/other.pem\"\n";
    let text = format!("{}{listener}", with("client_ca = \"pki/ca.pem\"", CRL));
    let missing = "no revocation list is of CN=Other CA in pki/other.pem, so all its clients would be refused";
    assert_eq!(errors(dir.path(), text.as_bytes(), now), [format!("motte.toml:17: {missing}")]);
    let list = other.revocation_list(&[], 1, 30, now).unwrap();
    write_public(&pki("other.crl"), list.pem.as_bytes()).unwrap();
    let own = format!("{text}crl = [\"pki/other.crl\"]\n");
    assert_eq!(errors(dir.path(), own.as_bytes(), now), [""; 0]);
    // One list of both for all listeners.
    let both = text.replace("[\"pki/crl.pem\"]", "[\"pki/crl.pem\", \"pki/other.crl\"]");
    let foreign = "pki/other.crl holds a revocation list of CN=Other CA, which is none of the CAs that count";
    assert_eq!(errors(dir.path(), both.as_bytes(), now), [format!("motte.toml:8: {foreign}")]);
}

#[test]
fn only_danger_lets_a_list_count_beyond_its_end() {
    let ca = "client_ca = \"pki/ca.pem\"";
    check(&with(ca, &format!("{ca}\ncrl_expired = \"deny\"")), &[]);
    check(
        &with(ca, &format!("{ca}\ncrl_expired = \"accept\"")),
        &["motte.toml:8: crl_expired cannot be \"accept\" here"],
    );
    check(&with(ca, &format!("{ca}\ncrl = []")), &["motte.toml:8: crl names no file"]);
    check(
        &with(ca, "crl = [\"pki/crl.pem\"]"),
        &["motte.toml:7: crl means nothing without a CA for client certificates"],
    );
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(&path, format!("{GOOD}[danger]\ncrl_expired = \"accept\"\n")).unwrap();
    let settings = ConfigFile::load(&path).unwrap();
    assert!(settings.tls.accept_expired_crls);
    assert!(settings.dangers[0].starts_with("crl_expired: "), "{:?}", settings.dangers);
}

#[test]
fn k39_the_password_of_keys_is_referred_to_and_never_written_out() {
    let key = "key = \"pki/server.key\"";
    check(
        &with(key, &format!("{key}\nkey_password = \"hunter2\"")),
        &["motte.toml:7: key_password holds the password itself"],
    );
    check(
        &with(key, &format!("{key}\nkey_password = \"file:word\"")),
        &["motte.toml:7: key_password: word does not exist"],
    );
    check(
        &with(key, &format!("{key}\nocsp = \"answer.der\"")),
        &["motte.toml:7: answer.der does not exist, or is not a file"],
    );
    check(&with(key, &format!("{key}\nocsp = \"auto\"")), &[]);
    let dir = folder();
    let read = || fs::read(dir.path().join("pki/server.key")).unwrap();
    let secret = motte_pki::KeyPassword::new(zeroize::Zeroizing::new(b"word".to_vec()));
    let sealed = motte_pki::key_pem(&motte_pki::parse_key(&read(), None).unwrap(), Some(&secret)).unwrap();
    write_private(&dir.path().join("pki/server.key"), sealed.as_bytes()).unwrap();
    let now = SystemTime::now();
    let text = with(key, &format!("{key}\nkey_password = \"file:word\""));
    assert_eq!(
        errors(dir.path(), GOOD.as_bytes(), now),
        ["motte.toml:6: the key pki/server.key is protected by a password"]
    );
    write_private(&dir.path().join("word"), b"word\n").unwrap();
    assert_eq!(errors(dir.path(), text.as_bytes(), now), [""; 0]);
    write_private(&dir.path().join("word"), b"else\n").unwrap();
    assert_eq!(
        errors(dir.path(), text.as_bytes(), now),
        ["motte.toml:6: the password of the key pki/server.key is wrong"]
    );
}
