//! SCRAM-SHA-256 against brokers that do not know the user, or pretend to (MQTT 5.0 §4.12, K43).

#[path = "../../../policy/fixtures/scram_client.rs"]
mod scram_client;

use std::io::{Read, Write};
use std::thread::JoinHandle;

use motte_client::{Authentication, AuthenticationError, ConnectError, ConnectionLost, MqttConfig, connect_mqtt_tls};
use motte_mqtt::{
    Auth, ConnAck, ConnAckProperties, Decoder, Encoder, Packet, ProtocolVersion, ReasonCode, Sender, UserProperties,
};

use self::scram_client::ScramClient;
use super::support::Pki;
use super::{ACCEPTED, SOON, Tls, packet, rogue, rogue_with_connect};

const METHOD: &str = "SCRAM-SHA-256";
const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Encoder::new(ProtocolVersion::V5, u32::MAX).encode(packet, &mut bytes).unwrap();
    bytes
}

fn auth(reason: ReasonCode, method: &str, data: &str) -> Vec<u8> {
    let (method, data) = (Some(method), Some(data.as_bytes()));
    encoded(&Packet::Auth(Auth { reason, method, data, reason_string: None, user: UserProperties::EMPTY }))
}

fn connack(method: Option<&str>, data: Option<&str>) -> Vec<u8> {
    let properties = ConnAckProperties {
        authentication_method: method,
        authentication_data: data.map(str::as_bytes),
        ..ConnAckProperties::default()
    };
    encoded(&Packet::ConnAck(ConnAck { session_present: false, reason: ReasonCode::Success, properties }))
}

/// What a client says: packet type, reason code, method, data. A CONNECT must not hold the password.
fn said(bytes: &[u8]) -> (u8, u8, String, String) {
    let text = |data: Option<&[u8]>| String::from_utf8(data.unwrap_or_default().to_vec()).unwrap();
    match Decoder::new(Sender::Client, ProtocolVersion::V5, u32::MAX).decode(bytes).unwrap().unwrap().0 {
        Packet::Connect(connect) => {
            assert_eq!((connect.user_name, connect.password), (None, None));
            assert!(!bytes.windows(6).any(|part| part == b"secret"), "the password was sent");
            let found = connect.properties;
            (1, 0, found.authentication_method.unwrap().to_owned(), text(found.authentication_data))
        }
        Packet::Auth(auth) => (15, auth.reason.as_u8(), auth.method.unwrap().to_owned(), text(auth.data)),
        packet => panic!("{packet:?}"),
    }
}

/// What the client does from now on, until it closes.
fn rest(mut stream: Tls) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// The broker's half of an exchange: its question, and what the two say at its end.
struct Half {
    question: String,
    client: ScramClient,
}

impl Half {
    fn new(first: &str) -> Self {
        let nonce = first.strip_prefix("n,,n=anna,r=").expect("the first message of Anna");
        let client = ScramClient { nonce: nonce.to_owned(), ..ScramClient::new("anna", "secret") };
        Self { question: format!("r={nonce}fromTheBroker,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"), client }
    }

    /// Asks, and gives what proves the broker when the client proved itself.
    fn ask(mut self, stream: &mut Tls) -> String {
        stream.write_all(&auth(CONTINUE, METHOD, &self.question)).unwrap();
        let expected = self.client.last(self.question.as_bytes());
        assert_eq!(said(&packet(stream)), (15, 0x18, METHOD.to_owned(), expected), "AUTH 0x18 of the method");
        self.client.expected
    }
}

/// A broker that is played by `script` behind the first message, and a configuration that reaches it.
fn broker<T: Send + 'static>(
    pki: &Pki,
    script: impl FnOnce(Tls, Half) -> T + Send + 'static,
) -> (MqttConfig, JoinHandle<T>) {
    let (config, thread) = rogue_with_connect(pki, |stream, connect| {
        let (_, _, method, first) = said(&connect);
        assert_eq!(method, METHOD);
        script(stream, Half::new(&first))
    });
    (of_anna(config), thread)
}

fn of_anna(config: MqttConfig) -> MqttConfig {
    MqttConfig {
        user_name: Some("anna".into()),
        password: Some("secret".into()),
        authentication: Authentication::ScramSha256,
        ..config
    }
}

