//! The options of `motte pub`, `motte sub` and `motte connect` that say where to connect and as whom.
//! Called by those commands. TLS and verification are on unless an option with `danger` in its name, or a URL that
//! begins with `mqtt://` or `ws://`, says otherwise, and then a warning is shown each time.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use motte_client::{
    Authentication, BrokerUrl, ClientCertificate, ConnectError, Connection, MqttConfig, Password, ProtocolVersion, Qos,
    ServerTrust, TlsVersion, Transport, UrlError, Will, connect, printable,
};
use zeroize::Zeroizing;

use super::cert::secrets::Secrets;
use crate::ui::{Failure, USAGE, note, warning};

/// Holds the password when no option names one.
const PASSWORD_VARIABLE: &str = "MOTTE_PASSWORD";
/// Longest password MQTT can carry, in bytes.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// Exit codes of the client commands, for their help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done; 2 wrong command line; 7 connection lost; 8 TLS or certificate trouble; 12 the broker's access \
rules deny it; 14 no TCP connection; 15 unknown host name; 19 the broker went silent; 21 the broker broke the \
protocol; 25 message too large; 27 timed out; any other: the MQTT reason code of the broker's refusal (128 to 162; 1 \
to 5 for MQTT 3.x), such as 134 bad user name or password and 135 not authorized.

The password may also come from --password-file, from the environment variable MOTTE_PASSWORD, or from a prompt.";

/// Who connects.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Identity")]
pub(crate) struct IdentityArgs {
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; other users of this machine can see it here
    #[arg(short = 'P', long, visible_alias = "password", value_name = "PASSWORD")]
    pw: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", conflicts_with = "pw")]
    password_file: Option<PathBuf>,
    /// Prove the password by SCRAM-SHA-256 instead of sending it; MQTT 5, and a user added with --scram
    #[arg(long, value_name = "METHOD", value_parser = authentication)]
    auth_method: Option<Authentication>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Key of the client certificate, PEM, readable by its owner only
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// File (mode 0600) with the password of the key; without it, a protected key is asked for at the terminal
    #[arg(long, value_name = "FILE", requires = "key")]
    key_password_file: Option<PathBuf>,
    /// Client identifier; a random one when absent
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,
    /// MQTT version: 5, 311 or 31
    #[arg(short = 'V', long, visible_alias = "protocol", value_name = "VERSION", default_value = "5",
          value_parser = protocol_version)]
    protocol_version: ProtocolVersion,
    /// Lowest TLS version: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", default_value = "tlsv1.2", value_parser = tls_version)]
    tls_version: TlsVersion,
}

/// Where to connect, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct TargetArgs {
    /// Broker's host name or address
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    host: String,
    /// Port; 8883 when absent
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Broker, user and topic in one: mqtts://[user[:password]@]host[:port][/topic] or wss://host[:port]/path
    #[arg(short = 'L', long, value_name = "URL", conflicts_with_all = ["host", "port", "danger_plaintext"])]
    url: Option<TypedUrl>,
    /// Unix socket of a broker on this machine, instead of host and port; there is no TLS on it
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port", "url", "cafile", "danger_plaintext",
        "danger_accept_any_certificate", "cert"])]
    unix: Option<PathBuf>,
    /// CA certificate that signed the broker's, PEM; without it, the operating system's list of CAs counts
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Keep alive in seconds; 0 turns it off
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,
    /// Resume the session the broker keeps for this client identifier
    #[arg(short = 'c', long, requires = "id")]
    disable_clean_session: bool,
    /// How long the broker keeps the session, in seconds (MQTT 5)
    #[arg(short = 'x', long, value_name = "SECONDS")]
    session_expiry_interval: Option<u32>,
    /// Danger: connect without TLS; everybody on the way can read and change everything
    #[arg(long)]
    danger_plaintext: bool,
    /// Danger: accept any certificate; everybody on the way can read and change everything
    #[arg(long, conflicts_with = "cafile")]
    danger_accept_any_certificate: bool,
    /// Tell on standard error what happens
    #[arg(short, long)]
    debug: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    #[command(flatten)]
    will: WillArgs,
}

/// What the broker publishes when this client is gone without a word.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Will")]
struct WillArgs {
    /// Topic of the message the broker publishes when this client vanishes
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// Its payload; empty when absent
    #[arg(long, value_name = "TEXT", requires = "will_topic")]
    will_payload: Option<String>,
    /// Its QoS
    #[arg(long, value_name = "QOS", default_value = "0", value_parser = qos, requires = "will_topic")]
    will_qos: Qos,
    /// Keep it for later subscribers
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
}

