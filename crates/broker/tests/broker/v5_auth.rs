//! Re-authentication of a live connection by SCRAM-SHA-256 (MQTT 5.0 §3.15 and §4.12).

#[path = "../../../policy/fixtures/scram_client.rs"]
mod scram_client;

use std::sync::LazyLock;

use motte_audit::{CloseCause, EventKind};
use motte_broker::mqtt::{
    Auth, Decoder, Packet, PacketId, ReasonCode, Sender, Subscribe, SubscribeFilters, UserProperties,
};
use motte_policy::scram::{Exchange, METHOD, Reply};
use motte_policy::{Authenticated, PasswordFile, ScramKeys};

use self::scram_client::ScramClient;
use crate::kit::{Client, Hello, V5, World, message, options, v5, will};

const BEGIN: ReasonCode = ReasonCode::ReAuthenticate;
const CONTINUE: ReasonCode = ReasonCode::ContinueAuthentication;
const SEED: [u8; 32] = [3; 32];

/// The password file of `anna` and `berta`, whose passwords are `secret` and `geheim`.
static PASSWORDS: LazyLock<PasswordFile> = LazyLock::new(|| {
    let mut file = PasswordFile::default();
    for (user, password) in [("anna", "secret"), ("berta", "geheim")] {
        file.set_scram(user, ScramKeys::new(password.as_bytes(), *b"a salt of tests!").unwrap()).unwrap();
    }
    file
});

/// Anna, by an exchange as the gate runs it, and the server's last message.
fn anna_by_scram() -> (Authenticated, Vec<u8>) {
    let mut client = ScramClient::new("anna", "secret");
    let mut exchange = Exchange::new(SEED);
    let find = |user: &str| Ok(PASSWORDS.candidate(user, &SEED));
    let Ok(Reply::Continue(server_first)) = exchange.step(Some(client.first().as_bytes()), find) else { panic!() };
    let last = client.last(&server_first);
    let Ok(Reply::Proved(proved)) = exchange.step(Some(last.as_bytes()), find) else { panic!() };
    let data = proved.server_final().to_vec();
    assert_eq!(data, client.expected.as_bytes());
    (Authenticated::by_scram(*proved), data)
}

/// A live connection of Anna's.
fn live(world: &mut World, hello: &Hello<'_>) -> Client {
    let (who, data) = anna_by_scram();
    let client = world.admit_as(hello, who, &data);
    let expected = format!("connack 00 {METHOD} {}", String::from_utf8(data).unwrap());
    world.expect(client, &[&expected]);
    client
}

fn as_anna(client_id: &str) -> Hello<'_> {
    Hello { user: "anna", ..v5(client_id) }
}

fn auth<'a>(reason: ReasonCode, method: &'a str, data: Option<&'a [u8]>) -> Packet<'a> {
    Packet::Auth(Auth { reason, method: Some(method), data, reason_string: None, user: UserProperties::EMPTY })
}

fn say(world: &mut World, client: Client, reason: ReasonCode, data: &str) {
    world.send(client, &auth(reason, METHOD, Some(data.as_bytes())));
}

/// The server's first message, out of its AUTH.
fn question(world: &mut World, client: Client) -> Vec<u8> {
    let shown = world.take(client);
    let data = shown[0].strip_prefix("auth 18 SCRAM-SHA-256 ").unwrap_or_else(|| panic!("{shown:?}"));
    assert_eq!(shown.len(), 1, "{shown:?}");
    data.as_bytes().to_vec()
}

/// A whole exchange; what the server says at its end.
fn prove(world: &mut World, client: Client, scram: &mut ScramClient) -> Vec<String> {
    say(world, client, BEGIN, &scram.first());
    let server_first = question(world, client);
    let last = scram.last(&server_first);
    say(world, client, CONTINUE, &last);
    world.take(client)
}

fn close_causes(world: &mut World) -> Vec<CloseCause> {
    let cause = |kind| if let EventKind::Closed { cause, .. } = kind { Some(cause) } else { None };
    world.events().into_iter().filter_map(cause).collect()
}

#[test]
fn v5_4_12_0_5_connack_and_every_auth_name_the_method_of_connect() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    for _ in 0..3 {
        let mut scram = ScramClient::new("anna", "secret");
        let end = prove(&mut world, client, &mut scram);
        assert_eq!(end, [format!("auth 00 {METHOD} {}", scram.expected)]);
    }
    world.send(client, &Packet::PingReq);
    world.expect(client, &["pingresp"]);
}

