//! Which crate may use which: the complete list of arrows of the house, and outside crates that belong to few rooms.
//!
//! Called by `tidy` with what cargo says. A new arrow is a commit of its own with a decision note.

use super::Finding;
use crate::workspace::{Dependency, Package};

/// Every arrow between our crates. `motte-` is left out; `xtask` uses none of them.
const ARROWS: [(&str, &[&str]); 13] = [
    ("audit", &[]),
    ("bench-floor", &[]),
    ("broker", &["mqtt", "policy", "audit"]),
    ("client", &["mqtt", "pki"]),
    ("cluster", &["broker"]),
    ("console", &["broker", "policy", "audit", "pki"]),
    ("motte", &["node", "client", "mqtt", "store", "pki", "policy", "audit"]),
    ("mqtt", &[]),
    ("node", &["mqtt", "policy", "audit", "pki", "broker", "store", "cluster", "console"]),
    ("pki", &[]),
    ("policy", &[]),
    ("sim", &["broker", "store"]),
    ("store", &["broker"]),
];

/// Outside crates and the only rooms that may name them.
const RESTRICTED: [(&str, &[&str]); 11] = [
    ("tokio", &["node", "console", "client", "cluster"]),
    ("tokio-rustls", &["node", "client"]),
    ("tokio-tungstenite", &["node", "client"]),
    ("hyper", &["node", "console", "client", "cluster"]),
    ("mio", &["motte", "node", "bench-floor"]),
    ("rustls", &["pki", "node", "client", "motte", "bench-floor"]),
    ("rcgen", &["pki"]),
    ("x509-parser", &["pki"]),
    ("redb", &["store"]),
    ("async-nats", &["cluster"]),
    ("argon2", &["policy"]),
];

/// All arrows that are not in the lists. Development dependencies are free, but never point at a floor above.
pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn room(name: &str) -> &str {
    name.strip_prefix("motte-").unwrap_or(name)
}

fn check_package(package: &Package) -> Vec<Finding> {
    let from = room(&package.name);
    let file = match from.strip_prefix("bench-") {
        Some(tool) => format!("bench/{tool}/Cargo.toml"),
        None if from == "xtask" => "xtask/Cargo.toml".to_owned(),
        None => format!("crates/{from}/Cargo.toml"),
    };
    let arrows = ARROWS.iter().find(|(name, _)| *name == from).map(|(_, to)| *to);
    if arrows.is_none() && from != "xtask" {
        return vec![Finding::new(&file, 0, format!("`{from}` is no room of the house"))];
    }
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let to = dependency.name.as_str();
        let ours = to == "motte" || to == "xtask" || to.starts_with("motte-");
        let allowed = match RESTRICTED.iter().find(|(name, _)| *name == to) {
            _ if dependency.development && !ours => true,
            Some((_, rooms)) => rooms.contains(&from),
            None => !ours || arrows.is_some_and(|arrows| arrows.contains(&room(to))) || may_test_with(from, dependency),
        };
        if !allowed {
            findings.push(Finding::new(&file, 0, format!("the arrow {from} → {} is not allowed", room(to))));
        }
    }
    findings
}

/// The top floor and the simulation may test with any room below them.
fn may_test_with(from: &str, dependency: &Dependency) -> bool {
    dependency.development && ["motte", "sim"].contains(&from) && !["motte", "xtask"].contains(&&*dependency.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependency =
            |(name, development): &(&str, bool)| Dependency { name: (*name).to_owned(), development: *development };
        Package { name: name.to_owned(), dependencies: dependencies.iter().map(dependency).collect() }
    }

    fn count(name: &str, dependencies: &[(&str, bool)]) -> usize {
        check(&[package(name, dependencies)]).len()
    }

    #[test]
    fn arrows_of_the_house_are_allowed_and_others_found() {
        assert_eq!(count("motte-broker", &[("motte-mqtt", false), ("motte-policy", false), ("bytes", false)]), 0);
        assert_eq!(count("motte-broker", &[("motte-node", false)]), 1);
        assert_eq!(count("motte-node", &[("motte-client", false)]), 1);
        assert_eq!(count("motte", &[("motte-broker", false)]), 1);
        assert_eq!(count("xtask", &[("motte-mqtt", false)]), 1);
        assert_eq!(count("motte-new-room", &[]), 1);
    }

    #[test]
    fn development_arrows_point_down() {
        assert_eq!(count("motte", &[("motte-mqtt", true)]), 0);
        assert_eq!(count("motte-mqtt", &[("motte-node", true)]), 1);
        assert_eq!(count("motte-mqtt", &[("rumqttc", true), ("tokio", true)]), 0);
    }

    #[test]
    fn outside_crates_stay_in_their_rooms() {
        assert_eq!(count("motte-node", &[("tokio", false), ("rustls", false)]), 0);
        assert_eq!(count("motte-broker", &[("tokio", false)]), 1);
        assert_eq!(count("motte", &[("rcgen", false), ("tokio", false)]), 2);
        assert_eq!(count("motte-store", &[("redb", false)]), 0);
    }
}
