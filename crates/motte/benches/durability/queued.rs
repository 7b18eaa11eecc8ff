//! What messages that wait for sessions that are offline cost in memory, and how long a restart with them takes.
//!
//! Called by `main`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use motte_mqtt::Qos;
use tokio::task::LocalSet;

use crate::Asked;
use crate::daemon::{Daemon, Home};
use crate::load::{Seen, Wire, listen, publish, template};
use crate::process::Reading;

const PUBLISHERS: u64 = 20;

pub(crate) async fn run(asked: &Asked) {
    let (messages, sessions) = (asked.number("messages", 1_000_000), asked.number("sessions", 1));
    let size = usize::try_from(asked.number("size", 64)).unwrap();
    let home = Home::new();
    home.configure(&asked.config());
    let daemon = home.start();
    println!("{messages} messages of {size} B for {sessions} offline sessions:");
    show("started empty", &daemon);
    let work = LocalSet::new();
    work.run_until(async {
        for session in 0..sessions {
            let mut wire = Wire::connect(daemon.port, &format!("session-{session}"), true).await;
            wire.subscribe(&format!("q/{session}"), Qos::AtLeastOnce).await;
            wire.disconnect().await;
        }
        show("sessions made", &daemon);
        let (seen, since) = (Seen::new(), Instant::now());
        let mut tasks = Vec::new();
        for number in 0..PUBLISHERS {
            let wire = Wire::connect(daemon.port, &format!("publisher-{number}"), false).await;
            let mine = (0..sessions).filter(|session| sessions < PUBLISHERS || session % PUBLISHERS == number);
            let topics = mine.map(|session| template(&format!("q/{session}"), 1, size)).collect();
            let most = messages / PUBLISHERS;
            tasks.push(tokio::task::spawn_local(publish(wire, topics, 100, most, Rc::clone(&seen))));
        }
        for task in tasks {
            task.await.unwrap();
        }
        println!("  acknowledged in {:.1?}", since.elapsed());
    })
    .await;
    show("queued", &daemon);
    daemon.kill();
    let daemon = home.start();
    println!("  restart after SIGKILL: listening after {:.0?}", daemon.ready_after);
    show("restarted", &daemon);
    work.run_until(drain(&daemon, messages / sessions)).await;
    show("one session drained", &daemon);
    let stopped = Instant::now();
    daemon.stop();
    println!("  stopped in order in {:.0?}", stopped.elapsed());
    let daemon = home.start();
    println!("  restart after that: listening after {:.0?}", daemon.ready_after);
    daemon.kill();
}

fn show(what: &str, daemon: &Daemon) {
    let reading = Reading::of(daemon.id());
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "  {what}: {:.0} MB resident, {:.0} MB of them its own",
        mb(reading.resident_bytes),
        mb(reading.own_bytes)
    );
}

/// The first session takes all it has.
async fn drain(daemon: &Daemon, most: u64) {
    let (taken, since) = (Rc::new(Cell::new(0)), Instant::now());
    let wire = Wire::connect(daemon.port, "session-0", true).await;
    let task = tokio::task::spawn_local(listen(wire, Rc::clone(&taken)));
    while taken.get() < most {
        assert!(!task.is_finished() && since.elapsed() < Duration::from_secs(100), "{} of {most} came", taken.get());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "  {most} messages delivered in {:.2?} ({:.0}/s)",
        since.elapsed(),
        most as f64 / since.elapsed().as_secs_f64()
    );
    task.abort();
}
