//! Secrets in a vault, asked of a real OpenBao over TLS.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use motte_node::outbound::HttpUrl;
use motte_node::secret::{Resolver, Secret, SecretError, SecretRef, VaultLogin, VaultSettings};
use motte_node::settings::{JwtKeySource, JwtSettings, SourceName, TokenIn};
use motte_node::{Control, StartError};
use motte_pki::JwtAlgorithm;
use tempfile::TempDir;

use crate::support::{House, connect_as_alice};

const CANARY: &str = "canary-of-the-vault";
const ROOT: &str = "root-token";

/// The program, which `cargo xtask setup` installs.
fn bao() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    target.join("foreign/venv/bin/bao")
}

/// A running vault.
struct Bao {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Bao {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(bao())
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token"])
            .arg(format!("-dev-tls-cert-dir={}", folder.path().display()))
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`cargo xtask setup` installs bao");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Its last words about its token come when all is ready.
        assert!(lines.any(|line| line.unwrap().starts_with("Root Token:")), "the vault ended");
        // What it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, folder, port }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("vault-ca.pem")
    }

    /// Runs the vault's own command line as its owner.
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(bao())
            .args(arguments)
            .env("BAO_ADDR", self.url())
            .env("BAO_CACERT", self.ca())
            .env("BAO_TOKEN", ROOT)
            .output()
            .unwrap();
        assert!(output.status.success(), "bao {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn settings(&self, login: VaultLogin) -> VaultSettings {
        let url = HttpUrl::parse(&self.url()).unwrap();
        VaultSettings { line: 0, url, ca: Some(self.ca()), login, namespace: None, timeout: Duration::from_secs(5) }
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn literal(text: &str) -> SecretRef {
    SecretRef::Literal(Secret::new(text.as_bytes().to_vec().into()).unwrap())
}

fn resolve(settings: &VaultSettings, reference: &str) -> Result<String, SecretError> {
    let reference = SecretRef::parse(reference, Path::new("")).unwrap();
    let secret = Resolver::new(&|_| None, Some(settings)).resolve(&reference)?;
    Ok(secret.text().unwrap().to_owned())
}

#[test]
fn secrets_come_out_of_a_vault_by_token_and_by_role() {
    let bao = Bao::start();
    bao.run(&["kv", "put", "-mount=secret", "motte/site 1", &format!("hook={CANARY}"), "number=7"]);
    let by_token = bao.settings(VaultLogin::Token(literal(ROOT)));
    assert_eq!(resolve(&by_token, "vault:secret/motte/site 1#hook").as_deref(), Ok(CANARY));
    let says = |settings: &VaultSettings, reference: &str| resolve(settings, reference).unwrap_err().to_string();
    assert_eq!(
        says(&by_token, "vault:secret/motte/other#hook"),
        "the vault cannot be asked: it has nothing at this path"
    );
    assert_eq!(
        says(&by_token, "vault:secret/motte/site 1#other"),
        "the vault cannot be asked: it has no text under the key \"other\" there"
    );

    bao.run(&["auth", "enable", "approle"]);
    let policy = bao.folder.path().join("policy.hcl");
    std::fs::write(&policy, "path \"secret/data/motte/*\" { capabilities = [\"read\"] }\n").unwrap();
    bao.run(&["policy", "write", "motte", policy.to_str().unwrap()]);
    bao.run(&["write", "auth/approle/role/motte", "token_policies=motte"]);
    let role_id = bao.run(&["read", "-field=role_id", "auth/approle/role/motte/role-id"]);
    let secret_id = bao.run(&["write", "-f", "-field=secret_id", "auth/approle/role/motte/secret-id"]);
    let by_role = bao.settings(VaultLogin::AppRole { role_id: role_id.clone(), secret_id: literal(&secret_id) });
    assert_eq!(resolve(&by_role, "vault:secret/motte/site 1#hook").as_deref(), Ok(CANARY));
    assert_eq!(
        says(&by_role, "vault:secret/other#hook"),
        "the vault cannot be asked: it does not let the broker read it"
    );
    // The token of the login is given back: the owner's is the only one left.
    let left = bao.run(&["list", "-format=json", "auth/token/accessors"]);
    assert_eq!(left.matches('"').count(), 2, "{left}");

    let wrong_role = bao.settings(VaultLogin::AppRole { role_id, secret_id: literal("wrong") });
    let refused = says(&wrong_role, "vault:secret/motte/site 1#hook");
    assert!(refused.contains("it did not take the role and its secret"), "{refused}");
    let wrong_token = bao.settings(VaultLogin::Token(literal("wrong")));
    assert_eq!(
        says(&wrong_token, "vault:secret/motte/site 1#hook"),
        "the vault cannot be asked: it does not let the broker read it"
    );
}

/// A start needs every secret; a reload that does not find one leaves everything as it was.
#[test]
fn a_reload_without_the_vault_keeps_the_old_set() {
    let bao = Bao::start();
    bao.run(&["kv", "put", "-mount=secret", "motte", "key=0123456789abcdef0123456789abcdef"]);
    let mut house = House::new();
    house.settings.vault = Some(bao.settings(VaultLogin::Token(literal(ROOT))));
    house.settings.listeners[0].rules.sources = vec![SourceName::Jwt("i".into()), SourceName::Password];
    house.settings.identity.remote.jwt = vec![JwtSettings {
        name: "i".into(),
        line: 0,
        algorithms: vec![JwtAlgorithm::Hs256],
        issuer: "i".into(),
        audience: "motte".into(),
        keys: JwtKeySource::Secret(SecretRef::parse("vault:secret/motte#key", Path::new("")).unwrap()),
        leeway: Duration::ZERO,
        username_claim: "sub".into(),
        client_id_claim: None,
        acl_claim: None,
        tenant_claim: None,
        token_in: TokenIn::Password,
    }];
    let node = house.start();
    node.handle.reload().unwrap();
    bao.run(&["kv", "put", "-mount=secret", "motte", "key=short"]);
    let errors = format!("{:?}", node.handle.reload().unwrap_err());
    assert!(errors.contains("shorter than the 32 bytes") && !errors.contains("0123456789abcdef"), "{errors}");
    drop(bao);
    let errors = format!("{:?}", node.handle.reload().unwrap_err());
    assert!(errors.contains("the vault cannot be asked"), "{errors}");
    assert_eq!(house.open(node.address(), None, b"mqtt").connect(&connect_as_alice("still")), 0);
    let settings = house.settings.clone();
    let refused = motte_node::serve_with(settings, Control::new().1, |_| ()).unwrap_err();
    assert!(matches!(refused, StartError::Files(_)), "{refused:?}");
}

/// A vault that is not the one it should be, or not there, gives nothing (K28).
#[test]
fn k28_a_vault_that_is_not_believed_gives_nothing() {
    let bao = Bao::start();
    bao.run(&["kv", "put", "-mount=secret", "motte", &format!("hook={CANARY}")]);
    let good = bao.settings(VaultLogin::Token(literal(ROOT)));
    let another = Bao::start();
    let unknown_ca = VaultSettings { ca: Some(another.ca()), ..good.clone() };
    let says = resolve(&unknown_ca, "vault:secret/motte#hook").unwrap_err().to_string();
    assert!(says.starts_with("the vault cannot be asked: TLS failed:"), "{says}");
    drop(another);
    drop(bao);
    let ca = tempfile::NamedTempFile::new().unwrap();
    let no_ca = VaultSettings { ca: Some(ca.path().to_owned()), ..good };
    let says = resolve(&no_ca, "vault:secret/motte#hook").unwrap_err().to_string();
    assert!(says.contains("is not a PEM file"), "{says}");
    assert_eq!(Resolver::new(&|_| None, None).resolve(&literal("x")).unwrap().bytes(), b"x");
    let reference = SecretRef::parse("vault:secret/motte#hook", Path::new("")).unwrap();
    assert_eq!(Resolver::new(&|_| None, None).resolve(&reference), Err(SecretError::NoVault));
}