/// Parses a QoS of the command line.
pub(crate) fn qos(text: &str) -> Result<Qos, String> {
    text.parse().ok().and_then(Qos::from_u8).ok_or_else(|| "QoS is 0, 1 or 2".to_owned())
}

fn protocol_version(text: &str) -> Result<ProtocolVersion, String> {
    match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        "311" | "3.1.1" => Ok(ProtocolVersion::V311),
        "31" | "3.1" => Ok(ProtocolVersion::V31),
        _ => Err("the versions are 5, 311 and 31".to_owned()),
    }
}

fn authentication(text: &str) -> Result<Authentication, String> {
    let is_known = text.eq_ignore_ascii_case("SCRAM-SHA-256");
    is_known.then_some(Authentication::ScramSha256).ok_or_else(|| "the method is SCRAM-SHA-256".to_owned())
}

fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "tlsv1.2" | "1.2" => Ok(TlsVersion::V12),
        "tlsv1.3" | "1.3" => Ok(TlsVersion::V13),
        _ => Err("the versions are tlsv1.2 and tlsv1.3".to_owned()),
    }
}

impl IdentityArgs {
    /// Fills in who connects; `from_url` is the password of a URL.
    pub(crate) fn apply(&self, config: &mut MqttConfig, from_url: Option<Password>) -> Result<(), Failure> {
        if self.username.is_some() {
            config.user_name.clone_from(&self.username);
        }
        config.client_certificate = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: certificate.clone(), key: key.clone() })
            }
            _ => None,
        };
        config.key_password = match &self.key {
            Some(key) => Secrets::new(self.key_password_file.clone(), None).of_key(key)?,
            None => None,
        };
        config.client_id = self.id.clone().unwrap_or_default();
        config.protocol_version = self.protocol_version;
        config.authentication = self.auth_method.unwrap_or_default();
        config.tls_min = self.tls_version;
        let typed = self.pw.as_deref().map(Password::from).or(from_url);
        if typed.is_some() && config.transport.is_exposed() {
            let hint = "connect with TLS (mqtts://), or give the password with --password-file";
            return Err(Failure::new("a password on the command line is not sent without TLS", hint).with_code(USAGE));
        }
        config.password = match typed {
            Some(password) => Some(password),
            None => self.silent_password(config.user_name.as_deref())?,
        };
        if config.password.is_some() && config.user_name.is_none() && config.protocol_version != ProtocolVersion::V5 {
            let what = "MQTT 3 has no password without a user name";
            return Err(Failure::new(what, "give the user name with -u").with_code(USAGE));
        }
        Ok(())
    }

    /// The password from where it is not seen: file, environment, prompt.
    fn silent_password(&self, user_name: Option<&str>) -> Result<Option<Password>, Failure> {
        if let Some(path) = &self.password_file {
            return password_of_file(path).map(Some);
        }
        let Some(user_name) = user_name else { return Ok(None) };
        if let Some(password) = std::env::var_os(PASSWORD_VARIABLE) {
            return Ok(Some(Password::from(password.into_encoded_bytes())));
        }
        if self.cert.is_some() || !io::stdin().is_terminal() {
            return Ok(None);
        }
        let typed = rpassword::prompt_password(format!("Password of {}: ", printable(user_name)));
        let no_prompt = |error: io::Error| {
            Failure::new(format!("the password cannot be asked for: {error}"), "give it with --password-file")
        };
        Ok(Some(Password::from(typed.map_err(no_prompt)?)))
    }
}

/// The first line of a file.
fn password_of_file(path: &Path) -> Result<Password, Failure> {
    let unreadable = |error: io::Error| {
        let what = format!("the password file {} cannot be read: {error}", path.display());
        Failure::new(what, "check the path and the file's mode").with_code(USAGE)
    };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        warning(format_args!("other users can read {0}: run `chmod 600 {0}`", path.display()));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PASSWORD_BYTES_MAX + 2).read_to_end(&mut bytes).map_err(unreadable)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        let hint = "write the password in its first line";
        return Err(Failure::new(format!("{} has no password in it", path.display()), hint).with_code(USAGE));
    }
    Ok(Password::from(line.to_vec()))
}

