//! Figures of durability, measured on the real binary: `docs/durability.md` says which and with which command.
//!
//! `cargo bench -p motte --bench durability -- acks --publishers 50` and `… -- queued --sessions 10000`. What is
//! measured is another process; this one is the load. The broker's folder is below TMPDIR: put that on the disk to be
//! measured.
#![allow(clippy::unwrap_used, reason = "a measurement that fails is not one")]
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../../tests/common/child.rs"]
#[expect(dead_code, reason = "tests do more with a program")]
mod child;
#[path = "../../tests/crash/daemon.rs"]
#[expect(dead_code, reason = "tests do more with a broker")]
mod daemon;

mod acks;
mod load;
mod process;
mod queued;

use std::collections::BTreeMap;

const HELP: &str = "\
acks    durable acknowledgements: rate, latency, CPU and bytes written of each message
          --publishers 50  --window 100  --size 64  --qos 1  --seconds 10
          --mode sync|memory|interval  --subscriber offline|online  --shards (cores)
queued  messages that wait for sessions that are offline: memory, and the time of a restart after SIGKILL
          --messages 1000000  --sessions 1  --size 64  --mode sync  --shards (cores)";

/// What was asked for: `--name value` pairs.
#[derive(Debug)]
pub(crate) struct Asked(BTreeMap<String, String>);

impl Asked {
    fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.0.get(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("--{name}: {text}?")))
    }

    fn word<'a>(&'a self, name: &str, otherwise: &'a str) -> &'a str {
        self.0.get(name).map_or(otherwise, String::as_str)
    }

    fn config(&self) -> daemon::Config {
        let cores = std::thread::available_parallelism().unwrap().get() as u64;
        let durability = format!("mode = \"{}\"\n", self.word("mode", "sync"));
        daemon::Config { shards: self.number("shards", cores), durability, ..daemon::Config::default() }
    }
}

fn main() {
    // Cargo says that this is a benchmark.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let what = words.next().unwrap_or_default();
    let mut asked = BTreeMap::new();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").unwrap_or_else(|| panic!("{word}?\n{HELP}")).to_owned();
        asked.insert(name, words.next().unwrap_or_else(|| panic!("{word} has no value\n{HELP}")));
    }
    let asked = Asked(asked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match what.as_str() {
        "acks" => runtime.block_on(acks::run(&asked)),
        "queued" => runtime.block_on(queued::run(&asked)),
        _ => println!("{HELP}"),
    }
}
