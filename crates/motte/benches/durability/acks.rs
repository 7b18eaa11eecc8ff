//! How many messages are acknowledged in a second, how long that takes, and what each costs.
//!
//! Called by `main`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use motte_mqtt::Qos;
use tokio::task::LocalSet;

use crate::Asked;
use crate::daemon::Home;
use crate::load::{Seen, Wire, listen, publish, template};
use crate::process::Reading;

const WARM_UP: Duration = Duration::from_secs(1);

pub(crate) async fn run(asked: &Asked) {
    let publishers = asked.number("publishers", 50);
    let window = u16::try_from(asked.number("window", 100)).unwrap();
    let (size, qos) = (usize::try_from(asked.number("size", 64)).unwrap(), asked.number("qos", 1));
    let seconds = asked.number("seconds", 10);
    let (mode, subscriber) = (asked.word("mode", "sync"), asked.word("subscriber", "offline"));
    let home = Home::new();
    home.configure(&asked.config());
    let daemon = home.start();
    let (seen, taken) = (Seen::new(), Rc::new(Cell::new(0)));
    let work = LocalSet::new();
    let figures = work.run_until(async {
        let mut durable = Wire::connect(daemon.port, "subscriber", true).await;
        durable.subscribe("q/#", if qos == 1 { Qos::AtLeastOnce } else { Qos::ExactlyOnce }).await;
        match subscriber {
            "online" => drop(tokio::task::spawn_local(listen(durable, Rc::clone(&taken)))),
            _ => durable.disconnect().await,
        }
        let mut tasks = Vec::new();
        for number in 0..publishers {
            let wire = Wire::connect(daemon.port, &format!("publisher-{number}"), false).await;
            let topics = vec![template(&format!("q/{number}"), qos, size)];
            tasks.push(tokio::task::spawn_local(publish(wire, topics, window, u64::MAX, Rc::clone(&seen))));
        }
        tokio::time::sleep(WARM_UP).await;
        seen.reset();
        let (before, count, since, took) =
            (Reading::of(daemon.id()), seen.acknowledged.get(), Instant::now(), taken.get());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let (after, count, time) = (Reading::of(daemon.id()), seen.acknowledged.get() - count, since.elapsed());
        let took = taken.get() - took;
        seen.over.set(true);
        for task in tasks {
            task.await.unwrap();
        }
        (before, after, count, time, took)
    });
    let (before, after, count, time, took) = figures.await;
    let each = |bytes: u64| bytes as f64 / count as f64;
    println!(
        "mode {mode}, {publishers} publishers with {window} under way, QoS {qos}, {size} B, subscriber {subscriber}:"
    );
    println!("  {:.0} acknowledgements/s ({count} in {time:.1?})", count as f64 / time.as_secs_f64());
    println!(
        "  acknowledged after {:?} (p50), {:?} (p99), {:?} (p99.9)",
        seen.quantile(500),
        seen.quantile(990),
        seen.quantile(999)
    );
    println!("  {:.2} µs CPU of the broker for each", (after.cpu_us - before.cpu_us) as f64 / count as f64);
    println!(
        "  {:.0} B given to write, {:.0} B to the disk for each",
        each(after.written_bytes - before.written_bytes),
        each(after.disk_bytes - before.disk_bytes)
    );
    println!("  delivered {:.0}/s; {} MB resident", took as f64 / time.as_secs_f64(), after.resident_bytes / 1_000_000);
    daemon.kill();
}
