//! The grammar of topics and their matching, against the naive reading of MQTT 5.0, 4.7 and 4.8.2.

use motte_mqtt::{SubscriptionFilter, TopicFilter, TopicName};

const LEVELS_MAX: usize = 8;

/// The bytes up to the first line feed are a topic name, the others a filter.
pub fn pair(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (name, filter) = data.split_at(at);
    let (Ok(name), Ok(filter)) = (str::from_utf8(name), str::from_utf8(filter.get(1..).unwrap_or_default())) else {
        return;
    };
    let topic = TopicName::parse(name, LEVELS_MAX);
    assert_eq!(topic.is_ok(), is_text(name) && !name.contains(['+', '#']), "name {name:?}");
    let parsed = TopicFilter::parse(filter, LEVELS_MAX);
    assert_eq!(parsed.is_ok(), is_filter(filter), "filter {filter:?}");
    if let (Ok(topic), Ok(parsed)) = (topic, parsed) {
        assert_eq!(parsed.matches(topic), matches(filter, name), "{filter:?} against {name:?}");
    }
    let subscription = SubscriptionFilter::parse(filter, LEVELS_MAX);
    assert_eq!(subscription.is_ok(), is_subscription(filter), "subscription {filter:?}");
    if let Ok(SubscriptionFilter { share: Some(share), filter: inner }) = subscription {
        assert_eq!(format!("$share/{}/{}", share.as_str(), inner.as_str()), filter);
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= 65_535 && !text.contains('\0') && text.split('/').count() <= LEVELS_MAX
}

fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let good = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        level => !level.contains(['+', '#']),
    };
    is_text(text) && levels.iter().enumerate().all(good)
}

fn is_subscription(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    match parts[..] {
        ["$share", group, filter] => {
            let group_is_good = !group.is_empty() && !group.contains(['+', '#', '\0']);
            text.len() <= 65_535 && group_is_good && is_filter(filter)
        }
        ["$share", ..] => false,
        _ => is_filter(text),
    }
}

/// Level by level, from the back of the list of rules: `#` takes all that is left, `+` one level, others themselves.
fn matches(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([level, filter @ ..], [name, topic @ ..]) => level == name && levels(filter, topic),
            _ => false,
        }
    }
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    let hidden = topic[0].starts_with('$') && matches!(filter[0], "+" | "#");
    !hidden && levels(&filter, &topic)
}
