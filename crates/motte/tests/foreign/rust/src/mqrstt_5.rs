//! mqrstt, which speaks MQTT 5.0 only, over a stream that we bring.
//!
//! Called by `main`. It does not say when a message of QoS 0 is on its way; handed over counts as published.

use mqrstt::error::ConnectionError;
use mqrstt::packets::{LastWill, Packet, Publish, PublishProperties, QoS};
use mqrstt::tokio::Network;
use mqrstt::{AsyncEventHandler, ConnectOptions, MqttClient, NetworkBuilder};
use serde_json::json;
use tokio::io::BufStream;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::lines::{Fault, Message, Order, Orders, RECONNECT_DELAY, Settings, say, tell_failure};
use crate::tls;

type Stream = BufStream<TlsStream<TcpStream>>;

/// Connects, obeys, and ends with the connection.
pub(crate) async fn run(settings: &Settings, orders: Orders) -> Result<(), Fault> {
    let (mut network, client) = NetworkBuilder::<Teller, Stream>::new_from_options(options(settings)?).tokio_network();
    tokio::spawn(tell_failure(obey(client, orders)));
    loop {
        match converse(settings, &mut network).await {
            Err(_) if settings.reconnect => sleep(RECONNECT_DELAY).await,
            end => return end,
        }
    }
}

/// One connection from its beginning to its end.
async fn converse(settings: &Settings, network: &mut Network<Teller, Stream>) -> Result<(), Fault> {
    let tcp = TcpStream::connect((settings.host.as_str(), settings.port)).await?;
    let name = ServerName::try_from(settings.host.clone())?;
    let stream = TlsConnector::from(tls::config(settings)?).connect(name, tcp).await?;
    match network.connect(BufStream::new(stream), &mut Teller).await {
        Ok(()) => {}
        Err(ConnectionError::ConnectionRefused(code)) => {
            say("refused", json!({"reason": code as u8}));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    network.run(&mut Teller).await?;
    Ok(())
}

fn options(settings: &Settings) -> Result<ConnectOptions, Fault> {
    let mut options = ConnectOptions::new(&settings.id);
    options.set_clean_start(settings.clean).set_session_expiry_interval(settings.session_expiry_s());
    if let Some((user, password)) = settings.login() {
        options.set_username(user).set_password(password);
    }
    if let Some(will) = &settings.will {
        options.set_last_will(LastWill::new(qos(will.qos)?, will.retain, &will.topic, will.payload.as_str()));
    }
    Ok(options)
}

async fn obey(client: MqttClient, mut orders: Orders) -> Result<(), Fault> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Subscribe { filter, qos: level } => client.subscribe((filter.as_str(), qos(level)?)).await?,
            Order::Publish(message) => publish(&client, message).await?,
            Order::Disconnect => client.disconnect().await?,
            Order::Die => {}
        }
    }
    Ok(())
}

async fn publish(client: &MqttClient, message: Message) -> Result<(), Fault> {
    let properties = PublishProperties {
        message_expiry_interval: message.properties.expiry,
        response_topic: message.properties.response.map(Into::into),
        correlation_data: message.properties.correlation.map(Into::into),
        ..PublishProperties::default()
    };
    let Message { topic, payload, retain, .. } = message;
    client.publish_with_properties(topic, qos(message.qos)?, retain, payload, properties).await?;
    if message.qos == 0 {
        say("published", json!({"reason": 0}));
    }
    Ok(())
}

/// Tells the test of every packet that comes in.
struct Teller;

impl AsyncEventHandler for Teller {
    async fn handle(&mut self, packet: Packet) {
        match packet {
            Packet::ConnAck(answer) => {
                say("connected", json!({"session_present": answer.connack_flags.session_present}));
            }
            Packet::Publish(message) => tell_message(message),
            Packet::SubAck(answer) => {
                let reasons: Vec<u8> = answer.reason_codes.iter().map(|code| *code as u8).collect();
                say("subscribed", json!({"reasons": reasons}));
            }
            Packet::PubAck(answer) => say("published", json!({"reason": answer.reason_code as u8})),
            Packet::PubRec(answer) if answer.reason_code as u8 >= 0x80 => {
                say("published", json!({"reason": answer.reason_code as u8}));
            }
            Packet::PubComp(answer) => say("published", json!({"reason": answer.reason_code as u8})),
            Packet::Disconnect(farewell) => {
                say("disconnected", json!({"reason": farewell.reason_code as u8, "by_server": true}));
            }
            _ => {}
        }
    }
}

fn tell_message(message: Publish) {
    let properties = message.publish_properties;
    let facts = json!({
        "topic": message.topic,
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

fn qos(number: u8) -> Result<QoS, Fault> {
    match number {
        0 => Ok(QoS::AtMostOnce),
        1 => Ok(QoS::AtLeastOnce),
        2 => Ok(QoS::ExactlyOnce),
        other => Err(format!("there is no QoS {other}").into()),
    }
}
