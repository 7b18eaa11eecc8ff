//! OCSP stapling: OpenSSL answers and OpenSSL looks. And keys under a password.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use motte_node::secret::SecretRef;
use motte_node::settings::OcspSource;
use motte_pki::{CertificateFacts, Index, IndexError, KeyPassword, Reason};
use zeroize::Zeroizing;

use crate::support::{House, PATIENCE, connect_as_alice, logged};

/// A responder on loopback: each question goes to `openssl ocsp`, with the index of the house's CA.
fn responder(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = Vec::new();
            // Head and body come at once or one after the other; the head says how long the body is.
            loop {
                let mut some = [0; 4096];
                let read = stream.read(&mut some).unwrap();
                bytes.extend_from_slice(&some[..read]);
                let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                assert!(text.starts_with("post /ocsp http/1.1") && text.contains("application/ocsp-request"), "{text}");
                let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                if bytes.len() >= head + 4 + length.parse::<usize>().unwrap() || read == 0 {
                    std::fs::write(folder.join("question"), &bytes[head + 4..]).unwrap();
                    break;
                }
            }
            let ask = ["ocsp", "-index", "ca.index", "-CA", "ca.pem", "-rsigner", "ca.pem", "-rkey", "ca.key"];
            let files = ["-ndays", "4", "-reqin", "question", "-respout", "answer"];
            let done = Command::new("openssl").args([&ask[..], &files].concat()).current_dir(&folder).output().unwrap();
            assert!(done.status.success(), "{done:?}");
            let answer = std::fs::read(folder.join("answer")).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
            stream.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
        }
    });
    address
}

/// A house whose server certificate names a responder; it is in the index of the CA, revoked if that is asked.
fn house(revoked: bool) -> House {
    let mut house = House::new();
    let address = responder(house.folder.path());
    let extensions = format!(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n\
         authorityInfoAccess=OCSP;URI:http://{address}/ocsp\n"
    );
    house.write("ext", &extensions);
    let make = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"];
    house.openssl(&[&make[..], &["-keyout", "server.key", "-out", "server.csr"]].concat());
    let sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "9"];
    house.openssl(&[&sign[..], &["-extfile", "ext", "-out", "leaf.pem"]].concat());
    let [leaf, ca] = ["leaf.pem", "ca.pem"].map(|name| std::fs::read_to_string(house.path(name)).unwrap());
    house.write("server.pem", &format!("{leaf}{ca}"));
    let facts = CertificateFacts::from_pem(&leaf).unwrap().remove(0);
    Index::update(&house.path("ca.index"), |index| {
        index.record(&facts);
        if revoked {
            index.revoke(&facts.serial_hex, SystemTime::now(), Reason::KeyCompromise);
        }
        Ok::<_, IndexError>(())
    })
    .unwrap();
    house.settings.tls.ocsp = Some(OcspSource::Responder);
    house
}

/// What OpenSSL is told of the certificate's status in a handshake.
fn status(house: &House, address: SocketAddr) -> String {
    let address = address.to_string();
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address, "-status", "-CAfile", "ca.pem", "-servername", "localhost"]);
    let output = command.current_dir(house.folder.path()).stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_good_answer_of_the_responder_is_stapled_and_stays_after_a_reload() {
    let house = house(false);
    let node = house.start();
    for reload in [false, true] {
        if reload {
            node.handle.reload().unwrap();
        }
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let told = status(&house, node.address());
            assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
            if told.contains("OCSP Response Status: successful") {
                assert!(told.contains("Cert Status: good"), "{told}");
                break;
            }
            assert!(told.contains("OCSP response: no response sent"), "{told}");
            assert!(std::time::Instant::now() < deadline, "{told}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

#[test]
fn an_answer_that_is_not_good_is_never_stapled() {
    let house = house(true);
    let node = house.start();
    let why = "the responder says that the certificate has been revoked";
    logged(|line| line["why"] == why);
    let told = status(&house, node.address());
    assert!(told.contains("OCSP response: no response sent"), "{told}");
    // The broker goes on as without.
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("one")), 0);
}

#[test]
fn a_key_under_a_password_opens_with_the_secret_that_the_settings_refer_to() {
    let mut house = House::new();
    let plain = motte_pki::read_key(&house.path("server.key"), None).unwrap();
    let password = KeyPassword::new(Zeroizing::new(b"canary-of-the-key".to_vec()));
    house.write("server.key", &motte_pki::key_pem(&plain, Some(&password)).unwrap());
    house.write("word", "canary-of-the-key\n");
    house.settings.tls.key_password = Some(SecretRef::File(house.path("word")));
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("one")), 0);
    house.write("word", "another\n");
    let error = node.handle.reload().unwrap_err();
    assert!(format!("{error:?}").contains("is wrong"), "{error:?}");
    assert!(!crate::support::log_holds("canary-of-the-key"), "k39");
    let mut again = house.open(node.address(), None, b"mqtt");
    assert_eq!(again.connect(&connect_as_alice("two")), 0);
}
