//! `motte store`: what a user sees of sound, damaged and used stores. The stores are made by the command itself, out of
//! a text as `docs/durability.md` describes it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::{Outcome, Quickstart, mode, motte, motte_with_input};
use tempfile::TempDir;

/// A text of two sessions that are owed some of 40 messages, with something of everything.
fn text() -> String {
    let mut lines = vec![
        json!({"store": {"format": 1, "clock_ms": 100_000, "wall_ms": 1_700_000_000_000_u64, "since_boot_ms": 5,
            "boot_id": "0123456789abcdef0123456789abcdef", "positions": [[0, 90], [1, 500]]}}),
        json!({"removed": {"user": "someone removed", "at_ms": 90_000}}),
        json!({"banned": {"user": null, "client_id": "intruder", "until_ms": 200_000}}),
        json!({"session": {"client_id": "boiler", "user": "anna", "expiry_s": 3_600, "mount_point": "",
            "left_ms": 95_000, "will": {"topic": "last/words", "payload": "YnllIGJ5ZQ==", "qos": 1, "retain": false,
            "delay_s": 30, "message_expiry_s": null, "properties": ""}, "received": [3, 4],
            "in_flight": [{"id": 9, "message": [0, 10]}, {"id": 8, "message": null}]}}),
        json!({"subscription": {"client_id": "boiler", "filter": "$share/group/heat/#", "qos": 1, "no_local": false,
            "retain_as_published": false, "retain_handling": 0, "id": null}}),
        json!({"subscription": {"client_id": "boiler", "filter": "heat/+/set", "qos": 2, "no_local": true,
            "retain_as_published": true, "retain_handling": 2, "id": 77}}),
        json!({"session": {"client_id": "pump", "user": null, "expiry_s": 4_294_967_295_u32, "mount_point": "site/",
            "left_ms": null, "will": null, "received": [], "in_flight": []}}),
        json!({"retained": {"topic": "heat/plan", "message": [1, 12], "serial": 4}}),
    ];
    for n in 10..50 {
        let client_id = if n % 2 == 0 { "boiler" } else { "pump" };
        let mut owed = vec![json!({"client_id": client_id, "qos": 1, "retain": false, "ids": [], "share": null})];
        if n == 20 {
            owed.push(
                json!({"client_id": "pump", "qos": 2, "retain": true, "ids": [77, 5], "share": ["group", "heat/#"]}),
            );
        }
        lines.push(message([0, n], &format!("heat/{n}/set"), false, &owed));
    }
    lines.push(message([1, 12], "heat/plan", true, &[]));
    sealed(&lines)
}

fn message(at: [u64; 2], topic: &str, retain: bool, owed: &[Value]) -> Value {
    let payload = "cGF5bG9hZCA".repeat(100);
    json!({"message": {"at": at, "topic": topic, "payload": payload, "qos": 2, "retain": retain, "publisher": "panel",
        "publisher_user": "bert", "properties": "AQE=", "accepted_ms": 80_000 + at[1], "expires_ms": null,
        "owed": owed}})
}

/// The lines with the last one.
fn sealed(lines: &[Value]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let sha256: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{text}{}\n", json!({"end": {"lines": lines.len(), "sha256": sha256}}))
}

/// A directory with a store in `store`.
fn made() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let imported = motte_with_input(dir.path(), &["store", "import", "-", "--directory", "store"], &text());
    assert_eq!((imported.code, imported.out.as_str()), (0, ""), "{imported:?}");
    assert_eq!(imported.err, "imported: 2 sessions, 2 subscriptions, 41 messages, 1 retained topic, 1 will\n");
    dir
}

fn store(dir: &TempDir, args: &[&str]) -> Outcome {
    motte(dir.path(), &[&["store"], args, &["--directory", "store"]].concat())
}

