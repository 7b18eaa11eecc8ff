//! Tests of broker URLs.
#![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

use super::{BrokerUrl, UrlError};
use crate::config::{Password, Transport};

fn url(text: &str) -> BrokerUrl {
    text.parse().unwrap()
}

#[test]
fn a_full_url_gives_all_its_parts() {
    let expected = BrokerUrl {
        transport: Transport::Tls,
        user_name: Some("ann e".into()),
        password: Some(Password::from("p:w@/")),
        host: "broker.example.org".into(),
        port: Some(9883),
        topic: Some("sensors/+/temp#1".into()),
    };
    assert_eq!(url("mqtts://ann%20e:p:w@%2f@broker.example.org:9883/sensors/+/temp%231"), expected);
}

#[test]
fn the_shortest_urls_leave_the_rest_open() {
    let short = url("MQTTS://localhost");
    assert_eq!((short.port, short.topic, short.user_name, short.password), (None, None, None, None));
    assert_eq!(url("mqtts://localhost/").topic, None);
    assert_eq!(url("mqtt://h").transport, Transport::DangerPlaintext);
    assert_eq!(url("mqtts://u@h").password, None);
    assert_eq!(url("mqtts://u:@h").password, Some(Password::from("")));
}

#[test]
fn a_websocket_url_has_a_path_and_no_topic() {
    assert_eq!(url("wss://h").transport, Transport::WebSocketTls { path: "/mqtt".into() });
    let other = url("wss://h:443/broker/mqtt?x=1");
    assert_eq!(other.transport, Transport::WebSocketTls { path: "/broker/mqtt?x=1".into() });
    assert_eq!(other.topic, None);
    assert_eq!(url("ws://h").transport, Transport::DangerWebSocket { path: "/mqtt".into() });
    assert!(url("ws://h").transport.is_exposed() && !url("wss://h").transport.is_exposed());
    assert_eq!(url("ws://h/x").to_string(), "ws://h:8080/x");
}

#[test]
fn ipv6_addresses_stand_in_brackets() {
    let six = url("mqtts://[::1]:8884/t");
    assert_eq!((six.host.as_str(), six.port), ("::1", Some(8884)));
    assert_eq!(six.to_string(), "mqtts://[::1]:8884");
}

#[test]
fn what_is_no_url_is_refused() {
    let check = |text: &str, error: UrlError| assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
    check("localhost", UrlError::Scheme);
    check("https://localhost", UrlError::Scheme);
    check("mqtts://", UrlError::Host);
    check("mqtts:///topic", UrlError::Host);
    check("mqtts://a b", UrlError::Host);
    check("mqtts://[localhost]", UrlError::Host);
    check("mqtts://[::1]x", UrlError::Host);
    check("mqtts://h:", UrlError::Port);
    check("mqtts://h:0", UrlError::Port);
    check("mqtts://h:65536", UrlError::Port);
    check("mqtts://h:+1", UrlError::Port);
    check("mqtts://h/%4", UrlError::Escape);
    check("mqtts://h/%ff", UrlError::Escape);
}

#[test]
fn a_url_is_shown_without_its_secrets() {
    let shown = url("mqtts://user:s3cret@h/topic");
    assert_eq!(shown.to_string(), "mqtts://h:8883");
    assert!(!format!("{shown:?}").contains("s3cret"));
}
