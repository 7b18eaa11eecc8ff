//! What somebody sees who logs in, or edits a password file.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;

use super::*;
use crate::identity::Identity;
use crate::permit::Method;

const MOSQUITTO: &str = include_str!("../../fixtures/mosquitto-2.0.11.passwd");
const ARGON2ID: &str = include_str!("../../fixtures/argon2id.passwd");
const QUICK: &str = "$argon2id$v=19$m=256,t=3,p=4$c2FsdHNhbHQ$vA2NqqKTfpbrkjoz3KNO2LNVujtveFav";

/// 2026-11-22T00:00:00Z.
const NOW: u64 = 1_795_305_600;
const DAY: u64 = 86_400;

fn file(text: &str) -> PasswordFile {
    PasswordFile::parse(text).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    PasswordFile::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn logs_in(file: &PasswordFile, user: &str, password: &str) -> bool {
    match file.check(user, password.as_bytes(), NOW).login {
        None => false,
        Some(Login { who, .. }) => {
            assert_eq!(who.identity(), &Identity::User(UserName(user.into())));
            assert_eq!(who.method(), Method::Password);
            true
        }
    }
}

#[test]
fn mosquitto_passwd_lines_verify() {
    let file = file(MOSQUITTO);
    for (user, password) in [("alice", "correct horse"), ("Bob Müller", "p:ä$s "), ("carol", "tr0ub4dor")] {
        assert!(logs_in(&file, user, password), "{user}");
        assert!(!logs_in(&file, user, &format!("{password}x")), "{user}");
        assert!(!logs_in(&file, user, &password[1..]), "{user}");
    }
    let schemes: Vec<_> = file.users().map(|(user, hash)| (&*user.0, hash.scheme())).collect();
    assert_eq!(
        schemes,
        [("alice", "sha512-pbkdf2"), ("Bob Müller", "sha512-pbkdf2"), ("empty", "sha512-pbkdf2"), ("carol", "sha512")]
    );
}

#[test]
fn salts_of_64_bytes_as_mosquitto_writes_them_from_2_1_on_verify() {
    // Made with Python's hashlib out of the same definition: no mosquitto_passwd of 2.1 is packaged.
    let file = file(include_str!("../../fixtures/mosquitto-2.1.passwd"));
    for user in ["seven", "six"] {
        assert!(logs_in(&file, user, "sixty-four") && !logs_in(&file, user, "sixty-five"), "{user}");
    }
}

#[test]
fn argon2id_lines_of_the_reference_implementation_verify() {
    let file = file(ARGON2ID);
    let pairs = [("usual", "correct horse battery staple"), ("mosquitto-2.1", "tr0ub4dor&3"), ("lanes", "pässword")];
    for (user, password) in pairs {
        assert!(logs_in(&file, user, password), "{user}");
        assert!(!logs_in(&file, user, "no"), "{user}");
    }
}

#[test]
fn an_empty_password_opens_only_where_its_hash_stands() {
    assert!(logs_in(&file(MOSQUITTO), "empty", ""));
    assert!(!logs_in(&file(MOSQUITTO), "empty", "x"));
    assert!(!logs_in(&file(MOSQUITTO), "alice", ""));
}

#[test]
fn a_user_of_another_entry_is_not_let_in_by_its_password() {
    let file = file(MOSQUITTO);
    assert!(!logs_in(&file, "carol", "correct horse"));
    assert!(!logs_in(&file, "ALICE", "correct horse"));
    assert!(!logs_in(&file, "", "correct horse"));
}

#[test]
fn k29_the_password_of_a_decoy_lets_no_unknown_user_in() {
    let file = file(&format!("lanes:{QUICK}\n"));
    for user in ["", "lane", "lanes ", "nobody", "\0", ":"] {
        assert!(!logs_in(&file, user, "pässword"), "{user:?}");
    }
}

#[test]
fn k29_unknown_users_do_the_work_of_known_ones_in_their_proportion() {
    let file = file(&format!("{}one:{QUICK}\n", MOSQUITTO.replace("\nempty", "\n#empty")));
    let mut drawn = BTreeMap::new();
    for number in 0..400 {
        let hash = file.decoy(&format!("unknown-{number}"))[0];
        *drawn.entry(hash.scheme()).or_insert(0) += 1;
    }
    assert!((150..250).contains(&drawn["sha512-pbkdf2"]), "{drawn:?}");
    assert!((60..140).contains(&drawn["sha512"]), "{drawn:?}");
    assert!((60..140).contains(&drawn["argon2id"]), "{drawn:?}");
    assert_eq!(file.decoy("unknown-1"), file.decoy("unknown-1"));
}

#[test]
fn a_file_of_nobody_lets_nobody_in() {
    for text in ["", "\n\n", "# nobody\n", "#a:b"] {
        assert!(file(text).is_empty());
        assert!(!logs_in(&file(text), "anybody", "anything"));
    }
}

#[test]
fn a_new_hash_verifies_and_is_argon2id_with_19_mib() {
    let mut file = PasswordFile::default();
    let hash = PasswordHash::new("gehe¡m".as_bytes(), *b"0123456789abcdef");
    assert!(hash.encode().starts_with("$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$"));
    assert_eq!(PasswordHash::parse(&hash.encode()), Ok(hash.clone()));
    assert_eq!(file.set("dora", hash), Ok(false));
    assert!(logs_in(&file, "dora", "gehe¡m"));
    assert!(!logs_in(&file, "dora", "gehe!m"));
}

#[test]
fn a_file_is_written_back_as_it_was_read() {
    assert_eq!(file(MOSQUITTO).to_text(), MOSQUITTO);
    assert_eq!(file(ARGON2ID).to_text(), ARGON2ID);
}

#[test]
fn comments_and_order_survive_a_change() {
    let hash = PasswordHash::parse(QUICK).unwrap();
    let mut file = file(&format!("# one\na:{QUICK}\n\n \n"));
    assert_eq!(file.set("b", hash.clone()), Ok(false));
    assert_eq!(file.set("a", hash), Ok(true));
    assert_eq!(file.to_text(), format!("# one\na:{QUICK}\n\n \nb:{QUICK}\n"));
    assert!(file.remove("a"));
    assert!(!file.remove("a"));
    assert!(!file.contains("a"));
    assert!(logs_in(&file, "b", "pässword"));
    assert_eq!(file.to_text(), format!("# one\n\n \nb:{QUICK}\n"));
}

#[test]
fn white_space_and_windows_line_ends_are_no_part_of_an_entry() {
    let file = file(&format!("# c\r\n a b \t:  {QUICK} \r\n"));
    assert!(logs_in(&file, "a b", "pässword"));
}

#[test]
fn cve_2018_12551_a_malformed_line_refuses_the_whole_file() {
    let text = format!("good:{QUICK}\nno colon here\n:{QUICK}\nbob:\ncarl:secret\n good:{QUICK}\n#ok\n # indented\n");
    assert_eq!(
        errors(&text),
        [
            "line 2: there is no `:` between a user name and a hash",
            "line 3: the user name is empty",
            "line 4: the hash is empty",
            "line 5: the password is in clear text or in an unknown scheme; set it again",
            "line 6: the user has an entry already",
            "line 8: there is no `:` between a user name and a hash",
        ]
    );
}

#[test]
fn k27_a_truncated_or_marked_file_is_refused() {
    assert_eq!(errors(&MOSQUITTO[..MOSQUITTO.len() - 9]).len(), 1);
    assert_eq!(errors(&format!("\u{feff}a:{QUICK}")), ["line 1: the user name begins with a byte-order mark"]);
    assert_eq!(errors("\u{feff}# comment").len(), 1);
    assert_eq!(errors(&format!("a\0b:{QUICK}")), ["line 1: the user name holds a control character"]);
    assert_eq!(errors(&format!("{}:{QUICK}", "a".repeat(65_500))), ["line 1: the line is longer than 65535 bytes"]);
}

#[test]
fn undecodable_or_excessive_hashes_are_refused_without_being_shown() {
    let salt = "MDEyMzQ1Njc4OWFiY2RlZg";
    let digest = "FY0dSvYcwDYwIPm8ffQcifseQmzjcKXJTa0zhwORJH0";
    let argon2id = |params: &str| format!("$argon2id$v=19${params}${salt}${digest}");
    assert!(PasswordHash::parse(&argon2id("m=1048576,t=64,p=16")).is_ok());
    let d64 = "A".repeat(86) + "==";
    assert!(PasswordHash::parse(&format!("$7$10000000$aIVxmAxLVlYkMPsg${d64}")).is_ok());
    let bad = [
        argon2id("m=1048577,t=1,p=1"),
        argon2id("m=4294967295,t=1,p=1"),
        argon2id("m=19456,t=65,p=1"),
        argon2id("m=19456,t=0,p=1"),
        argon2id("m=19456,t=1,p=17"),
        argon2id("m=19456,t=1,p=0"),
        argon2id("m=15,t=1,p=2"),
        argon2id("m=+19456,t=1,p=1"),
        argon2id("m=019456,t=1,p=1"),
        argon2id("m=19456,t=1,p=1,keyid=AA"),
        argon2id("t=1,m=19456,p=1"),
        argon2id("m=,t=,p="),
        argon2id("m=19456,t=1,p=1").replace("v=19", "v=16"),
        argon2id("m=19456,t=1,p=1").replace("argon2id", "argon2i"),
        argon2id("m=19456,t=1,p=1") + "=",
        argon2id("m=19456,t=1,p=1") + "$",
        format!("$argon2id$v=19$m=256,t=1,p=1${salt}$AAAA"),
        format!("$argon2id$v=19$m=256,t=1,p=1$AAAA${digest}"),
        format!("$7$0$aIVxmAxLVlYkMPsg${d64}"),
        format!("$7$10000001$aIVxmAxLVlYkMPsg${d64}"),
        format!("$7$-1$aIVxmAxLVlYkMPsg${d64}"),
        format!("$7$101$aIVxmAxLVlYkMPs=${d64}"),
        format!("$7$101$aIVxmAxLVlYkMPsg${}", &d64[..86]),
        format!("$6$aIVxmAxLVlYkMPsg${}", &d64[..84]),
        format!("$6${d64}"),
        format!("$5$aIVxmAxLVlYkMPsg${d64}"),
        "$2b$12$abcdefghijklmnopqrstuv".into(),
        "$".into(),
        "$$".into(),
    ];
    for hash in bad {
        let shown = errors(&format!("mallory:{hash}")).join("");
        assert!(!shown.contains(digest) && !shown.contains(&d64) && !shown.contains(salt), "{shown}");
    }
}

#[test]
fn names_the_file_could_not_give_back_are_refused() {
    let hash = PasswordHash::parse(QUICK).unwrap();
    let mut file = PasswordFile::default();
    let long = "x".repeat(65_536);
    for user in ["", "a:b", "a\nb", "a\tb", "\u{7f}", "#a", " a", "a ", "\u{a0}a", "\u{feff}a", &long] {
        assert!(matches!(file.set(user, hash.clone()), Err(PasswordError::UserName(_))), "{user:?}");
    }
    assert!(file.is_empty());
    assert_eq!(file.set("a#b c/ü+", hash), Ok(false));
    assert_eq!(PasswordFile::parse(&file.to_text()), Ok(file));
}

#[test]
fn debug_shows_no_hash_and_no_name() {
    let file = file(&format!("lanes:{QUICK}\n"));
    let shown = format!("{file:?} {:?}", file.hash("lanes").unwrap());
    assert!(!shown.contains("c2Fsd") && !shown.contains("115") && !shown.contains("lanes"), "{shown}");
}

#[test]
fn a_generated_password_holds_every_bit_and_no_doubtful_character() {
    assert_eq!(*from_entropy([0; ENTROPY_BYTES]), "a".repeat(32));
    assert_eq!(*from_entropy([0xff; ENTROPY_BYTES]), "9".repeat(32));
    let base = from_entropy([0; ENTROPY_BYTES]);
    for bit in 0..ENTROPY_BYTES * 8 {
        let mut bytes = [0; ENTROPY_BYTES];
        bytes[bit / 8] = 0x80 >> (bit % 8);
        let text = from_entropy(bytes);
        let differing: Vec<_> = (0..32).filter(|&at| text.as_bytes()[at] != base.as_bytes()[at]).collect();
        assert_eq!(differing, [bit / 5], "each bit is in a character of its own group");
    }
}

#[test]
fn a_carriage_return_at_the_end_of_the_text_is_no_part_of_a_comment() {
    for text in ["#\r", "# why\r\r\n", " \r"] {
        let file = PasswordFile::parse(text).unwrap();
        assert_eq!(PasswordFile::parse(&file.to_text()), Ok(file), "{text:?}");
    }
}

/// `lanes` with the password `pässword` and, from a further line, `correct horse` of a user of Mosquitto's.
fn two_secrets(dates: &str) -> PasswordFile {
    let other = file(MOSQUITTO).hash("alice").unwrap().encode();
    file(&format!("#+lanes:label=new\nlanes:{QUICK}\n#+lanes:label=old{dates}:{other}\n"))
}

#[test]
fn each_of_several_secrets_opens_while_it_counts() {
    let opens = |dates: &str, now: u64| {
        let checked = two_secrets(dates).check("lanes", b"correct horse", now);
        checked.login.map(|login| (login.term.label.to_string(), login.who.facts().until))
    };
    assert_eq!(opens("", NOW), Some(("old".into(), None)));
    let dates = ",not_before=2026-11-21T00:00:00Z,expires=2026-11-23T00:00:00Z";
    assert_eq!(opens(dates, NOW - DAY - 1), None);
    assert_eq!(opens(dates, NOW - DAY), Some(("old".into(), Some(NOW + DAY))));
    assert_eq!(opens(dates, NOW + DAY - 1), Some(("old".into(), Some(NOW + DAY))));
    assert_eq!(opens(dates, NOW + DAY), None);
    let plain = two_secrets(dates).check("lanes", "pässword".as_bytes(), NOW + 10 * DAY).login.unwrap();
    assert_eq!((plain.term.label.as_str(), plain.who.facts().until), ("new", None));
}

#[test]
fn k29_the_work_is_the_same_for_unknown_users_wrong_passwords_and_what_ended() {
    let file = two_secrets(",expires=2026-11-23T00:00:00Z");
    let work = |user: &str, password: &str, now: u64| {
        let checked = file.check(user, password.as_bytes(), now);
        assert!(checked.login.is_none(), "{user} {password}");
        checked.work
    };
    let wrong = work("lanes", "wrong", NOW);
    assert_eq!(wrong.len(), 2);
    for user in ["eve", "", "LANES"] {
        assert_eq!(work(user, "wrong", NOW), wrong, "unknown: {user:?}");
        assert_eq!(work(user, "correct horse", NOW), wrong, "unknown: {user:?}");
    }
    assert_eq!(work("lanes", "correct horse", NOW + 2 * DAY), wrong, "right and ended");
    assert_eq!(PasswordFile::default().check("eve", b"x", NOW).work.len(), 1, "where nobody is known as well");
}

#[test]
fn a_rotation_leaves_the_old_secret_for_a_while_and_mosquitto_sees_the_new_one() {
    let mut file = file(&format!("# all\nlanes:{QUICK}\n"));
    let new = PasswordHash::new(b"new", [1; SALT_BYTES]);
    let label = Label::parse("2026-11-22").unwrap();
    file.rotate("lanes", (label.clone(), new.clone()), (NOW, NOW + 7 * DAY)).unwrap();
    let expected = format!(
        "# all\n#+lanes:label=2026-11-22\nlanes:{}\n#+lanes:label=main,expires=2026-11-29T00:00:00Z:{QUICK}\n",
        new.encode()
    );
    assert_eq!(file.to_text(), expected);
    assert_eq!(PasswordFile::parse(&expected), Ok(file.clone()));
    assert!(logs_in(&file, "lanes", "new") && logs_in(&file, "lanes", "pässword"));
    assert!(file.check("lanes", "pässword".as_bytes(), NOW + 7 * DAY).login.is_none());
    assert_eq!(file.free_label("lanes", &label).as_str(), "2026-11-22-2");
    // The next one shortens what is there and drops what ended.
    let third = (Label::parse("third").unwrap(), PasswordHash::new(b"third", [2; SALT_BYTES]));
    file.rotate("lanes", third, (NOW + 8 * DAY, NOW + 9 * DAY)).unwrap();
    let labels: Vec<_> = file.secrets("lanes").into_iter().map(|secret| secret.term.label.to_string()).collect();
    assert_eq!(labels, ["third", "2026-11-22"]);
    assert!(file.remove_secret("lanes", &label) && !file.remove_secret("lanes", &label));
    assert!(logs_in(&file, "lanes", "third"));
    assert!(file.remove_secret("lanes", &Label::parse("third").unwrap()) && !file.contains("lanes"));
    assert_eq!(file.to_text(), "# all\n");
}

#[test]
fn what_stands_beside_a_secret_is_parsed_or_refuses_the_file() {
    for (line, expected) in [
        ("#+lanes", "there is no `:` behind the user name of a secret"),
        ("#+lanes:", "what stands beside the secret is not label=…,not_before=…,expires=…"),
        ("#+lanes:label=", "a label has 1 to 32 letters, digits, dots, hyphens and underscores"),
        ("#+lanes:label=x y", "a label has 1 to 32 letters, digits, dots, hyphens and underscores"),
        (
            "#+lanes:label=x,expires=2026-11-29T00:00:00Z",
            "a plain line has a label and no dates; what ends is a secret of its own",
        ),
        ("#+lanes:label=x,expires=soon:$6$", "the hash has too many or too few parts"),
        ("#+lanes:label=main:QUICK", "the user has a secret with this label already"),
        ("#+lanes:label=x,expires=soon:QUICK", "a time of the secret is not written as 2026-11-22T00:00:00Z"),
        (
            "#+lanes:label=x,expires=2026-11-29T00:00:00Z,not_before=2026-11-22T00:00:00Z:QUICK",
            "what stands beside the secret is not label=…,not_before=…,expires=…",
        ),
        (
            "#+lanes:label=x,not_before=2026-11-29T00:00:00Z,expires=2026-11-22T00:00:00Z:QUICK",
            "the secret ends before it begins",
        ),
    ] {
        let text = format!("lanes:{QUICK}\n{line}\n").replace("QUICK", QUICK);
        assert_eq!(errors(&text), [format!("line 2: {expected}")], "{line}");
    }
    let many: String = (0..4).map(|number| format!("#+lanes:label=x{number}:{QUICK}\n")).collect();
    assert_eq!(errors(&format!("lanes:{QUICK}\n{many}")), ["line 5: the user has four secrets already"]);
    assert!(file("# + a remark\n#a:label=x\n").is_empty());
}

#[test]
fn a_secret_that_is_hashed_anew_is_the_same_secret() {
    let before = file(MOSQUITTO);
    let old = before.hash("carol").unwrap().fingerprint();
    let mut after = before.clone();
    let new = PasswordHash::new(b"tr0ub4dor", [3; SALT_BYTES]);
    assert!(before.hash("carol").unwrap().is_weak() && before.hash("alice").unwrap().is_weak() && !new.is_weak());
    assert!(after.rehash("carol", old, new.clone()) && !after.rehash("carol", old, new));
    assert!(logs_in(&after, "carol", "tr0ub4dor"));
    assert!(after.stands("carol", old, NOW) && after.upholds(&before, "carol", NOW));
    // What is read again knows it from what was in force.
    let mut again = file(&after.to_text());
    assert!(!again.stands("carol", old, NOW));
    again.inherit(&after);
    assert!(again.stands("carol", old, NOW));
    assert!(!again.stands("alice", old, NOW) && !again.stands("nobody", old, NOW));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic_and_what_parses_round_trips(
        text in "([a-c#+: \\$\u{feff}\r\n=,67mtpv]|argon2id|label=|\\$7\\$1\\$){0,80}",
    ) {
        if let Ok(file) = PasswordFile::parse(&text) {
            prop_assert_eq!(PasswordFile::parse(&file.to_text()), Ok(file));
        }
    }

    #[test]
    fn different_entropy_gives_different_passwords(one: [u8; ENTROPY_BYTES], other: [u8; ENTROPY_BYTES]) {
        prop_assert_eq!(one == other, *from_entropy(one) == *from_entropy(other));
        prop_assert!(from_entropy(one).bytes().all(|byte| ALLOWED.contains(&byte)));
    }
}

const ALLOWED: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
