//! One scenario for every foreign library: QoS 0 to 2, retained messages, wills, shared subscriptions, sessions, and of
//! 5.0 message expiry and request with response. Both sides of every exchange are played by the library.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Broker, Credentials, DEVICE, OPERATOR, Puppet, Relay};

/// A foreign library and its way to the broker.
#[derive(Clone, Copy, Debug)]
enum Library {
    Paho,
    Mqttjs { scheme: &'static str },
    Rumqttc,
    Mqrstt,
}

/// A broker, and the library that is tried with it.
struct Stage {
    broker: Broker,
    library: Library,
    protocol: &'static str,
}

const READING: &str = "sensors/device-1/t";
const STATE: &str = "sensors/device-1/state";
const COMMAND: &str = "commands/device-1/lamp";

#[test]
fn paho_plays_every_step_with_3_1_1() {
    play(Library::Paho, "3.1.1");
}

#[test]
fn paho_plays_every_step_with_5_0() {
    play(Library::Paho, "5");
}

#[test]
fn mqttjs_plays_every_step_with_3_1_1() {
    play(Library::Mqttjs { scheme: "mqtts" }, "3.1.1");
}

#[test]
fn mqttjs_plays_every_step_with_5_0() {
    play(Library::Mqttjs { scheme: "mqtts" }, "5");
}

#[test]
fn mqttjs_plays_every_step_over_secure_websocket() {
    play(Library::Mqttjs { scheme: "wss" }, "5");
}

#[test]
fn rumqttc_plays_every_step_with_3_1_1() {
    play(Library::Rumqttc, "3.1.1");
}

#[test]
fn rumqttc_plays_every_step_with_5_0() {
    play(Library::Rumqttc, "5");
}

#[test]
fn mqrstt_plays_every_step_with_5_0() {
    play(Library::Mqrstt, "5");
}

fn play(library: Library, protocol: &'static str) {
    let mut stage = Stage { broker: Broker::quickstart(), library, protocol };
    stage.messages_travel_both_ways_at_every_qos();
    stage.a_retained_message_waits_until_it_is_cleared();
    stage.a_will_comes_when_the_program_dies_and_only_then();
    stage.members_share_messages();
    stage.a_session_waits_for_its_client();
    stage.a_library_comes_back_by_itself();
    if protocol == "5" {
        stage.a_message_expires_for_who_is_away();
        stage.a_request_finds_its_response();
    }
}

impl Stage {
    /// The device, whose name is its certificate's. `more` is merged into the settings.
    fn device(&self, more: &Value) -> Puppet {
        self.client(&Credentials::Certificate(DEVICE), "device", more)
    }

    /// An operator, who comes with a password.
    fn operator(&self, id: &str, more: &Value) -> Puppet {
        self.client(&self.broker.password(OPERATOR), id, more)
    }

    fn client(&self, credentials: &Credentials, id: &str, more: &Value) -> Puppet {
        let mut settings = json!({"id": id});
        settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        match self.library {
            Library::Paho => Puppet::paho(&self.broker, self.protocol, credentials, &settings),
            Library::Mqttjs { scheme } => Puppet::mqttjs(&self.broker, scheme, self.protocol, credentials, &settings),
            Library::Rumqttc => Puppet::rust(&self.broker, "rumqttc", self.protocol, credentials, &settings),
            Library::Mqrstt => Puppet::rust(&self.broker, "mqrstt", self.protocol, credentials, &settings),
        }
    }

    fn messages_travel_both_ways_at_every_qos(&self) {
        let mut device = self.device(&json!({})).connected();
        let mut operator = self.operator("operator", &json!({})).connected();
        assert_eq!(operator.subscribe("sensors/#", 2), json!([2]));
        assert_eq!(device.subscribe("commands/device-1/#", 2), json!([2]));
        for qos in [0, 1, 2] {
            let text = format!("23.{qos} °C");
            device.publish(READING, &text, qos, false);
            assert_eq!(operator.message(), message(READING, &text, qos, false));
            operator.publish(COMMAND, &text, qos, false);
            assert_eq!(device.message(), message(COMMAND, &text, qos, false));
        }
        device.leave();
        operator.leave();
    }

