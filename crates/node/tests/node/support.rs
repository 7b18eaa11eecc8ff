//! What the tests stand on: a folder with certificates and files, a running node, and a small MQTT client over TLS.
//!
//! The client is rustls and the codec and nothing else, so that what it sees is what went over the wire.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use motte_mqtt::{Connect, ConnectProperties, Decoder, Encoder, Packet, ProtocolVersion, Sender};
use motte_node::settings::{
    ClientCertificates, DurabilitySettings, GateLimits, IdentitySettings, LinkLimits, ListenAddress, ListenerRules,
    ListenerSettings, LogSettings, RemoteSettings, Speech, Tenancy, TlsSettings, Transport, WebSocketSettings,
};
use motte_node::{Control, Handle, Ready, Settings, StartError, serve_with};
use motte_pki::{Authority, ClientTlsParams, LeafRequest, Role, Roots, client_config, write_private};
use motte_policy::PasswordHash;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a busy machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write may wait for the broker to read.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// Certificates, passwords and rules in a folder, and settings that name them.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    pub(crate) settings: Settings,
}

impl House {
    /// A house with one TLS listener. `alice` has the password `wonder` and may do everything.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::create("Test CA", SystemTime::now() - Duration::from_secs(100 * 24 * 3600)).unwrap();
        let path = |name: &str| folder.path().join(name);
        write_private(&path("ca.pem"), authority.certificate_pem().as_bytes()).unwrap();
        write_private(&path("roots.pem"), authority.certificate_pem().as_bytes()).unwrap();
        write_private(&path("ca.key"), authority.key_pem().as_bytes()).unwrap();
        let settings = Settings {
            source: PathBuf::new(),
            shards: NonZeroU16::new(2).unwrap(),
            sys_interval: Duration::ZERO,
            // What a test changes it puts in force itself; one that is about the watch says so.
            watch: false,
            control_socket: None,
            listeners: vec![listener("main", Transport::tls())],
            tls: TlsSettings {
                certificate: path("server.pem"),
                key: path("server.key"),
                client_ca: Some(path("ca.pem")),
                key_password: None,
                ocsp: None,
                crls: Vec::new(),
                accept_expired_crls: false,
                tls12: true,
                renewal: None,
                acme: None,
            },
            identity: IdentitySettings { password_file: Some(path("passwords")), remote: RemoteSettings::default() },
            vault: None,
            tenancy: Tenancy::default(),
            acl_file: Some(path("acl")),
            policy_file: None,
            dynamic: None,
            gate: GateLimits::default(),
            limits: motte_broker::Limits::default(),
            // A test that is about what is kept has a store in the folder; the others are faster without.
            durability: DurabilitySettings::memory(),
            links: LinkLimits::default(),
            hints: motte_broker::Hints::default(),
            log: LogSettings::default(),
            dangers: Vec::new(),
        };
        let house = Self { folder, authority, settings };
        house.issue("server", Role::Server, "localhost", SystemTime::now());
        house.issue("alice", Role::Client, "alice", SystemTime::now());
        house.write_passwords(&[("alice", "wonder")]);
        house.write("acl", "user alice\ntopic readwrite #\n");
        house
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write_private(&self.path(name), text.as_bytes()).unwrap();
    }

    /// Writes `name.pem` and `name.key`, as they would have been issued at `now`.
    pub(crate) fn issue(&self, name: &str, role: Role, common_name: &str, now: SystemTime) {
        let names = if role == Role::Server { &["localhost", "127.0.0.1"][..] } else { &[] };
        self.issue_for(name, (role, common_name), names, now);
    }

    /// Writes `name.pem` and `name.key` of a server with these names.
    pub(crate) fn issue_for_names(&self, name: &str, names: &[&str]) {
        self.issue_for(name, (Role::Server, names[0]), names, SystemTime::now());
    }

    fn issue_for(&self, name: &str, (role, common_name): (Role, &str), names: &[&str], now: SystemTime) {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        let request = LeafRequest { role, common_name: common_name.to_owned(), names, days: 30 };
        let issued = self.authority.issue(&request, now).unwrap();
        self.write(&format!("{name}.pem"), &issued.chain_pem);
        self.write(&format!("{name}.key"), &issued.key_pem);
    }

    /// Writes `name.pem` and `name.key` of a client with a subject and alternative names in the words of OpenSSL.
    pub(crate) fn certify(&self, name: &str, subject: &str, alternative_names: &str) {
        let file = |end: &str| format!("{name}.{end}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let names = format!("subjectAltName={alternative_names}");
        let mut ask = vec!["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        ask.extend(["-utf8", "-subj", subject, "-addext", "extendedKeyUsage=clientAuth", "-keyout", &key]);
        ask.extend(["-out", &request]);
        if !alternative_names.is_empty() {
            ask.extend(["-addext", &names]);
        }
        self.openssl(&ask);
        let sign = ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "30", "-out"];
        self.openssl(&[&sign[..], &[&certificate, "-copy_extensions", "copyall"]].concat());
    }

    /// Runs `openssl` in the folder.
    pub(crate) fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments:?}: {told}");
    }

    pub(crate) fn write_passwords(&self, users: &[(&str, &str)]) {
        let mut file = motte_policy::PasswordFile::default();
        for (user, password) in users {
            file.set(user, PasswordHash::new(password.as_bytes(), [7; motte_policy::SALT_BYTES])).unwrap();
        }
        self.write("passwords", &file.to_text());
    }

    /// Starts a node and waits until its listeners stand.
    pub(crate) fn start(&self) -> Running {
        self.start_with(Control::new())
    }

    /// Starts a node with levers of the test's choice.
    pub(crate) fn start_with(&self, levers: (Handle, Control)) -> Running {
        Self::run(self.settings.clone(), levers)
    }

    /// Starts a node with other settings that name files of this house.
    pub(crate) fn start_as(&self, settings: &Settings) -> Running {
        Self::run(settings.clone(), Control::new())
    }

    fn run(settings: Settings, (handle, control): (Handle, Control)) -> Running {
        LazyLock::force(&LOG);
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread =
            std::thread::spawn(move || serve_with(settings, control, |ready| sender.send(ready.clone()).unwrap()));
        let Ok(ready) = receiver.recv_timeout(PATIENCE) else {
            panic!("the node did not start: {:?}", thread.join());
        };
        Running { handle, thread: Some(thread), ready }
    }

    /// Opens TLS to `address`, with the client certificate `name` when one is given.
    pub(crate) fn open(&self, address: SocketAddr, certificate: Option<&str>, alpn: &[u8]) -> Client {
        self.try_open(address, certificate, alpn).unwrap()
    }

    /// The fingerprint of the certificate that is shown at `address`.
    pub(crate) fn served_certificate(&self, address: SocketAddr) -> String {
        self.certificate_for(address, "localhost").unwrap()
    }

    /// The fingerprint of the certificate that is shown to a client that asks for `name`.
    pub(crate) fn certificate_for(&self, address: SocketAddr, name: &str) -> io::Result<String> {
        let (connection, _) = self.handshake(tcp(address), name, None, b"mqtt")?;
        let leaf = &connection.peer_certificates().unwrap()[0];
        Ok(motte_pki::CertificateFacts::from_der(leaf).unwrap().sha256)
    }

    pub(crate) fn try_open(&self, address: SocketAddr, certificate: Option<&str>, alpn: &[u8]) -> io::Result<Client> {
        let (connection, socket) = self.handshake(tcp(address), "localhost", certificate, alpn)?;
        Ok(Client::over(Box::new(StreamOwned::new(connection, socket)), ProtocolVersion::V5))
    }

    /// Opens TLS on a connection that stands.
    pub(crate) fn open_over(&self, socket: TcpStream, alpn: &[u8]) -> Client {
        let (connection, socket) = self.handshake(socket, "localhost", None, alpn).unwrap();
        Client::over(Box::new(StreamOwned::new(connection, socket)), ProtocolVersion::V5)
    }

    /// Both halves of TLS to `address`, for a client that does more than write.
    pub(crate) fn shake_hands(&self, address: SocketAddr) -> (ClientConnection, TcpStream) {
        self.handshake(tcp(address), "localhost", None, b"mqtt").unwrap()
    }

    fn handshake(
        &self,
        mut socket: TcpStream,
        name: &str,
        certificate: Option<&str>,
        alpn: &[u8],
    ) -> io::Result<(ClientConnection, TcpStream)> {
        let file = |name: &str, end: &str| self.path(&format!("{name}.{end}"));
        let params = ClientTlsParams {
            roots: Roots::File(self.path("roots.pem")),
            client_certificate: certificate.map(|name| (file(name, "pem"), file(name, "key"))),
            alpn: if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] },
            ..ClientTlsParams::default()
        };
        let name = name.to_owned().try_into().unwrap();
        let mut connection = ClientConnection::new(client_config(&params).unwrap(), name).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok((connection, socket))
    }
}

