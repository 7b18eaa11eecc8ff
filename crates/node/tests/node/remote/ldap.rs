//! A directory as a source of identities, asked of a real slapd.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use motte_mqtt::{Connect, ProtocolVersion};
use motte_node::settings::{LdapProtection, LdapSettings, LdapUrl, SourceName};
use tempfile::TempDir;

use super::{answer, literal, subscribe};
use crate::support::{House, PATIENCE, connect_as_alice, connect_as_nobody, log_holds, logged};

const CANARY: &str = "canary-of-the-directory";
const SERVICE: &str = "canary-of-the-service";

/// Users, among them two with one number, one whose entry is an alias for nobody, and one with a star for a name.
fn entries() -> String {
    let person = |uid: &str, number: &str, password: &str| {
        format!(
            "dn: uid={uid},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n\
             employeeNumber: {number}\nou: north\nou: south\nuserPassword: {password}\n\n"
        )
    };
    [
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n",
        "dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people\n\n",
        &format!(
            "dn: cn=motte,dc=example,dc=org\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n\
             cn: motte\nuserPassword: {SERVICE}\n\n"
        ),
        &person("pump", "1", CANARY),
        &person("valve", "2", "open"),
        &person("twin", "2", "open"),
        "dn: ou=elsewhere,ou=people,dc=example,dc=org\nobjectClass: referral\nobjectClass: extensibleObject\n\
         ou: elsewhere\nref: ldap://127.0.0.1:1/ou=people,dc=example,dc=org??sub\n\n",
    ]
    .concat()
}