#[test]
fn v5_4_12_0_2_auth_that_wants_an_answer_carries_0x18() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    // Without data the server asks for the first message.
    world.send(client, &auth(BEGIN, METHOD, None));
    world.expect(client, &["auth 18 SCRAM-SHA-256 "]);
    let mut scram = ScramClient::new("anna", "secret");
    say(&mut world, client, CONTINUE, &scram.first());
    let last = scram.last(&question(&mut world, client));
    say(&mut world, client, CONTINUE, &last);
    world.expect(client, &[&format!("auth 00 SCRAM-SHA-256 {}", scram.expected)]);
}

#[test]
fn v5_4_12_0_6_no_method_in_connect_no_auth_and_no_method_in_connack() {
    let mut world = World::new();
    let client = world.admit(&as_anna("c"));
    world.expect(client, &["connack 00"]);
    world.send(client, &auth(BEGIN, METHOD, Some(b"n,,n=anna,r=x")));
    world.expect(client, &["disconnect 82", "closed"]);
}

#[test]
fn v5_4_12_1_1_a_re_authentication_with_another_method_is_refused() {
    let mut world = World::new();
    for method in ["SCRAM-SHA-1", "scram-sha-256", "", "PLAIN"] {
        let client = live(&mut world, &as_anna("c"));
        world.send(client, &auth(BEGIN, method, Some(b"n,,n=anna,r=x")));
        world.expect(client, &["disconnect 8c", "closed"]);
    }
    let client = live(&mut world, &as_anna("c"));
    say(&mut world, client, BEGIN, "n,,n=anna,r=x");
    question(&mut world, client);
    world.send(client, &auth(CONTINUE, "PLAIN", Some(b"secret")));
    world.expect(client, &["disconnect 8c", "closed"]);
}

#[test]
fn v5_4_12_1_2_a_failed_re_authentication_closes_the_connection() {
    let mut world = World::new();
    for password in ["geheim", "Secret"] {
        let client = live(&mut world, &as_anna("c"));
        let end = prove(&mut world, client, &mut ScramClient::new("anna", password));
        assert_eq!(end, ["disconnect 87", "closed"], "{password}");
    }
    for data in ["", "n,,n=anna", "p=tls-exporter,,n=anna,r=x", "n,a=root,n=anna,r=x"] {
        let client = live(&mut world, &as_anna("c"));
        say(&mut world, client, BEGIN, data);
        world.expect(client, &["disconnect 87", "closed"]);
    }
    let causes = close_causes(&mut world);
    assert!(causes.len() == 6 && causes.iter().all(|cause| *cause == CloseCause::NotProved), "{causes:?}");
}

#[test]
fn v5_4_12_1_2_the_will_of_a_client_that_fails_is_published() {
    let mut world = World::new();
    let watcher = world.connect(&v5("watcher"));
    let filters = [("gone", options(0))];
    let subscribe = Subscribe {
        id: PacketId::new(1).unwrap(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    };
    world.send(watcher, &Packet::Subscribe(subscribe));
    world.take(watcher);
    let client = live(&mut world, &Hello { will: Some(will("gone")), ..as_anna("c") });
    prove(&mut world, client, &mut ScramClient::new("anna", "no"));
    world.expect(watcher, &["publish gone=gone"]);
}

#[test]
fn k25_a_connection_cannot_become_that_of_another_user() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    say(&mut world, client, BEGIN, &ScramClient::new("berta", "geheim").first());
    world.expect(client, &["disconnect 87", "closed"]);
}

#[test]
fn v5_noid_traffic_goes_on_during_a_re_authentication() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    let filters = [("t", options(0))];
    let subscribe = Subscribe {
        id: PacketId::new(1).unwrap(),
        subscription_id: None,
        user: UserProperties::EMPTY,
        filters: SubscribeFilters::from_slice(&filters),
    };
    world.send(client, &Packet::Subscribe(subscribe));
    world.expect(client, &["suback 1 00"]);
    let mut scram = ScramClient::new("anna", "secret");
    say(&mut world, client, BEGIN, &scram.first());
    let server_first = question(&mut world, client);
    world.send(client, &Packet::Publish(message("t", "meanwhile")));
    world.send(client, &Packet::PingReq);
    world.expect(client, &["publish t=meanwhile", "pingresp"]);
    let last = scram.last(&server_first);
    say(&mut world, client, CONTINUE, &last);
    world.expect(client, &[&format!("auth 00 SCRAM-SHA-256 {}", scram.expected)]);
}

