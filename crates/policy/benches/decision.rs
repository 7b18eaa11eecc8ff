//! What one decision takes under few rules and under very many.
//!
//! `cargo bench -p motte-policy`.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may stop, and is nobody's library")]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use motte_policy::{Action, ClientId, Identity, Policy, Subject, UserName};

fn decide(criterion: &mut Criterion) {
    for rules in [10, 100_000] {
        let mut text = String::from("pattern write own/%c/#\nuser device-17\n");
        for n in 0..rules - 1 {
            writeln!(text, "topic readwrite site/{n}/+/state").unwrap();
        }
        let policy = Policy::parse(&text).unwrap();
        let identity = Identity::User(UserName("device-17".into()));
        let who = Subject::new(identity, ClientId("c17".into()));
        for (topic, allowed) in [("site/7/line/state", true), ("own/c17/state", true), ("nobody/knows/it", false)] {
            assert_eq!(policy.allows(&who, Action::Publish, topic), allowed, "{topic}");
            criterion.bench_function(&format!("{rules} rules, {topic}"), |bencher| {
                bencher.iter(|| policy.allows(black_box(&who), Action::Publish, black_box(topic)));
            });
        }
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
