//! The chain: who is asked, in which order, and what ends it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use motte_mqtt::{ConnectProperties, ProtocolVersion};
use motte_policy::{PasswordHash, UserName};

use super::*;
use crate::config::ConfigFile;
use crate::config::tests::{GOOD, folder};
use crate::log::Reporter;

/// A source that says the same to everybody.
#[derive(Debug)]
struct Oracle {
    says: &'static str,
    asked: Arc<AtomicUsize>,
}

impl Source for Oracle {
    fn name(&self) -> String {
        format!("oracle:{}", self.says)
    }

    fn timeout(&self, _: &Settings) -> Duration {
        Duration::from_millis(20)
    }

    fn judges_names(&self) -> bool {
        self.says != "blind"
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let verdict = match self.says {
            "yes" => Verdict::Accepted(Authenticated::by_certificate(UserName("oracle".into()))),
            "no" => Verdict::Refused(question.wrong()),
            "down" => Verdict::Unavailable(question.unavailable(self, "no connection")),
            "silent" => return Box::pin(std::future::pending()),
            _ => Verdict::NotMine,
        };
        Box::pin(std::future::ready(verdict))
    }
}

/// Settings with one listener that lets anonymous clients in, and the folder of their files.
fn settings() -> (Settings, tempfile::TempDir) {
    let folder = folder();
    let path = folder.path().join("motte.toml");
    std::fs::write(&path, format!("{GOOD}[danger]\nallow_anonymous = true\n")).unwrap();
    (ConfigFile::load(&path).unwrap(), folder)
}

