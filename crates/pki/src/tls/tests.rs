//! Real handshakes between the configurations built here, and files that must not be accepted.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

mod revocation;

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::SystemTime;

use rustls::server::Acceptor;
use rustls::{AlertDescription, CertificateError, Error, HandshakeKind, ServerConnection};

use super::*;
use crate::testing::{DAY, Scene, Shaken, client_request, server_request, shake};
use crate::{explain_client_refusal, explain_handshake, verified_facts};

fn server_params(scene: &Scene) -> ServerTlsParams {
    let (certificate, key) = scene.server();
    ServerTlsParams { certificate, key, ..ServerTlsParams::default() }
}

fn mutual_params(scene: &Scene, client_certificates: ClientCertificates) -> ServerTlsParams {
    ServerTlsParams { client_ca: Some(scene.path("ca.pem")), client_certificates, ..server_params(scene) }
}

fn client_params(scene: &Scene) -> ClientTlsParams {
    ClientTlsParams { roots: Roots::File(scene.path("ca.pem")), ..ClientTlsParams::default() }
}

fn with_certificate(scene: &Scene, pair: (PathBuf, PathBuf)) -> ClientTlsParams {
    ClientTlsParams { client_certificate: Some(pair), ..client_params(scene) }
}

fn connect(client: &ClientTlsParams, server: &ServerTlsParams, host: &str) -> Shaken {
    shake(&client_config(client).unwrap(), &server_config(server).unwrap(), host)
}

/// What the client's user is told.
fn told(shaken: &Shaken, host: &str) -> String {
    explain_handshake(shaken.client_error.as_ref().unwrap(), host).what
}

