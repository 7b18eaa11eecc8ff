//! The retained store against the definition: a filter finds every topic it matches, once, however it is paged.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::BTreeMap;

use motte_mqtt::{ForwardedPropertiesBuf, Qos, TopicFilter, TopicName};
use motte_policy::{ClientId, Identity, Subject};
use proptest::prelude::*;

use super::*;

fn message(topic: &str, payload: &str, expires: Option<Millis>) -> Arc<Message> {
    Arc::new(Message {
        topic: topic.into(),
        payload: payload.as_bytes().into(),
        qos: Qos::AtMostOnce,
        retain: true,
        publisher: Publisher::Client(Arc::new(Subject::new(Identity::Anonymous, ClientId("c".into())))),
        properties: ForwardedPropertiesBuf::new(),
        accepted: Millis(0),
        expires,
        origin: None,
    })
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$c", "dd"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..4).prop_map(|levels| levels.join("/")).prop_filter("empty", |t| !t.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..4), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            levels.join("/")
        })
        .prop_filter("empty", |t| !t.is_empty())
}

fn read_all(retained: &Retained, filter: &str, messages_max: usize, now: Millis) -> Vec<String> {
    let mut topics = Vec::new();
    let mut after: Option<Arc<str>> = None;
    loop {
        let page = retained.page(filter, after.as_deref(), messages_max, now);
        topics.extend(page.messages.iter().map(|m| m.topic().to_owned()));
        match page.next {
            Some(topic) => after = Some(topic),
            None => return topics,
        }
    }
}

proptest! {
    #[test]
    fn a_filter_finds_each_topic_it_matches_once(
        changes in prop::collection::vec((topic(), any::<bool>()), 1..30),
        filter in filter(),
        messages_max in 1_usize..5,
    ) {
        let retained = Retained::new();
        let mut model = BTreeMap::new();
        for (topic, is_kept) in &changes {
            retained.put(&message(topic, if *is_kept { "m" } else { "" }, None));
            model.insert(topic.clone(), *is_kept);
        }
        model.retain(|_, is_kept| *is_kept);
        let parsed = TopicFilter::parse(&filter, 128).unwrap();
        let expected: Vec<String> =
            model.keys().filter(|topic| parsed.matches(TopicName::parse(topic, 128).unwrap())).cloned().collect();
        let mut found = read_all(&retained, &filter, messages_max, Millis(0));
        prop_assert_eq!(&read_all(&retained, &filter, 1_000, Millis(0)), &found, "paging changes nothing");
        found.sort_unstable();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(retained.totals().0, model.len() as u64);
        for topic in model.keys() {
            retained.put(&message(topic, "", None));
        }
        prop_assert_eq!(retained.totals(), (0, 0));
        prop_assert_eq!(retained.stripes.iter().map(|s| s.read().tree.len()).sum::<usize>(), 0);
    }
}

#[test]
fn what_expired_is_swept_when_room_is_needed() {
    let retained = Retained::new();
    let limits = Limits { retained_messages_max: 3, ..Limits::default() };
    for n in 0..3_u64 {
        retained.put(&message(&format!("t/{n}"), "m", Some(Millis(10 + n))));
    }
    retained.put(&message("t/2", "again", Some(Millis(100))));
    let new = message("new", "m", None);
    assert_eq!((retained.sweep(Millis(9)), retained.soonest()), (Vec::new(), Some(Millis(10))));
    assert!(!retained.fits(&new, &limits, &Owners::new()));
    let swept = retained.sweep(Millis(50));
    assert_eq!(swept.iter().map(|(topic, _)| &**topic).collect::<Vec<_>>(), ["t/0", "t/1"]);
    assert_eq!(retained.soonest(), Some(Millis(100)));
    assert!(retained.fits(&new, &limits, &Owners::new()));
    retained.put(&new);
    assert_eq!(read_all(&retained, "t/#", 10, Millis(50)), ["t/2"]);
    assert_eq!(retained.totals().0, 2);
}

#[test]
fn k10_one_page_looks_at_a_bounded_number_of_topics() {
    let retained = Retained::new();
    for n in 0..10_000 {
        retained.put(&message(&format!("t/{n}"), "m", None));
    }
    let page = retained.page("t/+/x", None, 10, Millis(0));
    assert!(page.messages.is_empty() && page.next.is_some());
    assert!(read_all(&retained, "t/+/x", 10, Millis(0)).is_empty());
}