/// A URL as typed. What is wrong with it is told without repeating it: a password may stand in it.
#[derive(Clone, Debug)]
struct TypedUrl(Result<BrokerUrl, UrlError>);

impl FromStr for TypedUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.parse()))
    }
}

impl TargetArgs {
    /// The URL, if there is one and it is right.
    fn checked_url(&self) -> Result<Option<&BrokerUrl>, Failure> {
        let Some(TypedUrl(url)) = &self.url else { return Ok(None) };
        let hint = "write -L mqtts://[user@]host[:port][/topic], or -L wss://host[:port]/path";
        url.as_ref().map(Some).map_err(|error| Failure::new(error.to_string(), hint).with_code(USAGE))
    }

    /// The configuration all this asks for.
    pub(crate) fn config(&self) -> Result<MqttConfig, Failure> {
        let url = self.checked_url()?;
        let on_socket = self.unix.as_ref().map(|path| path.display().to_string());
        let (transport, host, port) = match (url, &self.unix) {
            (Some(url), _) => (url.transport.clone(), &url.host, url.port),
            (None, Some(path)) => {
                (Transport::Unix { path: path.clone() }, on_socket.as_ref().unwrap_or(&self.host), None)
            }
            (None, None) if self.danger_plaintext => (Transport::DangerPlaintext, &self.host, self.port),
            (None, None) => (Transport::Tls, &self.host, self.port),
        };
        let is_v5 = self.identity.protocol_version == ProtocolVersion::V5;
        if self.session_expiry_interval.is_some() && !is_v5 {
            let hint = "leave -x out, or use -V 5";
            return Err(Failure::new("only MQTT 5 has a session expiry", hint).with_code(USAGE));
        }
        // As mosquitto_sub does: whoever asks to resume a session wants the broker to keep it.
        let expiry = self.session_expiry_interval.or((is_v5 && self.disable_clean_session).then_some(u32::MAX));
        let mut config = MqttConfig {
            port: port.unwrap_or(transport.port_default()),
            server_trust: match &self.cafile {
                _ if self.danger_accept_any_certificate => ServerTrust::DangerAnyCertificate,
                Some(_) => ServerTrust::CertificateFile,
                None => ServerTrust::SystemRoots,
            },
            tls_cert_path: self.cafile.clone().unwrap_or_default(),
            transport,
            keep_alive_s: self.keepalive,
            clean_start: !self.disable_clean_session,
            session_expiry_s: expiry,
            will: self.will.will_topic.as_ref().map(|topic| Will {
                topic: topic.clone(),
                payload: self.will.will_payload.clone().unwrap_or_default().into_bytes(),
                qos: self.will.will_qos,
                retain: self.will.will_retain,
                delay_s: 0,
            }),
            broker: host.clone(),
            ..MqttConfig::default()
        };
        config.user_name = url.and_then(|url| url.user_name.clone());
        let from_url = url.and_then(|url| url.password.clone());
        self.identity.apply(&mut config, from_url)?;
        Ok(config)
    }

    /// The topic of the URL.
    pub(crate) fn url_topic(&self) -> Option<&str> {
        self.url.as_ref()?.0.as_ref().ok()?.topic.as_deref()
    }

    /// Connects, with a warning for each thing that weakens it.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        let config = self.config()?;
        self.warn(&config);
        let connection = connect(&config).map_err(|error| refused(&error))?;
        self.debug(|| {
            let facts = connection.facts();
            let tls = facts.tls.as_ref().map_or("no TLS".to_owned(), |tls| format!("{}, {}", tls.version, tls.suite));
            let resumed = if facts.session_present { ", session resumed" } else { "" };
            format!("connected to {} as {} ({tls}{resumed})", config.broker, printable(&facts.client_id))
        });
        Ok(connection)
    }

    /// Shows a warning for what weakens a connection.
    pub(crate) fn warn(&self, config: &MqttConfig) {
        if config.transport.is_exposed() {
            warning("this connection has no TLS: everybody on the way can read and change everything");
        } else if self.danger_accept_any_certificate {
            warning("the broker's certificate is not checked: everybody on the way can read and change everything");
        }
    }

    /// Shows a line on standard error when `-d` was given.
    pub(crate) fn debug(&self, text: impl FnOnce() -> String) {
        if self.debug {
            note(text());
        }
    }
}

/// Why no connection came about.
pub(crate) fn refused(error: &ConnectError) -> Failure {
    Failure::new(error.to_string(), error.hint()).with_code(error.exit_code())
}
