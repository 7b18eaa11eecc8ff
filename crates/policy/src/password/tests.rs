//! What somebody sees who logs in, or edits a password file.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;

use super::*;
use crate::identity::Identity;
use crate::permit::Method;

const MOSQUITTO: &str = include_str!("../../fixtures/mosquitto-2.0.11.passwd");
const ARGON2ID: &str = include_str!("../../fixtures/argon2id.passwd");
const QUICK: &str = "$argon2id$v=19$m=256,t=3,p=4$c2FsdHNhbHQ$vA2NqqKTfpbrkjoz3KNO2LNVujtveFav";

fn file(text: &str) -> PasswordFile {
    PasswordFile::parse(text).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    PasswordFile::parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn logs_in(file: &PasswordFile, user: &str, password: &str) -> bool {
    match file.verify(user, password.as_bytes()) {
        None => false,
        Some(who) => {
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
        assert!(file.verify(user, "pässword".as_bytes()).is_none(), "{user:?}");
    }
}

#[test]
fn k29_unknown_users_do_the_work_of_known_ones_in_their_proportion() {
    let file = file(&format!("{}one:{QUICK}\n", MOSQUITTO.replace("\nempty", "\n#empty")));
    let mut drawn = BTreeMap::new();
    for number in 0..400 {
        let hash = file.decoy(&format!("unknown-{number}")).unwrap();
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
        assert!(file(text).verify("anybody", b"anything").is_none());
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic_and_what_parses_round_trips(
        text in "([a-c#: \\$\u{feff}\r\n=,67mtpv]|argon2id|\\$7\\$1\\$){0,80}",
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
