//! Tokens: which count, where their keys come from, and what becomes of sessions whose key is gone.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use motte_mqtt::{Connect, Packet, ProtocolVersion};
use motte_node::settings::{GuessLimits, JwksSettings, JwtKeySource, JwtSettings, SourceName, TokenIn};
use motte_pki::JwtAlgorithm;
use serde_json::json;

use super::{Issuer, Web, answer, claims, http, literal, subscribe, unix_now};
use crate::support::{House, PATIENCE, connect_as_alice, connect_as_nobody, log_holds, refused};

fn settings(keys: JwtKeySource) -> JwtSettings {
    JwtSettings {
        name: "i".into(),
        line: 0,
        algorithms: vec![JwtAlgorithm::EdDsa],
        issuer: "https://issuer".into(),
        audience: "motte".into(),
        keys,
        leeway: Duration::ZERO,
        username_claim: "sub".into(),
        client_id_claim: None,
        acl_claim: Some("acl".into()),
        tenant_claim: None,
        token_in: TokenIn::Password,
    }
}

/// A house whose listener asks the issuer, then the password file.
fn house(jwt: JwtSettings) -> House {
    let mut house = House::new();
    // What is tried here would be guessing; who guesses is the business of other tests.
    house.settings.gate.guesses = GuessLimits { wrong_max: 0, wrong_per_address_max: 0, wrong_per_user_max: 0 };
    house.settings.listeners[0].rules.sources = vec![SourceName::Jwt("i".into()), SourceName::Password];
    house.settings.identity.remote.jwt = vec![jwt];
    house
}

/// A house with the keys of `issuer` in a file.
fn with_file(issuer: &Issuer) -> House {
    let mut house = house(settings(JwtKeySource::Secret(literal("unused"))));
    house.write("jwks", &issuer.set());
    house.settings.identity.remote.jwt[0].keys = JwtKeySource::File(house.path("jwks"));
    house
}

fn jwks(house: &House, web: &Web) -> JwksSettings {
    JwksSettings {
        url: web.url("/jwks.json"),
        ca: Some(house.path("ca.pem")),
        timeout: Duration::from_secs(5),
        refresh: Duration::from_secs(3600),
        refetch_min: Duration::from_secs(3600),
        stale_max: Duration::from_secs(3600),
    }
}

fn token<'a>(client_id: &'a str, token: &'a str) -> Connect<'a> {
    Connect { password: Some(token.as_bytes()), ..connect_as_nobody(client_id) }
}

#[test]
fn k28_only_a_token_that_is_all_right_lets_in() {
    let issuer = Issuer::new("k1");
    let other = Issuer::new("k1");
    let house = with_file(&issuer);
    let node = house.start();
    let now = unix_now();
    let good = issuer.sign(&claims("pump", &json!({})));
    assert_eq!(answer(&house, &node, &token("good", &good)), 0);
    assert_eq!(answer(&house, &node, &Connect { user_name: Some("pump"), ..token("named", &good) }), 0);
    let v311 = Connect { version: ProtocolVersion::V311, user_name: Some("pump"), ..token("v311", &good) };
    assert_eq!(answer(&house, &node, &v311), 0);
    assert_eq!(answer(&house, &node, &connect_as_alice("password")), 0, "the next source is asked");
    let none = {
        let (_, rest) = good.split_once('.').unwrap();
        format!("eyJhbGciOiJub25lIn0.{}.", rest.split_once('.').unwrap().0)
    };
    for (what, wrong) in [
        ("alg none", none),
        ("another key", other.sign(&claims("pump", &json!({})))),
        ("expired", issuer.sign(&claims("pump", &json!({ "exp": now - 1 })))),
        ("not yet", issuer.sign(&claims("pump", &json!({ "nbf": now + 60 })))),
        ("no exp", issuer.sign(&claims("pump", &json!({ "exp": null })))),
        ("another audience", issuer.sign(&claims("pump", &json!({ "aud": "other" })))),
        ("another issuer", issuer.sign(&claims("pump", &json!({ "iss": "https://other" })))),
        ("no user", issuer.sign(&claims("", &json!({})))),
        ("a user that is no text", issuer.sign(&claims("pump", &json!({ "sub": 7 })))),
        ("rules that are none", issuer.sign(&claims("pump", &json!({ "acl": "everything" })))),
        ("rules with a typing error", issuer.sign(&claims("pump", &json!({ "acl": { "publsh": ["a"] } })))),
        ("too many attributes", issuer.sign(&claims("pump", &json!({ "x": (0..300).collect::<Vec<_>>() })))),
    ] {
        assert_eq!(answer(&house, &node, &token("wrong", &wrong)), 0x86, "{what}");
        let v311 = Connect { version: ProtocolVersion::V311, user_name: Some("pump"), ..token("wrong", &wrong) };
        assert_eq!(answer(&house, &node, &v311), 4, "{what} in 3.1.1");
    }
    let crossed = Connect { user_name: Some("alice"), ..token("crossed", &good) };
    assert_eq!(answer(&house, &node, &crossed), 0x86, "nobody acts under two names");
    let line = refused("bad_credentials");
    assert_eq!(line["detail"], "jwt:i: the token is refused: its algorithm is not among those that are accepted");
    assert!(!log_holds(&good[..40]), "a token in the log");
}

