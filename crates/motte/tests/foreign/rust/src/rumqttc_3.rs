//! rumqttc with MQTT 3.1.1.
//!
//! Called by `main`.

use rumqttc::{
    AsyncClient, ConnectionError, Event, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode,
    TlsConfiguration, Transport,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::lines::{Fault, Order, Orders, RECONNECT_DELAY, Settings, say, tell_failure};
use crate::tls;

/// Connects, obeys, and ends with the connection.
pub(crate) async fn run(settings: &Settings, orders: Orders) -> Result<(), Fault> {
    let (client, mut connection) = AsyncClient::new(options(settings)?, 16);
    tokio::spawn(tell_failure(obey(client, orders)));
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(packet)) => tell(packet),
            Ok(Event::Outgoing(Outgoing::Publish(0))) => say("published", json!({"reason": 0})),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return Ok(()),
            Ok(Event::Outgoing(_)) => {}
            Err(ConnectionError::ConnectionRefused(code)) => {
                say("refused", json!({"reason": code as u8}));
                return Ok(());
            }
            // Polled again, rumqttc connects again.
            Err(_) if settings.reconnect => sleep(RECONNECT_DELAY).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn options(settings: &Settings) -> Result<MqttOptions, Fault> {
    let mut options = MqttOptions::new(&settings.id, &settings.host, settings.port);
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls::config(settings)?)));
    options.set_clean_session(settings.clean);
    if let Some((user, password)) = settings.login() {
        options.set_credentials(user, password);
    }
    if let Some(will) = &settings.will {
        options.set_last_will(LastWill::new(&will.topic, will.payload.as_str(), qos(will.qos)?, will.retain));
    }
    Ok(options)
}

async fn obey(client: AsyncClient, mut orders: Orders) -> Result<(), Fault> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Subscribe { filter, qos: level } => client.subscribe(filter, qos(level)?).await?,
            Order::Publish(message) => {
                client.publish(message.topic, qos(message.qos)?, message.retain, message.payload).await?;
            }
            Order::Disconnect => client.disconnect().await?,
            Order::Die => {}
        }
    }
    Ok(())
}

fn tell(packet: Packet) {
    match packet {
        Packet::ConnAck(answer) => say("connected", json!({"session_present": answer.session_present})),
        Packet::Publish(message) => say(
            "message",
            json!({
                "topic": message.topic,
                "payload": String::from_utf8_lossy(&message.payload),
                "qos": message.qos as u8,
                "retain": message.retain,
                "dup": message.dup,
            }),
        ),
        Packet::SubAck(answer) => {
            let reasons: Vec<Value> = answer.return_codes.iter().map(granted).collect();
            say("subscribed", json!({"reasons": reasons}));
        }
        Packet::PubAck(_) | Packet::PubComp(_) => say("published", json!({"reason": 0})),
        _ => {}
    }
}

fn granted(code: &SubscribeReasonCode) -> Value {
    match code {
        SubscribeReasonCode::Success(qos) => json!(*qos as u8),
        SubscribeReasonCode::Failure => json!(128),
    }
}

fn qos(number: u8) -> Result<QoS, Fault> {
    rumqttc::qos(number).map_err(Fault::from)
}