/// What the client makes of `answer`, which the broker gives at once; and what it says to that.
fn to(pki: &Pki, answer: impl FnOnce(&Half) -> Vec<u8> + Send + 'static) -> (ConnectError, Vec<u8>) {
    let (config, thread) = broker(pki, move |mut stream, half| {
        stream.write_all(&answer(&half)).unwrap();
        rest(stream)
    });
    let error = connect_mqtt_tls(&config).expect_err("this must not connect");
    (error, thread.join().unwrap())
}

#[test]
fn v5_4_12_0_3_the_client_answers_with_auth_0x18_and_believes_the_broker_then() {
    let pki = Pki::new();
    let (config, thread) = broker(&pki, |mut stream, half| {
        let proof = half.ask(&mut stream);
        stream.write_all(&connack(Some(METHOD), Some(&proof))).unwrap();
        rest(stream)
    });
    connect_mqtt_tls(&config).unwrap().disconnect().unwrap();
    assert_eq!(thread.join().unwrap(), [0xe0, 0], "DISCONNECT and nothing else");
}

#[test]
fn v5_4_12_0_5_a_broker_that_does_not_prove_itself_is_not_believed() {
    let pki = Pki::new();
    let other = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
    let cases: [(Option<&str>, Option<&str>, &str); 5] = [
        (Some(METHOD), Some(other), "its proof is wrong"),
        (Some(METHOD), Some("e=other-error"), "its last message is not a proof"),
        (Some(METHOD), None, "it gave no proof"),
        (Some("SCRAM-SHA-1"), Some(other), "it accepts without the method that was asked for"),
        (None, None, "it accepts without the method that was asked for"),
    ];
    for (method, data, what) in cases {
        let (config, thread) = broker(&pki, move |mut stream, half| {
            half.ask(&mut stream);
            stream.write_all(&connack(method, data)).unwrap();
            rest(stream)
        });
        let error = connect_mqtt_tls(&config).expect_err("this must not connect");
        assert_eq!(error.to_string(), format!("the broker did not prove who it is: {what}"));
        assert_eq!(error.exit_code(), motte_client::error::EXIT_PROTOCOL);
        thread.join().unwrap();
    }
}

#[test]
fn k43_a_broker_that_skips_the_question_is_not_believed() {
    let pki = Pki::new();
    let (error, _) = to(&pki, |_| connack(Some(METHOD), Some("v=AAAA")));
    assert!(matches!(error, ConnectError::Authentication(AuthenticationError::BrokerUnproved(_))), "{error}");
    let (error, _) = to(&pki, |_| ACCEPTED.to_vec());
    assert!(matches!(error, ConnectError::Authentication(AuthenticationError::BrokerUnproved(_))), "{error}");
}