/// Who came in, or reason and code of the refusal; how often each source was asked; and the desk.
async fn outcome(says: &[&'static str], version: ProtocolVersion, proof: Proof) -> (String, Vec<usize>, Desk) {
    let (settings, _folder) = settings();
    let snapshot = Snapshot::build(settings).unwrap();
    let asked: Vec<_> = says.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let oracle = |(says, asked): (&&'static str, &Arc<AtomicUsize>)| -> Arc<dyn Source> {
        Arc::new(Oracle { says, asked: Arc::clone(asked) })
    };
    let chain = Chain { sources: says.iter().zip(&asked).map(oracle).collect() };
    let connect = Connect {
        version,
        clean_start: true,
        keep_alive_s: 0,
        client_id: "c",
        will: None,
        user_name: proof.0,
        password: proof.1,
        properties: ConnectProperties::default(),
    };
    let (reporter, _scribe) = Reporter::start().unwrap();
    let desk = Desk::new(&snapshot.settings.gate, reporter);
    let rules = &snapshot.settings.listeners[0].rules;
    let question = Question {
        snapshot: &snapshot,
        rules,
        certificates: None,
        address: None,
        listener: "main",
        connect: &connect,
        peer: Peer::Unix,
        desk: &desk,
    };
    let outcome = match chain.authenticate(&question).await {
        Ok(who) => who.identity().user_name().unwrap_or("nobody").to_owned(),
        Err(refusal) => {
            let (_, code) = refusal.answer.unwrap();
            format!("{:?} {:#x} {}", refusal.reason, code.as_u8(), refusal.detail.unwrap_or_default())
        }
    };
    (outcome, asked.iter().map(|asked| asked.load(Ordering::Relaxed)).collect(), desk)
}

type Proof = (Option<&'static str>, Option<&'static [u8]>);
const NOTHING: Proof = (None, None);
const PASSWORD: Proof = (Some("anna"), Some(b"secret"));
const V5: ProtocolVersion = ProtocolVersion::V5;

#[tokio::test]
async fn the_first_source_that_knows_a_client_decides() {
    for (says, expected, asked) in [
        (vec!["not mine", "yes", "no"], "oracle", vec![1, 1, 0]),
        (vec!["not mine", "no", "yes"], "BadCredentials 0x86 ", vec![1, 1, 0]),
        (vec!["yes", "down"], "oracle", vec![1, 0]),
        (vec!["not mine", "not mine"], "BadCredentials 0x86 ", vec![1, 1]),
    ] {
        let (outcome, times, _) = outcome(&says, V5, PASSWORD).await;
        assert_eq!((outcome.as_str(), times), (expected, asked), "{says:?}");
    }
}

#[tokio::test]
async fn k28_a_source_that_cannot_tell_lets_nobody_in_and_nobody_else_is_asked() {
    for proof in [NOTHING, PASSWORD] {
        let (said, asked, _) = outcome(&["down", "yes"], V5, proof).await;
        assert_eq!((said.as_str(), asked), ("SourceUnavailable 0x88 oracle:down: no connection", vec![1, 0]));
        let (said, asked, _) = outcome(&["silent", "yes"], V5, proof).await;
        assert_eq!(said, "SourceUnavailable 0x88 oracle:silent: no answer within 20ms");
        assert_eq!(asked, [1, 0]);
    }
}

#[tokio::test]
async fn k28_whom_nobody_knows_is_nobody_where_danger_allows_it_and_nothing_was_claimed() {
    assert_eq!(outcome(&["not mine"], V5, NOTHING).await.0, "nobody");
    assert_eq!(outcome(&["not mine"], V5, (None, Some(b"x"))).await.0, "BadCredentials 0x86 ");
    assert_eq!(outcome(&["not mine"], V5, (Some("anna"), None)).await.0, "BadCredentials 0x86 ");
    assert_eq!(outcome(&["blind"], V5, PASSWORD).await.0, "nobody", "a name nobody judges is a mere word");
    assert_eq!(outcome(&[], V5, PASSWORD).await.0, "nobody");
}

#[tokio::test]
async fn what_sources_say_is_counted() {
    let (_, _, desk) = outcome(&["not mine", "down"], V5, PASSWORD).await;
    let (sources, checks) = desk.tallies.figures();
    let counts: Vec<_> =
        sources.iter().map(|(name, all)| (name.as_str(), all.accepted, all.deferred, all.unavailable)).collect();
    assert_eq!((counts, checks.unclaimed), (vec![("oracle:down", 0, 0, 1), ("oracle:not mine", 0, 1, 0)], 0));
    assert_eq!(outcome(&["not mine"], V5, PASSWORD).await.2.tallies.figures().1.unclaimed, 1);
}

/// A CONNECT with a user name and a password.
fn login<'a>(user: &'a str, password: &'a [u8]) -> Connect<'a> {
    Connect {
        version: V5,
        clean_start: true,
        keep_alive_s: 0,
        client_id: "c",
        will: None,
        user_name: Some(user),
        password: Some(password),
        properties: ConnectProperties::default(),
    }
}

/// A line for each user, with a hash of `secret` that is quick to compute.
fn quick_lines(users: usize) -> String {
    let mut digest = [0; 64];
    pbkdf2::pbkdf2::<hmac::Hmac<sha2::Sha512>>(b"secret", &[7; 12], 1, &mut digest).unwrap();
    let hash = format!("$7$1${}${}", STANDARD.encode([7; 12]), STANDARD.encode(digest));
    (0..users).map(|number| format!("device-{number}:{hash}\n")).collect()
}

/// A snapshot with these lines for passwords and no back-off.
fn snapshot_with(lines: &str) -> (Snapshot, tempfile::TempDir) {
    let (mut settings, folder) = settings();
    motte_pki::write_private(&folder.path().join("passwords"), lines.as_bytes()).unwrap();
    settings.gate.guesses.wrong_per_address_max = 0;
    settings.listeners[0].rules.allow_anonymous = false;
    (Snapshot::build(settings).unwrap(), folder)
}

async fn ask(snapshot: &Snapshot, desk: &Desk, connect: &Connect<'_>) -> Result<Authenticated, Refusal> {
    let rules = &snapshot.settings.listeners[0].rules;
    let question = Question {
        snapshot,
        rules,
        certificates: None,
        address: None,
        listener: "main",
        connect,
        peer: Peer::Unix,
        desk,
    };
    snapshot.chains[0].authenticate(&question).await
}

#[tokio::test]
async fn ten_thousand_devices_that_come_back_are_not_hashed_again() {
    const DEVICES: usize = 10_000;
    let (snapshot, _folder) = snapshot_with(&quick_lines(DEVICES));
    let (reporter, _scribe) = Reporter::start().unwrap();
    let desk = Desk::new(&snapshot.settings.gate, reporter);
    let checks = || {
        let figures = desk.tallies.figures().1;
        (figures.hashes, figures.recalled)
    };
    for round in 0..3 {
        for number in 0..DEVICES {
            let user = format!("device-{number}");
            assert!(ask(&snapshot, &desk, &login(&user, b"secret")).await.is_ok());
        }
        assert_eq!(checks(), (DEVICES as u64, round * DEVICES as u64), "round {round}");
    }
    // A wrong password is never recalled, and a line that changed is proved anew.
    assert!(ask(&snapshot, &desk, &login("device-1", b"wrong")).await.is_err());
    let hash = PasswordHash::new(b"other", [1; 16]).encode();
    let (changed, _folder) = snapshot_with(&format!("device-1:{hash}\n"));
    assert!(ask(&changed, &desk, &login("device-1", b"secret")).await.is_err());
    assert!(ask(&changed, &desk, &login("device-1", b"other")).await.is_ok());
    assert_eq!(checks().0, DEVICES as u64 + 3);
}

#[tokio::test]
async fn k29_unknown_users_wrong_passwords_and_ended_secrets_get_one_answer_for_one_work() {
    let line = quick_lines(1);
    let hash = line.trim().strip_prefix("device-0:").unwrap();
    let ended = format!("{line}#+device-0:label=old,expires=2020-01-01T00:00:00Z:{}", hash.replace("$1$", "$2$"));
    let (snapshot, _folder) = snapshot_with(&ended);
    let (reporter, _scribe) = Reporter::start().unwrap();
    let desk = Desk::new(&snapshot.settings.gate, reporter);
    let mut before = 0;
    for (user, password) in [("device-0", &b"wrong"[..]), ("nobody", b"wrong"), ("nobody", b"secret"), ("", b"x")] {
        let refusal = ask(&snapshot, &desk, &login(user, password)).await.unwrap_err();
        assert_eq!((refusal.reason, refusal.answer.unwrap().1.as_u8()), (RefusalReason::BadCredentials, 0x86));
        let hashes = desk.tallies.figures().1.hashes;
        assert_eq!(hashes - before, 2, "{user}");
        before = hashes;
    }
}
