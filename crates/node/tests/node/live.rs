//! Everything changes while the node runs: files are watched, and sessions end when what proved them does not hold any
//! more.

use std::io::Write as _;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use motte_audit::CloseCause;
use motte_mqtt::{Connect, ForwardedProperties, Packet, Qos, ReasonCode, Will};
use motte_node::settings::ClientCertificates;
use motte_pki::{Authority, Role};

use crate::packets::{disconnected, ping};
use crate::support::{Client, House, PATIENCE, Running, connect_as_alice, connect_as_nobody, logged};

/// How long a change may take to be in force when the system tells of it.
const AT_ONCE: Duration = Duration::from_secs(5);

fn watched(house: &mut House) -> Running {
    house.settings.watch = true;
    house.start()
}

/// Whether Alice may publish.
fn may_publish(client: &mut Client) -> bool {
    // QoS 1, packet identifier 7, topic "t", no properties.
    client.send(b"\x32\x07\x00\x01t\x00\x07\x00x");
    client.receive(|packet| match packet {
        Packet::PubAck(ack) => !ack.reason.is_error(),
        packet => panic!("{packet:?}"),
    })
}

fn wait_until(what: &str, patience: Duration, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !test() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn k20_rules_that_are_written_are_in_force_without_being_asked_for() {
    let mut house = House::new();
    let node = watched(&mut house);
    let mut client = house.open(node.address(), None, b"mqtt");
    assert_eq!(client.connect(&connect_as_alice("watched")), 0);
    assert!(may_publish(&mut client));
    house.write("acl", "user alice\ntopic read #\n");
    wait_until("the right is gone", AT_ONCE, || !may_publish(&mut client));
    house.write("acl", "user alice\ntopic readwrite #\n");
    wait_until("the right is back", AT_ONCE, || may_publish(&mut client));
    node.stop().unwrap();
}

#[test]
fn k27_the_alarm_ends_when_a_good_set_is_there() {
    let mut house = House::new();
    let node = watched(&mut house);
    let good = std::fs::read_to_string(house.path("acl")).unwrap();
    let before = house.served_certificate(node.address());
    // One certificate without its key, and rules that are none.
    house.write("acl", "bananas\n");
    let line = logged(|line| line["message"] == "reload failed" && line["line"] == 1);
    assert_eq!(line["level"], "ERROR", "{line}");
    house.issue("server", Role::Server, "localhost", SystemTime::now());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(house.served_certificate(node.address()), before, "no part of a bad set takes effect");
    house.write("acl", &good);
    let line = logged(|line| line["message"] == "what was wrong with the files is mended; they are in force");
    assert_eq!(line["level"], "WARN", "{line}");
    assert_ne!(house.served_certificate(node.address()), before);
    node.stop().unwrap();
}

#[test]
fn k24_a_reload_tells_whom_it_ended_and_a_removed_user_is_told_so() {
    let house = House::new();
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder"), ("carol", "carillon")]);
    let node = house.start();
    let mut clients = Vec::new();
    for (user, password) in [("alice", "wonder"), ("bob", "builder"), ("carol", "carillon")] {
        let mut client = house.open(node.address(), None, b"mqtt");
        let connect = Connect { user_name: Some(user), password: Some(password.as_bytes()), ..connect_as_nobody(user) };
        assert_eq!(client.connect(&connect), 0);
        clients.push(client);
    }
    house.write_passwords(&[("alice", "wonder"), ("carol", "chimes")]);
    let reloaded = node.handle.reload().unwrap();
    assert_eq!(reloaded.changed, [house.path("passwords")]);
    let ended: Vec<_> = reloaded.ended.iter().map(|session| (&*session.client_id, session.cause)).collect();
    assert_eq!(ended, [("bob", CloseCause::Removed), ("carol", CloseCause::Revoked)]);
    let [alice, bob, carol] = &mut clients[..] else { panic!("three clients") };
    assert_eq!(disconnected(bob), ReasonCode::AdministrativeAction);
    assert_eq!(disconnected(carol), ReasonCode::NotAuthorized);
    ping(alice);
    let unchanged = node.handle.reload().unwrap();
    assert_eq!((unchanged.changed.len(), unchanged.ended.len()), (0, 0), "{unchanged:?}");
}

#[test]
fn k24_a_session_ends_with_its_certificate() {
    let house = House::new();
    let node = house.start();
    let life = Duration::from_secs(30 * 24 * 3600);
    let ends = SystemTime::now() + Duration::from_secs(3);
    house.issue("brief", Role::Client, "alice", ends - life);
    let mut brief = house.open(node.address(), Some("brief"), b"mqtt");
    assert_eq!(brief.connect(&connect_as_nobody("brief")), 0);
    let mut lasting = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(lasting.connect(&connect_as_nobody("lasting")), 0);
    assert_eq!(disconnected(&mut brief), ReasonCode::MaximumConnectTime);
    let now = SystemTime::now();
    // Times in certificates are whole seconds, and the last one belongs to the life.
    assert!(ends - Duration::from_secs(1) <= now && now <= ends + Duration::from_millis(2_000), "{now:?}");
    let line = logged(|line| line["message"] == "closed" && line["client_id"] == "brief");
    assert_eq!(line["cause"], "expired", "{line}");
    ping(&mut lasting);
    // In TLS 1.3 a client hears of it when it reads.
    if let Ok(mut again) = house.try_open(node.address(), Some("brief"), b"mqtt") {
        let refused = again.stream.write_all(&[0xc0, 0]).is_err() || again.receive_or_end(|_| ()).is_none();
        assert!(refused, "a certificate that has ended opens nothing");
    }
}

#[test]
fn k24_whoever_leaves_because_of_a_reload_leaves_no_will() {
    let house = House::new();
    house.write("acl", "user alice\ntopic readwrite #\nuser bob\ntopic write will\n");
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder")]);
    let node = house.start();
    let mut alice = house.open(node.address(), None, b"mqtt");
    assert_eq!(alice.connect(&connect_as_alice("listener")), 0);
    alice.send(b"\x82\x0a\x00\x01\x00\x00\x04will\x00");
    alice.receive(|packet| assert!(matches!(packet, Packet::SubAck(_)), "{packet:?}"));
    let mut bob = house.open(node.address(), None, b"mqtt");
    let will = Will {
        topic: "will",
        payload: b"bob is gone",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    };
    let connect =
        Connect { user_name: Some("bob"), password: Some(b"builder"), will: Some(will), ..connect_as_nobody("bob") };
    assert_eq!(bob.connect(&connect), 0);
    house.write_passwords(&[("alice", "wonder")]);
    node.handle.reload().unwrap();
    assert_eq!(disconnected(&mut bob), ReasonCode::AdministrativeAction);
    ping(&mut alice);
}

#[test]
fn r16_a_ca_change_ends_hundreds_and_the_others_do_not_wait() {
    let mut house = House::new();
    house.settings.listeners[0].client_certificates = ClientCertificates::Optional;
    let node = house.start();
    let mut certified: Vec<_> = (0..200)
        .map(|number| {
            let mut client = house.open(node.address(), Some("alice"), b"mqtt");
            assert_eq!(client.connect(&connect_as_nobody(&format!("device-{number}"))), 0);
            client
        })
        .collect();
    let mut bystander = house.open(node.address(), None, b"mqtt");
    assert_eq!(bystander.connect(&connect_as_alice("bystander")), 0);
    let other = Authority::create("Other CA", SystemTime::now()).unwrap();
    house.write("ca.pem", other.certificate_pem());
    let handle = node.handle.clone();
    let reload = std::thread::spawn(move || (handle.reload().unwrap(), Instant::now()));
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while !reload.is_finished() {
        let asked = Instant::now();
        ping(&mut bystander);
        longest = longest.max(asked.elapsed());
    }
    let (reloaded, done) = reload.join().unwrap();
    assert_eq!(reloaded.ended.len(), 200);
    assert!(done - begun <= Duration::from_secs(5), "{:?}", done - begun);
    for client in &mut certified {
        assert_eq!(disconnected(client), ReasonCode::NotAuthorized);
    }
    assert!(longest < Duration::from_millis(500), "somebody waited for {longest:?}");
}

/// Clients that never stop sending come again and again, so that their last connections are heard out all the time.
#[test]
fn k24_takeovers_that_are_heard_out_hold_up_no_revocation() {
    let mut house = House::new();
    house.settings.shards = NonZeroU16::MIN;
    house.settings.listeners[0].rules.allow_anonymous = true;
    house.write_passwords(&[("alice", "wonder"), ("bob", "builder")]);
    let node = house.start();
    let mut bob = house.open(node.address(), None, b"mqtt");
    let connect = Connect { user_name: Some("bob"), password: Some(b"builder"), ..connect_as_nobody("bob") };
    assert_eq!(bob.connect(&connect), 0);
    let (is_over, takeovers) = (AtomicBool::new(false), AtomicUsize::new(0));
    // QoS 0, topic "t", no properties, 16,000 bytes.
    let packet = [&b"\x30\x84\x7d\x00\x01t\x00"[..], &[b'x'; 16_000]].concat();
    let talk = |name: &str| {
        while !is_over.load(Ordering::Relaxed) {
            let Ok(mut client) = house.try_open(node.address(), None, b"mqtt") else { continue };
            if client.connect(&connect_as_nobody(name)) == 0 {
                takeovers.fetch_add(1, Ordering::Relaxed);
                while !is_over.load(Ordering::Relaxed) {
                    if client.stream.write_all(&packet).is_err() {
                        break;
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 0..8 {
            // Two want to be the same client.
            let talk = &talk;
            scope.spawn(move || talk(&format!("talker-{}", number / 2)));
        }
        wait_until("they take each other over", PATIENCE, || takeovers.load(Ordering::Relaxed) > 20);
        house.write_passwords(&[("alice", "wonder")]);
        let begun = Instant::now();
        let reloaded = node.handle.reload().unwrap();
        let reason = disconnected(&mut bob);
        let took = begun.elapsed();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!((reloaded.ended.len(), reason), (1, ReasonCode::AdministrativeAction));
        assert!(took <= AT_ONCE, "{took:?}");
    });
    node.stop().unwrap();
}
