//! rumqttc and mqrstt as puppets of the end-to-end tests: commands come in as JSON lines, events go out as JSON lines.
//!
//! The first line holds the settings of the connection; `library` and `protocol` say which of them is meant. Built by
//! `cargo xtask setup`. Reconnects only when told to.

mod lines;
mod mqrstt_5;
mod rumqttc_3;
mod rumqttc_5;
mod tls;

use lines::{Fault, tell_failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let settings = lines::settings()?;
    let orders = lines::orders();
    match (settings.library.as_str(), settings.protocol.as_str()) {
        ("rumqttc", "3.1.1") => tell_failure(rumqttc_3::run(&settings, orders)).await,
        ("rumqttc", "5") => tell_failure(rumqttc_5::run(&settings, orders)).await,
        ("mqrstt", "5") => tell_failure(mqrstt_5::run(&settings, orders)).await,
        (library, protocol) => return Err(format!("{library} does not speak MQTT {protocol}").into()),
    }
    Ok(())
}