#[test]
fn k43_a_question_that_would_weaken_the_password_gets_no_proof() {
    let pki = Pki::new();
    for iterations in ["i=1", "i=4095", "i=4294967295", "i=99999999999"] {
        let (error, said) = to(&pki, |half| auth(CONTINUE, METHOD, &half.question.replace("i=4096", iterations)));
        assert!(matches!(error, ConnectError::Authentication(AuthenticationError::BrokerUnproved(_))), "{error}");
        assert_eq!(said, b"", "{iterations}");
    }
    let (error, said) = to(&pki, |_| auth(CONTINUE, METHOD, "r=anotherNonce,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
    assert_eq!(error.to_string(), "the broker did not prove who it is: its nonce is not made out of ours");
    assert_eq!(said, b"");
}

#[test]
fn k43_an_auth_of_another_method_or_code_gets_no_answer() {
    let pki = Pki::new();
    let (error, said) = to(&pki, |half| auth(CONTINUE, "PLAIN", &half.question));
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
    assert_eq!(said, b"");
    let (error, said) = to(&pki, |half| auth(ReasonCode::Success, METHOD, &half.question));
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
    assert_eq!(said, b"");
}

#[test]
fn a_broker_without_the_method_is_told_apart() {
    let (error, _) = to(&Pki::new(), |_| vec![0x20, 3, 0, 0x8c, 0]);
    assert_eq!(error.to_string(), "the broker refused the connection: bad authentication method");
    assert_eq!(error.hint(), "this broker does not know SCRAM-SHA-256; leave --auth-method out");
    assert_eq!(error.exit_code(), 0x8c);
}

#[test]
fn v5_4_12_0_7_without_a_method_the_client_sends_no_auth() {
    let pki = Pki::new();
    // Asked before CONNACK.
    let (config, thread) = rogue(&pki, |mut stream| {
        stream.write_all(&auth(CONTINUE, METHOD, "r=x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")).unwrap();
        rest(stream)
    });
    let error = connect_mqtt_tls(&config).unwrap_err();
    assert!(error.to_string().ends_with("it sends AUTH although no method was asked for"), "{error}");
    assert_eq!(thread.join().unwrap(), b"");
    // Asked later, and asked by the application.
    let (config, thread) = rogue(&pki, |mut stream| {
        stream.write_all(&[&ACCEPTED, auth(CONTINUE, METHOD, "x").as_slice()].concat()).unwrap();
        rest(stream)
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    let what = "AUTH without an authentication method".to_owned();
    assert_eq!(connection.next_message(SOON).unwrap_err(), ConnectionLost::Protocol { what });
    assert_eq!(thread.join().unwrap(), [0xe0, 2, 0x82, 0], "DISCONNECT 0x82");
    let (config, thread) = rogue(&pki, |mut stream| {
        stream.write_all(&ACCEPTED).unwrap();
        rest(stream)
    });
    let connection = connect_mqtt_tls(&config).unwrap();
    assert_eq!(connection.authenticate_again(), Err(AuthenticationError::NotInUse));
    connection.disconnect().unwrap();
    assert_eq!(thread.join().unwrap(), [0xe0, 0]);
}

/// A connection that is established, and its broker behind the client's AUTH that begins another exchange.
fn again<T: Send + 'static>(
    pki: &Pki,
    script: impl FnOnce(Tls, Half) -> T + Send + 'static,
) -> (motte_client::Connection, JoinHandle<T>) {
    let (config, thread) = broker(pki, |mut stream, half| {
        let proof = half.ask(&mut stream);
        stream.write_all(&connack(Some(METHOD), Some(&proof))).unwrap();
        let (kind, reason, method, first) = said(&packet(&mut stream));
        assert_eq!((kind, reason, method.as_str()), (15, 0x19, METHOD), "AUTH 0x19 of the method of CONNECT");
        script(stream, Half::new(&first))
    });
    (connect_mqtt_tls(&config).unwrap(), thread)
}

#[test]
fn v5_4_12_1_1_the_client_authenticates_again_by_the_method_of_connect() {
    let (connection, thread) = again(&Pki::new(), |mut stream, half| {
        // A message in between is no harm.
        stream.write_all(&[0x30, 5, 0, 1, b't', 0, b'x']).unwrap();
        let proof = half.ask(&mut stream);
        stream.write_all(&auth(ReasonCode::Success, METHOD, &proof)).unwrap();
        rest(stream)
    });
    assert_eq!(connection.authenticate_again(), Ok(()));
    assert_eq!(connection.next_message(SOON).unwrap().unwrap().payload, "x");
    connection.disconnect().unwrap();
    assert_eq!(thread.join().unwrap(), [0xe0, 0]);
}

#[test]
fn v5_4_12_1_2_a_re_authentication_that_fails_ends_the_connection() {
    let pki = Pki::new();
    // The broker does not know the user any more.
    for proof in ["v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "e=unknown-user"] {
        let (connection, thread) = again(&pki, |mut stream, half| {
            half.ask(&mut stream);
            stream.write_all(&auth(ReasonCode::Success, METHOD, proof)).unwrap();
            rest(stream)
        });
        let error = connection.authenticate_again().unwrap_err();
        assert!(matches!(error, AuthenticationError::BrokerUnproved(_)), "{error}");
        assert_eq!(thread.join().unwrap(), [0xe0, 2, 0x82, 0], "DISCONNECT 0x82");
        assert!(connection.next_message(SOON).is_err());
    }
    // Success before any question.
    let (connection, thread) = again(&pki, |mut stream, _| {
        stream.write_all(&auth(ReasonCode::Success, METHOD, "v=AAAA")).unwrap();
        rest(stream)
    });
    assert!(connection.authenticate_again().is_err());
    assert_eq!(thread.join().unwrap(), [0xe0, 2, 0x82, 0]);
    // The broker refuses.
    let (connection, thread) = again(&pki, |mut stream, half| {
        half.ask(&mut stream);
        stream.write_all(&[0xe0, 2, 0x87, 0]).unwrap();
        rest(stream)
    });
    let error = connection.authenticate_again().unwrap_err();
    let refused = matches!(&error, AuthenticationError::Lost(ConnectionLost::Disconnected { reason, .. })
        if *reason == ReasonCode::NotAuthorized);
    assert!(refused, "{error}");
    thread.join().unwrap();
}
