//! The meaning of a policy file written down plainly, beside an ACL file: every rule of every role in order, each match
//! found level by level. The compiled policy has to give the same answers.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

#[derive(Clone, Debug)]
struct Rule {
    allow: bool,
    action: &'static str,
    filter: String,
    priority: i32,
    /// A value that `cert.ou` has to have.
    unit: Option<&'static str>,
    /// QoS of a publish.
    qos: Option<u8>,
}

#[derive(Clone, Debug)]
struct Role {
    priority: i32,
    /// `a` or `b` by name, `group` for whoever has `cert.ou` = `x` and for `c`, `everybody`.
    given_to: &'static str,
    rules: Vec<Rule>,
}

/// Level by level, with values put in as literal levels.
fn matches(filter: &str, who: &Subject, topic: &str) -> bool {
    let (rules, levels): (Vec<&str>, Vec<&str>) = (filter.split('/').collect(), topic.split('/').collect());
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    for (at, level) in rules.iter().enumerate() {
        if *level == "#" {
            return true;
        }
        let Some(text) = levels.get(at) else { return false };
        let holds = match *level {
            "+" => true,
            "%u" => who.identity.user_name() == Some(text),
            "%t" => who.tenant.as_ref().is_some_and(|tenant| tenant.as_str() == *text),
            "${cert.ou}" => who.attributes.values("cert.ou").any(|value| value == *text),
            literal => literal == *text,
        };
        if !holds {
            return false;
        }
    }
    rules.len() == levels.len()
}

/// What a file says of one action on a topic; `None` is nothing.
fn reference(roles: &[Role], who: &Subject, action: &str, topic: &str, qos: u8) -> Option<bool> {
    let name = who.identity.user_name().unwrap_or_default();
    let in_group = name == "c" || who.attributes.values("cert.ou").any(|unit| unit == "x");
    let of = |given: fn(&str, &str) -> bool| {
        let mut found: Vec<&Role> = roles.iter().filter(|role| given(role.given_to, name)).collect();
        found.sort_by_key(|role| -role.priority);
        found
    };
    let own = of(|given, name| given == name);
    let groups = if in_group { of(|given, _| given == "group") } else { Vec::new() };
    let everybody = of(|given, _| given == "everybody");
    for role in own.into_iter().chain(groups).chain(everybody) {
        let mut rules: Vec<&Rule> = role.rules.iter().collect();
        rules.sort_by_key(|rule| (-rule.priority, rule.allow));
        for rule in rules {
            let has_unit = rule.unit.is_none_or(|unit| who.attributes.values("cert.ou").any(|value| value == unit));
            let has_qos = action != "publish" || rule.qos.is_none_or(|wanted| wanted == qos);
            if rule.action == action && has_unit && has_qos && matches(&rule.filter, who, topic) {
                return Some(rule.allow);
            }
        }
    }
    None
}

