//! What waits for the disk, and what a node says when its store cannot be used.

use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use motte_mqtt::{Connect, Delivery, Packet, ProtocolVersion, Qos};
use motte_node::{ConfigFile, Control, StartError, serve_with};
use motte_store::Clock;

use crate::packets::{publish, qos1};
use crate::restart::kit::{Guest, Time, come, id, keeping, lasting};
use crate::support::{Client, House, PATIENCE, Running, connect_as_alice, connect_as_nobody, logged};

/// Holds the keeper up where it looks at the clock, which it does when it was idle for a while: nothing is committed
/// then.
#[derive(Clone, Default)]
struct Gatekeeper(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_closed: bool,
    is_held: bool,
}

impl Gatekeeper {
    /// Waits until the keeper is held up.
    fn close(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().is_closed = true;
        let held = changed.wait_timeout_while(state.lock().unwrap(), PATIENCE, |state| !state.is_held).unwrap();
        assert!(held.0.is_held);
    }

    fn open(&self) {
        self.0.0.lock().unwrap().is_closed = false;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        if std::thread::current().name() == Some("keeper") {
            let (state, changed) = &*self.0;
            let mut state = state.lock().unwrap();
            while state.is_closed {
                state.is_held = true;
                changed.notify_all();
                state = changed.wait(state).unwrap();
            }
            state.is_held = false;
        }
    }

    fn start(&self, house: &House) -> Running {
        let (time, gate) = (Time::new(), self.clone());
        let (handle, control) = Control::new();
        let read = move || {
            gate.pass();
            time.read()
        };
        house.start_with((handle, control.with_machine_clock(Clock::new(read))))
    }
}

/// Whoever is asked is served while the disk is held up.
#[track_caller]
fn nothing_but_pings(guest: &mut Guest) {
    for _ in 0..3 {
        guest.nothing();
    }
}

#[test]
fn r04_nothing_is_acknowledged_before_it_is_on_the_disk_and_pings_are_answered_meanwhile() {
    let house = keeping();
    let gate = Gatekeeper::default();
    let node = gate.start(&house);
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", Qos::ExactlyOnce);
    let mut writer = come(&house, &node, &lasting("writer"), false);
    let mut other = come(&house, &node, &connect_as_nobody("other"), false);
    other.subscribe("b", Qos::AtMostOnce);

    gate.close();
    writer.publish_as("a", "x", |_| ());
    nothing_but_pings(&mut writer);
    reader.ask_to_subscribe("a/b", Qos::AtLeastOnce);
    let mut twice = come(&house, &node, &connect_as_nobody("twice"), false);
    twice.publish_as("a", "y", |publish| publish.delivery = Delivery::ExactlyOnce { id: id(6), dup: false });
    nothing_but_pings(&mut twice);
    // Whoever needs no record is served as ever: QoS 0, and sessions that end with their connections.
    writer.publish_as("b", "z", |publish| publish.delivery = Delivery::AtMostOnce);
    assert_eq!(other.next(), "b=z q0");
    let mut newcomer = house.open(node.address(), Some("alice"), b"mqtt");
    newcomer.send_packet(&Packet::Connect(lasting("newcomer")));
    nothing_but_pings(&mut other);

    gate.open();
    assert_eq!(writer.next(), "puback #5");
    assert_eq!(twice.next(), "pubrec #6");
    newcomer.receive(|packet| assert!(matches!(packet, Packet::ConnAck(_)), "{packet:?}"));
    let mut told = [reader.next(), reader.next(), reader.next()];
    told.sort();
    assert_eq!(told, ["a=x q1 #1", "a=y q2 #2", "suback 01"]);
}

#[test]
fn r03_a_full_store_refuses_what_it_cannot_keep_and_takes_it_again_when_there_is_room() {
    let mut house = keeping();
    house.settings.durability.bytes_max = Some(256 * 1024);
    let node = house.start();
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", Qos::AtLeastOnce);
    reader.leave();
    let mut writer = come(&house, &node, &lasting("writer"), false);
    let payload = "x".repeat(16 * 1024);
    let mut kept = 0;
    let full = loop {
        writer.publish_as("a", &payload, |_| ());
        match writer.next() {
            told if told == "puback #5" => kept += 1,
            told => break told,
        }
        assert!(kept < 100);
    };
    assert_eq!(full, "puback #5 97");
    let alarm = logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("the store is full")));
    assert!(alarm["level"] == "ERROR" && alarm["hint"].is_string(), "{alarm}");
    let mut late = house.open(node.address(), Some("alice"), b"mqtt");
    assert_eq!(late.connect(&lasting("late")), 0x97);
    let mut passing = come(&house, &node, &connect_as_nobody("passing"), false);
    passing.subscribe("b", Qos::AtLeastOnce);
    writer.publish_as("b", "x", |publish| publish.delivery = Delivery::AtMostOnce);
    assert_eq!(passing.next(), "b=x q0");

    let mut reader = come(&house, &node, &lasting("reader"), true);
    for number in 1..=kept {
        assert!(reader.next().ends_with(&format!(" q1 #{number}")));
        reader.ack(Packet::PubAck, number);
    }
    logged(|line| line["message"].as_str().is_some_and(|text| text.starts_with("the store has room again")));
    writer.publish("a", "y");
    assert_eq!(reader.next(), format!("a=y q1 #{}", kept + 1));
    come(&house, &node, &lasting("late"), false);
}

