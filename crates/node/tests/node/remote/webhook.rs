//! A server that is asked about clients: what it is told, what counts as an answer, and what is kept of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use motte_mqtt::{Connect, Packet};
use motte_node::settings::{SourceName, WebhookSettings};
use motte_pki::{ClientCertificates, Role, ServerTlsParams};
use serde_json::{Value, json};

use super::{Asked, Web, answer, http, literal, subscribe, tls_of, unix_now};
use crate::support::{House, PATIENCE, connect_as_alice, connect_as_nobody, log_holds, logged, refused};

const CANARY: &str = "canary-password-3b1d";

fn settings(house: &House, web: &Web) -> WebhookSettings {
    WebhookSettings {
        name: "hook".into(),
        line: 0,
        url: web.url("/mqtt?site=1"),
        ca: Some(house.path("ca.pem")),
        client_certificate: None,
        token: None,
        timeout: Duration::from_secs(5),
        connections_max: 4,
        cache: Duration::ZERO,
        cache_entries_max: 100,
        session_max: Duration::from_secs(3600),
    }
}

/// Makes the listener of a house ask the server, then the password file.
fn ask(house: &mut House, settings: WebhookSettings) {
    house.settings.listeners[0].rules.sources = vec![SourceName::Http("hook".into()), SourceName::Password];
    house.settings.identity.remote.http = vec![settings];
}

fn login<'a>(user: &'a str, password: &'a str) -> Connect<'a> {
    Connect { user_name: Some(user), password: Some(password.as_bytes()), ..connect_as_nobody(user) }
}

fn ok(answer: &Value) -> Option<String> {
    http("200 OK", "content-type: application/json\r\n", &answer.to_string())
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

#[test]
fn a_server_says_yes_no_or_nothing() {
    let mut house = House::new();
    let web = Web::over_tls(
        &house,
        Box::new(|asked| {
            let asked = body(asked);
            match asked["username"].as_str().unwrap() {
                "pump" if asked["password"] == CANARY => ok(&json!({
                    "result": "allow", "attributes": { "site": ["a"] },
                    "acl": { "subscribe": ["down/${http.site}/#"] }, "expires_at": unix_now() + 60,
                })),
                "late" => ok(&json!({ "result": "allow", "expires_at": unix_now() - 1 })),
                "alice" => ok(&json!({ "result": "ignore" })),
                _ => ok(&json!({ "result": "deny" })),
            }
        }),
    );
    let hook = settings(&house, &web);
    ask(&mut house, hook);
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&login("pump", CANARY)), 0);
    assert_eq!(subscribe(&mut client, &["down/a/x", "down/b/x"]), [1, 0x87]);
    assert_eq!(answer(&house, &node, &login("pump", "wrong")), 0x86);
    assert_eq!(answer(&house, &node, &login("late", "x")), 0x86);
    assert_eq!(answer(&house, &node, &connect_as_alice("alice")), 0, "the next source is asked");
    let first = &web.asked()[0];
    assert!(first.line.starts_with("POST /mqtt?site=1 HTTP/1.1"), "{}", first.line);
    let told = body(first);
    assert_eq!(
        (&told["client_id"], &told["address"], &told["listener"], &told["protocol"], &told["certificate"]),
        (&json!("pump"), &json!("127.0.0.1"), &json!("main"), &json!("5.0"), &Value::Null)
    );
    assert_eq!(web.connections.load(Ordering::SeqCst), 1, "one connection is enough for one after the other");
    let bytes = Connect { password: Some(&[0xff, 0]), ..login("bytes", "") };
    assert_eq!(answer(&house, &node, &bytes), 0x86);
    assert_eq!(body(web.asked().last().unwrap())["password_base64"], "/wA=");
    refused("bad_credentials");
    assert!(!log_holds(CANARY), "a password in the log");
}

