//! `motte connect`: makes one secure connection to a broker and says what it is made of.
//! Called by `cli::run`. Never falls back to plaintext or to no verification; there is no option for either.

use std::path::PathBuf;
use std::time::SystemTime;

use motte_client::{CertificateFacts, ConnectionFacts, MqttConfig, ProtocolVersion, connect_mqtt_tls, printable};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::target::{EXIT_CODES, IdentityArgs, refused};
use crate::ui::{Failure, SUCCESS, USAGE, Ui};

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Broker's host name or address, as its certificate has it
    #[arg(long, visible_alias = "host", value_name = "HOST", required_unless_present = "config")]
    broker: Option<String>,
    /// Port
    #[arg(short, long, value_name = "PORT", default_value_t = motte_client::config::PORT_TLS,
          value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// CA certificate that signed the broker's, PEM
    #[arg(long, visible_alias = "cafile", value_name = "FILE", required_unless_present = "config")]
    tls_cert_path: Option<PathBuf>,
    /// File with the keys broker, port and tls_cert_path, in TOML or JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["broker", "port", "tls_cert_path"])]
    config: Option<PathBuf>,
    /// Say more: TLS version, cipher suite, key exchange, the broker's names and how long its certificate lasts
    #[arg(short, long)]
    verbose: bool,
    /// Write one JSON object
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    #[command(flatten)]
    identity: IdentityArgs,
}

/// Connects, says so, and disconnects.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let mut config = match &args.config {
        Some(path) => MqttConfig::from_file(path).map_err(|error| {
            let place = error.line.map_or(String::new(), |line| format!("{line}:"));
            Failure::new(format!("{}:{place} {}", error.path.display(), error.what), error.hint).with_code(USAGE)
        })?,
        None => MqttConfig::new(
            args.broker.clone().unwrap_or_default(),
            args.port,
            args.tls_cert_path.clone().unwrap_or_default(),
        ),
    };
    args.identity.apply(&mut config, None)?;
    let connection = connect_mqtt_tls(&config).map_err(|error| refused(&error))?;
    let facts = connection.facts();
    if args.json {
        ui.line(as_json(&config, facts))?;
    } else {
        ui.line(format_args!(
            "Connected securely to {} on port {} using cert {}",
            config.broker,
            config.port,
            config.tls_cert_path.display()
        ))?;
        if args.verbose {
            details(facts, ui)?;
        }
    }
    // The connection was made, which is all that was asked.
    let _ = connection.disconnect();
    Ok(SUCCESS)
}

fn details(facts: &ConnectionFacts, ui: &mut Ui) -> Result<(), Failure> {
    if let Some(tls) = &facts.tls {
        ui.line(format_args!("TLS version:   {}", tls.version))?;
        ui.line(format_args!("cipher suite:  {}", tls.suite))?;
        ui.line(format_args!("key exchange:  {}", tls.key_exchange))?;
        if let Some(server) = tls.peer.first() {
            ui.line(format_args!("server names:  {}", server.names.join(", ")))?;
            ui.line(format_args!("issued by:     {}", server.issuer))?;
            ui.line(format_args!("days left:     {}", server.days_left(SystemTime::now())))?;
        }
    }
    ui.line(format_args!("MQTT version:  {}", version(facts.protocol_version)))?;
    ui.line(format_args!("client id:     {}", printable(&facts.client_id)))
}

fn version(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::V31 => "3.1",
        ProtocolVersion::V311 => "3.1.1",
        ProtocolVersion::V5 => "5.0",
    }
}

fn as_json(config: &MqttConfig, facts: &ConnectionFacts) -> Value {
    let tls = facts.tls.as_ref();
    json!({
        "broker": config.broker,
        "port": config.port,
        "tls_cert_path": config.tls_cert_path.display().to_string(),
        "tls_version": tls.map(|tls| tls.version.as_str()),
        "cipher_suite": tls.map(|tls| tls.suite.as_str()),
        "key_exchange": tls.map(|tls| tls.key_exchange.as_str()),
        "server_certificate": tls.and_then(|tls| tls.peer.first()).map(certificate_as_json),
        "mqtt_version": version(facts.protocol_version),
        "client_id": facts.client_id,
        "session_present": facts.session_present,
    })
}

fn certificate_as_json(certificate: &CertificateFacts) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": certificate.names,
        "not_after": OffsetDateTime::from(certificate.not_after).format(&Rfc3339).ok(),
        "days_left": certificate.days_left(SystemTime::now()),
        "sha256": certificate.sha256,
    })
}