/// A running directory.
struct Slapd {
    child: Child,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Slapd {
    fn start(house: &House) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [plain, tls] =
            [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).map(|free| free.local_addr().unwrap());
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir(at("data")).unwrap();
        let configuration = format!(
            "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
             include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
             pidfile {pid}\nTLSCACertificateFile {ca}\nTLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n\
             security simple_bind=0\nsizelimit 100\n\
             database mdb\nsuffix dc=example,dc=org\ndirectory {data}\n\
             access to attrs=userPassword by anonymous auth by * none\n\
             access to * by dn.exact=cn=motte,dc=example,dc=org read by * none\n",
            pid = at("pid"),
            ca = house.path("ca.pem").display(),
            certificate = house.path("server.pem").display(),
            key = house.path("server.key").display(),
            data = at("data"),
        );
        fs::write(at("slapd.conf"), configuration).unwrap();
        fs::write(at("entries.ldif"), entries()).unwrap();
        let added =
            Command::new("/usr/sbin/slapadd").args(["-f", &at("slapd.conf"), "-l", &at("entries.ldif")]).output();
        let added = added.expect("`cargo xtask setup` installs slapd");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let child = Command::new("/usr/sbin/slapd")
            .args(["-f", &at("slapd.conf"), "-d", "0", "-h", &format!("ldap://{plain}/ ldaps://{tls}/")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(plain).is_err() || TcpStream::connect(tls).is_err() {
            assert!(Instant::now() < until, "slapd does not listen");
            std::thread::yield_now();
        }
        Self { child, folder, plain, tls }
    }

    fn settings(&self, house: &House, protection: LdapProtection) -> LdapSettings {
        let address = if protection == LdapProtection::Tls { self.tls } else { self.plain };
        LdapSettings {
            name: "corp".into(),
            line: 0,
            url: LdapUrl { host: "localhost".parse().unwrap(), port: address.port(), protection },
            ca: Some(house.path("ca.pem")),
            bind_dn: "cn=motte,dc=example,dc=org".into(),
            bind_password: literal(SERVICE),
            base_dn: "ou=people,dc=example,dc=org".into(),
            filter: "(uid=%u)".into(),
            username_attribute: "uid".into(),
            attributes: vec!["ou".into()],
            timeout: Duration::from_secs(5),
            connections_max: 4,
            session_max: Duration::from_secs(3600),
        }
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(fs::remove_dir_all(self.folder.path().join("data")));
    }
}

fn ask(house: &mut House, settings: LdapSettings) {
    house.settings.listeners[0].rules.sources = vec![SourceName::Ldap("corp".into()), SourceName::Password];
    house.settings.identity.remote.ldap = vec![settings];
}

fn login<'a>(user: &'a str, password: &'a str) -> Connect<'a> {
    // A session belongs to its user, so each has a client identifier of its own.
    let client_id = if user.bytes().all(|byte| byte.is_ascii_alphanumeric()) { user } else { "c" };
    Connect { user_name: Some(user), password: Some(password.as_bytes()), ..connect_as_nobody(client_id) }
}

#[test]
fn users_of_a_directory_come_in_with_their_passwords() {
    let mut house = House::new();
    let slapd = Slapd::start(&house);
    house.write("acl", "user alice\ntopic readwrite #\npattern read of/%u/#\n");
    for protection in [LdapProtection::Tls, LdapProtection::StartTls, LdapProtection::None] {
        let settings = slapd.settings(&house, protection);
        ask(&mut house, settings);
        let node = house.start();
        let mut client = house.open(node.address(), None, b"mqtt");
        assert_eq!(client.connect(&login("pump", CANARY)), 0, "{protection:?}");
        assert_eq!(subscribe(&mut client, &["of/pump/x", "of/valve/x"]), [1, 0x87]);
        for _ in 0..3 {
            assert_eq!(answer(&house, &node, &login("pump", "wrong")), 0x86, "{protection:?}");
            assert_eq!(answer(&house, &node, &login("valve", "open")), 0, "{protection:?}");
        }
        assert_eq!(answer(&house, &node, &connect_as_alice("alice")), 0, "the next source is asked");
        assert_eq!(answer(&house, &node, &login("nobody", "x")), 0x86);
    }
    assert!(!log_holds(CANARY) && !log_holds(SERVICE), "a password in the log");
}

/// Empty passwords are a bind as nobody, which slapd answers with yes; names are data and never a filter.
#[test]
fn k28_no_trick_gets_past_a_directory() {
    let mut house = House::new();
    let slapd = Slapd::start(&house);
    let settings = slapd.settings(&house, LdapProtection::Tls);
    ask(&mut house, settings);
    let node = house.start();
    for (user, password) in [
        ("pump", ""),
        ("*", "open"),
        ("p*", CANARY),
        ("pump)(uid=*", CANARY),
        ("pump)(|(uid=valve", "open"),
        ("valve))(&(uid=pump", "open"),
        ("pump\\", CANARY),
        ("PUMP", CANARY),
        ("pump ", CANARY),
        ("elsewhere", "x"),
        ("uid=pump,ou=people,dc=example,dc=org", CANARY),
        ("%u", CANARY),
    ] {
        assert_eq!(answer(&house, &node, &login(user, password)), 0x86, "{user:?} {password:?}");
        let v311 = Connect { version: ProtocolVersion::V311, ..login(user, password) };
        assert_eq!(answer(&house, &node, &v311), 4, "{user:?} {password:?}");
    }
    let bytes = Connect { password: Some(&[0xff]), ..login("pump", "") };
    assert_eq!(answer(&house, &node, &bytes), 0x86);
    assert_ne!(answer(&house, &node, &Connect { password: None, ..login("pump", "") }), 0);
    assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0);

    // Two entries for one name are nobody, although the password of both is the same.
    let by_number = LdapSettings {
        filter: "(employeeNumber=%u)".into(),
        username_attribute: "employeeNumber".into(),
        ..slapd.settings(&house, LdapProtection::Tls)
    };
    ask(&mut house, by_number);
    let node = house.start();
    assert_eq!(answer(&house, &node, &login("1", CANARY)), 0);
    assert_eq!(answer(&house, &node, &login("2", "open")), 0x86);
}

#[test]
fn k28_a_directory_that_cannot_be_asked_lets_nobody_in() {
    let mut house = House::new();
    let slapd = Slapd::start(&house);
    let good = slapd.settings(&house, LdapProtection::Tls);
    let stranger = House::new();
    let missing = "dc=missing,dc=org".to_owned();
    for (what, settings) in [
        ("another CA", LdapSettings { ca: Some(stranger.path("ca.pem")), ..good.clone() }),
        ("a wrong password of the broker", LdapSettings { bind_password: literal("wrong"), ..good.clone() }),
        (
            "a name of the broker that is none",
            LdapSettings { bind_dn: "cn=other,dc=example,dc=org".into(), ..good.clone() },
        ),
        (
            "TLS where none is spoken",
            LdapSettings { url: LdapUrl { port: slapd.plain.port(), ..good.url.clone() }, ..good.clone() },
        ),
        ("a part of the tree that is not there", LdapSettings { base_dn: missing, ..good.clone() }),
    ] {
        ask(&mut house, LdapSettings { timeout: Duration::from_secs(2), ..settings });
        assert_eq!(answer(&house, &house.start(), &login("pump", CANARY)), 0x88, "{what}");
    }
    ask(&mut house, good);
    let node = house.start();
    assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0);
    drop(slapd);
    assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0x88, "connections that were kept are of no use");
    assert_eq!(answer(&house, &node, &connect_as_alice("alice")), 0x88, "and nobody else is asked");
    logged(|line| line["detail"].as_str().is_some_and(|detail| detail.starts_with("ldap:corp: the connection failed")));
    assert!(!log_holds(CANARY) && !log_holds(SERVICE), "a password in the log");
}