#[test]
fn k28_an_answer_that_is_not_one_lets_nobody_in() {
    let mut house = House::new();
    let says = Arc::new(Mutex::new(None));
    let answer_with = Arc::clone(&says);
    let web = Web::over_tls(&house, Box::new(move |_| answer_with.lock().unwrap().clone()));
    let hook = WebhookSettings { timeout: Duration::from_secs(3), ..settings(&house, &web) };
    ask(&mut house, hook);
    let node = house.start();
    let yes = json!({ "result": "allow" }).to_string();
    let with = |name: &str, value: Value| {
        let mut answer = json!({ "result": "allow" });
        answer[name] = value;
        ok(&answer)
    };
    for (what, answer_is) in [
        ("no answer at all", None),
        ("201", http("201 Created", "", &yes)),
        ("204", Some(String::from("HTTP/1.1 204 No Content\r\n\r\n"))),
        ("302", http("302 Found", "location: /yes\r\n", &yes)),
        ("307", http("307 Temporary Redirect", "location: https://127.0.0.1/yes\r\n", &yes)),
        ("401", http("401 Unauthorized", "", &yes)),
        ("500", http("500 Internal Server Error", "", &yes)),
        ("503", http("503 Service Unavailable", "", &yes)),
        ("no body", http("200 OK", "", "")),
        ("no JSON", http("200 OK", "", "allow")),
        ("half an answer", Some(String::from("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"result\":\"allow\"}"))),
        ("two answers in one", http("200 OK", "", &format!("{yes}{yes}"))),
        ("no HTTP", Some(String::from("+OK allow\r\n\r\n"))),
        ("a word in capitals", ok(&json!({ "result": "ALLOW" }))),
        ("true", ok(&json!({ "result": true }))),
        ("no result", ok(&json!({}))),
        ("a word too many", with("expire_at", json!(0))),
        ("an end that is no number", with("expires_at", json!("never"))),
        ("rules that are none", with("acl", json!({ "publish": "a/#" }))),
        ("a tenant that is no name", with("tenant", json!("a/b"))),
        ("too long", http("200 OK", "", &format!("{yes}{}", " ".repeat(70_000)))),
        ("headers without end", http("200 OK", &format!("x: {}\r\n", "y".repeat(40_000)), &yes)),
    ] {
        *says.lock().unwrap() = answer_is;
        assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0x88, "{what}");
    }
    *says.lock().unwrap() = http("200 OK", "", &yes);
    assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0, "and it is asked again");
    assert!(web.asked().iter().all(|asked| asked.line.starts_with("POST /mqtt?site=1 ")), "no redirect is followed");
    drop(web);
    assert_eq!(answer(&house, &node, &login("pump", CANARY)), 0x88, "nobody there");
    logged(|line| line["detail"].as_str().is_some_and(|detail| detail.starts_with("http:hook: the connection failed")));
    assert!(!log_holds(CANARY), "a password in the log");
}

/// Slow and fast answers under a bound of connections: whoever waits for too long is turned away.
#[test]
fn k28_a_server_that_does_not_answer_in_time_lets_nobody_in() {
    let mut house = House::new();
    let (slow, release) = (Arc::new(AtomicBool::new(true)), Arc::new(std::sync::Barrier::new(2)));
    let (is_slow, gate) = (Arc::clone(&slow), Arc::clone(&release));
    let web = Web::over_tls(
        &house,
        Box::new(move |_| {
            if is_slow.swap(false, Ordering::SeqCst) {
                gate.wait();
            }
            ok(&json!({ "result": "allow" }))
        }),
    );
    let hook = WebhookSettings { timeout: Duration::from_millis(500), connections_max: 1, ..settings(&house, &web) };
    ask(&mut house, hook);
    let node = house.start();
    assert_eq!(answer(&house, &node, &login("pump", "x")), 0x88);
    release.wait();
    // Its late yes went to nobody; the next is asked anew, and a busy machine may need more than one.
    let until = Instant::now() + PATIENCE;
    while answer(&house, &node, &login("pump", "x")) != 0 {
        assert!(Instant::now() < until, "one slow answer spoils all that follow");
    }
    let line = refused("source_unavailable");
    assert_eq!(line["detail"], "http:hook: no answer within 500ms");
}