#[test]
fn access_rules_of_a_token_hold_for_its_session_alone() {
    let issuer = Issuer::new("k1");
    let house = with_file(&issuer);
    let node = house.start();
    let rules = json!({ "acl": { "publish": ["up/%u"], "subscribe": ["down/%u/#"] } });
    let allowed = issuer.sign(&claims("pump", &rules));
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&token("with", &allowed)), 0);
    assert_eq!(subscribe(&mut client, &["down/pump/x", "down/other/x"]), [1, 0x87]);
    let without = issuer.sign(&claims("pump", &json!({})));
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&token("without", &without)), 0);
    assert_eq!(subscribe(&mut client, &["down/pump/x"]), [0x87]);
}

#[test]
fn a_token_can_be_bound_to_a_client_and_stand_in_the_user_name() {
    let issuer = Issuer::new("k1");
    let mut house = with_file(&issuer);
    let jwt = &mut house.settings.identity.remote.jwt[0];
    jwt.client_id_claim = Some("device.id".into());
    jwt.token_in = TokenIn::Username;
    let node = house.start();
    let bound = issuer.sign(&claims("pump", &json!({ "device": { "id": "c1" } })));
    let as_name = |client_id, token| Connect { user_name: Some(token), ..connect_as_nobody(client_id) };
    assert_eq!(answer(&house, &node, &as_name("c1", &bound)), 0);
    assert_eq!(answer(&house, &node, &as_name("c2", &bound)), 0x86);
    assert_eq!(answer(&house, &node, &as_name("", &bound)), 0x86);
    let unbound = issuer.sign(&claims("pump", &json!({})));
    assert_eq!(answer(&house, &node, &as_name("c1", &unbound)), 0x86);
    assert_ne!(answer(&house, &node, &token("c1", &bound)), 0, "not where it was looked for");
}

#[test]
fn keys_of_an_issuer_are_fetched_when_they_are_new_and_seldom() {
    let (first, second) = (Issuer::new("k1"), Issuer::new("k2"));
    let mut house = house(settings(JwtKeySource::Secret(literal("unused"))));
    let set = Arc::new(Mutex::new(first.set()));
    let (shown, fetches) = (Arc::clone(&set), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&fetches);
    let web = Web::over_tls(
        &house,
        Box::new(move |asked| {
            count.fetch_add(1, Ordering::SeqCst);
            let set = shown.lock().unwrap().clone();
            let tag = format!("\"{}\"", set.len() + set.bytes().map(usize::from).sum::<usize>());
            if asked.headers.contains(&tag) {
                return http("304 Not Modified", "", "");
            }
            http("200 OK", &format!("etag: {tag}\r\ncache-control: public, max-age=7\r\n"), &set)
        }),
    );
    let often = JwksSettings { refetch_min: Duration::ZERO, ..jwks(&house, &web) };
    house.settings.identity.remote.jwt[0].keys = JwtKeySource::Url(often);
    let node = house.start();
    let (old, new) = (first.sign(&claims("pump", &json!({}))), second.sign(&claims("pump", &json!({}))));
    for _ in 0..3 {
        assert_eq!(answer(&house, &node, &token("old", &old)), 0);
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1, "fresh keys are not fetched again");
    assert_eq!(answer(&house, &node, &token("new", &new)), 0x86);
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
    assert!(web.asked()[1].headers.contains("if-none-match"), "{:?}", web.asked());
    *set.lock().unwrap() = second.set();
    assert_eq!(answer(&house, &node, &token("new", &new)), 0, "a key that is new is fetched");
    assert_eq!(answer(&house, &node, &token("old", &old)), 0x86, "and one that is gone does not count");

    let seldom = jwks(&house, &web);
    house.settings.identity.remote.jwt[0].keys = JwtKeySource::Url(seldom);
    let node = house.start();
    let before = fetches.load(Ordering::SeqCst);
    assert_eq!(answer(&house, &node, &token("new", &new)), 0);
    for _ in 0..20 {
        assert_eq!(answer(&house, &node, &token("old", &old)), 0x86);
    }
    assert_eq!(fetches.load(Ordering::SeqCst), before + 1, "unknown keys do not make the broker ask and ask");
}

