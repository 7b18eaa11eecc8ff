//! The demonstration device: real readings of this machine, every second, over mutual TLS, as `device-1`.
//!
//! Called by `quickstart --demo`; a client like any other, on a thread of its own. A reading is published at QoS 1 to
//! `sensors/device-1/READING` as JSON: `{"value":0.42,"unit":"1","time":"2026-01-31T12:00:00Z"}`; the value is a number
//! in the unit, the time is UTC.

mod readings;

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use motte_client::{ClientCertificate, Message, MqttConfig, Qos, connect_mqtt_tls};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::ui::{note, warning};
use readings::{Reading, Sensors};

const USER: &str = "device-1";
const INTERVAL: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Starts the device. `pki` holds its certificate; it ends with the process.
pub(crate) fn start(pki: &Path, broker: SocketAddr) {
    let config = MqttConfig {
        client_certificate: Some(ClientCertificate {
            certificate: pki.join(format!("{USER}.pem")),
            key: pki.join(format!("{USER}.key")),
        }),
        client_id: String::from("demo-device-1"),
        ..MqttConfig::new(broker.ip().to_string(), broker.port(), pki.join("ca.pem"))
    };
    let device = thread::Builder::new().name(String::from("demo")).spawn(move || live(&config));
    if let Err(error) = device {
        warning(format_args!("the demonstration device cannot start: {error}"));
    }
}

/// Publishes for ever; after a failure it waits, twice as long each time, and connects again.
fn live(config: &MqttConfig) {
    let mut sensors = Sensors::new();
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let why = publish_readings(config, &mut sensors);
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        warning(format_args!("the demonstration device: {why}; it tries again in {} s", pause.as_secs()));
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Publishes every second until something fails. Gives what.
fn publish_readings(config: &MqttConfig, sensors: &mut Sensors) -> String {
    let connection = match connect_mqtt_tls(config) {
        Ok(connection) => connection,
        Err(error) => return error.to_string(),
    };
    note(format_args!("the demonstration device publishes to sensors/{USER}/… every second"));
    loop {
        let began = Instant::now();
        let time = SystemTime::now();
        for reading in sensors.read() {
            let topic = format!("sensors/{USER}/{}", reading.name);
            let message = Message::new(topic, payload(&reading, time), Qos::AtLeastOnce);
            if let Err(error) = connection.publish(message) {
                return error.to_string();
            }
        }
        thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
    }
}

/// A reading as JSON.
fn payload(reading: &Reading, time: SystemTime) -> String {
    let now = OffsetDateTime::from(time).replace_nanosecond(0);
    let time = now.ok().and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default();
    serde_json::json!({ "value": reading.value, "unit": reading.unit, "time": time }).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::payload;
    use super::readings::Reading;

    #[test]
    fn a_reading_is_value_unit_and_time() {
        let reading = Reading { name: "load_1m".into(), value: 0.5.into(), unit: "1" };
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!(payload(&reading, time), r#"{"value":0.5,"unit":"1","time":"1970-01-01T00:00:01Z"}"#);
    }
}