#[test]
fn the_broker_shows_a_certificate_and_a_token() {
    let mut house = House::new();
    house.issue("broker", Role::Client, "broker", std::time::SystemTime::now());
    let tls = ServerTlsParams {
        client_ca: Some(house.path("ca.pem")),
        client_certificates: ClientCertificates::Required,
        ..tls_of(&house)
    };
    let web = Web::start(
        Some(&tls),
        Box::new(|asked| {
            let result =
                if asked.headers.contains("authorization: Bearer s3cret-token\r\n") { "allow" } else { "deny" };
            ok(&json!({ "result": result }))
        }),
    );
    let pair = Some((house.path("broker.pem"), house.path("broker.key")));
    let hook =
        WebhookSettings { client_certificate: pair, token: Some(literal("s3cret-token")), ..settings(&house, &web) };
    ask(&mut house, hook.clone());
    assert_eq!(answer(&house, &house.start(), &login("pump", "x")), 0);
    ask(&mut house, WebhookSettings { client_certificate: None, ..hook.clone() });
    assert_eq!(answer(&house, &house.start(), &login("pump", "x")), 0x88, "without a certificate it is not spoken to");
    ask(&mut house, WebhookSettings { token: Some(literal("other")), ..hook.clone() });
    assert_eq!(answer(&house, &house.start(), &login("pump", "x")), 0x86);
    let other = House::new();
    ask(&mut house, WebhookSettings { ca: Some(other.path("ca.pem")), ..hook });
    assert_eq!(answer(&house, &house.start(), &login("pump", "x")), 0x88, "a server that is somebody else");
    assert!(!log_holds("s3cret-token"), "a token in the log");
}

#[test]
fn k28_a_yes_is_kept_for_the_same_question_until_a_reload() {
    let mut house = House::new();
    let web = Web::over_tls(
        &house,
        Box::new(|asked| {
            let result = if body(asked)["password"] == CANARY { "allow" } else { "deny" };
            ok(&json!({ "result": result }))
        }),
    );
    let hook = WebhookSettings { cache: Duration::from_secs(600), cache_entries_max: 2, ..settings(&house, &web) };
    ask(&mut house, hook);
    let node = house.start();
    let times = |user, password, expected| {
        let before = web.asked().len();
        assert_eq!(answer(&house, &node, &login(user, password)), expected, "{user} {password}");
        web.asked().len() - before
    };
    assert_eq!([times("a", CANARY, 0), times("a", CANARY, 0), times("a", CANARY, 0)], [1, 0, 0]);
    assert_eq!([times("a", "wrong", 0x86), times("a", "wrong", 0x86)], [1, 1], "a no is never kept");
    assert_eq!([times("b", CANARY, 0), times("c", CANARY, 0), times("c", CANARY, 0)], [1, 1, 0]);
    assert_eq!(times("a", CANARY, 0), 1, "no more are kept than there may be");
    node.handle.reload().unwrap();
    assert_eq!(times("a", CANARY, 0), 1, "a reload forgets");
}

#[test]
fn a_session_ends_when_its_source_is_asked_no_more() {
    let mut house = House::new();
    let web = Web::over_tls(&house, Box::new(|_| ok(&json!({ "result": "allow" }))));
    let hook = settings(&house, &web);
    ask(&mut house, hook);
    let text = format!(
        "[node]\nshards = 1\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:0\"\n\
         [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\n\
         [identity]\npassword_file = \"passwords\"\nSOURCES\n\
         [[identity.http]]\nname = \"hook\"\nurl = \"{}\"\nca = \"ca.pem\"\n\
         [policy]\nacl_file = \"acl\"\n[durability]\nmode = \"memory\"\n",
        web.url("/")
    );
    let asked = "sources = [\"http:hook\", \"password\"]";
    house.write("motte.toml", &text.replace("SOURCES", asked));
    house.settings = motte_node::ConfigFile::load(&house.path("motte.toml")).unwrap();
    let node = house.start();
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&login("pump", "x")), 0);
    node.handle.reload().unwrap();
    client.send(&[0xC0, 0]);
    assert!(client.receive(|packet| matches!(packet, Packet::PingResp)), "what still holds stays");
    let (before, _) = text.split_once("[[identity.http]]").unwrap();
    let (_, after) = text.split_once("ca = \"ca.pem\"\n[policy]").unwrap();
    house.write("motte.toml", &format!("{before}[policy]{after}").replace("SOURCES", ""));
    node.handle.reload().unwrap();
    assert!(client.receive(|packet| matches!(packet, Packet::Disconnect(_))));
}