    fn a_retained_message_waits_until_it_is_cleared(&self) {
        let mut device = self.device(&json!({})).connected();
        let mut early = self.operator("early", &json!({})).connected();
        early.subscribe("sensors/#", 1);
        device.publish(READING, "last", 1, true);
        assert_eq!(early.message(), message(READING, "last", 1, false), "for whom it is news");
        let mut late = self.operator("late", &json!({})).connected();
        late.subscribe("sensors/#", 1);
        assert_eq!(late.message(), message(READING, "last", 1, true));
        device.publish(READING, "", 1, true);
        assert_eq!(late.message(), message(READING, "", 1, false));
        device.publish(STATE, "end", 1, true);
        let mut latest = self.operator("latest", &json!({})).connected();
        latest.subscribe("sensors/#", 1);
        assert_eq!(latest.message(), message(STATE, "end", 1, true), "what was cleared does not come");
        device.publish(STATE, "", 1, true);
    }

    fn a_will_comes_when_the_program_dies_and_only_then(&mut self) {
        let will = json!({"will": {"topic": STATE, "payload": "lost", "qos": 1, "retain": true}});
        let mut watcher = self.operator("watcher", &json!({})).connected();
        watcher.subscribe("sensors/#", 1);
        let mut leaver = will.clone();
        leaver["id"] = json!("leaver");
        self.device(&leaver).connected().leave();
        self.broker.closed("leaver");
        let mut device = self.device(&will).connected();
        device.publish(READING, "I left and came back", 1, false);
        assert_eq!(watcher.message(), message(READING, "I left and came back", 1, false), "no will yet");
        device.die();
        assert_eq!(watcher.message(), message(STATE, "lost", 1, false));
        let mut late = self.operator("late", &json!({})).connected();
        late.subscribe("sensors/#", 1);
        assert_eq!(late.message(), message(STATE, "lost", 1, true), "a will is retained when it says so");
        self.device(&json!({})).connected().publish(STATE, "", 1, true);
    }

    fn members_share_messages(&self) {
        let mut device = self.device(&json!({})).connected();
        let mut members = ["one", "two"].map(|id| self.operator(id, &json!({})).connected());
        for member in &mut members {
            assert_eq!(member.subscribe("$share/desks/sensors/device-1/n", 1), json!([1]));
            assert_eq!(member.subscribe("sensors/device-1/end", 1), json!([1]));
        }
        let numbers: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
        for number in &numbers {
            device.publish("sensors/device-1/n", number, 1, false);
        }
        device.publish("sensors/device-1/end", "", 1, false);
        let shares = members.map(|mut member| {
            let share =
                std::iter::from_fn(|| Some(member.message()).filter(|(topic, ..)| topic != "sensors/device-1/end"));
            share.map(|(_, payload, ..)| payload).collect::<Vec<_>>()
        });
        assert!(shares.iter().all(|share| !share.is_empty()), "each member gets some: {shares:?}");
        let all: Vec<&String> = shares.iter().flatten().collect();
        assert_eq!(all.len(), numbers.len(), "none comes twice, none is missing: {shares:?}");
        assert_eq!(BTreeSet::from_iter(all), BTreeSet::from_iter(&numbers));
    }

    /// Leaves a session behind that is subscribed to all readings, by dying.
    fn leave_session(&mut self, id: &str) {
        let mut operator = self.operator(id, &json!({"clean": false}));
        assert_eq!(operator.event("connected")["session_present"], false);
        assert_eq!(operator.subscribe("sensors/#", 2), json!([2]));
        operator.die();
        self.broker.closed(id);
    }

    /// Comes back to a session that is still there.
    fn take_session(&self, id: &str) -> Puppet {
        let mut operator = self.operator(id, &json!({"clean": false}));
        assert_eq!(operator.event("connected")["session_present"], true);
        operator
    }

    fn a_session_waits_for_its_client(&mut self) {
        self.leave_session("desk");
        let mut device = self.device(&json!({})).connected();
        // In this order, because some libraries show a message of QoS 2 when it is released, and others before.
        let missed = [(1, "one"), (1, "two"), (2, "three"), (2, "four")];
        for (qos, number) in missed {
            device.publish(READING, number, qos, false);
        }
        let mut back = self.take_session("desk");
        for (qos, number) in missed {
            let heard = back.event("message");
            assert_eq!((&heard["payload"], &heard["qos"], &heard["dup"]), (&json!(number), &json!(qos), &json!(false)));
        }
        device.publish(READING, "live", 2, false);
        assert_eq!(back.message(), message(READING, "live", 2, false), "the subscription lives on");
        back.leave();
        self.broker.closed("desk");
        let mut fresh = self.operator("desk", &json!({"clean": true}));
        assert_eq!(fresh.event("connected")["session_present"], false);
        device.publish(READING, "for nobody", 1, false);
        assert_eq!(fresh.subscribe(READING, 1), json!([1]));
        device.publish(READING, "for somebody", 1, false);
        assert_eq!(fresh.message(), message(READING, "for somebody", 1, false), "the subscription is gone");
    }

