//! The server certificate from a CA that speaks ACME: Pebble, with a name server of its own, on loopback.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use motte_node::settings::{AcmeChallenge, AcmeSettings, ListenAddress};
use motte_pki::{CertificateFacts, ClientTlsParams, Role, client_config};
use rustls::ClientConnection;

use crate::support::{House, logged};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The name that is asked for; Pebble's name server says that everything is 127.0.0.1.
const NAME: &str = "broker.motte.example";

/// A free port, which whoever it is given to takes a moment later.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Pebble and its name server.
struct Ca {
    directory: String,
    /// Where Pebble looks for the answers to its challenges.
    challenges: SocketAddr,
    programs: Vec<Program>,
}

impl Ca {
    /// Starts a CA whose own certificate is signed by the CA of the house.
    fn start(house: &House) -> Self {
        house.issue("pebble", Role::Server, "localhost", SystemTime::now());
        let [port, management, http, dns, dns_management] = std::array::from_fn(|_| free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": house.path("pebble.pem"), "privateKey": house.path("pebble.key"),
            "httpPort": http, "tlsPort": http, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        house.write("pebble.json", &config.to_string());
        let names = format!("127.0.0.1:{dns}");
        let mut server = Command::new("pebble-challtestsrv");
        server.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &names, "-http01", "", "-https01", ""]);
        server.args(["-tlsalpn01", "", "-management", &format!("127.0.0.1:{dns_management}")]);
        let mut pebble = Command::new("pebble");
        pebble.arg("-config").arg(house.path("pebble.json")).args(["-dnsserver", &names]);
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        let programs = vec![
            started(&mut server, "Starting management server"),
            started(&mut pebble, "ACME directory available at"),
        ];
        let directory = format!("https://localhost:{port}/dir");
        Self { directory, challenges: SocketAddr::from(([127, 0, 0, 1], http)), programs }
    }

    fn settings(&self, house: &House, challenge: AcmeChallenge) -> AcmeSettings {
        AcmeSettings {
            directory: self.directory.clone(),
            ca: Some(house.path("roots.pem")),
            contact: vec![String::from("mailto:ops@motte.example")],
            names: vec![NAME.parse().unwrap()],
            challenge,
            account: house.path("account.json"),
            binding: None,
        }
    }
}

/// Starts a program and waits until it says that it is ready; what it says later goes nowhere, so that it never waits.
fn started(command: &mut Command, ready: &str) -> Program {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let program = Program(child);
    let mut line = String::new();
    while !line.contains(ready) {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{command:?} ended before it was ready");
    }
    std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    program
}

fn leaf(file: &Path) -> CertificateFacts {
    CertificateFacts::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap().remove(0)
}

/// The fingerprint of the certificate that is shown at an address; whether it is believed is not asked here.
fn shown(address: SocketAddr) -> String {
    let params = ClientTlsParams { insecure: true, ..ClientTlsParams::default() };
    let name = NAME.try_into().unwrap();
    let mut connection = ClientConnection::new(client_config(&params).unwrap(), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    CertificateFacts::from_der(&connection.peer_certificates().unwrap()[0]).unwrap().sha256
}

/// Waits until the log says that a certificate came from this directory.
fn issued(directory: &str) {
    logged(|line| line["message"] == "the server certificate was issued by ACME" && line["directory"] == directory);
}

#[test]
fn a_first_certificate_is_got_over_tls_and_served_without_a_restart() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut house = House::new();
    let ca = Ca::start(&house);
    for name in ["server.pem", "server.key"] {
        std::fs::remove_file(house.path(name)).unwrap();
    }
    house.settings.tls.acme = Some(ca.settings(&house, AcmeChallenge::TlsAlpn));
    // Pebble looks at the port it was told, so that is where the listener stands.
    house.settings.listeners[0].address = ListenAddress::Ip(ca.challenges);
    let node = house.start();
    issued(&ca.directory);
    let served = leaf(&house.path("server.pem"));
    assert!(served.issuer.contains("Pebble"), "{}", served.issuer);
    assert_eq!(served.names, [NAME]);
    assert_eq!(shown(node.address()), served.sha256);
    for name in ["server.key", "account.json"] {
        assert_eq!(std::fs::metadata(house.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_old_certificate_is_renewed_over_http_with_the_account_that_is_kept() {
    let mut house = House::new();
    let ca = Ca::start(&house);
    house.settings.tls.acme = Some(ca.settings(&house, AcmeChallenge::Http(ca.challenges)));
    house.issue("server", Role::Server, "localhost", SystemTime::now() - 25 * DAY);
    let node = house.start();
    issued(&ca.directory);
    let first = leaf(&house.path("server.pem"));
    assert_eq!(first.names, [NAME]);
    assert!(TcpStream::connect(ca.challenges).is_err(), "nothing listens for challenges when none is open");
    let account = std::fs::read(house.path("account.json")).unwrap();
    drop(node);
    house.issue_for_names("server", &["other.example"]);
    let node = house.start();
    logged(|_| leaf(&house.path("server.pem")).names == [NAME]);
    assert_ne!(leaf(&house.path("server.pem")).serial_hex, first.serial_hex);
    assert_eq!(std::fs::read(house.path("account.json")).unwrap(), account);
    drop(node);
}

#[test]
fn a_ca_that_is_away_is_an_alarm_and_the_certificate_stays() {
    let mut house = House::new();
    let mut ca = Ca::start(&house);
    house.settings.tls.acme = Some(ca.settings(&house, AcmeChallenge::Http(ca.challenges)));
    ca.programs.clear();
    house.issue("server", Role::Server, "localhost", SystemTime::now() - 25 * DAY);
    let old = leaf(&house.path("server.pem"));
    let node = house.start();
    let line = logged(|line| line["directory"] == ca.directory.as_str() && line["level"] == "ERROR");
    assert_eq!(line["message"], "ACME gave no certificate; the present one stays");
    assert_eq!(leaf(&house.path("server.pem")), old);
    assert_eq!(house.served_certificate(node.address()), old.sha256);
}

#[test]
fn a_name_that_cannot_be_shown_to_be_ours_is_an_alarm_that_says_so() {
    let mut house = House::new();
    let ca = Ca::start(&house);
    // The listener stands elsewhere than Pebble looks.
    house.settings.tls.acme = Some(ca.settings(&house, AcmeChallenge::TlsAlpn));
    let node = house.start();
    let line = logged(|line| line["directory"] == ca.directory.as_str() && line["level"] == "ERROR");
    let error = line["error"].as_str().unwrap();
    assert!(error.starts_with(&format!("the CA was not shown that {NAME} is ours: ")), "{error}");
    drop(node);
}

#[test]
fn only_a_pending_challenge_is_answered_on_a_tls_listener() {
    let house = House::new();
    let node = house.start();
    assert!(house.try_open(node.address(), None, b"acme-tls/1").is_err());
}