/// Every file below a directory with its content.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files = BTreeMap::new();
    for path in entries {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

/// Flips a bit of the last byte of each place in the store's file where this stands.
fn damage(dir: &TempDir, what: &[u8]) {
    let path = dir.path().join("store/motte.store");
    let mut image = fs::read(&path).unwrap();
    let at: Vec<usize> = (0..image.len() - what.len()).filter(|at| image[*at..].starts_with(what)).collect();
    assert!(!at.is_empty(), "{what:?} is not in the file");
    at.into_iter().for_each(|at| image[at + what.len() - 1] ^= 1);
    fs::write(&path, image).unwrap();
}

fn json_of(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.out).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn a_sound_store_is_counted_and_not_changed() {
    let dir = made();
    let before = files(dir.path());
    let checked = store(&dir, &["check"]);
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
    let rows = [
        "sessions        2",
        "subscriptions   2",
        "queued          40",
        "in flight       2",
        "retained        1",
        "wills           1",
        "removed users   1",
        "bans            1",
        "oldest message  19 s before the last commit",
        "last commit     2023-11-14T22:13:20Z",
        "damaged         0",
        "store: the store is sound",
    ];
    for row in rows {
        assert!(checked.out.lines().any(|line| line == row), "{row}\n{}", checked.out);
    }
    let checked = json_of(&store(&dir, &["check", "--json"]));
    assert_eq!(
        (&checked["sound"], &checked["closed_in_order"], &checked["damage"]),
        (&json!(true), &json!(true), &json!([]))
    );
    assert_eq!((&checked["counts"]["messages"], &checked["counts"]["queued"]), (&json!(41), &json!(40)));
    let repaired = store(&dir, &["repair"]);
    assert_eq!((repaired.code, repaired.out.as_str()), (0, "store: the store is sound; nothing was changed\n"));
    assert_eq!(files(dir.path()), before);
}

#[test]
fn what_is_exported_is_what_was_imported() {
    let dir = made();
    assert_eq!((mode(&dir.path().join("store")), mode(&dir.path().join("store/motte.store"))), (0o700, 0o600));
    let shown = store(&dir, &["export"]);
    assert_eq!((shown.code, shown.err.starts_with("exported: 2 sessions")), (0, true), "{shown:?}");
    assert_eq!(shown.out, text());
    let written = store(&dir, &["export", "--out", "text"]);
    assert_eq!((written.code, written.out.as_str()), (0, ""), "{written:?}");
    assert_eq!(fs::read_to_string(dir.path().join("text")).unwrap(), text());
    assert_eq!(mode(&dir.path().join("text")), 0o600);
    let again = store(&dir, &["export", "--out", "text"]);
    assert_eq!((again.code, again.err.as_str()), (1, "error: text exists\nhint: use --force to overwrite it\n"));
    assert_eq!(store(&dir, &["export", "--out", "text", "--force"]).code, 0);
    let twice = motte(dir.path(), &["store", "import", "text", "--directory", "store"]);
    assert_eq!((twice.code, twice.err.lines().next()), (1, Some("error: store is not empty")), "{twice:?}");
}

#[test]
fn a_text_that_was_cut_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = text();
    for cut in [0, 100, whole.len() / 2, whole.rfind("{\"end\"").unwrap(), whole.len() - 1] {
        fs::write(dir.path().join("text"), &whole[..cut]).unwrap();
        let imported = motte(dir.path(), &["store", "import", "text", "--directory", "new"]);
        assert_eq!(imported.code, 1, "{imported:?}");
        let lines: Vec<&str> = imported.err.lines().collect();
        assert!(
            lines[0].starts_with("error: text: it ends after line") && lines[0].ends_with("it was cut"),
            "{lines:?}"
        );
        assert_eq!(lines[1], "hint: export it again; nothing was imported");
        assert!(!dir.path().join("new").exists());
    }
    let changed = whole.replacen("\"qos\":2", "\"qos\":1", 1);
    let imported = motte_with_input(dir.path(), &["store", "import", "-", "--directory", "new"], &changed);
    assert!(imported.code == 1 && imported.err.contains("checksum"), "{imported:?}");
}