    /// The program lives on, and so does what the library keeps of the session.
    fn a_library_comes_back_by_itself(&mut self) {
        let (relay, scheme, path) = match self.library {
            Library::Mqttjs { scheme: "wss" } => (Relay::to(self.broker.wss()), "wss", "/mqtt"),
            _ => (Relay::to(self.broker.mqtts()), "mqtts", ""),
        };
        let url = format!("{scheme}://127.0.0.1:{}{path}", relay.port());
        let settings = |id| json!({"id": id, "clean": false, "reconnect": true, "port": relay.port(), "url": url});
        let mut operator = self.operator("roamer", &settings("roamer")).connected();
        assert_eq!(operator.subscribe("sensors/#", 2), json!([2]));
        let mut sender = self.device(&settings("sender")).connected();
        relay.cut();
        self.broker.closed("roamer");
        self.broker.closed("sender");
        for qos in [1, 2] {
            sender.hand_over(READING, &format!("held back {qos}"), qos);
        }
        self.device(&json!({})).connected().publish(READING, "meanwhile", 1, false);
        relay.mend();
        for client in [&mut operator, &mut sender] {
            assert_eq!(client.event("connected")["session_present"], true);
        }
        let mut heard: Vec<String> = (0..3).map(|_| operator.message().1).collect();
        heard.sort();
        assert_eq!(heard, ["held back 1", "held back 2", "meanwhile"]);
        for _ in [1, 2] {
            sender.event("published");
        }
        sender.publish(READING, "last", 2, false);
        assert_eq!(operator.message(), message(READING, "last", 2, false), "nothing comes twice");
    }

    fn a_message_expires_for_who_is_away(&mut self) {
        self.leave_session("traveller");
        let mut watcher = self.operator("watcher", &json!({})).connected();
        watcher.subscribe("sensors/#", 1);
        let mut device = self.device(&json!({})).connected();
        device.publish_with(READING, "long", &json!({"expiry": 600}));
        device.publish_with(READING, "short", &json!({"expiry": 1}));
        for text in ["long", "short"] {
            assert_eq!(watcher.message().1, text, "who is there hears all");
        }
        // Lifetimes are whole seconds of real time; nothing tells when one is over.
        thread::sleep(Duration::from_millis(1500));
        device.publish_with(READING, "last", &json!({}));
        let mut back = self.take_session("traveller");
        let heard = back.event("message");
        assert_eq!(heard["payload"], "long");
        let left = heard["expiry"].as_u64().expect("the lifetime is passed on");
        assert!((500..600).contains(&left), "what is left of it: {left}");
        let heard = back.event("message");
        assert_eq!((&heard["payload"], &heard["expiry"]), (&json!("last"), &Value::Null), "the short one is over");
        back.leave();
    }

    fn a_request_finds_its_response(&self) {
        let mut device = self.device(&json!({})).connected();
        device.subscribe("commands/device-1/#", 1);
        let mut operator = self.operator("operator", &json!({})).connected();
        operator.subscribe("sensors/device-1/answers/desk", 1);
        let request = json!({"response": "sensors/device-1/answers/desk", "correlation": "no. 7"});
        operator.publish_with(COMMAND, "on?", &request);
        let heard = device.event("message");
        assert_eq!((&heard["response"], &heard["correlation"]), (&request["response"], &request["correlation"]));
        let to = heard["response"].as_str().unwrap();
        device.publish_with(to, "on!", &json!({"correlation": heard["correlation"]}));
        let answer = operator.event("message");
        assert_eq!((&answer["payload"], &answer["correlation"]), (&json!("on!"), &request["correlation"]));
        assert_eq!(answer["response"], Value::Null);
    }
}

/// As [`Puppet::message`] tells it.
fn message(topic: &str, payload: &str, qos: u8, retain: bool) -> (String, String, u64, bool) {
    (topic.to_owned(), payload.to_owned(), u64::from(qos), retain)
}
