//! How a message takes each path, with the loss of the right at the moment the case says.
//!
//! Every path ends in [`Act::finish`], which asks for what is lost once more and has to be refused.

use motte_mqtt::{ForwardedProperties, Packet, ProtocolVersion, Qos, ReasonCode, Will};

use super::cases::{Case, Loss, Moment, Path};
use super::stage::{
    Person, Stage, Wishes, Words, filters, open, outcome, publish, publish_bytes, secret, subscribe, until_shut_out,
    words,
};
use crate::support::{Client, logged};

/// Messages of a stream on each side of a loss.
const HALF: u16 = 10;
/// What each of them says.
const NUMBERS: [&str; 21] =
    ["", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"];

/// Who plays what.
struct Act<'a> {
    stage: &'a mut Stage,
    case: &'a Case,
    publisher: Person,
    receiver: Person,
    topic: String,
}

/// Plays one case from the beginning to the end.
pub(super) fn play(stage: &mut Stage, case: &Case) {
    let (publisher, receiver) = stage.enter_people(case);
    let mut act = Act { stage, case, publisher, receiver, topic: secret(case) };
    match case.path {
        Path::Live | Path::Shared | Path::Alias => act.live(),
        Path::Will | Path::DelayedWill => act.will(),
        Path::Retained => act.retained(),
        Path::Queued => act.queued(),
        Path::InFlight => act.in_flight(),
        Path::Window => act.window(),
        Path::Released => act.released(),
    }
}

