//! The process of a broker: configuration, gate, shard workers, reload and orderly stop.
//!
//! Called by the command line (`serve`, `quickstart`) and by tests. Everything with a socket, a thread or a clock on
//! the broker's side is in here.

mod acme;
mod alarms;
mod boot;

mod clock;
pub mod config;
mod control;
pub mod counter;
mod durable;
mod dynamic;
mod gate;
mod log;
mod ocsp;
pub mod outbound;
pub mod passwords;
mod porter;
#[doc(hidden)]
pub mod probe;
pub mod proxy_header;
mod reload;
mod renewal;
mod review;
pub mod secret;
pub mod settings;
mod snapshot;
mod socket;
mod sources;
mod supervise;
mod sys;
mod watch;
mod wire;
mod worker;

pub use boot::{Listening, Ready, StartError, serve, serve_with};
pub use config::{ConfigError, ConfigFile};
pub use control::{Control, Handle};
pub use reload::{EndedSession, ReloadError, Reloaded};
pub use renewal::{Renewal, RenewalError, renew_if_due, replace_certificate};
pub use settings::Settings;