#[test]
fn tls13_with_a_hybrid_exchange_is_what_both_choose() {
    let scene = Scene::new();
    let mut shaken = connect(&client_params(&scene), &server_params(&scene), "localhost").succeeded();
    let facts = verified_facts(&shaken.client).unwrap();
    assert_eq!((facts.version.as_str(), facts.key_exchange.as_str()), ("TLS 1.3", "X25519MLKEM768"));
    assert_eq!(facts.suite, "TLS_AES_128_GCM_SHA256");
    assert_eq!(facts.peer[0].names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!(facts.peer.len(), 2);
    let server = verified_facts(&shaken.server).unwrap();
    assert_eq!((server.version.as_str(), server.peer.len()), ("TLS 1.3", 0));
    assert!(shaken.client.early_data().is_none() && shaken.server.early_data().is_none(), "0-RTT stays off");
}

#[test]
fn every_name_and_address_of_the_certificate_is_good() {
    let scene = Scene::new();
    for host in ["localhost", "127.0.0.1", "::1"] {
        connect(&client_params(&scene), &server_params(&scene), host).succeeded();
    }
}

#[test]
fn tls12_is_spoken_only_where_it_is_allowed() {
    let scene = Scene::new();
    let old = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(pem::roots(&scene.path("ca.pem")).unwrap())
        .with_no_client_auth();
    let old = Arc::new(old);
    let lenient = server_params(&scene);
    let shaken = shake(&old, &server_config(&lenient).unwrap(), "localhost").succeeded();
    let facts = verified_facts(&shaken.client).unwrap();
    assert_eq!(facts.version, "TLS 1.2");
    assert_eq!(facts.suite, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    assert_eq!(facts.key_exchange, "X25519");
    let strict = server_config(&ServerTlsParams { tls_min: TlsVersion::V13, ..lenient }).unwrap();
    let shaken = shake(&old, &strict, "localhost");
    assert_eq!(shaken.client_error, Some(Error::AlertReceived(AlertDescription::ProtocolVersion)));
    assert!(told(&shaken, "localhost").contains("no TLS version or cipher suite in common"));
}

/// A CA of another name, and one of the same name with another key.
fn foreign_scenes() -> [Scene; 2] {
    ["Other CA", "Test CA"].map(|name| Scene::of(name, SystemTime::now()))
}

#[test]
fn k31_a_server_of_another_ca_is_refused() {
    let ours = Scene::new();
    for other in foreign_scenes() {
        let shaken = connect(&client_params(&other), &server_params(&ours), "localhost");
        assert_eq!(
            told(&shaken, "localhost"),
            "the certificate of localhost is not signed by a CA that is trusted here"
        );
        assert!(matches!(shaken.server_error, Some(Error::AlertReceived(_))));
    }
}

#[test]
fn k31_a_server_of_another_name_is_refused_and_its_names_are_listed() {
    let scene = Scene::new();
    let shaken = connect(&client_params(&scene), &server_params(&scene), "broker.example.org");
    assert_eq!(
        told(&shaken, "broker.example.org"),
        "the server's certificate is not for broker.example.org, only for localhost, 127.0.0.1, ::1"
    );
}

#[test]
fn k31_a_server_whose_certificate_has_ended_is_refused() {
    let long_ago = SystemTime::now() - DAY * 100;
    let scene = Scene::made_at(long_ago);
    let (certificate, key) = scene.issue_at("server", &server_request(), long_ago);
    let server = ServerTlsParams { certificate, key, ..ServerTlsParams::default() };
    let shaken = connect(&client_params(&scene), &server, "localhost");
    assert_eq!(told(&shaken, "localhost"), "the certificate of localhost expired 10 days ago");
}

#[test]
fn k31_a_server_whose_certificate_has_not_begun_is_refused() {
    let scene = Scene::new();
    let (certificate, key) = scene.issue_at("server", &server_request(), SystemTime::now() + DAY * 5);
    let server = ServerTlsParams { certificate, key, ..ServerTlsParams::default() };
    let shaken = connect(&client_params(&scene), &server, "localhost");
    assert_eq!(told(&shaken, "localhost"), "the certificate of localhost is not valid yet for another 4 days");
}

#[test]
fn k31_a_client_certificate_is_no_server_certificate() {
    let scene = Scene::new();
    let request = crate::LeafRequest { names: server_request().names, ..client_request("sensor-1") };
    let (certificate, key) = scene.issue_at("c", &request, SystemTime::now());
    let server = ServerTlsParams { certificate, key, ..ServerTlsParams::default() };
    let shaken = connect(&client_params(&scene), &server, "localhost");
    assert_eq!(told(&shaken, "localhost"), "localhost shows a certificate that is not for servers");
}

#[test]
fn mutual_tls_tells_the_server_who_the_client_is() {
    let scene = Scene::new();
    for wanted in [ClientCertificates::Optional, ClientCertificates::Required] {
        let client = with_certificate(&scene, scene.client());
        let shaken = connect(&client, &mutual_params(&scene, wanted), "localhost").succeeded();
        let leaf = &shaken.server.peer_certificates().unwrap()[0];
        assert_eq!(crate::identity(leaf, crate::IdentityField::CommonName).as_deref(), Some("sensor-1"));
    }
}

#[test]
fn k31_a_client_without_certificate_is_refused_where_one_is_required() {
    let scene = Scene::new();
    let shaken = connect(&client_params(&scene), &mutual_params(&scene, ClientCertificates::Required), "localhost");
    assert_eq!(shaken.server_error, Some(Error::NoCertificatesPresented));
    assert_eq!(told(&shaken, "localhost"), "localhost wants a client certificate, and none was sent");
    connect(&client_params(&scene), &mutual_params(&scene, ClientCertificates::Optional), "localhost").succeeded();
}

#[test]
fn k31_a_client_of_another_ca_is_refused_even_where_certificates_are_optional() {
    let ours = Scene::new();
    let [other, namesake] = foreign_scenes();
    for wanted in [ClientCertificates::Optional, ClientCertificates::Required] {
        let server = mutual_params(&ours, wanted);
        let shaken = connect(&with_certificate(&ours, other.client()), &server, "localhost");
        assert_eq!(shaken.server_error, Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        assert_eq!(told(&shaken, "localhost"), "localhost does not know the CA that signed your client certificate");
        let shaken = connect(&with_certificate(&ours, namesake.client()), &server, "localhost");
        assert_eq!(shaken.server_error, Some(Error::InvalidCertificate(CertificateError::BadSignature)));
        assert!(told(&shaken, "localhost").contains("not signed by a CA it knows"), "{}", told(&shaken, "localhost"));
    }
}

#[test]
fn k31_a_server_certificate_does_not_log_in_as_a_client() {
    let scene = Scene::new();
    let client = with_certificate(&scene, scene.server());
    let shaken = connect(&client, &mutual_params(&scene, ClientCertificates::Optional), "localhost");
    assert!(
        matches!(shaken.server_error, Some(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }))),
        "{:?}",
        shaken.server_error
    );
    assert_eq!(told(&shaken, "localhost"), "localhost refuses your certificate because it is not for clients");
}

#[test]
fn k31_a_client_certificate_that_has_ended_is_refused() {
    let long_ago = SystemTime::now() - DAY * 400;
    let scene = Scene::made_at(long_ago);
    let client = scene.issue_at("client", &client_request("sensor-1"), long_ago);
    let shaken =
        connect(&with_certificate(&scene, client), &mutual_params(&scene, ClientCertificates::Required), "localhost");
    assert!(told(&shaken, "localhost").contains("expired"), "{}", told(&shaken, "localhost"));
}

/// Signs a client certificate for a new RSA key with OpenSSL; gives the names of both files.
fn rsa_client(scene: &Scene, bits: &str) -> (String, String) {
    let (key, certificate, request) = (format!("{bits}.key"), format!("{bits}.pem"), format!("{bits}.csr"));
    crate::write_private(&scene.path("ca.key"), scene.authority.key_pem().as_bytes()).unwrap();
    std::fs::write(scene.path("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    scene.openssl(&["genrsa", "-out", &key, bits]);
    scene.openssl(&["req", "-new", "-key", &key, "-out", &request, "-subj", "/CN=rsa"]);
    let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "client.ext"];
    scene.openssl(&[&sign[..], &["-out", &certificate, "-days", "30"]].concat());
    let bytes = std::fs::read(scene.path(&key)).unwrap();
    crate::write_private(&scene.path(&key), &bytes).unwrap();
    (certificate, key)
}

/// Lets `openssl s_client` connect over a socket: how the handshake went at the server, and what `s_client` wrote.
fn foreign(scene: &Scene, server: &ServerTlsParams, arguments: &[&str]) -> (Result<ServerConnection, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let configs = server_tls(server).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut acceptor = Acceptor::default();
        let accepted = loop {
            acceptor.read_tls(&mut socket).unwrap();
            match acceptor.accept() {
                Ok(Some(accepted)) => break accepted,
                Ok(None) => {}
                Err((error, _)) => return Err(error),
            }
        };
        let config = configs.config_for(&accepted.client_hello());
        let mut connection = match accepted.into_connection(config) {
            Ok(connection) => connection,
            Err((error, mut alert)) => {
                alert.write_all(&mut socket).unwrap();
                return Err(error);
            }
        };
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                return Err(error.downcast::<Error>().unwrap());
            }
        }
        connection.send_close_notify();
        connection.complete_io(&mut socket).unwrap();
        Ok(connection)
    });
    // SECLEVEL=0 lets OpenSSL offer what it would keep back by itself, so that it is our side that refuses.
    let fixed = ["s_client", "-connect", &address, "-CAfile", "ca.pem", "-cipher", "DEFAULT:@SECLEVEL=0"];
    let output = std::process::Command::new("openssl")
        .args([&fixed[..], arguments].concat())
        .current_dir(scene.directory.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (serving.join().unwrap(), said)
}

