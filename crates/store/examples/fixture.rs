//! Writes the store that every later version has to read: `cargo run -p motte-store --example fixture -- FOLDER`.
//!
//! Run for a format until its first release, and never again; the two files go into `tests/fixtures`.
//! `format-N.store` is the file, `format-N.txt` what is in it.

#![allow(dead_code, reason = "the modules are those of a test, which uses more of them")]

use std::path::PathBuf;
use std::{env, fs, io};

use motte_store::FORMAT;
use motte_store::disk::SimDisk;

#[path = "../tests/proof/engine.rs"]
mod engine;
#[path = "../tests/proof/model.rs"]
mod model;
#[path = "../tests/proof/random.rs"]
mod random;
#[path = "../tests/proof/workload.rs"]
mod workload;

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("say where the files go: fixture FOLDER"));
    };
    let disk = SimDisk::new();
    let (mut running, _) = engine::open(disk.clone()).map_err(|error| io::Error::other(error.to_string()))?;
    let mut workload = workload::Workload::new(6);
    for _ in 0..10 {
        workload.turns(&mut running);
        running.commit().map_err(io::Error::other)?;
    }
    running.close().map_err(io::Error::other)?;
    fs::write(folder.join(format!("format-{FORMAT}.store")), disk.image())?;
    fs::write(folder.join(format!("format-{FORMAT}.txt")), workload.model.lines())
}