#[test]
fn damaged_messages_are_named_repaired_and_reported() {
    let dir = made();
    damage(&dir, b"heat/20/set");
    let before = files(dir.path());
    let checked = store(&dir, &["check"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    for said in ["messages: a page at byte ", "messages: messages 10 to ", "heat/11/set", "  sessions  boiler, pump\n"]
    {
        assert!(checked.out.contains(said), "{said}: {}", checked.out);
    }
    assert!(checked.out.contains("store: the store is damaged\n"), "{checked:?}");
    let exported = store(&dir, &["export"]);
    assert_eq!((exported.code, exported.out.as_str()), (1, ""));
    assert!(exported.err.contains("`motte store repair` keeps what can be verified"), "{exported:?}");
    assert_eq!(files(dir.path()), before, "neither check nor export changes a byte");

    let repaired = store(&dir, &["repair", "--json"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    let repaired = json_of(&repaired);
    let backup = PathBuf::from(repaired["backup"].as_str().unwrap());
    assert_eq!(fs::read(backup.join("motte.store")).unwrap(), before[&dir.path().join("store/motte.store")]);
    assert_eq!((mode(&backup), mode(&backup.join("motte.store"))), (0o700, 0o600));
    let after = store(&dir, &["check", "--json"]);
    assert_eq!((after.code, &json_of(&after)["sound"]), (0, &json!(true)));
    let exported = store(&dir, &["export"]).out;
    let kept: Vec<&str> = exported.lines().collect();
    let text = text();
    let lost: Vec<Value> = text.lines().filter(|line| !kept.contains(line)).map(|line| line.parse().unwrap()).collect();
    let lost: Vec<&Value> = lost.iter().filter_map(|line| line.get("message")).collect();
    assert!(!lost.is_empty() && lost.len() < 41);
    for message in lost {
        let at = (message["at"][0].as_u64().unwrap(), message["at"][1].as_u64().unwrap());
        let is_told = repaired["lost"].as_array().unwrap().iter().any(|lost| {
            lost["positions"].as_array().unwrap().iter().any(|range| {
                let (first, last) = (range["first"].as_u64().unwrap(), range["last"].as_u64().unwrap());
                range["shard"] == at.0 && (first..=last).contains(&at.1)
            })
        });
        assert!(is_told, "{message} is lost without a word: {repaired:#}");
    }
    let now = files(dir.path());
    let again = store(&dir, &["repair"]);
    assert!(again.code == 0 && again.out.contains("nothing was changed"), "{again:?}");
    assert_eq!(files(dir.path()), now);
}

#[test]
fn damage_to_a_row_of_each_kind_costs_that_row_and_is_told() {
    let cases = [
        (&b"last/words"[..], "will", "wills", 0),
        (b"heat/+/set", "subscriptions", "subscriptions", 1),
        (b"heat/plan", "retained", "retained", 0),
        (b"someone removed", "removed", "removed_users", 0),
        (b"intruder", "bans", "bans", 0),
        (b"pump", "session", "sessions", 1),
    ];
    for (what, told, counted, left) in cases {
        let dir = made();
        damage(&dir, what);
        let checked = store(&dir, &["check", "--json"]);
        assert_eq!(checked.code, 1, "{told}: {checked:?}");
        let is_told = json_of(&checked)["damage"].as_array().unwrap().iter().any(|one| one.to_string().contains(told));
        assert!(is_told, "{told}: {checked:?}");
        let repaired = store(&dir, &["repair", "--danger-no-backup", "--json"]);
        assert_eq!(repaired.code, 0, "{told}: {repaired:?}");
        assert!(repaired.err.starts_with("warning: --danger-no-backup"), "{repaired:?}");
        let repaired = json_of(&repaired);
        assert_eq!(
            (&repaired["after"][counted], &repaired["backup"]),
            (&json!(left), &Value::Null),
            "{told}: {repaired:#}"
        );
        assert_eq!(store(&dir, &["check"]).code, 0, "{told}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no copy is made");
    }
}

#[test]
fn a_store_in_use_is_left_alone() {
    let dir = made();
    let lock = File::open(dir.path().join("store/lock")).unwrap();
    lock.lock().unwrap();
    for action in ["check", "repair", "export"] {
        let refused = store(&dir, &[action]);
        let said = "error: a running broker uses the store in store\nhint: stop the broker first; only one process may \
                    use a store\n";
        assert_eq!((refused.code, refused.out.as_str(), refused.err.as_str()), (2, "", said), "{action}");
    }
    drop(lock);
    assert_eq!(store(&dir, &["check"]).code, 0);
}

#[test]
fn a_brokers_store_is_looked_after_between_its_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Quickstart::start(dir.path(), &[]);
    let port = broker.port("mqtts").to_string();
    let files = ["motte-data/pki/ca.pem", "motte-data/pki/device-1.pem", "motte-data/pki/device-1.key"];
    let [ca, certificate, key] = files;
    let device = ["pub", "-p", &port, "--cafile", ca, "--cert", certificate, "--key", key];
    let message = ["-t", "sensors/device-1/temperature", "-m", "21.5", "-q", "1", "-r"];
    let published = motte(dir.path(), &[&device[..], &message].concat());
    assert_eq!(published.code, 0, "{published:?}");
    let place = ["-c", "motte-data/motte.toml"];
    for action in ["check", "repair", "export"] {
        let refused = motte(dir.path(), &[&["store", action], &place[..]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(
            refused.err.starts_with("error: a running broker uses the store in motte-data/store\nhint: "),
            "{refused:?}"
        );
    }
    assert!(broker.stop().success());
    let checked = motte(dir.path(), &[&["store", "check", "--json"], &place[..]].concat());
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
    assert_eq!(json_of(&checked)["counts"]["retained"], 1);

    // Exported, imported elsewhere and put in its place, it is the store of the next run.
    assert_eq!(motte(dir.path(), &[&["store", "export", "--out", "text"], &place[..]].concat()).code, 0);
    fs::rename(dir.path().join("motte-data/store"), dir.path().join("old")).unwrap();
    assert_eq!(motte(dir.path(), &[&["store", "import", "text"], &place[..]].concat()).code, 0);
    let broker = Quickstart::start(dir.path(), &[]);
    let port = broker.port("mqtts").to_string();
    let operator = ["sub", "-p", &port, "--cafile", ca, "--cert", "motte-data/pki/operator.pem"];
    let wanted = ["--key", "motte-data/pki/operator.key", "-t", "sensors/#", "-v", "-C", "1", "-W", "20"];
    let received = motte(dir.path(), &[&operator[..], &wanted].concat());
    assert_eq!((received.code, received.out.as_str()), (0, "sensors/device-1/temperature 21.5\n"), "{received:?}");
    assert!(broker.stop().success());
}

#[test]
fn what_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for action in ["check", "repair", "export"] {
        let missing = store(&dir, &[action]);
        assert_eq!(
            (missing.code, missing.err.lines().next()),
            (2, Some("error: there is no store in store")),
            "{missing:?}"
        );
        assert!(!dir.path().join("store").exists());
    }
    fs::create_dir(dir.path().join("store")).unwrap();
    fs::write(dir.path().join("store/motte.store"), [7; 20_000]).unwrap();
    let foreign = store(&dir, &["check"]);
    assert_eq!(foreign.code, 2, "{foreign:?}");
    assert!(foreign.err.starts_with("error: nothing in store/motte.store can be read: "), "{foreign:?}");
    assert!(foreign.err.contains("hint: if there is a copy of the directory, put it back"), "{foreign:?}");
    let unknown = motte(dir.path(), &["store", "check"]);
    assert!(unknown.code == 2 && unknown.err.contains("motte.toml"), "{unknown:?}");
}

#[test]
fn help_completions_and_manual_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for action in ["check", "repair", "export", "import"] {
        let help = motte(dir.path(), &["store", action, "--help"]);
        assert!(help.code == 0 && help.out.contains(&format!("motte store {action} ")), "{help:?}");
        assert!(help.out.contains("Example"), "{help:?}");
    }
    assert!(motte(dir.path(), &["completions", "bash"]).out.contains("danger-no-backup"));
    assert_eq!(motte(dir.path(), &["man", "pages"]).code, 0);
    assert!(fs::read_to_string(dir.path().join("pages/motte-store-repair.1")).unwrap().contains("danger"));
}