#[test]
fn k28_keys_that_cannot_be_fetched_count_for_a_while_and_then_nobody_comes_in() {
    let issuer = Issuer::new("k1");
    let mut house = house(settings(JwtKeySource::Secret(literal("unused"))));
    let (set, works) = (issuer.set(), Arc::new(AtomicUsize::new(0)));
    let state = Arc::clone(&works);
    let web = Web::over_tls(
        &house,
        Box::new(move |_| match state.load(Ordering::SeqCst) {
            0 => http("200 OK", "", &set),
            1 => http("500 Internal Server Error", "", &set),
            2 => http("200 OK", "", "{\"keys\":"),
            3 => http("302 Found", "location: /elsewhere\r\n", &set),
            4 => http("200 OK", "", &format!("{set}{}", " ".repeat(300_000))),
            _ => None,
        }),
    );
    let eager = JwksSettings {
        refresh: Duration::from_millis(1),
        refetch_min: Duration::from_millis(1),
        stale_max: Duration::from_secs(1),
        ..jwks(&house, &web)
    };
    house.settings.identity.remote.jwt[0].keys = JwtKeySource::Url(eager);
    let good = issuer.sign(&claims("pump", &json!({})));
    let node = house.start();
    for broken in 1..=5 {
        works.store(0, Ordering::SeqCst);
        assert_eq!(answer(&house, &node, &token("up", &good)), 0);
        works.store(broken, Ordering::SeqCst);
        assert_eq!(answer(&house, &node, &token("down", &good)), 0, "the last good keys count");
        let until = Instant::now() + PATIENCE;
        while answer(&house, &node, &token("later", &good)) != 0x88 {
            assert!(Instant::now() < until, "stale keys count for ever ({broken})");
        }
        assert_eq!(answer(&house, &node, &connect_as_alice("password")), 0, "a source that is not asked is not missed");
    }
    let line = refused("source_unavailable");
    assert!(line["detail"].as_str().unwrap().starts_with("jwt:i: "), "{line}");
    // A broker that never had keys says the same.
    assert_eq!(answer(&house, &house.start(), &token("never", &good)), 0x88);
}

#[test]
fn k24_a_session_ends_with_its_token() {
    let issuer = Issuer::new("k1");
    let house = with_file(&issuer);
    let node = house.start();
    let end = unix_now() + 2;
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&token("short", &issuer.sign(&claims("pump", &json!({ "exp": end }))))), 0);
    let mut stays = house.open(node.address(), None, b"mqtt");
    assert_eq!(stays.connect(&token("stays", &issuer.sign(&claims("pump", &json!({}))))), 0);
    assert!(client.receive(|packet| matches!(packet, Packet::Disconnect(_))));
    let now = unix_now();
    assert!((end..=end + 1).contains(&now), "ended at {now}, the token at {end}");
    stays.send(&[0xC0, 0]);
    assert!(stays.receive(|packet| matches!(packet, Packet::PingResp)));
}

#[test]
fn a_reload_ends_sessions_whose_key_is_gone_and_no_others() {
    let (kept, gone) = (Issuer::new("k1"), Issuer::new("k2"));
    let both = |one: &Issuer, other: &Issuer| {
        let [one, other] = [one, other].map(|issuer| serde_json::from_str::<serde_json::Value>(&issuer.set()).unwrap());
        json!({ "keys": [one["keys"][0], other["keys"][0]] }).to_string()
    };
    let house = with_file(&kept);
    house.write("jwks", &both(&kept, &gone));
    let node = house.start();
    let mut stays = house.open(node.address(), None, b"mqtt");
    assert_eq!(stays.connect(&token("stays", &kept.sign(&claims("pump", &json!({}))))), 0);
    let mut leaves = house.open(node.address(), None, b"mqtt");
    assert_eq!(leaves.connect(&token("leaves", &gone.sign(&claims("valve", &json!({}))))), 0);
    house.write("jwks", "{\"keys\": []}");
    let errors = node.handle.reload().unwrap_err();
    assert!(format!("{errors:?}").contains("it holds no key for signatures"), "{errors:?}");
    house.write("jwks", &kept.set());
    node.handle.reload().unwrap();
    assert!(leaves.receive(|packet| matches!(packet, Packet::Disconnect(_))));
    stays.send(&[0xC0, 0]);
    assert!(stays.receive(|packet| matches!(packet, Packet::PingResp)));
}
