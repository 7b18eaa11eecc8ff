//! rumqttc with MQTT 5.0.
//!
//! Called by `main`. Reason codes of refusal are told by rumqttc's names for them: it does not show the numbers.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    LastWill, Packet, PubAckReason, PubCompReason, PubRecReason, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::lines::{Fault, Message, Order, Orders, RECONNECT_DELAY, Settings, say, tell_failure};
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
                say("refused", json!({"reason": format!("{code:?}")}));
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
    options.set_clean_start(settings.clean);
    options.set_session_expiry_interval(Some(settings.session_expiry_s()));
    if let Some((user, password)) = settings.login() {
        options.set_credentials(user, password);
    }
    if let Some(will) = &settings.will {
        options.set_last_will(LastWill::new(&will.topic, will.payload.as_str(), qos(will.qos)?, will.retain, None));
    }
    Ok(options)
}

async fn obey(client: AsyncClient, mut orders: Orders) -> Result<(), Fault> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Subscribe { filter, qos: level } => client.subscribe(filter, qos(level)?).await?,
            Order::Publish(message) => publish(&client, message).await?,
            Order::Disconnect => client.disconnect().await?,
            Order::Die => {}
        }
    }
    Ok(())
}

async fn publish(client: &AsyncClient, message: Message) -> Result<(), Fault> {
    let properties = PublishProperties {
        message_expiry_interval: message.properties.expiry,
        response_topic: message.properties.response,
        correlation_data: message.properties.correlation.map(Into::into),
        ..PublishProperties::default()
    };
    let Message { topic, payload, retain, .. } = message;
    client.publish_with_properties(topic, qos(message.qos)?, retain, payload, properties).await?;
    Ok(())
}

fn tell(packet: Packet) {
    match packet {
        Packet::ConnAck(answer) => say("connected", json!({"session_present": answer.session_present})),
        Packet::Publish(message) => tell_message(message),
        Packet::SubAck(answer) => {
            let reasons: Vec<Value> = answer.return_codes.iter().map(granted).collect();
            say("subscribed", json!({"reasons": reasons}));
        }
        Packet::PubAck(answer) => match answer.reason {
            PubAckReason::Success => say("published", json!({"reason": 0})),
            PubAckReason::NoMatchingSubscribers => say("published", json!({"reason": 16})),
            other => say("published", json!({"reason": format!("{other:?}")})),
        },
        Packet::PubRec(answer)
            if !matches!(answer.reason, PubRecReason::Success | PubRecReason::NoMatchingSubscribers) =>
        {
            say("published", json!({"reason": format!("{:?}", answer.reason)}));
        }
        Packet::PubComp(answer) => match answer.reason {
            PubCompReason::Success => say("published", json!({"reason": 0})),
            other => say("published", json!({"reason": format!("{other:?}")})),
        },
        Packet::Disconnect(farewell) => {
            say("disconnected", json!({"reason": format!("{:?}", farewell.reason_code), "by_server": true}));
        }
        _ => {}
    }
}

fn tell_message(message: Publish) {
    let properties = message.properties.unwrap_or_default();
    let facts = json!({
        "topic": String::from_utf8_lossy(&message.topic),
        "payload": String::from_utf8_lossy(&message.payload),
        "qos": message.qos as u8,
        "retain": message.retain,
        "dup": message.dup,
        "expiry": properties.message_expiry_interval,
        "response": properties.response_topic,
        "correlation": properties.correlation_data.map(|data| String::from_utf8_lossy(&data).into_owned()),
    });
    say("message", facts);
}

fn granted(code: &SubscribeReasonCode) -> Value {
    match code {
        SubscribeReasonCode::Success(qos) => json!(*qos as u8),
        refusal => json!(format!("{refusal:?}")),
    }
}

fn qos(number: u8) -> Result<QoS, Fault> {
    rumqttc::v5::mqttbytes::qos(number).ok_or_else(|| format!("there is no QoS {number}").into())
}
