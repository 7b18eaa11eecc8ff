//! Bytes that nobody wrote, given to every parser of the store: none may panic, loop, or ask for memory that is not
//! backed by bytes.

use motte_broker::journal::{DurableTarget, DurableTargets, WillRecord};
use motte_broker::mqtt::{ForwardedPropertiesBuf, Qos, SubscriptionId, SubscriptionOptions, packet::RetainHandling};
use motte_broker::policy::{ClientId, Identity, Subject, UserName};
use motte_broker::restore::StoredMessage;
use motte_broker::{Message, Millis, Origin, Position, ShardId};

use crate::block;
use crate::codec::Reader;
use crate::cursor::Cursor;
use crate::entry::{self, EntryView, OwedAs};
use crate::row::{self, SessionRow, StateRow};

/// xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).expect("44 bits") % end.max(1)
    }

    /// Something near these bytes: changed, cut, doubled, or made of nothing.
    fn near(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut near = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(near.len());
            match self.below(6) {
                0 => near.truncate(at),
                1 => near.extend_from_within(at..),
                2 => near.insert(at, 0xFF),
                3 if at < near.len() => drop(near.remove(at)),
                _ => {
                    let value = [0, 0x7F, 0x80, 0xFF, u8::try_from(self.below(256)).expect("a byte")][self.below(5)];
                    near.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
                }
            }
        }
        near
    }
}

fn origin(position: u64) -> Origin {
    Origin { shard: ShardId(3), position: Position(position) }
}

fn message() -> Message {
    let properties = ForwardedPropertiesBuf::new().user("key", "value").expect("it is allowed");
    Message::restored(StoredMessage {
        topic: "a/b".into(),
        payload: (*b"payload").into(),
        qos: Qos::ExactlyOnce,
        retain: true,
        publisher: Subject::new(Identity::User(UserName("u".into())), ClientId("c".into())),
        properties,
        accepted: Millis(1_000_000),
        expires: Some(Millis(2_000_000)),
        origin: origin(0),
    })
}

fn cursor() -> Cursor {
    let mut cursor = Cursor::default();
    (1..300).for_each(|position| cursor.push(origin(position)));
    assert!((50..250).all(|position| cursor.settle(origin(position))));
    (1..40).for_each(|position| cursor.sent(origin(position), u16::try_from(position).expect("small")));
    cursor.arrived(Some(origin(7)), 7);
    (1..9).for_each(|id| cursor.received(id));
    let share = Some(("g".into(), "f".into()));
    cursor.adopt(origin(900), OwedAs { qos: Qos::AtLeastOnce, retain: false, ids: [].into(), share });
    cursor
}

/// A body of each kind of row.
fn bodies() -> Vec<Vec<u8>> {
    let session = SessionRow {
        client_id: "c".into(),
        user: Some("u".into()),
        expiry_s: 9,
        mount_point: "m/".into(),
        left_at: Some(Millis(7)),
        known: Box::default(),
    };
    let message = message();
    let will = WillRecord {
        topic: "w",
        payload: b"gone",
        qos: Qos::AtLeastOnce,
        retain: true,
        delay_s: 4,
        message_expiry_s: Some(5),
        properties: message.properties(),
    };
    let options = SubscriptionOptions {
        qos: Qos::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    let state = StateRow {
        now: Millis(5),
        reading: crate::clock::Reading::default(),
        commits: 3,
        next_session: 4,
        is_closed: true,
        logs: vec![(0, 7), (1, u64::MAX)],
    };
    let mut of_cursor = Vec::new();
    cursor().encode(&mut of_cursor);
    vec![
        session.encode(),
        row::encode_will(&will),
        row::encode_subscription(options, SubscriptionId::new(300)),
        state.encode(),
        row::encode_retained(origin(8), 9),
        row::encode_ban(Some(Millis(1))),
        of_cursor,
    ]
}

fn parse_all(body: &[u8]) -> usize {
    let reader = Reader::new(body);
    let taken = [
        SessionRow::parse(reader).is_ok(),
        row::parse_will(reader).is_ok(),
        row::parse_subscription(reader).is_ok(),
        StateRow::parse(reader).is_ok(),
        row::parse_retained(reader).is_ok(),
        row::parse_ban(reader).is_ok(),
        Cursor::parse(reader).is_ok_and(|mut cursor| {
            // What was taken can be worked with.
            let found: usize = (0..400).map(|position| cursor.on_found(origin(position), 2)).sum();
            let settled = (0..400).filter(|position| cursor.settle(origin(*position))).count();
            settled <= found && cursor.flights().len() <= body.len()
        }),
    ];
    taken.into_iter().filter(|is| *is).count()
}

#[test]
fn r20_no_row_makes_a_parser_panic() {
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    let mut taken = 0;
    for body in bodies() {
        assert!(parse_all(&body) > 0);
        for _ in 0..1_000 {
            let near = random.near(&body);
            taken += parse_all(&near);
            // A frame around it, right or wrong.
            let key = random.near(b"c\0\0\0\x01");
            let _ = row::body(&key, &row::frame(&key, &near));
            let _ = row::body(&key, &near);
            let _ = (row::session_of(&key), row::text_of(&key, 5), row::banned_of(&key));
        }
    }
    assert!(taken > 100, "what is tried is near enough to what is right: {taken}");
}

#[test]
fn r20_no_block_makes_a_parser_panic() {
    let ids = [SubscriptionId::new(1).expect("not 0")];
    let targets: Vec<_> = (0..3)
        .map(|_| DurableTarget {
            client_id: "c",
            qos: Qos::AtLeastOnce,
            retain: true,
            ids: &ids,
            share: Some(("g", "f")),
        })
        .collect();
    let mut messages = Vec::new();
    for position in 10..14 {
        entry::put(&mut messages, position, &message(), DurableTargets::listed(&targets), &mut |_| 5);
    }
    let key = block::key(3, 10);
    let (mut random, mut taken) = (Random(7), 0);
    for _ in 0..5_000 {
        let mut value = vec![0; block::HEAD];
        value.extend(random.near(&messages));
        block::close(&key, &mut value);
        let opened = block::open(&key, &value).expect("its checksum is right");
        for (origin, bytes) in block::entries(&key, opened).map_while(Result::ok) {
            let Ok(view) = EntryView::parse(bytes) else { continue };
            taken += 1;
            let _ = view.message(origin);
            let count = view.targets().filter(|target| target.owed_as().is_ok()).count();
            assert!(count <= bytes.len());
            let mut again = Vec::new();
            view.put_with(&mut again, |_| true);
            assert!(EntryView::parse(&again).is_ok());
        }
        let _ = block::open(&key, &random.near(&value));
    }
    assert!(taken > 500, "what is tried is near enough to what is right: {taken}");
}
