//! What a decision costs.

use super::*;
use crate::identity::{ClientId, Identity, UserName};

#[test]
fn a_decision_visits_what_matches_and_not_what_there_is() {
    let mut trie = Trie::default();
    for number in 0..100_000 {
        trie.insert_pattern(&format!("site/{number}/+/%u"), Rights::READ);
        trie.insert_literal(&format!("deny/{number}/#"), Rights::DENY);
    }
    let who = Subject { identity: Identity::User(UserName("u".into())), client_id: ClientId("c".into()) };
    let names = Names::of(&who);
    let mut found = Rights::default();
    let visited = trie.walk(&names, "site/77777/x/u", |rights| {
        found.add(rights);
        false
    });
    assert!(found.has(Rights::READ) && !found.has(Rights::DENY));
    assert_eq!(visited, 5);
    assert!(trie.rights(&names, "deny/99999/x/y/z").has(Rights::DENY));
    assert!(!trie.rights(&names, "deny/100000/x").has(Rights::DENY));
}

/// Nodes visited to judge topics under a policy of so many rules, of which some match.
fn visited(rules: usize) -> Vec<usize> {
    let mut trie = Trie::default();
    for number in 0..rules - 2 {
        trie.insert_literal(&format!("site/{number}/dev/+/state"), Rights::READ_WRITE);
    }
    trie.insert_literal("bench/#", Rights::READ_WRITE);
    trie.insert_pattern("own/%c/#", Rights::READ);
    let who = Subject { identity: Identity::Anonymous, client_id: ClientId("c".into()) };
    let topics = ["bench/t", "own/c/x", "site/7/dev/x/state", "site/7/dev/x/other", "nobody/knows/it"];
    topics.map(|topic| trie.walk(&Names::of(&who), topic, |_| false)).to_vec()
}

#[test]
fn a_decision_costs_as_much_under_100_000_rules_as_under_10() {
    assert_eq!(visited(10), visited(100_000));
    assert!(visited(10).iter().all(|nodes| *nodes <= 6));
}
