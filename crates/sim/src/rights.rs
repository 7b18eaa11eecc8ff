//! The topics of the simulated world, what matches them, and who may do what with them.
//!
//! A table, and its own small reading of MQTT 5.0 §4.7: nothing here asks the code that is being judged.

use crate::random::Random;

/// Every topic that is published to.
pub(crate) const TOPICS: [&str; 8] = ["t/0", "t/1", "t/2", "a/b/c", "a/b", "a//c", "s/0", "s/1"];
/// Filters clients subscribe to.
pub(crate) const FILTERS: [&str; 9] = ["t/0", "t/1", "t/+", "t/#", "#", "+/+", "a/+/c", "a/#", "s/0"];
/// Filters clients share.
pub(crate) const SHARED: [&str; 4] = ["$share/g/s/0", "$share/g/s/+", "$share/h/#", "$share/h/t/0"];
/// Users that own clients.
pub(crate) const USERS: usize = 3;
/// One more user, who may do everything and looks at what is retained in the end.
pub(crate) const AUDITOR: usize = USERS;

const READ: u8 = 1;
const WRITE: u8 = 2;

/// The name of a user.
pub(crate) fn user_name(user: usize) -> String {
    format!("u{user}")
}

/// Rights by user and topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    of: [[u8; TOPICS.len()]; USERS],
}

impl Rights {
    /// Everybody may do everything.
    pub(crate) fn open() -> Self {
        Self { of: [[READ | WRITE; TOPICS.len()]; USERS] }
    }

    /// Some rights are missing.
    pub(crate) fn some(random: &mut Random) -> Self {
        let mut rights = Self::open();
        for _ in 0..random.below(10) {
            rights.of[random.below(USERS)][random.below(TOPICS.len())] = random.pick(&[0, READ, WRITE]);
        }
        rights
    }

    /// As an ACL file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("user {}\ntopic readwrite #\n", user_name(AUDITOR));
        for (user, topics) in self.of.iter().enumerate() {
            text += &format!("user {}\n", user_name(user));
            for (topic, rights) in TOPICS.iter().zip(topics) {
                let word = match *rights {
                    0 => continue,
                    READ => "read",
                    WRITE => "write",
                    _ => "readwrite",
                };
                text += &format!("topic {word} {topic}\n");
            }
        }
        text
    }

    fn has(&self, user: usize, topic: &str, right: u8) -> bool {
        let at = TOPICS.iter().position(|known| *known == topic);
        user == AUDITOR || at.is_some_and(|at| self.of[user][at] & right != 0)
    }

    pub(crate) fn may_publish(&self, user: usize, topic: &str) -> bool {
        self.has(user, topic, WRITE)
    }

    pub(crate) fn may_receive(&self, user: usize, topic: &str) -> bool {
        self.has(user, topic, READ)
    }

    /// Whether a subscription can ever be given anything.
    pub(crate) fn may_subscribe(&self, user: usize, filter: &str) -> bool {
        let filter = share_of(filter).1;
        user == AUDITOR || TOPICS.iter().any(|topic| matches(filter, topic) && self.may_receive(user, topic))
    }
}

/// The share name, if any, and the filter behind it.
pub(crate) fn share_of(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((name, filter)) => (Some(name), filter),
        None => (None, filter),
    }
}

/// Whether a filter without share matches a topic; no topic here begins with `$`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        let cases = [
            ("a/#", "a/b/c", true),
            ("a/b/#", "a/b", true),
            ("a/+/c", "a//c", true),
            ("+/+", "a/b", true),
            ("+/+", "a/b/c", false),
            ("t/0", "t/1", false),
            ("a/b/c", "a/b", false),
            ("#", "t/0", true),
        ];
        for (filter, topic, is_match) in cases {
            assert_eq!(matches(filter, topic), is_match, "{filter} {topic}");
        }
    }
}