fn text_of(roles: &[Role]) -> String {
    let mut text =
        String::from("[[group]]\nname = \"group\"\nusers = [\"c\"]\nattributes = { \"cert.ou\" = [\"x\"] }\n");
    for (nth, role) in roles.iter().enumerate() {
        writeln!(text, "[[role]]\nname = \"role-{nth}\"\npriority = {}", role.priority).unwrap();
        match role.given_to {
            "everybody" => writeln!(text, "everybody = true").unwrap(),
            "group" => writeln!(text, "groups = [\"group\"]").unwrap(),
            user => writeln!(text, "users = [{user:?}]").unwrap(),
        }
        for rule in &role.rules {
            let effect = if rule.allow { "allow" } else { "deny" };
            writeln!(text, "[[role.rule]]\n{effect} = [{:?}]\ntopics = [{:?}]", rule.action, rule.filter).unwrap();
            writeln!(text, "priority = {}", rule.priority).unwrap();
            if let Some(unit) = rule.unit {
                writeln!(text, "attributes = {{ \"cert.ou\" = [{unit:?}] }}").unwrap();
            }
            if let Some(qos) = rule.qos.filter(|_| rule.action == "publish") {
                writeln!(text, "qos = {qos}").unwrap();
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
    joined.prop_filter("no topic is empty", |filter| !filter.is_empty())
}

fn rule() -> impl Strategy<Value = Rule> {
    let parts = (
        any::<bool>(),
        select(vec!["publish", "subscribe", "receive", "receive"]),
        filter(&["a", "b", "", "+", "+", "%u", "%t", "${cert.ou}", "$SYS"]),
        -1..2_i32,
        select(vec![None, None, Some("x"), Some("y")]),
        select(vec![None, None, Some(0), Some(1)]),
    );
    parts.prop_map(|(allow, action, filter, priority, unit, qos)| Rule { allow, action, filter, priority, unit, qos })
}

fn role() -> impl Strategy<Value = Role> {
    let given = select(vec!["a", "b", "group", "group", "everybody"]);
    (-1..2_i32, given, vec(rule(), 0..5)).prop_map(|(priority, given_to, rules)| Role { priority, given_to, rules })
}

fn subject() -> impl Strategy<Value = Subject> {
    let units = vec(select(vec!["x", "y", "a", "a/b", "+", "#"]), 0..3);
    (select(vec!["a", "b", "c"]), units, select(vec![None, Some("a"), Some("t")])).prop_map(|(name, units, tenant)| {
        let pairs: Vec<_> = units.into_iter().map(|unit| ("cert.ou", unit)).collect();
        with(user(name), &pairs, tenant)
    })
}

/// Every topic of up to three levels. `z` is a level no rule names, which stands for all such levels.
fn topics() -> Vec<String> {
    let alphabet = ["a", "b", "", "x", "y", "t", "$SYS", "z"];
    let mut all: Vec<String> = alphabet.iter().map(ToString::to_string).collect();
    let mut longest = all.clone();
    for _ in 1..3 {
        longest = longest.iter().flat_map(|start| alphabet.map(|level| format!("{start}/{level}"))).collect();
        all.extend(longest.iter().cloned());
    }
    all.retain(|topic| !topic.is_empty());
    all
}

/// An ACL file of denials and allowances for everybody.
fn acl_of(lines: &[(bool, String)]) -> String {
    let line =
        |(allow, filter): &(bool, String)| format!("pattern {} {filter}\n", if *allow { "readwrite" } else { "deny" });
    lines.iter().map(line).collect()
}

fn acl_says(lines: &[(bool, String)], who: &Subject, topic: &str) -> Option<bool> {
    let says = |wanted: bool| lines.iter().any(|(allow, filter)| *allow == wanted && matches(filter, who, topic));
    if says(false) { Some(false) } else { says(true).then_some(true) }
}

/// One denial is enough, and without an allowance nothing is allowed.
fn together(answers: [Option<bool>; 2]) -> bool {
    answers.contains(&Some(true)) && !answers.contains(&Some(false))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_are_those_of_the_reference(
        roles in vec(role(), 0..5),
        lines in vec((any::<bool>(), filter(&["a", "b", "", "+", "%u", "$SYS"])), 0..4),
        who in subject(),
    ) {
        let file = PolicyFile::parse(&text_of(&roles)).unwrap();
        let policy = Policy::parse(&acl_of(&lines)).unwrap().with_file(Arc::clone(file.rules()));
        for topic in topics() {
            let acl = acl_says(&lines, &who, &topic);
            let of = |action, qos| together([reference(&roles, &who, action, &topic, qos), acl]);
            for qos in [0, 1, 2] {
                let may = policy.may_publish(&who, Publishing { topic: &topic, qos, retain: false });
                prop_assert_eq!(may, of("publish", qos) && !topic.starts_with("$SYS"), "publish {} {}", qos, topic);
            }
            let readable = of("receive", 0) && of("subscribe", 0);
            prop_assert_eq!(policy.allows(&who, Action::Receive, &topic), readable, "receive {}", topic);
        }
    }

    #[test]
    fn k18_what_is_granted_is_readable_and_what_is_narrowed_is_told(
        roles in vec(role(), 0..5),
        lines in vec((any::<bool>(), filter(&["a", "b", "", "+", "%u", "$SYS"])), 0..4),
        who in subject(),
        wanted in filter(&["a", "b", "", "+", "z", "$SYS"]),
    ) {
        let file = PolicyFile::parse(&text_of(&roles)).unwrap();
        let policy = Policy::parse(&acl_of(&lines)).unwrap().with_file(Arc::clone(file.rules()));
        let asked: Vec<String> = topics().into_iter().filter(|topic| matches(&wanted, &who, topic)).collect();
        let readable = |topic: &String| policy.allows(&who, Action::Receive, topic);
        match policy.may_subscribe(&who, &wanted) {
            SubscribeVerdict::Granted => prop_assert!(asked.iter().all(readable)),
            SubscribeVerdict::Refused => prop_assert!(!asked.iter().any(readable)),
            SubscribeVerdict::Narrowed => {
                let told = policy.narrowed(&who, &wanted);
                prop_assert!(!told.holds.is_empty());
                let is_in = |filters: &[String], topic: &str| filters.iter().any(|part| matches(part, &who, topic));
                for topic in asked.iter().filter(|_| !told.has_more) {
                    let is_told = is_in(&told.holds, topic);
                    prop_assert!(is_told || !readable(topic), "{} is not told: {:?}", topic, told);
                    let is_except = is_in(&told.except, topic);
                    prop_assert!(!is_told || is_except || readable(topic), "{} is told wrongly: {:?}", topic, told);
                }
            }
        }
    }
}
