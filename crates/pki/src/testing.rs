//! What this crate's tests share: a directory with a CA and its files, OpenSSL, and handshakes in memory.
//! Called by tests only. Never opens a socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use tempfile::TempDir;

use crate::{Authority, HostName, LeafRequest, Role, write_private, write_public};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A directory and the CA whose certificate is `ca.pem` in it.
pub(crate) struct Scene {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::made_at(SystemTime::now())
    }

    pub(crate) fn made_at(now: SystemTime) -> Self {
        Self::of("Test CA", now)
    }

    pub(crate) fn of(common_name: &str, now: SystemTime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(common_name, now).unwrap();
        write_public(&directory.path().join("ca.pem"), authority.certificate_pem().as_bytes()).unwrap();
        Self { directory, authority }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `{stem}.pem` and `{stem}.key`.
    pub(crate) fn issue_at(&self, stem: &str, request: &LeafRequest, now: SystemTime) -> (PathBuf, PathBuf) {
        let issued = self.authority.issue(request, now).unwrap();
        let (certificate, key) = (self.path(&format!("{stem}.pem")), self.path(&format!("{stem}.key")));
        write_public(&certificate, issued.chain_pem.as_bytes()).unwrap();
        write_private(&key, issued.key_pem.as_bytes()).unwrap();
        (certificate, key)
    }

    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        self.issue_at("server", &server_request(), SystemTime::now())
    }

    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        self.issue_at("client", &client_request("sensor-1"), SystemTime::now())
    }

    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        openssl(self.directory.path(), arguments)
    }
}

pub(crate) fn server_request() -> LeafRequest {
    let names = ["localhost", "127.0.0.1", "::1"].map(|name| name.parse::<HostName>().unwrap());
    LeafRequest { role: Role::Server, common_name: "broker".into(), names: names.into(), days: 90 }
}

pub(crate) fn client_request(common_name: &str) -> LeafRequest {
    LeafRequest { role: Role::Client, common_name: common_name.into(), names: Vec::new(), days: 365 }
}

/// Runs `openssl` in a directory and gives all it wrote; a failure is the test's.
pub(crate) fn openssl(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(directory).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

pub(crate) fn der(certificate_pem: &Path) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_file(certificate_pem).unwrap().to_vec()
}

/// Two ends of a connection in memory and how the handshake went on each.
pub(crate) struct Shaken {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
    pub(crate) client_error: Option<Error>,
    pub(crate) server_error: Option<Error>,
}

impl Shaken {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!((&self.client_error, &self.server_error), (&None, &None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        self
    }
}

/// Carries bytes between both ends until both are silent or one has failed and the other has heard of it.
pub(crate) fn shake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, host: &str) -> Shaken {
    let name = host.to_owned().try_into().unwrap();
    let mut shaken = Shaken {
        client: ClientConnection::new(Arc::clone(client), name).unwrap(),
        server: ServerConnection::new(Arc::clone(server)).unwrap(),
        client_error: None,
        server_error: None,
    };
    for _round in 0..8 {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        while shaken.client.wants_write() {
            shaken.client.write_tls(&mut up).unwrap();
        }
        if shaken.server_error.is_none() {
            let mut rest = up.as_slice();
            while !rest.is_empty() && shaken.server_error.is_none() {
                shaken.server.read_tls(&mut rest).unwrap();
                shaken.server_error = shaken.server.process_new_packets().err();
            }
        }
        while shaken.server.wants_write() {
            shaken.server.write_tls(&mut down).unwrap();
        }
        let mut rest = down.as_slice();
        while !rest.is_empty() && shaken.client_error.is_none() {
            shaken.client.read_tls(&mut rest).unwrap();
            shaken.client_error = shaken.client.process_new_packets().err();
        }
    }
    shaken
}
