//! Revocation lists in real handshakes, and lists that must not be used. Those of OpenSSL are taken as ours are.

use rustls_pki_types::UnixTime;

use super::*;
use crate::testing::{der, openssl};
use crate::{Authority, CertificateFacts, Reason, Revoked, write_private, write_public};

fn serial(certificate: &Path) -> String {
    CertificateFacts::from_der(&der(certificate)).unwrap().serial_hex
}

/// Writes a list of the scene's CA that revokes these certificates.
fn write_list(scene: &Scene, name: &str, revoked: &[&Path], number: u64) -> PathBuf {
    let entry =
        |path: &&Path| Revoked { serial_hex: serial(path), at: SystemTime::now(), reason: Reason::KeyCompromise };
    let entries: Vec<_> = revoked.iter().map(entry).collect();
    let list = scene.authority.revocation_list(&entries, number, 30, SystemTime::now()).unwrap();
    let path = scene.path(name);
    write_public(&path, list.pem.as_bytes()).unwrap();
    path
}

fn params_with(scene: &Scene, crls: &[&Path]) -> ServerTlsParams {
    let crls = crls.iter().map(|path| path.to_path_buf()).collect();
    ServerTlsParams { crls, ..mutual_params(scene, ClientCertificates::Required) }
}

/// How it goes for a client with this certificate, in the words of the broker's log.
fn outcome(scene: &Scene, params: &ServerTlsParams, pair: (PathBuf, PathBuf)) -> Result<(), String> {
    let shaken = connect(&with_certificate(scene, pair), params, "localhost");
    match &shaken.server_error {
        None => Ok(()),
        Some(error) => Err(explain_client_refusal(error).unwrap()),
    }
}

fn load_error(params: &ServerTlsParams) -> TlsFileError {
    server_tls(params).unwrap_err()
}

#[test]
fn k31_a_revoked_client_is_refused_and_its_neighbour_is_not() {
    let scene = Scene::new();
    let revoked = scene.issue_at("lost", &client_request("lost"), SystemTime::now());
    let list = write_list(&scene, "crl.pem", &[&revoked.0], 1);
    let params = params_with(&scene, &[&list]);
    let why = outcome(&scene, &params, revoked.clone()).unwrap_err();
    assert_eq!(why, "the client's certificate is not accepted: it, or a CA in its chain, has been revoked");
    assert_eq!(outcome(&scene, &params, scene.client()), Ok(()));
    let shaken = connect(&with_certificate(&scene, revoked), &params, "localhost");
    assert_eq!(shaken.client_error, Some(Error::AlertReceived(AlertDescription::CertificateRevoked)));
    scene.openssl(&["crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout", "-verify"]);
}

#[test]
fn k31_a_session_is_not_resumed_past_a_revocation() {
    let scene = Scene::new();
    let pair = scene.client();
    let empty = write_list(&scene, "crl.pem", &[], 1);
    let client = client_config(&with_certificate(&scene, pair.clone())).unwrap();
    let before = server_config(&params_with(&scene, &[&empty])).unwrap();
    shake(&client, &before, "localhost").succeeded();
    let after = server_config(&params_with(&scene, &[&write_list(&scene, "crl.pem", &[&pair.0], 2)])).unwrap();
    let shaken = shake(&client, &after, "localhost");
    assert_eq!(shaken.server_error, Some(Error::InvalidCertificate(CertificateError::Revoked)));
}

#[test]
fn k24_a_chain_that_was_accepted_is_judged_by_the_new_list() {
    let scene = Scene::new();
    let (certificate, _) = scene.client();
    let chain = pem::certificates(&certificate).unwrap();
    let empty = write_list(&scene, "crl.pem", &[], 1);
    let trust = server_tls(&params_with(&scene, &[&empty])).unwrap();
    assert_eq!(trust.client_trust().unwrap().verify(&chain, UnixTime::now()), Ok(()));
    let trust = server_tls(&params_with(&scene, &[&write_list(&scene, "crl.pem", &[&certificate], 2)])).unwrap();
    let judged = trust.client_trust().unwrap().verify(&chain, UnixTime::now());
    assert_eq!(judged, Err(Error::InvalidCertificate(CertificateError::Revoked)));
}

#[test]
fn of_two_lists_of_one_ca_the_newer_counts_in_any_order_and_form() {
    let scene = Scene::new();
    let pair = scene.client();
    let old = write_list(&scene, "old.pem", &[], 9);
    let new = write_list(&scene, "new.pem", &[&pair.0], 10);
    scene.openssl(&["crl", "-in", "new.pem", "-outform", "DER", "-out", "new.der"]);
    let both = scene.path("both.pem");
    write_public(&both, &[std::fs::read(&new).unwrap(), std::fs::read(&old).unwrap()].concat()).unwrap();
    let in_der = scene.path("new.der");
    for files in [&[&*old, &*new][..], &[&new, &old], &[&both], &[&old, &in_der]] {
        assert!(outcome(&scene, &params_with(&scene, files), pair.clone()).is_err(), "{files:?}");
    }
}