impl Act<'_> {
    fn live(&mut self) {
        let mut receiver = self.subscribed(Wishes::default());
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        let by_alias = self.case.path == Path::Alias;
        if by_alias {
            self.publish(&mut publisher, &Words { alias: Some(7), ..words(&topic, "by name") }, false);
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["by name"]);
        }
        let said = |payload| match by_alias {
            true => Words { alias: Some(7), ..words("", payload) },
            false => words(&topic, payload),
        };
        match self.case.moment {
            Moment::AfterArrival => {
                self.publish(&mut publisher, &said("on time"), false);
                assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["on time"]);
                self.revoke();
                self.finish(Some(publisher), Some(receiver));
            }
            Moment::During => self.stream(publisher, receiver, said),
            Moment::BeforePublish => {
                self.revoke();
                self.publish_late(publisher, said("late"));
                self.finish(None, Some(receiver));
            }
        }
    }

    /// A stream of messages with the loss in its middle: what arrives is its beginning, and nothing sent after it.
    fn stream<'w>(&mut self, mut publisher: Client, mut receiver: Client, said: impl Fn(&'static str) -> Words<'w>) {
        let bytes = |number: u16| {
            let words = said(NUMBERS[usize::from(number)]);
            publish_bytes(self.publisher.version, (self.qos(), number), &words)
        };
        for number in 1..=HALF {
            publisher.send(&bytes(number));
        }
        let behind: Vec<u8> = (HALF + 1..=2 * HALF).flat_map(bytes).collect();
        self.revoke();
        // Who is shut out may find that nobody listens.
        let is_sent = publisher.stream.write_all(&behind).and_then(|()| publisher.stream.flush()).is_ok();
        assert!(is_sent || self.case.loss == Loss::Publisher);
        let codes: Vec<u8> = std::iter::from_fn(|| outcome(&mut publisher)).take(2 * usize::from(HALF)).collect();
        let arrived = if self.case.loss == Loss::Receiver {
            until_shut_out(receiver)
        } else {
            let arrived = self.stage.arrivals(self.case, &mut receiver);
            self.finish(None, Some(receiver));
            arrived
        };
        assert!(arrived.len() <= usize::from(HALF), "{arrived:?} although the right was gone");
        let expected: Vec<&str> = NUMBERS[1..=arrived.len()].to_vec();
        assert_eq!(arrived, expected, "a beginning of the stream");
        if self.case.loss != Loss::Publisher {
            assert_eq!(codes.len(), 2 * usize::from(HALF));
        }
        if self.case.loss == Loss::Write && self.publisher.version == ProtocolVersion::V5 {
            let (accepted, denied) = codes.split_at(arrived.len());
            assert!(accepted.iter().all(|&code| code == 0), "{codes:02x?} for {arrived:?}");
            assert!(denied.iter().all(|&code| code == 0x87), "{codes:02x?} for {arrived:?}");
        }
    }

    fn will(&mut self) {
        let mut receiver = self.subscribed(Wishes::default());
        let topic = self.topic.clone();
        let delay_s = u32::from(self.case.path == Path::DelayedWill);
        let will = will(&topic, self.qos(), delay_s);
        let wishes = Wishes { keeps_session: delay_s > 0, will: Some(will), ..Wishes::default() };
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            return self.late_will(wishes, receiver);
        }
        let publisher = self.stage.let_in(&self.publisher, wishes);
        if self.case.moment == Moment::AfterArrival {
            drop(publisher);
            self.await_will("will published");
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["gone"]);
            self.revoke();
            if self.case.loss == Loss::Write {
                self.assert_will_refused(wishes);
            }
            return self.finish(None, Some(receiver));
        }
        if self.case.path == Path::DelayedWill {
            drop(publisher);
            logged(|line| line["message"] == "closed" && line["client_id"] == self.publisher.name);
            self.revoke();
        } else {
            self.revoke();
            if self.case.loss == Loss::Publisher {
                assert_eq!(until_shut_out(publisher), [""; 0]);
            } else {
                drop(publisher);
            }
        }
        self.await_will(if self.case.publisher_loses() { "denied" } else { "will published" });
        self.finish(None, Some(receiver));
    }

    /// A will of somebody who comes after the loss.
    fn late_will(&mut self, wishes: Wishes<'_>, receiver: Client) {
        match self.case.loss {
            Loss::Write => self.assert_will_refused(wishes),
            Loss::Publisher => {}
            Loss::Read | Loss::Deny | Loss::Receiver => {
                drop(self.stage.let_in(&self.publisher, wishes));
                self.await_will("will published");
            }
        }
        self.finish(None, Some(receiver));
    }

    fn assert_will_refused(&self, wishes: Wishes<'_>) {
        let (client, code) = self.stage.ask_in(&self.publisher, wishes);
        let expected = if self.publisher.version == ProtocolVersion::V5 { 0x87 } else { 5 };
        assert_eq!(code, expected, "CONNACK for a will that may not be published");
        assert_eq!(client.until_closed(), b"");
    }

    /// Waits until the will was published or withheld.
    fn await_will(&self, outcome: &str) {
        let line = logged(|line| {
            let is_about_will = line["message"] == "will published" || line["what"] == "will";
            is_about_will && line["client_id"] == self.publisher.name
        });
        assert_eq!(line["message"], outcome, "{line}");
    }

    fn retained(&mut self) {
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        let kept = Words { retain: true, ..words(&topic, "kept") };
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            self.publish_late(publisher, kept);
            return self.finish(None, None);
        }
        self.publish(&mut publisher, &kept, false);
        if self.case.moment == Moment::AfterArrival {
            let mut receiver = self.subscribed(Wishes::default());
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["kept"]);
        }
        self.revoke();
        if self.case.publisher_loses() {
            // Also for whoever comes later.
            let mut receiver = self.subscribed(Wishes::default());
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), [""; 0]);
        }
        self.finish(Some(publisher), None);
    }

    fn queued(&mut self) {
        let lasting = Wishes { keeps_session: true, ..Wishes::default() };
        let mut receiver = self.subscribed(lasting);
        receiver.send(&[0xe0, 0]);
        assert_eq!(receiver.until_closed(), b"");
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        let queued = words(&topic, "queued");
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            self.publish_late(publisher, queued);
            return self.resume(lasting);
        }
        self.publish(&mut publisher, &queued, false);
        if self.case.moment == Moment::During {
            self.revoke();
            return self.resume(lasting);
        }
        let mut receiver = self.stage.let_in(&self.receiver, lasting);
        assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["queued"]);
        self.revoke();
        self.finish(Some(publisher), Some(receiver));
    }

    fn in_flight(&mut self) {
        let lasting = Wishes { keeps_session: true, ..Wishes::default() };
        let mut receiver = self.subscribed(lasting);
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        let sent = words(&topic, "sent");
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            self.publish_late(publisher, sent);
            drop(receiver);
            return self.resume(lasting);
        }
        self.publish(&mut publisher, &sent, false);
        take_unacknowledged(&mut receiver, "sent");
        drop(receiver);
        if self.case.moment == Moment::During {
            self.revoke();
            return self.resume(lasting);
        }
        let mut receiver = self.stage.let_in(&self.receiver, lasting);
        assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["sent"], "once more");
        self.revoke();
        self.finish(Some(publisher), Some(receiver));
    }

    fn window(&mut self) {
        let mut receiver = self.subscribed(Wishes { receive_maximum: Some(1), ..Wishes::default() });
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        self.publish(&mut publisher, &words(&topic, "first"), false);
        let id = take_unacknowledged(&mut receiver, "first");
        let second = words(&topic, "second");
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            self.publish_late(publisher, second);
        } else {
            self.publish(&mut publisher, &second, false);
            if self.case.moment == Moment::During {
                self.revoke();
            }
        }
        let acknowledgement = if self.qos() == Qos::AtLeastOnce { 0x40 } else { 0x50 };
        let [high, low] = id.to_be_bytes();
        let bytes = [acknowledgement, 2, high, low];
        let is_sent = receiver.stream.write_all(&bytes).and_then(|()| receiver.stream.flush()).is_ok();
        assert!(is_sent || self.case.loss == Loss::Receiver);
        if self.case.moment == Moment::AfterArrival {
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["second"]);
            self.revoke();
        }
        self.finish(None, Some(receiver));
    }

    fn released(&mut self) {
        let mut receiver = self.subscribed(Wishes::default());
        let mut publisher = self.stage.let_in(&self.publisher, Wishes::default());
        let topic = self.topic.clone();
        if self.case.moment == Moment::BeforePublish {
            self.revoke();
            self.publish_late(publisher, words(&topic, "late"));
            return self.finish(None, Some(receiver));
        }
        publisher.send(&publish_bytes(publisher.version, (Qos::ExactlyOnce, 5), &words(&topic, "sent")));
        publisher.receive(|packet| match packet {
            Packet::PubRec(ack) => assert_eq!((ack.id.value(), ack.reason), (5, ReasonCode::Success)),
            packet => panic!("{packet:?}"),
        });
        if self.case.moment == Moment::AfterArrival {
            release(&mut publisher);
            assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["sent"]);
            self.revoke();
            return self.finish(Some(publisher), Some(receiver));
        }
        self.revoke();
        let publisher = match self.case.loss {
            Loss::Publisher => Some(publisher),
            _ => {
                release(&mut publisher);
                None
            }
        };
        // It went out when it was accepted.
        let receiver = match self.case.loss {
            Loss::Receiver => {
                assert_eq!(until_shut_out(receiver), ["sent"]);
                None
            }
            _ => {
                assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["sent"]);
                Some(receiver)
            }
        };
        self.finish(publisher, receiver);
    }

    fn qos(&self) -> Qos {
        if self.case.number.is_multiple_of(2) { Qos::AtLeastOnce } else { Qos::ExactlyOnce }
    }

    /// Takes the right away; when this returns it is gone.
    fn revoke(&mut self) {
        self.stage.revoke(self.case, (&self.publisher, &self.receiver));
    }

    /// Publishes, and expects the answer for what is or is not allowed.
    fn publish(&self, publisher: &mut Client, words: &Words<'_>, is_denied: bool) {
        let code = publish(publisher, self.qos(), words);
        if is_denied && publisher.version == ProtocolVersion::V5 {
            assert_eq!(code, 0x87, "the answer to a PUBLISH that is denied");
        } else {
            assert!(matches!(code, 0 | 0x10), "{code:#x}");
        }
    }

    /// Publishes after the loss.
    fn publish_late(&self, mut publisher: Client, words: Words<'_>) {
        if self.case.loss == Loss::Publisher {
            assert_eq!(until_shut_out(publisher), [""; 0]);
        } else {
            self.publish(&mut publisher, &words, self.case.loss == Loss::Write);
        }
    }

    /// The receiver with its subscriptions.
    fn subscribed(&self, wishes: Wishes<'_>) -> Client {
        let mut receiver = self.stage.let_in(&self.receiver, wishes);
        assert_eq!(subscribe(&mut receiver, &filters(self.case)), Some(vec![2, 2]), "SUBACK");
        receiver
    }

    /// The receiver comes back after the loss.
    fn resume(&mut self, lasting: Wishes<'_>) {
        let receiver = (self.case.loss != Loss::Receiver).then(|| self.stage.let_in(&self.receiver, lasting));
        self.finish(None, receiver);
    }

    /// After the loss: nothing more arrives at the receiver, if it is connected, and who tries again is refused.
    fn finish(&mut self, publisher: Option<Client>, mut receiver: Option<Client>) {
        if self.case.loss == Loss::Receiver {
            let arrived = receiver.map(until_shut_out).unwrap_or_default();
            assert_eq!(arrived, [""; 0]);
            return self.stage.assert_shut_out(&self.receiver);
        }
        if let Some(receiver) = &mut receiver {
            assert_eq!(self.stage.arrivals(self.case, receiver), [""; 0], "after the loss");
        }
        match self.case.loss {
            Loss::Write => {
                let ask = || self.stage.let_in(&self.publisher, Wishes::default());
                let mut publisher = publisher.unwrap_or_else(ask);
                let topic = self.topic.clone();
                self.publish(&mut publisher, &words(&topic, "again"), true);
            }
            Loss::Publisher => {
                let said = publisher.map(until_shut_out).unwrap_or_default();
                assert_eq!(said, [""; 0]);
                self.stage.assert_shut_out(&self.publisher);
            }
            Loss::Read => self.subscribe_again(receiver.take()),
            Loss::Deny => self.subscribe_within(receiver.take()),
            Loss::Receiver => {}
        }
        if let Some(receiver) = &mut receiver {
            assert_eq!(self.stage.arrivals(self.case, receiver), [""; 0], "after another try");
        }
    }

    /// A subscription to what may not be read is refused; 3.1 has no code for that.
    fn subscribe_again(&self, receiver: Option<Client>) {
        let mut receiver = receiver.unwrap_or_else(|| self.stage.let_in(&self.receiver, Wishes::default()));
        let codes = subscribe(&mut receiver, &filters(self.case)[..1]);
        let expected = match receiver.version {
            ProtocolVersion::V31 => None,
            ProtocolVersion::V311 => Some(vec![0x80]),
            ProtocolVersion::V5 => Some(vec![0x87]),
        };
        assert_eq!(codes, expected, "the answer to a SUBSCRIBE that is denied");
    }

    /// A wildcard stays granted and delivers everything but what is denied (K18).
    fn subscribe_within(&mut self, receiver: Option<Client>) {
        let mut receiver = receiver.unwrap_or_else(|| self.stage.let_in(&self.receiver, Wishes::default()));
        assert_eq!(subscribe(&mut receiver, &filters(self.case)), Some(vec![2, 2]), "SUBACK");
        self.stage.testify(&words(&self.topic, "denied"));
        self.stage.testify(&words(&open(self.case), "allowed"));
        assert_eq!(self.stage.arrivals(self.case, &mut receiver), ["allowed"]);
    }
}

/// Ends the exchange of the message that was published.
fn release(publisher: &mut Client) {
    publisher.send(&[0x62, 2, 0, 5]);
    publisher.receive(|packet| match packet {
        Packet::PubComp(ack) => assert_eq!((ack.id.value(), ack.reason), (5, ReasonCode::Success)),
        packet => panic!("{packet:?}"),
    });
}

/// The identifier of the message that comes next; it is not acknowledged.
fn take_unacknowledged(receiver: &mut Client, expected: &str) -> u16 {
    receiver.receive(|packet| match packet {
        Packet::Publish(publish) if publish.payload == expected.as_bytes() => publish.delivery.id().unwrap().value(),
        packet => panic!("{packet:?}"),
    })
}

fn will(topic: &str, qos: Qos, delay_s: u32) -> Will<'_> {
    Will {
        topic,
        payload: b"gone",
        qos,
        retain: false,
        delay_s,
        message_expiry_s: None,
        properties: ForwardedProperties::EMPTY,
    }
}
