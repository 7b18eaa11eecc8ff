//! What the kernel knows about the broker's process.
//!
//! Called by the measurements.

use std::fs;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// User and system time, in steps of 10 ms.
    pub(crate) cpu_us: u64,
    /// Bytes it gave to `write`.
    pub(crate) written_bytes: u64,
    /// Bytes that went to the disk, in whole pages.
    pub(crate) disk_bytes: u64,
    /// Resident memory.
    pub(crate) resident_bytes: u64,
    /// The part of it that is the process's own.
    pub(crate) own_bytes: u64,
}

impl Reading {
    pub(crate) fn of(process: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let (io, status) = (read("io"), read("status"));
        let number = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            cpu_us: ticks * 10_000,
            written_bytes: number(&io, "wchar:"),
            disk_bytes: number(&io, "write_bytes:"),
            resident_bytes: number(&status, "VmRSS:") * 1024,
            own_bytes: number(&status, "RssAnon:") * 1024,
        }
    }
}
