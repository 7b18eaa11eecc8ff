//! The route map against the definition: a topic goes to whoever has a filter that matches it.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use motte_mqtt::{TopicFilter, TopicName};
use motte_policy::{ClientId, Identity, PublishRight, UserName};
use proptest::prelude::*;
use std::rc::Rc;

use super::*;

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$c", "dd"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..4).prop_map(|levels| levels.join("/")).prop_filter("empty", |t| !t.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 1 => Just("+")];
    (prop::collection::vec(level, 0..4), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            levels.join("/")
        })
        .prop_filter("empty", |t| !t.is_empty())
}

fn subject(name: &str) -> Subject {
    Subject::new(Identity::User(UserName(name.into())), ClientId(name.into()))
}

fn session(n: usize) -> SessionRef {
    let shard = ShardId(u16::try_from(n % 3).unwrap());
    SessionRef { shard, key: SessionKey { slot: n, serial: n as u64 } }
}

fn subscription(n: usize) -> Subscription {
    let facts = Facts {
        subject: Arc::new(subject(&format!("c{n}"))),
        name: format!("c{n}").into(),
        mount_point: MountPoint::default(),
        room: Room::default(),
        durable: AtomicBool::new(false),
        full: AtomicBool::new(false),
    };
    Subscription { options: SubscriptionOptions::default(), id: None, facts: Arc::new(facts) }
}

fn found(routes: &Routes, topic: &str) -> Vec<usize> {
    let route = routes.resolve(topic, None, |_| true);
    let mut slots: Vec<usize> =
        route.direct.iter().flat_map(|(_, targets)| targets.iter()).map(|t| t.key.slot).collect();
    slots.sort_unstable();
    slots
}

proptest! {
    #[test]
    fn k18_a_topic_reaches_exactly_those_whose_filter_matches(
        filters in prop::collection::vec(filter(), 1..12),
        topics in prop::collection::vec(topic(), 1..12),
        removed in prop::collection::vec(any::<bool>(), 12),
    ) {
        let routes = Routes::new();
        let parsed: Vec<_> = filters.iter().map(|f| SubscriptionFilter::parse(f, 128).unwrap()).collect();
        for (n, filter) in parsed.iter().enumerate() {
            routes.insert(filter, session(n), subscription(n));
        }
        for (n, filter) in parsed.iter().enumerate().filter(|(n, _)| removed[*n]) {
            routes.remove(filter, session(n));
        }
        for topic in &topics {
            let name = TopicName::parse(topic, 128).unwrap();
            let expected: Vec<usize> = (0..filters.len())
                .filter(|&n| !removed[n] && TopicFilter::parse(&filters[n], 128).unwrap().matches(name))
                .collect();
            prop_assert_eq!(found(&routes, topic), expected, "{}", topic);
        }
    }

    #[test]
    fn k09_removed_filters_leave_nothing_behind(filters in prop::collection::vec((filter(), any::<bool>()), 1..20)) {
        let routes = Routes::new();
        let texts: Vec<String> =
            filters.iter().map(|(f, shared)| if *shared { format!("$share/g/{f}") } else { f.clone() }).collect();
        let parsed: Vec<_> = texts.iter().map(|f| SubscriptionFilter::parse(f, 128).unwrap()).collect();
        for (n, filter) in parsed.iter().enumerate() {
            routes.insert(filter, session(n), subscription(n));
        }
        for (n, filter) in parsed.iter().enumerate() {
            routes.remove(filter, session(n));
        }
        let left: usize = routes.literal.iter().map(|s| s.trie.read().len()).sum();
        prop_assert_eq!(left + routes.wild.trie.read().len(), 0);
    }
}

#[test]
fn a_change_moves_the_generation_of_the_topics_it_may_touch() {
    let routes = Routes::new();
    let before = routes.generations("a/b");
    routes.insert(&SubscriptionFilter::parse("a/b", 9).unwrap(), session(1), subscription(1));
    let after_literal = routes.generations("a/b");
    assert_ne!(before, after_literal);
    routes.insert(&SubscriptionFilter::parse("+/b", 9).unwrap(), session(1), subscription(1));
    assert_ne!(after_literal, routes.generations("a/b"));
}

#[test]
fn a_cache_holds_only_while_epoch_and_generations_stand() {
    let routes = Routes::new();
    let mut cache = RouteCache::default();
    for n in 0..1_000 {
        let topic: Arc<str> = format!("t/{n}").into();
        let generations = routes.generations(&topic);
        cache.put(Rc::new(Cached {
            topic: Arc::clone(&topic),
            epoch: 1,
            generations,
            right: PublishRight::default(),
            route: None,
            control: None,
        }));
        assert!(cache.find(&topic, 1, &routes).is_some());
        assert!(cache.find(&topic, 2, &routes).is_none());
        assert!(cache.find("other", 1, &routes).is_none());
        assert!(cache.last_topic().is_some_and(|last| last.topic == topic));
    }
    assert!(cache.find("t/999", 1, &routes).is_some());
    routes.insert(&SubscriptionFilter::parse("#", 9).unwrap(), session(1), subscription(1));
    assert!(cache.find("t/999", 1, &routes).is_none());
}

#[test]
fn a_filter_of_few_and_of_many_sessions_reaches_each_of_them_once() {
    let routes = Routes::new();
    for text in ["a/b", "a/+"] {
        let filter = SubscriptionFilter::parse(text, 9).unwrap();
        for n in (0..30).rev().chain(0..30) {
            routes.insert(&filter, session(n), subscription(n));
            routes.insert(&filter, session(n), subscription(n));
        }
        assert_eq!(found(&routes, "a/b"), (0..30).collect::<Vec<_>>(), "{text}");
        for n in 0..27 {
            routes.remove(&filter, session(n));
            assert_eq!(found(&routes, "a/b"), (n + 1..30).collect::<Vec<_>>(), "{text}");
        }
        (27..30).for_each(|n| routes.remove(&filter, session(n)));
        assert!(found(&routes, "a/b").is_empty());
    }
}
