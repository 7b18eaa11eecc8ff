//! Topic names, filters and shared subscriptions: grammar, and matching against a naive reference.

use motte_mqtt::{SubscriptionFilter, TopicError, TopicFilter, TopicName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const LEVELS_MAX: usize = 128;

fn matches(filter: &str, topic: &str) -> bool {
    TopicFilter::parse(filter, LEVELS_MAX).unwrap().matches(TopicName::parse(topic, LEVELS_MAX).unwrap())
}

/// The words of the standard, level by level and by recursion; only fit for small inputs.
fn naive(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        ([], []) | (["#"], _) => true,
        ([level, filter @ ..], [name, topic @ ..]) => (*level == "+" || level == name) && naive(filter, topic),
        _ => false,
    }
}

fn naive_matches(filter: &str, topic: &str) -> bool {
    let hidden = topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#'));
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    !hidden && naive(&filter, &topic)
}

fn level() -> impl Strategy<Value = &'static str> {
    select(vec!["", "a", "b", "é", "$s"])
}

fn name() -> impl Strategy<Value = String> {
    vec(level(), 1..6).prop_map(|levels| levels.join("/")).prop_filter("not empty", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let levels = vec(prop_oneof![2 => level(), 1 => Just("+")], 0..6);
    (levels, any::<bool>())
        .prop_map(|(mut levels, hash)| {
            levels.extend(hash.then_some("#"));
            levels.join("/")
        })
        .prop_filter("not empty", |filter| !filter.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn matching_agrees_with_the_naive_reference(filter in filter(), topic in name()) {
        prop_assert_eq!(matches(&filter, &topic), naive_matches(&filter, &topic));
    }

    #[test]
    fn any_text_parses_or_is_refused_and_what_parses_is_unchanged(text in "[ab/+#$\u{0}]{0,8}") {
        let name = TopicName::parse(&text, LEVELS_MAX);
        let filter = TopicFilter::parse(&text, LEVELS_MAX);
        prop_assert_eq!(name.map(TopicName::as_str).unwrap_or(&text), &text);
        prop_assert_eq!(filter.map(TopicFilter::as_str).unwrap_or(&text), &text);
        // Every name is a filter, and a filter is a name exactly when it has no wildcard (MQTT-4.7.0-1).
        if let Ok(filter) = filter {
            prop_assert_eq!(name.is_ok(), !filter.has_wildcard());
        } else {
            prop_assert!(name.is_err());
        }
    }

    #[test]
    fn a_share_is_taken_off_and_nothing_else(group in "[a-c]{1,3}", filter in filter()) {
        let shared = format!("$share/{group}/{filter}");
        let parsed = SubscriptionFilter::parse(&shared, LEVELS_MAX).unwrap();
        prop_assert_eq!(parsed.share.unwrap().as_str(), &group);
        prop_assert_eq!(parsed.filter.as_str(), &filter);
        let plain = SubscriptionFilter::parse(&filter, LEVELS_MAX).unwrap();
        prop_assert!(plain.share.is_none());
        prop_assert_eq!(plain.filter, parsed.filter);
    }
}

#[test]
fn v5_4_7_0_1_wildcards_only_in_filters() {
    for text in ["+", "#", "a/+", "a/#", "a+b"] {
        assert_eq!(TopicName::parse(text, LEVELS_MAX), Err(TopicError::Wildcard), "{text}");
    }
}

#[test]
fn v5_4_7_1_1_number_sign_stands_alone_and_last() {
    for text in ["#/a", "a#", "#a", "a/#/b", "##", "a/b#"] {
        assert_eq!(TopicFilter::parse(text, LEVELS_MAX), Err(TopicError::Grammar), "{text}");
    }
    for text in ["#", "a/#", "/#", "+/#"] {
        assert!(TopicFilter::parse(text, LEVELS_MAX).unwrap().has_wildcard(), "{text}");
    }
    assert!(matches("sport/#", "sport"), "the parent level is included");
    assert!(matches("sport/#", "sport/tennis/player1"));
    assert!(!matches("sport/#", "sports"));
}

#[test]
fn v5_4_7_1_2_plus_fills_a_whole_level() {
    for text in ["a+", "+a", "a/+b", "++", "a/b+/c"] {
        assert_eq!(TopicFilter::parse(text, LEVELS_MAX), Err(TopicError::Grammar), "{text}");
    }
    assert!(matches("+", "finance") && !matches("+", "/finance"));
    assert!(matches("/+", "/finance") && matches("+/+", "/finance"));
    assert!(matches("sport/+", "sport/") && !matches("sport/+", "sport"));
    assert!(matches("sport/+/player1", "sport/tennis/player1"));
}

#[test]
fn v5_4_7_2_1_leading_wildcards_hide_dollar_topics() {
    for filter in ["#", "+/monitor/clients", "+/#"] {
        assert!(!matches(filter, "$SYS/monitor/clients"), "{filter}");
    }
    for filter in ["$SYS/#", "$SYS/monitor/+", "$SYS/+/clients"] {
        assert!(matches(filter, "$SYS/monitor/clients"), "{filter}");
    }
    assert!(matches("a/+", "a/$b"), "only the first character counts");
}

#[test]
fn v5_4_7_3_1_at_least_one_character() {
    assert_eq!(TopicName::parse("", LEVELS_MAX), Err(TopicError::Empty));
    assert_eq!(TopicFilter::parse("", LEVELS_MAX), Err(TopicError::Empty));
    assert_eq!(SubscriptionFilter::parse("", LEVELS_MAX), Err(TopicError::Empty));
}

#[test]
fn v5_4_7_3_2_no_nul() {
    assert_eq!(TopicName::parse("a\0", LEVELS_MAX), Err(TopicError::Character));
    assert_eq!(TopicFilter::parse("a/\0", LEVELS_MAX), Err(TopicError::Character));
    assert_eq!(SubscriptionFilter::parse("$share/\0/a", LEVELS_MAX), Err(TopicError::Character));
}

#[test]
fn v5_4_7_3_3_at_most_65535_bytes() {
    let (longest, longer) = ("é".repeat(32_767) + "a", "a".repeat(65_536));
    assert!(TopicName::parse(&longest, 1).is_ok() && TopicFilter::parse(&longest, 1).is_ok());
    assert_eq!(TopicName::parse(&longer, 1), Err(TopicError::TooLong));
    assert_eq!(TopicFilter::parse(&longer, 1), Err(TopicError::TooLong));
    let shared = format!("$share/g/{}", &longer[..65_530]);
    assert_eq!(SubscriptionFilter::parse(&shared, 1), Err(TopicError::TooLong), "the prefix counts as well");
}

#[test]
fn v5_4_7_3_4_no_normalisation() {
    assert!(!matches("caf\u{e9}", "cafe\u{301}"), "composed and decomposed are different topics");
    assert!(!matches("A", "a") && !matches("a/b", "a//b") && !matches("a", "a/") && !matches("a", "/a"));
    assert!(matches("\u{feff}a", "\u{feff}a") && !matches("\u{feff}a", "a"));
}

#[test]
fn v5_4_8_2_1_share_has_a_name() {
    for text in ["$share", "$share/", "$share//a", "$share/g", "$share/g/"] {
        assert_eq!(SubscriptionFilter::parse(text, LEVELS_MAX), Err(TopicError::Share), "{text}");
    }
    for text in ["$shared/g/a", "$SHARE/g/a", "share/g/a", "$sharea"] {
        assert!(SubscriptionFilter::parse(text, LEVELS_MAX).unwrap().share.is_none(), "{text}");
    }
}

#[test]
fn v5_4_8_2_2_share_name_without_wildcards_then_a_filter() {
    for text in ["$share/+/a", "$share/g#/a", "$share/#/a"] {
        assert_eq!(SubscriptionFilter::parse(text, LEVELS_MAX), Err(TopicError::Share), "{text}");
    }
    assert_eq!(SubscriptionFilter::parse("$share/g/a#", LEVELS_MAX), Err(TopicError::Grammar));
    assert_eq!(SubscriptionFilter::parse("$share/g//", LEVELS_MAX).unwrap().filter.as_str(), "/");
}

#[test]
fn k08_depth_is_bounded_and_matching_stays_flat() {
    let (slashes, pluses) = ("/".repeat(65_535), "+/".repeat(32_767) + "+");
    for text in [&slashes, &pluses] {
        assert_eq!(TopicFilter::parse(text, LEVELS_MAX), Err(TopicError::TooDeep));
        assert_eq!(SubscriptionFilter::parse(text, LEVELS_MAX), Err(TopicError::TooDeep));
    }
    assert_eq!(TopicName::parse(&slashes, LEVELS_MAX), Err(TopicError::TooDeep));
    assert!(TopicName::parse(&"/".repeat(127), LEVELS_MAX).is_ok(), "128 levels");
    assert_eq!(TopicName::parse(&"/".repeat(128), LEVELS_MAX), Err(TopicError::TooDeep));
    assert!(SubscriptionFilter::parse(&format!("$share/g/{}", "/".repeat(127)), LEVELS_MAX).is_ok());
    // Without a limit the greatest filters still match in one pass and in constant stack.
    let topic = TopicName::parse(&slashes, usize::MAX).unwrap();
    assert!(TopicFilter::parse(&slashes, usize::MAX).unwrap().matches(topic));
    assert!(!TopicFilter::parse(&pluses, usize::MAX).unwrap().matches(topic));
}
