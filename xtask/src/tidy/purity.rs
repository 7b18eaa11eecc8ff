//! The pure rooms: no socket, file, thread, clock, randomness, runtime, TLS or logging in them.
//!
//! Called by `tidy`. Three nets: what their source names, what their dependency tree holds, what clippy forbids there.

use super::Finding;
use super::lexer::code_only;
use super::source::lines_before_tests;

/// Rooms that are pure.
pub(crate) const ROOMS: [&str; 4] = ["mqtt", "policy", "broker", "audit"];

/// Paths that do not stand in the source of a pure room.
const BANNED_PATHS: [&str; 17] = [
    "std::env",
    "std::fs",
    "std::io::std",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os",
    "std::process",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "tokio::",
    "tracing::",
    "log::",
    "getrandom",
];

/// The one file that may name the one lock: around what all shards share.
const LOCK_FILE: &str = "crates/broker/src/lock.rs";

/// Crates that do not stand anywhere below a pure room.
const BANNED_CRATES: [&str; 16] = [
    "async-std",
    "aws-lc-rs",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "log",
    "mio",
    "openssl",
    "rand",
    "ring",
    "rustls",
    "socket2",
    "tokio",
    "tracing",
    "time",
];

/// What the `clippy.toml` of a pure room must forbid.
const BANS: [&str; 8] = [
    "std::env::var",
    "std::fs::File",
    "std::net::TcpStream",
    "std::sync::Mutex",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

/// Paths in one source file that do not belong into a pure room. Tests may do what they like.
pub(crate) fn check_source(file: &str, text: &str) -> Vec<Finding> {
    if !ROOMS.iter().any(|room| file.starts_with(&format!("crates/{room}/src/"))) {
        return Vec::new();
    }
    let code = code_only(text);
    let mut findings = Vec::new();
    for (index, line) in code.lines().take(lines_before_tests(file, &code)).enumerate() {
        for path in BANNED_PATHS.iter().filter(|path| names(line, path)) {
            if file == LOCK_FILE && *path == "std::sync::RwLock" {
                continue;
            }
            findings.push(Finding::new(file, index + 1, format!("`{path}` does not belong into a pure room")));
        }
    }
    findings
}

/// Whether `path` stands in `line` from the start of a word.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Crates in the answer of `cargo tree --prefix none` that do not belong below a pure room.
pub(crate) fn check_tree(room: &str, tree: &str) -> Vec<Finding> {
    let file = format!("crates/{room}/Cargo.toml");
    let used = |name: &&&str| tree.lines().any(|line| line.split_whitespace().next() == Some(**name));
    let found = BANNED_CRATES.iter().filter(used);
    found.map(|name| Finding::new(&file, 0, format!("`{name}` is in the dependency tree of a pure room"))).collect()
}

/// Bans that a pure room's `clippy.toml` does not state. An absent file states none.
pub(crate) fn check_bans(file: &str, text: &str) -> Vec<Finding> {
    let stated = |ban: &str| text.lines().any(|line| line.trim_start().starts_with('{') && line.contains(&quoted(ban)));
    let absent = BANS.iter().filter(|ban| !stated(ban));
    absent.map(|ban| Finding::new(file, 0, format!("does not forbid `{ban}`"))).collect()
}

fn quoted(ban: &str) -> String {
    format!("path = \"{ban}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_paths_are_found_in_pure_rooms_only() {
        for path in BANNED_PATHS {
            let text = format!("use {path}x;\n#[cfg(test)]\nmod tests {{ use {path}; }}\n");
            assert_eq!(check_source("crates/broker/src/a.rs", &text).len(), 1, "{path}");
            assert_eq!(check_source("crates/node/src/a.rs", &text).len(), 0, "{path}");
        }
        assert_eq!(check_source("crates/mqtt/src/a.rs", "// std::fs is not used\nuse std::time::Duration;\n"), []);
        assert_eq!(check_source(LOCK_FILE, "use std::sync::RwLock;\n"), []);
        assert_eq!(check_source(LOCK_FILE, "use std::sync::Mutex;\n").len(), 1);
        assert_eq!(check_source("crates/mqtt/src/a.rs", "catalog::find();\n"), []);
    }

    #[test]
    fn impure_crates_are_found_below_a_pure_room() {
        assert_eq!(check_tree("mqtt", "motte-mqtt v0.1.0\nthiserror v2.0.0\nthiserror-impl v2.0.0\n"), []);
        assert_eq!(check_tree("mqtt", "motte-mqtt v0.1.0\ntokio v1.54.0\nrand v0.9.0 (*)\n").len(), 2);
    }

    #[test]
    fn absent_bans_are_found() {
        assert_eq!(check_bans("clippy.toml", "").len(), BANS.len());
        let all: String = BANS.iter().map(|ban| format!("  {{ path = \"{ban}\", reason = \"pure\" }},\n")).collect();
        assert_eq!(check_bans("clippy.toml", &all), []);
        assert_eq!(check_bans("clippy.toml", &all.replace("  { path", "# { path")).len(), BANS.len());
    }
}