#[test]
fn k31_the_end_of_a_list_refuses_all_of_its_ca_unless_danger_says_otherwise() {
    let scene = Scene::made_at(SystemTime::now() - DAY * 60);
    let list = scene.authority.revocation_list(&[], 1, 30, SystemTime::now() - DAY * 40).unwrap();
    write_public(&scene.path("crl.pem"), list.pem.as_bytes()).unwrap();
    let params = params_with(&scene, &[&scene.path("crl.pem")]);
    let why = outcome(&scene, &params, scene.client()).unwrap_err();
    assert!(why.contains("the revocation list of its CA ended 10 days ago"), "{why}");
    let lenient = ServerTlsParams { accept_expired_crls: true, ..params };
    assert_eq!(outcome(&scene, &lenient, scene.client()), Ok(()));
}

#[test]
fn k27_lists_that_cannot_be_used_are_errors() {
    let scene = Scene::new();
    let other = Scene::of("Other CA", SystemTime::now());
    let good = write_list(&scene, "good.pem", &[], 1);
    let text = std::fs::read_to_string(&good).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = scene.path(name);
        write_public(&path, bytes).unwrap();
        path
    };
    let with = |path: &Path| load_error(&params_with(&scene, &[&good, path]));
    assert!(matches!(with(&scene.path("none.pem")), TlsFileError::NotFound { .. }));
    assert!(matches!(with(&write("empty.pem", b"")), TlsFileError::NoCrl { .. }));
    assert!(matches!(with(&scene.path("ca.pem")), TlsFileError::NoCrl { .. }));
    assert!(matches!(with(&write("text.pem", b"no list")), TlsFileError::BadCrl { .. }));
    assert!(matches!(with(&write("cut.pem", &text.as_bytes()[..text.len() / 2])), TlsFileError::BadCrl { .. }));
    let foreign = write_list(&other, "crl.pem", &[], 1);
    assert_eq!(with(&foreign), TlsFileError::CrlIssuer { path: foreign.clone(), issuer: "CN=Other CA".into() });
    let namesake = Scene::new();
    let theirs = write_list(&namesake, "crl.pem", &[], 1);
    assert_eq!(with(&theirs), TlsFileError::CrlSignature { path: theirs.clone(), issuer: "CN=Test CA".into() });
    let both = [scene.path("ca.pem"), other.path("ca.pem")].map(|path| std::fs::read(path).unwrap()).concat();
    let two = ServerTlsParams { client_ca: Some(write("both.pem", &both)), ..params_with(&scene, &[&good]) };
    let missing = load_error(&two);
    assert!(matches!(&missing, TlsFileError::CrlMissing { issuer, .. } if issuer == "CN=Other CA"), "{missing}");
    let complete = ServerTlsParams { crls: vec![good.clone(), foreign], ..two };
    assert_eq!(outcome(&scene, &complete, scene.client()), Ok(()));
}

/// Each byte of a list changed, cut at each length: an error or a list, and never a panic.
#[test]
fn k31_a_list_with_any_damage_is_refused_without_a_panic() {
    let scene = Scene::new();
    let (certificate, _) = scene.client();
    let entry = Revoked { serial_hex: serial(&certificate), at: SystemTime::now(), reason: Reason::Superseded };
    let list = scene.authority.revocation_list(&[entry], 1, 30, SystemTime::now()).unwrap();
    let path = scene.path("damaged.der");
    let params = params_with(&scene, &[&path]);
    let loads = |bytes: &[u8]| {
        write_public(&path, bytes).unwrap();
        client_trust(&params).is_ok()
    };
    assert!(loads(&list.der));
    for at in 0..list.der.len() {
        let mut changed = list.der.clone();
        changed[at] ^= 0x11;
        assert!(!loads(&changed), "byte {at}");
        assert!(!loads(&list.der[..at]), "cut at {at}");
    }
}

#[test]
fn two_cas_of_one_name_each_have_their_list() {
    let old = Scene::new();
    let new = Scene::new();
    let both = [old.path("ca.pem"), new.path("ca.pem")].map(|path| std::fs::read(path).unwrap()).concat();
    write_public(&new.path("both.pem"), &both).unwrap();
    let lost = old.issue_at("lost", &client_request("lost"), SystemTime::now());
    let lists = [write_list(&old, "crl.pem", &[&lost.0], 5), write_list(&new, "crl.pem", &[], 1)];
    let params =
        ServerTlsParams { client_ca: Some(new.path("both.pem")), ..params_with(&new, &[&lists[0], &lists[1]]) };
    assert_eq!(outcome(&new, &params, new.client()), Ok(()));
    assert_eq!(outcome(&new, &params, old.client()), Ok(()));
    assert!(outcome(&new, &params, lost).unwrap_err().contains("has been revoked"));
    let stranger = Scene::new();
    assert!(outcome(&new, &params, stranger.client()).is_err());
}

