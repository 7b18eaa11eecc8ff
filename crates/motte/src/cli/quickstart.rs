//! `motte quickstart`: a secure broker from nothing, with all it needs in one directory.
//!
//! Called by `cli::run`. The first start makes everything (see `home`), every later one reuses it. Nothing is ever
//! opened without TLS, and nothing listens beyond this machine unless `--host` is given.

mod banner;
mod home;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use motte_node::config::{ConfigFile, SampleListener};
use motte_node::settings::{ListenAddress, ListenerSettings};
use motte_node::{Ready, Settings};
use motte_pki::{CertificateFacts, HostName};

use super::{cert, serve};
use crate::demo;
use crate::ui::{Failure, Ui, note, warning};

const AFTER_HELP: &str = "\
Makes in the directory, at the first start: a private CA, a server certificate (renewed by the broker itself), client \
certificates and passwords for device-1, device-2 and operator, access rules, and motte.toml with every choice \
explained. Then it runs the broker until Ctrl-C, as `motte serve -c DIR/motte.toml` does. Sessions and messages that \
must survive are kept in DIR/store.

--demo publishes readings of this machine (load, memory, network, disks, temperatures, uptime) every second to \
sensors/device-1/READING as {\"value\":NUMBER,\"unit\":\"…\",\"time\":\"…\"}.
Exit codes: 0 stopped in order; 1 failed; 2 wrong command line or configuration.";

const PORT_TLS: u16 = 8883;
const PORT_WEBSOCKET: u16 = 8443;

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Directory of everything the broker needs
    #[arg(long, value_name = "DIR", default_value = "motte-data")]
    dir: PathBuf,
    /// Name or address under which other machines reach this one; listens on all networks. Repeatable
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<HostName>,
    /// Publish readings of this machine as device-1
    #[arg(long)]
    demo: bool,
    /// Port of MQTT over TLS; 0 for any free one [default: 8883]
    #[arg(long)]
    port: Option<u16>,
    /// Port of MQTT over secure WebSocket; 0 for any free one [default: 8443]
    #[arg(long)]
    wss_port: Option<u16>,
}

/// Makes what is missing and runs the broker.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    let now = SystemTime::now();
    let listeners = listeners(args);
    let passwords = home::open_or_create(&args.dir, &args.hosts, &listeners, now)?;
    let mut settings = ConfigFile::load(&args.dir.join("motte.toml")).map_err(|errors| serve::refused(&errors))?;
    if passwords.is_none() {
        cover_names(&settings, &args.hosts, now)?;
        override_addresses(&mut settings, args);
    }
    let mut shown = Ok(());
    let code = serve::serve(settings, |ready| {
        shown = banner::show(ui, &args.dir, &args.hosts, ready, passwords.as_deref());
        if args.demo {
            start_demo(&args.dir, ready);
        }
    })?;
    shown.map(|()| code)
}

/// The listeners of a first start.
fn listeners(args: &Args) -> Vec<SampleListener> {
    let (tls, websocket) = (args.port.unwrap_or(PORT_TLS), args.wss_port.unwrap_or(PORT_WEBSOCKET));
    let listener = |name: &str, address: IpAddr, port, websocket| SampleListener {
        name: name.to_owned(),
        address: SocketAddr::new(address, port),
        websocket,
    };
    let address = everywhere_or_here(args, Ipv4Addr::LOCALHOST);
    let mut listeners = vec![listener("mqtts", address, tls, false), listener("wss", address, websocket, true)];
    if args.hosts.iter().any(|host| matches!(host, HostName::Ip(IpAddr::V6(_)))) {
        let address = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        listeners.push(listener("mqtts-ipv6", address, tls, false));
        listeners.push(listener("wss-ipv6", address, websocket, true));
    }
    listeners
}

fn everywhere_or_here(args: &Args, here: Ipv4Addr) -> IpAddr {
    IpAddr::V4(if args.hosts.is_empty() { here } else { Ipv4Addr::UNSPECIFIED })
}

/// On a later start: ports and hosts of the command line hold for this run; the file is the user's and is not changed.
fn override_addresses(settings: &mut Settings, args: &Args) {
    let before: Vec<_> = settings.listeners.iter().map(|listener| listener.address.clone()).collect();
    for (name, port) in [("mqtts", args.port), ("wss", args.wss_port)] {
        let same_kind = |listener: &&mut ListenerSettings| listener.name.starts_with(name) && listener.transport.tls;
        for listener in settings.listeners.iter_mut().filter(same_kind) {
            let ListenAddress::Ip(address) = &mut listener.address else { continue };
            if let Some(port) = port {
                address.set_port(port);
            }
            if !args.hosts.is_empty() && address.ip().is_loopback() {
                address.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
        }
    }
    if settings.listeners.iter().map(|listener| &listener.address).ne(&before) {
        let file = settings.source.display();
        note(format_args!("addresses of the command line hold for this run; to keep them, change {file}"));
    }
}

/// On a later start: names that the server certificate lacks are added to it.
fn cover_names(settings: &Settings, hosts: &[HostName], now: SystemTime) -> Result<(), Failure> {
    let tls = &settings.tls;
    let text = std::fs::read_to_string(&tls.certificate).unwrap_or_default();
    let Some(present) = CertificateFacts::from_pem(&text).ok().and_then(|chain| chain.into_iter().next()) else {
        return Ok(());
    };
    let mut names: Vec<HostName> = present.names.iter().filter_map(|name| name.parse().ok()).collect();
    let missing: Vec<HostName> = hosts.iter().filter(|host| !names.contains(host)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(renewal) = &tls.renewal else {
        warning("the server certificate lacks names given with --host, and [tls.renewal] names no CA to add them with");
        return Ok(());
    };
    let shown = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    names.extend(missing);
    let authority = cert::read_authority(&renewal.ca_certificate, &renewal.ca_key)?;
    let request = cert::server_request(names, renewal.days);
    let issued = authority.issue(&request, now).map_err(|error| Failure::new(error.to_string(), error.hint()))?;
    cert::record(&renewal.ca_certificate, &issued.chain_pem)?;
    motte_node::replace_certificate(tls, &issued).map_err(|error| {
        Failure::new(error.to_string(), "check that the directory of the certificates is there and yours")
    })?;
    note(format_args!("the server certificate was made anew for {shown} as well"));
    Ok(())
}

/// Starts the device whose readings are those of this machine.
fn start_demo(dir: &Path, ready: &Ready) {
    let tls = ready.listeners.iter().find(|listener| listener.scheme == "mqtts");
    let Some(address) = tls.and_then(|listener| listener.address.ip()) else {
        return warning("--demo needs a listener for MQTT over TLS; there is none");
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    demo::start(&dir.join("pki"), SocketAddr::new(ip, address.port()));
}
