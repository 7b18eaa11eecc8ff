//! Mosquitto's evaluation written down plainly: lists in order, the first match decides. The compiled policy has to
//! give the same answers.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::policy::Narrowed;

#[derive(Clone, Debug)]
struct Rule {
    /// `None` is a pattern; `Some(None)` the section of clients with no name.
    section: Option<Option<&'static str>>,
    access: &'static str,
    filter: String,
}

/// `topic_matches` of the standard, level by level, with names put in as literal levels.
fn matches(rule: &Rule, who: &Subject, topic: &str) -> bool {
    let rules: Vec<&str> = rule.filter.split('/').collect();
    let levels: Vec<&str> = topic.split('/').collect();
    if topic.starts_with('$') && !rule.filter.starts_with('$') {
        return false;
    }
    for (at, level) in rules.iter().enumerate() {
        if *level == "#" {
            return true;
        }
        let Some(text) = levels.get(at) else { return false };
        let holds = match (*level, rule.section) {
            ("+", _) => true,
            ("%u", None) => who.identity.user_name() == Some(text),
            ("%c", None) => &*who.client_id.0 == *text,
            (literal, _) => literal == *text,
        };
        if !holds {
            return false;
        }
    }
    rules.len() == levels.len()
}

/// Denies to the front, last written first; the others in the order of the file.
fn ordered<'a>(rules: &'a [Rule], section: Option<Option<&str>>) -> Vec<&'a Rule> {
    let of_list = || rules.iter().filter(|rule| rule.section == section);
    of_list().filter(|rule| rule.access == "deny").rev().chain(of_list().filter(|rule| rule.access != "deny")).collect()
}

fn reference_allows(rules: &[Rule], who: &Subject, action: Action, topic: &str) -> bool {
    if action == Publish && topic.starts_with("$SYS") {
        return false;
    }
    for section in [Some(who.identity.user_name()), None] {
        for rule in ordered(rules, section) {
            if matches(rule, who, topic) {
                match (rule.access, action) {
                    ("deny", _) => return false,
                    ("readwrite", _) | ("read", Receive) | ("write", Publish) => return true,
                    _ => {}
                }
            }
        }
    }
    false
}

fn text_of(rules: &[Rule]) -> String {
    let sections = [Some(None), Some(Some("a")), Some(Some("b"))];
    let mut text = String::new();
    for section in sections {
        if let Some(Some(name)) = section {
            text += &format!("user {name}\n");
        }
        for rule in rules.iter().filter(|rule| rule.section == section || rule.section.is_none()) {
            match rule.section {
                None if section == Some(None) => text += &format!("pattern {} {}\n", rule.access, rule.filter),
                None => {}
                Some(_) => text += &format!("topic {} {}\n", rule.access, rule.filter),
            }
        }
    }
    text
}

fn filter(levels: &'static [&'static str]) -> impl Strategy<Value = String> {
    let joined = (vec(select(levels), 1..4), any::<bool>()).prop_map(|(mut levels, everything)| {
        if everything {
            levels.pop();
            levels.push("#");
        }
        levels.join("/")
    });
    joined.prop_filter("an empty filter cannot be written down", |filter| !filter.is_empty())
}

fn rule() -> impl Strategy<Value = Rule> {
    let section = select(vec![None, Some(None), Some(Some("a")), Some(Some("a")), Some(Some("b"))]);
    let access = select(vec!["read", "write", "readwrite", "deny"]);
    (section, access, filter(&["a", "b", "", "+", "+", "%u", "%c", "$SYS"]))
        .prop_map(|(section, access, filter)| Rule { section, access, filter })
}

fn subject() -> impl Strategy<Value = Subject> {
    let name = select(vec![None, Some("a"), Some("b"), Some("$SYS"), Some("x")]);
    (name, select(vec!["a", "b", "c", "$SYS"])).prop_map(|(name, id)| match name {
        Some(name) => client(name, id),
        None => anonymous(id),
    })
}

/// Every topic of up to four levels. `x` is a level no rule names, which stands for all such levels.
fn topics() -> Vec<String> {
    let alphabet = ["a", "b", "c", "", "%u", "%c", "$SYS", "x"];
    let mut all: Vec<String> = alphabet.iter().map(ToString::to_string).collect();
    let mut longest = all.clone();
    for _ in 1..4 {
        longest = longest.iter().flat_map(|start| alphabet.map(|level| format!("{start}/{level}"))).collect();
        all.extend(longest.iter().cloned());
    }
    all.retain(|topic| !topic.is_empty());
    all
}

/// What is said to hold of a narrowed filter: nothing that may be received is left out, nor is anything else said to
/// hold, but for what is said to be left out of it.
fn told_truly(told: &Narrowed, who: &Subject, receivable: &[String]) -> Result<(), TestCaseError> {
    let is_in = |filters: &[String], topic: &str| filters.iter().any(|filter| matches(&plain(filter), who, topic));
    for topic in topics() {
        let may = receivable.contains(&topic);
        if !told.has_more && may {
            prop_assert!(is_in(&told.holds, &topic), "{} is not told: {:?}", topic, told);
        }
        if !told.has_more && !may && is_in(&told.holds, &topic) {
            prop_assert!(is_in(&told.except, &topic), "{} is told wrongly: {:?}", topic, told);
        }
    }
    Ok(())
}

fn plain(filter: &str) -> Rule {
    Rule { section: Some(None), access: "read", filter: filter.to_owned() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_those_of_the_reference(rules in vec(rule(), 0..8), who in subject()) {
        let policy = policy(&text_of(&rules));
        for topic in topics() {
            for action in [Publish, Receive] {
                let expected = reference_allows(&rules, &who, action, &topic);
                prop_assert_eq!(policy.allows(&who, action, &topic), expected, "{:?} {}", action, topic);
            }
        }
    }

    #[test]
    fn k18_a_refused_filter_has_no_receivable_topic(
        rules in vec(rule(), 0..8),
        who in subject(),
        wanted in filter(&["a", "b", "", "+", "x", "$SYS"]),
    ) {
        let policy = policy(&text_of(&rules));
        let asked = plain(&wanted);
        let receivable: Vec<_> = topics()
            .into_iter()
            .filter(|topic| matches(&asked, &who, topic) && policy.allows(&who, Receive, topic))
            .collect();
        let denies = rules.iter().filter(|rule| rule.access == "deny").count();
        let asked_for = topics().into_iter().filter(|topic| matches(&asked, &who, topic));
        match policy.may_subscribe(&who, &wanted) {
            Refused => prop_assert!(receivable.is_empty(), "{:?}", receivable),
            Granted => prop_assert_eq!(receivable.len(), asked_for.count(), "granted and not readable"),
            Narrowed => {
                prop_assert!(denies > 1 || !receivable.is_empty(), "narrowed to nothing");
                told_truly(&policy.narrowed(&who, &wanted), &who, &receivable)?;
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(
        text in "((user|topic|pattern|read|deny|#|%u|%c|[ \t\r\n/+a\u{feff}\0é$]){0,6}\n){0,6}",
    ) {
        match Policy::parse(&text) {
            Ok(policy) => {
                let _ = policy.may_subscribe(&user("a"), "#");
            }
            Err(errors) => prop_assert!(errors.windows(2).all(|pair| pair[0].line < pair[1].line)),
        }
    }
}