/// A root, an intermediate CA and a client of that, made by OpenSSL; a list of each CA.
fn with_intermediate() -> (Scene, PathBuf) {
    let scene = Scene::new();
    let dir = scene.directory.path();
    let write = |name: &str, text: &str| write_public(&scene.path(name), text.as_bytes()).unwrap();
    write("ca.ext", "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n");
    write("leaf.ext", "basicConstraints=critical,CA:false\nextendedKeyUsage=clientAuth\n");
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n";
    let key = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let run = |arguments: &[&str]| openssl(dir, arguments);
    let root = ["-x509", "-subj", "/CN=Root", "-days", "99", "-keyout", "root.key", "-out", "root.pem"];
    run(&[&key[..], &root].concat());
    for (name, issuer, extensions) in [("middle", "root", "ca.ext"), ("leaf", "middle", "leaf.ext")] {
        let subject = format!("/CN={name}");
        let (csr, pem, private) = (format!("{name}.csr"), format!("{name}.pem"), format!("{name}.key"));
        run(&[&key[..], &["-subj", &subject, "-keyout", &private, "-out", &csr]].concat());
        let (ca, ca_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        let sign = ["x509", "-req", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-days", "90", "-extfile", extensions];
        run(&[&sign[..], &["-set_serial", "0xf0000000000000000000000000000001", "-out", &pem]].concat());
    }
    write("number", "01\n");
    write("openssl.cnf", config);
    for name in ["root", "middle"] {
        write("index.txt", "");
        let (ca, ca_key, list) = (format!("{name}.pem"), format!("{name}.key"), format!("{name}.crl"));
        let make = ["ca", "-config", "openssl.cnf", "-gencrl", "-crldays", "30", "-cert", &ca, "-keyfile", &ca_key];
        run(&[&make[..], &["-out", &list]].concat());
    }
    let chain = ["leaf.pem", "middle.pem"].map(|name| std::fs::read(scene.path(name)).unwrap()).concat();
    write_public(&scene.path("chain.pem"), &chain).unwrap();
    let key = std::fs::read(scene.path("leaf.key")).unwrap();
    write_private(&scene.path("chain.key"), &key).unwrap();
    let root = scene.path("root.pem");
    (scene, root)
}

#[test]
fn k31_every_certificate_of_a_chain_is_checked_against_the_list_of_its_issuer() {
    let (scene, root) = with_intermediate();
    let pair = || (scene.path("chain.pem"), scene.path("chain.key"));
    let base = ServerTlsParams { client_ca: Some(root), ..params_with(&scene, &[]) };
    assert_eq!(outcome(&scene, &base, pair()), Ok(()));
    let with =
        |lists: &[&str]| ServerTlsParams { crls: lists.iter().map(|name| scene.path(name)).collect(), ..base.clone() };
    // The list of the intermediate CA is checked with its certificate, which stands in the file beside it.
    assert!(matches!(load_error(&with(&["root.crl", "middle.crl"])), TlsFileError::CrlIssuer { .. }));
    let beside = ["middle.crl", "middle.pem"].map(|name| std::fs::read(scene.path(name)).unwrap()).concat();
    write_public(&scene.path("beside.pem"), &beside).unwrap();
    assert_eq!(outcome(&scene, &with(&["root.crl", "beside.pem"]), pair()), Ok(()));
    // Without a list of the leaf's issuer nothing is known of the leaf.
    let why = outcome(&scene, &with(&["root.crl"]), pair()).unwrap_err();
    assert!(why.contains("there is no revocation list of a CA in its chain"), "{why}");
    // The intermediate CA itself is revoked by the root.
    let root = Authority::from_pem(
        &std::fs::read_to_string(scene.path("root.pem")).unwrap(),
        &std::fs::read_to_string(scene.path("root.key")).unwrap(),
    );
    let serial_hex = serial(&scene.path("middle.pem"));
    assert!(serial_hex.starts_with("00f0"), "a serial number with the highest bit set: {serial_hex}");
    let entry = Revoked { serial_hex, at: SystemTime::now(), reason: Reason::CaCompromise };
    let list = root.unwrap().revocation_list(&[entry], 2, 30, SystemTime::now()).unwrap();
    write_public(&scene.path("later.crl"), &list.der).unwrap();
    let why = outcome(&scene, &with(&["later.crl", "beside.pem"]), pair()).unwrap_err();
    assert!(why.contains("has been revoked"), "{why}");
}