fn refused(house: &House) -> StartError {
    let (_handle, control) = Control::new();
    serve_with(house.settings.clone(), control, |_| panic!("it must not start")).unwrap_err()
}

#[test]
fn a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let house = keeping();
    let node = house.start();
    let error = refused(&house).to_string();
    assert!(error.contains(&house.path("store").display().to_string()), "{error}");
    assert!(error.contains("in use by another process — hint: "), "{error}");
    come(&house, &node, &lasting("reader"), false).leave();
    node.stop().unwrap();
    let node = house.start();
    come(&house, &node, &lasting("reader"), true);
}

#[test]
fn a_node_does_not_start_without_its_store() {
    let house = keeping();
    fs::write(house.path("store"), b"no directory").unwrap();
    let error = refused(&house);
    assert!(matches!(error, StartError::Store(_)), "{error:?}");
    assert!(error.to_string().contains(" — hint: "), "{error}");
}

#[test]
fn r04_whoever_waits_for_a_slow_disk_is_not_taken_for_silent() {
    let mut house = keeping();
    house.settings.limits.queue_bytes_max = 1024 * 1024 * 1024;
    let gate = Gatekeeper::default();
    let node = gate.start(&house);
    let (tls, socket) = house.shake_hands(node.address());
    socket.set_write_timeout(None).unwrap();
    let stream = rustls::StreamOwned::new(tls, socket);
    let mut writer = Guest(Client::over(Box::new(stream), ProtocolVersion::V5));
    assert_eq!(writer.0.connect(&Connect { keep_alive_s: 1, ..connect_as_alice("writer") }), 0);
    let mut reader = come(&house, &node, &lasting("reader"), false);
    reader.subscribe("a", Qos::AtLeastOnce);
    reader.leave();
    let mut bystander = come(&house, &node, &Connect { keep_alive_s: 1, ..connect_as_nobody("bystander") }, false);
    gate.close();
    // More than may wait for the disk, and more than the sockets between take in.
    let payload = vec![b'x'; 512 * 1024];
    let sending = std::thread::spawn(move || {
        for number in 1..=60 {
            let packet = publish("a", qos1(number), &payload);
            writer.0.send_packet(&packet);
        }
        for number in 1..=60 {
            assert_eq!(writer.next(), format!("puback #{number}"));
        }
    });
    // Longer than one and a half times the keep alive.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        bystander.nothing();
    }
    assert!(!sending.is_finished());
    gate.open();
    sending.join().unwrap();
}

#[test]
fn where_everything_is_kept_stands_in_the_configuration_and_changes_at_a_start_only() {
    let house = House::new();
    let text = |durability: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"ca.pem\"\n\
             [policy]\nacl_file = \"acl\"\n{durability}"
        )
    };
    let settings = || ConfigFile::load(&house.path("motte.toml")).unwrap();
    house.write("motte.toml", &text(""));
    let node = house.start_as(&settings());
    come(&house, &node, &lasting("reader"), false).leave();
    house.write("motte.toml", &text("[durability]\nmode = \"memory\"\n"));
    node.handle.reload().unwrap();
    let line = logged(|line| line["what"] == "durability");
    assert_eq!(line["message"], "changed in the configuration; takes effect after a restart");
    come(&house, &node, &lasting("reader"), true).leave();
    node.stop().unwrap();
    assert!(house.path("store").is_dir(), "beside the configuration file");
    let node = house.start_as(&settings());
    come(&house, &node, &lasting("reader"), false).leave();
    node.stop().unwrap();
    house.write("motte.toml", &text(""));
    let node = house.start_as(&settings());
    come(&house, &node, &lasting("reader"), true);
}