/// A listener on a free port of loopback.
pub(crate) fn listener(name: &str, transport: Transport) -> ListenerSettings {
    ListenerSettings {
        name: name.to_owned(),
        address: ListenAddress::Ip("127.0.0.1:0".parse().unwrap()),
        transport,
        client_certificates: ClientCertificates::Optional,
        rules: ListenerRules::default(),
        connections_max: None,
        trusted_proxies: Vec::new(),
    }
}

pub(crate) fn websocket() -> Transport {
    Transport { tls: true, speech: Speech::WebSocket(WebSocketSettings::default()) }
}

/// A TCP connection with a bound on every read and write.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(WRITE_PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A running node; stopped when dropped.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<Result<(), StartError>>>,
    pub(crate) ready: Ready,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of(0)
    }

    /// The address of the listener at that place.
    pub(crate) fn address_of(&self, place: usize) -> SocketAddr {
        self.ready.listeners[place].address.ip().unwrap()
    }

    /// Waits until it has stopped by itself.
    pub(crate) fn wait(mut self) -> Result<(), StartError> {
        self.thread.take().unwrap().join().unwrap()
    }

    /// Stops it and gives what `serve_with` returned.
    pub(crate) fn stop(mut self) -> Result<(), StartError> {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(std::thread::panicking() || matches!(outcome, Ok(Ok(()))), "{outcome:?}");
        }
    }
}

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A client that says what it is told to and shows what it is sent.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) version: ProtocolVersion,
    received: Vec<u8>,
}