#[test]
fn v5_noid_one_exchange_goes_on_at_a_time_and_none_without_a_beginning() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    say(&mut world, client, BEGIN, "n,,n=anna,r=x");
    question(&mut world, client);
    say(&mut world, client, BEGIN, "n,,n=anna,r=x");
    world.expect(client, &["disconnect 82", "closed"]);
    let client = live(&mut world, &as_anna("c"));
    say(&mut world, client, CONTINUE, "n,,n=anna,r=x");
    world.expect(client, &["disconnect 82", "closed"]);
    // An exchange that ended is not gone on with.
    let client = live(&mut world, &as_anna("c"));
    prove(&mut world, client, &mut ScramClient::new("anna", "secret"));
    say(&mut world, client, CONTINUE, "c=biws,r=x,p=x");
    world.expect(client, &["disconnect 82", "closed"]);
}

/// How an AUTH with this first byte and reason code is answered.
fn answer_to(first: u8, reason: u8) -> Vec<String> {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    world.send_bytes(client, &[&[first, 18, reason, 16], b"\x15\x00\x0dSCRAM-SHA-256".as_slice()].concat());
    world.take(client)
}

#[test]
fn v5_3_15_1_1_auth_with_flags_is_malformed() {
    for flags in 1..16 {
        assert_eq!(answer_to(0xf0 | flags, 0x19), ["disconnect 81", "closed"], "{flags}");
    }
    assert_eq!(answer_to(0xf0, 0x19), ["auth 18 SCRAM-SHA-256 "]);
}

#[test]
fn v5_3_15_2_1_auth_with_a_code_that_is_not_the_clients_is_a_protocol_error() {
    for reason in [0x00, 0x01, 0x04, 0x1a, 0x87, 0xff] {
        assert_eq!(answer_to(0xf0, reason), ["disconnect 82", "closed"], "{reason}");
    }
}

#[test]
fn v5_noid_auth_without_a_method_is_a_protocol_error() {
    for bytes in [&[0xf0, 2, 0x19, 0][..], &[0xf0, 0]] {
        let mut world = World::new();
        let client = live(&mut world, &as_anna("c"));
        world.send_bytes(client, bytes);
        world.expect(client, &["disconnect 82", "closed"]);
    }
}

/// Anna authenticates again with a Maximum Packet Size that the server's messages barely fit; both of them.
fn frugal_exchange() -> [Auth<'static>; 2] {
    const BYTES_MAX: u32 = 120;
    let mut world = World::new();
    let (who, data) = anna_by_scram();
    let client = world.admit_as(&Hello { packet_size_max: Some(BYTES_MAX), ..as_anna("c") }, who, &data);
    world.take(client);
    let mut answer = |data: &str, reason| {
        say(&mut world, client, reason, data);
        let bytes: &'static [u8] = world.take_bytes(client).leak();
        assert!(bytes.len() <= BYTES_MAX as usize, "{} bytes", bytes.len());
        match Decoder::new(Sender::Server, V5, BYTES_MAX).decode(bytes).unwrap() {
            Some((Packet::Auth(auth), length)) if length == bytes.len() => auth,
            other => panic!("{other:?}"),
        }
    };
    let mut scram = ScramClient::new("anna", "secret");
    let asked = answer(&scram.first(), BEGIN);
    let last = scram.last(asked.data.unwrap());
    [asked, answer(&last, CONTINUE)]
}

#[test]
fn v5_3_15_2_2_no_reason_string_makes_an_auth_too_large() {
    assert!(frugal_exchange().iter().all(|auth| auth.reason_string.is_none()));
}

#[test]
fn v5_3_15_2_3_no_user_property_makes_an_auth_too_large() {
    assert!(frugal_exchange().iter().all(|auth| auth.user.is_empty()));
}

#[test]
fn k06_an_exchange_that_is_not_ended_ends_the_connection() {
    let mut world = World::new();
    let client = live(&mut world, &as_anna("c"));
    say(&mut world, client, BEGIN, "n,,n=anna,r=x");
    question(&mut world, client);
    world.pass_ms(29_999);
    world.expect(client, &[]);
    world.pass_ms(1);
    world.expect(client, &["disconnect 87", "closed"]);
    // Whoever ended it in time is left alone.
    let client = live(&mut world, &as_anna("c"));
    prove(&mut world, client, &mut ScramClient::new("anna", "secret"));
    world.pass_ms(60_000);
    world.expect(client, &[]);
    // A connection that ended meanwhile takes its timer along.
    say(&mut world, client, BEGIN, "n,,n=anna,r=x");
    world.lose(client);
    world.pass_ms(60_000);
}