#[test]
fn openssl_connects_in_both_versions_and_in_none_below() {
    let scene = Scene::new();
    let server = server_params(&scene);
    let strict = ["-verify_return_error", "-verify_hostname", "localhost"];
    for (option, version, suite) in [
        ("-tls1_3", "TLS 1.3", "TLS_AES_128_GCM_SHA256"),
        ("-tls1_2", "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ] {
        let (outcome, said) = foreign(&scene, &server, &[&strict[..], &[option]].concat());
        let facts = verified_facts(&outcome.unwrap()).unwrap();
        assert_eq!((facts.version.as_str(), facts.suite.as_str()), (version, suite));
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    for option in ["-tls1_1", "-tls1"] {
        let (outcome, said) = foreign(&scene, &server, &[option]);
        assert!(matches!(outcome, Err(Error::PeerIncompatible(_))), "{said}");
    }
    let (outcome, said) = foreign(&scene, &server, &["-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA"]);
    assert!(matches!(outcome, Err(Error::PeerIncompatible(_))), "no suite without forward secrecy or AEAD: {said}");
}

#[test]
fn the_cheapest_suite_is_chosen_but_for_a_client_without_aes_in_hardware() {
    let scene = Scene::new();
    let server = server_params(&scene);
    let (aes_128, aes_256) = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384");
    let chacha20 = "TLS_CHACHA20_POLY1305_SHA256";
    for (offered, chosen) in [
        ([aes_256, chacha20, aes_128], aes_128),
        ([chacha20, aes_128, aes_256], chacha20),
        (["TLS_AES_128_CCM_SHA256", chacha20, aes_128], chacha20),
        (["TLS_AES_128_CCM_SHA256", aes_256, chacha20], aes_256),
    ] {
        let (outcome, said) = foreign(&scene, &server, &["-tls1_3", "-ciphersuites", &offered.join(":")]);
        assert_eq!(verified_facts(&outcome.unwrap()).unwrap().suite, chosen, "{offered:?}: {said}");
    }
    let first = ["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"];
    let (outcome, said) = foreign(&scene, &server, &first);
    let suite = verified_facts(&outcome.unwrap()).unwrap().suite;
    assert_eq!(suite, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "{said}");
}

#[test]
fn k31_an_rsa_key_of_2048_bits_logs_in_and_one_of_1024_does_not() {
    let scene = Scene::new();
    let server = mutual_params(&scene, ClientCertificates::Required);
    for (bits, good) in [("2048", true), ("1024", false)] {
        let (certificate, key) = rsa_client(&scene, bits);
        for version in ["-tls1_2", "-tls1_3"] {
            let (outcome, said) = foreign(&scene, &server, &["-cert", &certificate, "-key", &key, version]);
            assert_eq!(outcome.is_ok(), good, "{bits} {version}: {:?} {said}", outcome.err());
        }
        let ours = with_certificate(&scene, (scene.path(&certificate), scene.path(&key)));
        assert_eq!(client_config(&ours).is_ok(), good, "{bits}");
    }
}

#[test]
fn k31_a_session_known_by_a_certificate_is_never_resumed() {
    let scene = Scene::new();
    for wanted in [ClientCertificates::Optional, ClientCertificates::Required] {
        let server = server_config(&mutual_params(&scene, wanted)).unwrap();
        let client = client_config(&with_certificate(&scene, scene.client())).unwrap();
        for _attempt in 0..2 {
            let shaken = shake(&client, &server, "localhost").succeeded();
            assert_eq!(shaken.client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(shaken.client.tls13_tickets_received(), 0);
        }
        assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
    }
}

#[test]
fn a_session_without_certificate_is_resumed_without_early_data() {
    let scene = Scene::new();
    let server = server_config(&server_params(&scene)).unwrap();
    let client = client_config(&client_params(&scene)).unwrap();
    let shaken = shake(&client, &server, "localhost").succeeded();
    assert_eq!(shaken.client.tls13_tickets_received(), 1);
    let mut shaken = shake(&client, &server, "localhost").succeeded();
    assert_eq!(shaken.client.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(shaken.client.early_data().is_none());
    assert_eq!(server.max_early_data_size, 0);
}

#[test]
fn alpn_is_agreed_on_or_the_handshake_fails() {
    let scene = Scene::new();
    let server = ServerTlsParams { alpn: vec![b"mqtt".to_vec()], ..server_params(&scene) };
    let client = ClientTlsParams { alpn: vec![b"mqtt".to_vec()], ..client_params(&scene) };
    let shaken = connect(&client, &server, "localhost").succeeded();
    assert_eq!(shaken.server.alpn_protocol(), Some(&b"mqtt"[..]));
    connect(&client_params(&scene), &server, "localhost").succeeded();
    let other = ClientTlsParams { alpn: vec![b"h2".to_vec()], ..client_params(&scene) };
    let shaken = connect(&other, &server, "localhost");
    assert_eq!(told(&shaken, "localhost"), "localhost speaks TLS on this port, but not MQTT");
}

#[test]
fn only_insecure_by_name_believes_a_foreign_server() {
    let (ours, other) = (Scene::new(), Scene::new());
    let client = ClientTlsParams { insecure: true, ..client_params(&other) };
    connect(&client, &server_params(&ours), "nobody.example.org").succeeded();
    assert!(!ClientTlsParams::default().insecure);
}

#[test]
fn keys_load_in_all_three_pem_forms() {
    let scene = Scene::new();
    let make = |arguments: &[&str]| scene.openssl(arguments);
    make(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sec1.key"]);
    make(&["pkcs8", "-topk8", "-nocrypt", "-in", "sec1.key", "-out", "pkcs8.key"]);
    make(&["genrsa", "-traditional", "-out", "pkcs1.key", "2048"]);
    for (name, begin) in [("sec1", "EC PRIVATE"), ("pkcs8", "PRIVATE"), ("pkcs1", "RSA PRIVATE")] {
        let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
        let bytes = std::fs::read(scene.path(&key)).unwrap();
        assert!(bytes.starts_with(format!("-----BEGIN {begin} KEY").as_bytes()), "{name}");
        crate::write_private(&scene.path(&key), &bytes).unwrap();
        make(&["req", "-x509", "-key", &key, "-out", &pem, "-subj", "/CN=x", "-days", "2"]);
        let params =
            ServerTlsParams { certificate: scene.path(&pem), key: scene.path(&key), ..ServerTlsParams::default() };
        assert!(server_config(&params).is_ok(), "{name}");
    }
    make(&["pkcs8", "-topk8", "-in", "sec1.key", "-out", "locked.key", "-passout", "pass:secret"]);
    let params = ServerTlsParams { key: scene.path("locked.key"), ..server_params(&scene) };
    assert_eq!(server_config(&params).unwrap_err(), TlsFileError::KeyEncrypted { path: scene.path("locked.key") });
}

#[track_caller]
fn refused(params: &ServerTlsParams, what: &str) {
    let error = server_config(params).unwrap_err();
    assert!(error.to_string().contains(what), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn files_that_do_not_fit_each_have_a_sentence() {
    let scene = Scene::new();
    let good = server_params(&scene);
    let (_, foreign_key) = scene.client();
    let text = scene.path("text.pem");
    crate::write_private(&text, b"hello").unwrap();
    let cut = scene.path("cut.pem");
    let whole = std::fs::read_to_string(&good.certificate).unwrap();
    std::fs::write(&cut, &whole[..200]).unwrap();
    let with_certificate = |certificate: &Path| ServerTlsParams { certificate: certificate.into(), ..good.clone() };
    let with_key = |key: &Path| ServerTlsParams { key: key.into(), ..good.clone() };
    refused(&with_certificate(Path::new("/nonexistent/x.pem")), "/nonexistent/x.pem does not exist");
    refused(&with_certificate(scene.directory.path()), "is not a file");
    refused(&with_certificate(&text), "is not a PEM file");
    refused(&with_certificate(&good.key), "holds no certificate");
    refused(&with_certificate(&cut), "is damaged");
    refused(&with_key(&text), "is not a PEM file");
    refused(&with_key(&foreign_key), "does not belong to the certificate");
    refused(&with_key(&scene.path("missing.key")), "missing.key does not exist");
    let required = ClientCertificates::Required;
    refused(&ServerTlsParams { client_certificates: required, ..good.clone() }, "no CA is named");
    let leaf_as_ca = scene.path("leaf-only.pem");
    std::fs::write(&leaf_as_ca, whole.split_inclusive("-----END CERTIFICATE-----").next().unwrap()).unwrap();
    refused(
        &ServerTlsParams { client_ca: Some(leaf_as_ca), client_certificates: required, ..good.clone() },
        "that is not a CA's",
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let params = server_params(&scene);
    for mode in [0o640, 0o604, 0o644] {
        std::fs::set_permissions(&params.key, std::fs::Permissions::from_mode(mode)).unwrap();
        refused(&params, &format!("other users can read (mode {mode:o})"));
    }
    assert!(server_config(&params).unwrap_err().hint().contains("chmod 600"));
}

/// A listener with certificates for some names: `localhost` and its addresses first, and a client that asks for others.
fn named_params(scene: &Scene, names_strict: bool) -> ServerTlsParams {
    let issue = |stem: &str, names: &[&str]| {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        scene.issue_at(stem, &crate::LeafRequest { names, ..server_request() }, SystemTime::now())
    };
    let more = vec![
        issue("one", &["one.example.org"]),
        issue("wild", &["*.example.org", "127.0.0.1"]),
        issue("late", &["one.example.org", "localhost", "late.example.net"]),
    ];
    ServerTlsParams { more, names_strict, ..server_params(scene) }
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let scene = Scene::new();
    let server = server_config(&named_params(&scene, false)).unwrap();
    let client = client_config(&client_params(&scene)).unwrap();
    for (host, names) in [
        ("localhost", &["localhost", "127.0.0.1", "::1"][..]),
        ("one.example.org", &["one.example.org"]),
        ("ONE.Example.ORG", &["one.example.org"]),
        ("two.example.org", &["*.example.org", "127.0.0.1"]),
        ("late.example.net", &["one.example.org", "localhost", "late.example.net"]),
        // A client that knows an address only asks for no name.
        ("127.0.0.1", &["localhost", "127.0.0.1", "::1"]),
    ] {
        let mut shaken = shake(&client, &server, host).succeeded();
        assert_eq!(verified_facts(&shaken.client).unwrap().peer[0].names, names, "{host}");
        shaken.client.send_close_notify();
    }
    for host in ["a.b.example.org", "example.org", "other.example.com"] {
        let shaken = shake(&client, &server, host);
        assert!(told(&shaken, host).contains("localhost"), "the first is shown, and not accepted: {host}");
    }
}

#[test]
fn where_names_are_strict_who_asks_for_none_that_there_is_gets_no_certificate() {
    let scene = Scene::new();
    let server = server_config(&named_params(&scene, true)).unwrap();
    let client = client_config(&client_params(&scene)).unwrap();
    for host in ["localhost", "one.example.org", "two.example.org"] {
        shake(&client, &server, host).succeeded();
    }
    for host in ["127.0.0.1", "other.example.com", "a.b.example.org"] {
        let shaken = shake(&client, &server, host);
        assert!(matches!(shaken.client_error, Some(Error::AlertReceived(_))), "{host}: {:?}", shaken.client_error);
        assert!(shaken.client.peer_certificates().is_none(), "nothing is shown");
    }
}

#[test]
fn every_pair_of_a_listener_has_to_be_right() {
    let scene = Scene::new();
    let good = named_params(&scene, false);
    let mut crossed = good.clone();
    crossed.more[1].1.clone_from(&good.more[0].1);
    assert!(matches!(server_config(&crossed), Err(TlsFileError::KeyDoesNotMatch { .. })));
    let mut missing = good;
    missing.more[2].0 = scene.path("nowhere.pem");
    assert!(matches!(server_config(&missing), Err(TlsFileError::NotFound { .. })));
}
