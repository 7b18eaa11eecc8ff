//! What a shard needs for a message: found by whom it is for, delivered, acknowledged.
//!
//! `cargo bench -p motte-broker`. No sockets and no threads: bytes in, bytes out.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench may stop, and is nobody's library")]
#![allow(unreachable_pub, reason = "nobody else sees a bench")]

mod world;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use motte_broker::mqtt::Qos;
use world::{Way, World, publish};

/// Filters of the bench of routes, among them one in ten with a wildcard.
const FILTERS: usize = 10_000;

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    for (name, qos) in [("qos 0", Qos::AtMostOnce), ("qos 1", Qos::AtLeastOnce), ("qos 2", Qos::ExactlyOnce)] {
        for subscribers in [1, 500] {
            let mut way = Way::new(qos, subscribers);
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(format!("{name}, 1 to {subscribers}"), |bencher| bencher.iter(|| way.travel()));
        }
    }
    group.finish();
}

/// Topics in turn, so many that the way of each is forgotten before it comes again, and one whose way is remembered.
fn route(criterion: &mut Criterion) {
    let mut world = World::new();
    let subscriber = world.connect("subscriber");
    for n in 0..FILTERS {
        let filter = if n % 10 == 0 { format!("site/{n}/+/state") } else { format!("site/{n}/line/state") };
        world.subscribe(subscriber, &filter, Qos::AtMostOnce);
    }
    let publisher = world.connect("publisher");
    let topics: Vec<Vec<u8>> =
        (0..FILTERS).map(|n| publish(&format!("site/{n}/line/state"), Qos::AtMostOnce)).collect();
    let mut group = criterion.benchmark_group("route");
    for (name, topics) in [("one topic", &topics[..1]), ("10,000 topics in turn", &topics[..])] {
        let mut next = (0..topics.len()).cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                world.send(publisher, &topics[next.next().unwrap()]);
                assert!(!world.outbox(subscriber).is_empty(), "the message has come");
                world.clear(subscriber);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, deliver, route);
criterion_main!(benches);