impl Client {
    pub(crate) fn over(stream: Box<dyn Stream>, version: ProtocolVersion) -> Self {
        Self { stream, version, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn send_packet(&mut self, packet: &Packet<'_>) {
        let bytes = encode(self.version, packet);
        self.send(&bytes);
    }

    /// Lets `look` see the next packet.
    pub(crate) fn receive<R>(&mut self, look: impl FnOnce(&Packet<'_>) -> R) -> R {
        let seen = self.receive_or_end(look);
        seen.unwrap_or_else(|| panic!("the broker closed the connection; unread: {:02x?}", self.received))
    }

    /// Lets `look` see the next packet, unless the connection ends before it; a time-out fails the test.
    pub(crate) fn receive_or_end<R>(&mut self, look: impl FnOnce(&Packet<'_>) -> R) -> Option<R> {
        let decoder = Decoder::new(Sender::Server, self.version, u32::MAX);
        loop {
            if let Some((packet, length)) = decoder.decode(&self.received).unwrap() {
                let seen = look(&packet);
                self.received.drain(..length);
                return Some(seen);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("nothing came; unread: {:02x?}", self.received)
                }
                Err(_) => return None,
            }
        }
    }

    /// The bytes until the broker closes the connection, those already received included.
    pub(crate) fn until_closed(mut self) -> Vec<u8> {
        let mut bytes = self.received;
        read_until_closed(&mut self.stream, &mut bytes);
        bytes
    }

    /// Connects and gives the reason code of CONNACK, as the version has it.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> u8 {
        self.version = connect.version;
        self.send_packet(&Packet::Connect(*connect));
        let version = self.version;
        self.receive(|packet| match packet {
            Packet::ConnAck(ack) if version == ProtocolVersion::V5 => ack.reason.as_u8(),
            Packet::ConnAck(ack) => ack.reason.v3_connack().unwrap(),
            packet => panic!("{packet:?}"),
        })
    }
}

/// Reads until the end of the stream, however it comes; a time-out fails the test.
pub(crate) fn read_until_closed(stream: &mut impl Read, bytes: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the broker did not close the connection; received {bytes:02x?}")
            }
            Err(_) => return,
        }
    }
}

pub(crate) fn encode(version: ProtocolVersion, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(version, u32::MAX).encode(packet, &mut bytes).unwrap();
    bytes
}

/// Resident memory of this process in bytes.
pub(crate) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// A CONNECT of `alice` with her password.
pub(crate) fn connect_as_alice(client_id: &str) -> Connect<'_> {
    Connect { user_name: Some("alice"), password: Some(b"wonder"), ..connect_as_nobody(client_id) }
}

/// A CONNECT without credentials.
pub(crate) fn connect_as_nobody(client_id: &str) -> Connect<'_> {
    Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive_s: 60,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// The log of this process, line by line.
static LOG: LazyLock<Arc<Log>> = LazyLock::new(|| {
    let log = Arc::new(Log::default());
    let writer = Arc::clone(&log);
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_max_level(tracing::Level::TRACE);
    let lines = lines.with_writer(move || Lines(Arc::clone(&writer)));
    tracing::subscriber::set_global_default(lines.finish()).unwrap();
    log
});

#[derive(Default)]
struct Log {
    bytes: Mutex<Vec<u8>>,
    grew: Condvar,
}

struct Lines(Arc<Log>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes.lock().unwrap().extend_from_slice(bytes);
        self.0.grew.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for a line of the log that `test` accepts.
pub(crate) fn logged(test: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = LOG.bytes.lock().unwrap();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.find(|line| test(line)) {
            return line;
        }
        let left = deadline.checked_duration_since(Instant::now()).unwrap_or_else(|| panic!("no such line in\n{text}"));
        bytes = LOG.grew.wait_timeout(bytes, left).unwrap().0;
    }
}

/// A line of the log so far that `test` accepts.
pub(crate) fn find_logged(test: impl Fn(&Value) -> bool) -> Option<Value> {
    let text = String::from_utf8_lossy(&LOG.bytes.lock().unwrap()).into_owned();
    text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| test(line))
}

/// Whether a line of the log so far holds `text`.
pub(crate) fn log_holds(text: &str) -> bool {
    String::from_utf8_lossy(&LOG.bytes.lock().unwrap()).contains(text)
}

/// Waits for the refusal with `reason`.
pub(crate) fn refused(reason: &str) -> Value {
    logged(|line| line["message"] == "refused" && line["reason"] == reason)
}
