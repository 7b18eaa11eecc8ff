//! What the client's tests share: a CA with certificates on disk, and Debian's Mosquitto as a foreign broker.
//! Called by the integration tests only. Listens on free loopback ports and stops what it started.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test stops at what it cannot set up; not every test uses all"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use motte_client::{ClientCertificate, MqttConfig};
use motte_pki::{Authority, HostName, LeafRequest, Role, write_private, write_public};
use tempfile::TempDir;

/// A directory with `ca.pem`, and the CA itself.
pub struct Pki {
    pub directory: TempDir,
    pub authority: Authority,
}

impl Pki {
    pub fn new() -> Self {
        Self::made_at(SystemTime::now())
    }

    /// A CA made at another time, for certificates that have expired.
    pub fn made_at(now: SystemTime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create("Test CA", now).unwrap();
        write_public(&directory.path().join("ca.pem"), authority.certificate_pem().as_bytes()).unwrap();
        Self { directory, authority }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Writes `server.pem` and `server.key` for the names.
    pub fn server(&self, names: &[&str], days: u16, now: SystemTime) -> (PathBuf, PathBuf) {
        let names = names.iter().map(|name| name.parse::<HostName>().unwrap()).collect();
        self.issue("server", &LeafRequest { role: Role::Server, common_name: "broker".into(), names, days }, now)
    }

    /// Writes a client's certificate and key.
    pub fn client(&self, name: &str) -> ClientCertificate {
        let request = LeafRequest { role: Role::Client, common_name: name.into(), names: Vec::new(), days: 90 };
        let (certificate, key) = self.issue(name, &request, SystemTime::now());
        ClientCertificate { certificate, key }
    }

    fn issue(&self, stem: &str, request: &LeafRequest, now: SystemTime) -> (PathBuf, PathBuf) {
        let issued = self.authority.issue(request, now).unwrap();
        let (certificate, key) = (self.path(&format!("{stem}.pem")), self.path(&format!("{stem}.key")));
        write_public(&certificate, issued.chain_pem.as_bytes()).unwrap();
        write_private(&key, issued.key_pem.as_bytes()).unwrap();
        (certificate, key)
    }
}

/// A running Mosquitto; stopped when dropped.
pub struct Mosquitto {
    pub port: u16,
    child: Child,
    _directory: TempDir,
}

impl Mosquitto {
    /// TLS with a certificate for localhost; `more` is added to its configuration.
    pub fn tls(pki: &Pki, more: &str) -> Self {
        let (certificate, key) = pki.server(&["localhost", "127.0.0.1"], 90, SystemTime::now());
        Self::with_certificate(pki, &certificate, &key, more)
    }

    /// TLS with the given certificate.
    pub fn with_certificate(pki: &Pki, certificate: &Path, key: &Path, more: &str) -> Self {
        let tls = format!(
            "cafile {}\ncertfile {}\nkeyfile {}\n{more}",
            pki.ca().display(),
            certificate.display(),
            key.display()
        );
        Self::start(&tls)
    }

    /// One listener on loopback; `more` belongs to it.
    pub fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mosquitto.conf");
        let access = if more.contains("password_file") { "allow_anonymous false" } else { "allow_anonymous true" };
        // Another process may take the free port first; then there is another one.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            std::fs::write(&file, format!("user root\nlistener {port} 127.0.0.1\n{access}\n{more}\n")).unwrap();
            let mut child = Command::new(mosquitto())
                .args(["-v", "-c"])
                .arg(&file)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("Mosquitto is installed (cargo xtask setup)");
            let mut log = BufReader::new(child.stderr.take().unwrap());
            if runs(&mut log) {
                // Its log must be read, or it blocks.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return Self { port, child, _directory: directory };
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        panic!("Mosquitto does not start");
    }

    /// A configuration that connects to it by name over TLS.
    pub fn config(&self, pki: &Pki) -> MqttConfig {
        MqttConfig {
            connect_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(10),
            ..MqttConfig::new("localhost", self.port, pki.ca())
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian puts it where only root's PATH looks.
fn mosquitto() -> &'static str {
    if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" }
}

fn runs(log: &mut impl BufRead) -> bool {
    let mut seen = String::new();
    for line in log.lines().map_while(Result::ok) {
        if line.contains(" running") {
            return true;
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    assert!(seen.contains("Address already in use"), "Mosquitto says: {seen}");
    false
}

/// Reads exactly `count` bytes.
pub fn read(stream: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
