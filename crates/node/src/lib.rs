//! The process of a broker: configuration, gate, shard workers, reload and orderly stop.
//!
//! Called by the command line (`serve`, `quickstart`) and by tests. Everything with a socket, a thread or a clock on the
//! broker's side is in here.

pub mod config;
pub mod settings;

pub use config::{ConfigError, ConfigFile};
pub use settings::Settings;
