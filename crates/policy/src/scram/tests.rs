//! The exchange as a client sees it: the vector of the standard, and everything that is no such exchange.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../../fixtures/scram_client.rs"]
mod scram_client;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use self::scram_client::ScramClient;
use super::*;
use crate::permit::{Authenticated, Method};
use crate::{Identity, PasswordFile};

const SECRET: [u8; SEED_BYTES] = [7; SEED_BYTES];
const SALT: [u8; 16] = *b"a salt of tests!";

/// RFC 7677 §3: user `user`, password `pencil`.
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn vector_file() -> PasswordFile {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    file_of(&[("user", ScramKeys::derive(b"pencil", &salt, 4096).unwrap())])
}

fn file_of(users: &[(&str, ScramKeys)]) -> PasswordFile {
    let mut file = PasswordFile::default();
    for (user, keys) in users {
        file.set_scram(user, keys.clone()).unwrap();
    }
    PasswordFile::parse(&file.to_text()).unwrap()
}

fn quick(password: &str) -> ScramKeys {
    ScramKeys::derive(password.as_bytes(), &SALT, 4096).unwrap()
}

fn step(exchange: &mut Exchange, file: &PasswordFile, data: &[u8]) -> Result<Reply, ScramError> {
    exchange.step(Some(data), |user| Ok(file.candidate(user, &SECRET)))
}

fn asked(reply: Result<Reply, ScramError>) -> Vec<u8> {
    match reply.unwrap() {
        Reply::Continue(data) => data,
        Reply::Proved(proved) => panic!("{proved:?}"),
    }
}

fn proved(reply: Result<Reply, ScramError>) -> Box<Proved> {
    match reply.unwrap() {
        Reply::Proved(proved) => proved,
        Reply::Continue(data) => panic!("{data:?}"),
    }
}

/// The whole exchange of a client against a file.
fn log_in(file: &PasswordFile, client: &mut ScramClient) -> Result<Box<Proved>, ScramError> {
    let mut exchange = Exchange::new([1; SEED_BYTES]);
    let server_first = asked(step(&mut exchange, file, client.first().as_bytes()));
    let last = client.last(&server_first);
    step(&mut exchange, file, last.as_bytes()).map(|reply| proved(Ok(reply)))
}

#[test]
fn the_vector_of_rfc_7677_byte_for_byte() {
    let file = vector_file();
    let mut exchange = Exchange::with_nonce(SERVER_NONCE);
    assert_eq!(asked(step(&mut exchange, &file, FIRST.as_bytes())), SERVER_FIRST.as_bytes());
    let proved = proved(step(&mut exchange, &file, LAST.as_bytes()));
    assert_eq!(proved.server_final(), SERVER_FINAL.as_bytes());
    let who = Authenticated::by_scram(*proved);
    assert_eq!((who.identity().user_name(), who.method()), (Some("user"), Method::Scram));
}

#[test]
fn the_right_password_gets_in_and_is_proved_the_server() {
    let file = file_of(&[("anna", quick("secret")), ("berta", quick("geheim"))]);
    let mut client = ScramClient::new("anna", "secret");
    let proved = log_in(&file, &mut client).unwrap();
    assert_eq!(proved.server_final(), client.expected.as_bytes());
    assert_eq!(Authenticated::by_scram(*proved).identity(), &Identity::User(crate::UserName("anna".into())));
    for header in ["y,,", "n,a=anna,"] {
        assert!(log_in(&file, &mut ScramClient { header, ..client.clone() }).is_ok(), "{header}");
    }
}

#[test]
fn k29_a_wrong_password_and_an_unknown_user_end_alike() {
    let file = file_of(&[("anna", quick("secret")), ("berta", quick("geheim"))]);
    for (user, password) in [("anna", "geheim"), ("anna", "Secret"), ("carla", "secret"), ("Anna", "secret")] {
        let end = log_in(&file, &mut ScramClient::new(user, password)).unwrap_err();
        assert_eq!(end, ScramError::Credentials, "{user} {password}");
    }
}

#[test]
fn k29_an_unknown_user_is_asked_what_a_known_one_could_be() {
    let file = file_of(&[("anna", quick("secret"))]);
    let question = |file: &PasswordFile, user: &str, seed: u8| {
        let mut exchange = Exchange::new([seed; SEED_BYTES]);
        let first = ScramClient::new(user, "").first();
        let text = String::from_utf8(asked(step(&mut exchange, file, first.as_bytes()))).unwrap();
        let (nonce, rest) = text.split_once(',').unwrap();
        (nonce.len(), rest.to_owned())
    };
    let (known, unknown) = (question(&file, "anna", 1), question(&file, "carla", 1));
    assert_eq!(known.0, unknown.0);
    assert_eq!(known.1.len(), unknown.1.len());
    assert!(unknown.1.ends_with(",i=4096"), "{unknown:?}");
    assert_eq!(unknown, question(&file, "carla", 2), "the salt of a name stays");
    assert_ne!(unknown.1, question(&file, "clara", 1).1, "and is that name's");
    let empty = question(&PasswordFile::default(), "anna", 1);
    assert!(empty.1.ends_with(&format!(",i={ITERATIONS_NEW}")), "{empty:?}");
    // Whoever has another kind of hash only is as unknown to SCRAM as anybody.
    let hashed = PasswordFile::parse(
        "dora:$6$aIVxmAxLVlYkMPsg$\
        vftoqazHtMMV3+/CuB2o/86b3ldh7jQzB5h34J8nnx8ObFeGa3VUY9b2MeIflnz/BpWWHRX58d8sFBM+2RuXyA==\n",
    );
    let end = log_in(&hashed.unwrap(), &mut ScramClient::new("dora", "geheim")).unwrap_err();
    assert_eq!(end, ScramError::Credentials);
}

#[test]
fn each_exchange_has_a_nonce_of_its_own() {
    let file = vector_file();
    let nonce = |seed: u8| asked(step(&mut Exchange::new([seed; SEED_BYTES]), &file, FIRST.as_bytes()));
    assert_ne!(nonce(1), nonce(2));
    let mut exchange = Exchange::new([1; SEED_BYTES]);
    let mut client = ScramClient::new("user", "pencil");
    let old = client.last(&asked(step(&mut exchange, &file, client.first().as_bytes())));
    let mut later = Exchange::new([2; SEED_BYTES]);
    step(&mut later, &file, client.first().as_bytes()).unwrap();
    assert!(matches!(step(&mut later, &file, old.as_bytes()), Err(ScramError::Message(_))), "a replay");
}

#[test]
fn a_first_message_that_breaks_the_grammar_is_refused() {
    let refused = [
        "",
        ",",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=user,r=",
        "n,,r=x,n=user",
        "n,n=user,r=x",
        "x,,n=user,r=x",
        "p=tls-unique,,n=user,r=x",
        "p=,,n=user,r=x",
        "n,b=user,n=user,r=x",
        "n,a=,n=user,r=x",
        "n,,m=x,n=user,r=x",
        "n,,n=,r=x",
        "n,,n=us=er,r=x",
        "n,,n=us=2cer,r=x",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{7f}",
        "n,,n=user,r=x,",
        "n,,n=user,r=x,y",
        "n,,n=user,r=x,1=y",
        "n,,n=us\ner,r=x",
        "n,,n=\u{fc}ser,r=x",
        "N,,n=user,r=x",
    ];
    for text in refused {
        assert!(ClientFirst::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(ClientFirst::parse(b"n,,n=us\xffer,r=x").is_err());
    let long = |length: usize| format!("n,,n={},r=x", "u".repeat(length));
    assert!(ClientFirst::parse(long(MESSAGE_BYTES_MAX - 9).as_bytes()).is_ok());
    assert!(ClientFirst::parse(long(MESSAGE_BYTES_MAX - 8).as_bytes()).is_err());
    assert!(ClientFirst::parse(format!("n,,n=user,r={}", "x".repeat(257)).as_bytes()).is_err());
    let read = ClientFirst::parse(b"y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=x%,e=ignored").unwrap();
    assert_eq!((read.user.as_str(), read.authorization_id.as_deref()), ("a,b=c", Some("a,b=c")));
    assert_eq!((read.gs2_header, read.bare), ("y,a=a=2Cb=3Dc,", "n=a=2Cb=3Dc,r=x%,e=ignored"));
}

#[test]
fn a_last_message_that_breaks_the_grammar_is_refused() {
    let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    for text in [
        String::new(),
        format!("c=biws,{proof}"),
        format!("r=x,c=biws,{proof}"),
        "c=biws,r=x".into(),
        "c=biws,r=x,p=".into(),
        "c=biws,r=x,p=AAAA".into(),
        format!("c=biw,r=x,{proof}"),
        format!("c=biws,r=x,{proof},e=x"),
        format!("c=biws,r=x,e,{proof}"),
        format!("c=biws,r=x,{}", proof.trim_end_matches('=')),
    ] {
        assert!(ClientFinal::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(ClientFinal::parse(format!("c=biws,r=x,e=x,{proof}").as_bytes()).is_ok());
}

#[test]
fn a_last_message_that_belongs_to_another_first_is_refused() {
    let file = vector_file();
    let try_last = |last: &str| {
        let mut exchange = Exchange::with_nonce(SERVER_NONCE);
        step(&mut exchange, &file, FIRST.as_bytes()).unwrap();
        let end = step(&mut exchange, &file, last.as_bytes()).unwrap_err();
        // What failed once cannot be mended.
        assert_eq!(
            step(&mut exchange, &file, LAST.as_bytes()).unwrap_err(),
            ScramError::Message("the exchange is over")
        );
        end
    };
    for other in [LAST.replace("c=biws", "c=eSws"), LAST.replace("k0,", "k1,"), LAST.replace("k0,", ",")] {
        assert!(matches!(try_last(&other), ScramError::Message(_)), "{other}");
    }
    assert_eq!(try_last(&LAST.replace("p=d", "p=e")), ScramError::Credentials);
    assert_eq!(try_last(&LAST.replace(",p=", ",e=x,p=")), ScramError::Credentials, "an extension is signed too");
}

#[test]
fn nobody_acts_for_somebody_else() {
    let file = vector_file();
    let mut exchange = Exchange::new(SECRET);
    let end = step(&mut exchange, &file, b"n,a=admin,n=user,r=x").unwrap_err();
    assert_eq!(end, ScramError::OtherUser);
}

#[test]
fn an_exchange_without_a_first_message_asks_for_it_once() {
    let file = vector_file();
    let mut exchange = Exchange::new(SECRET);
    let nothing = |exchange: &mut Exchange| exchange.step(None, |user| Ok(file.candidate(user, &SECRET)));
    assert_eq!(asked(nothing(&mut exchange)), b"");
    assert!(matches!(nothing(&mut exchange), Err(ScramError::Message(_))));
    let mut exchange = Exchange::with_nonce(SERVER_NONCE);
    nothing(&mut exchange).unwrap();
    step(&mut exchange, &file, FIRST.as_bytes()).unwrap();
    proved(step(&mut exchange, &file, LAST.as_bytes()));
}

#[test]
fn a_connection_proves_itself_again_as_the_same_user_only() {
    let file = file_of(&[("anna", quick("secret")), ("berta", quick("geheim"))]);
    let first = log_in(&file, &mut ScramClient::new("anna", "secret")).unwrap();
    let mut again = Reauthentication::new(*first);
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut client = ScramClient::new("anna", "secret");
        let server_first = asked(again.begin(Some(client.first().as_bytes())));
        assert!(again.is_running());
        assert!(nonces.insert(server_first.clone()), "a nonce came twice");
        let last = client.last(&server_first);
        let proved = proved(again.proceed(Some(last.as_bytes())));
        assert_eq!(proved.server_final(), client.expected.as_bytes());
        assert!(!again.is_running());
    }
    assert_eq!(again.begin(Some(b"n,,n=berta,r=x")).unwrap_err(), ScramError::OtherUser);
    assert!(again.proceed(Some(LAST.as_bytes())).is_err(), "nothing is going on");
    let mut wrong = ScramClient::new("anna", "geheim");
    let last = wrong.last(&asked(again.begin(Some(wrong.first().as_bytes()))));
    assert_eq!(again.proceed(Some(last.as_bytes())).unwrap_err(), ScramError::Credentials);
}

#[test]
fn a_record_is_read_as_it_is_written_and_in_no_other_spelling() {
    let keys = quick("secret");
    assert!(keys.is_of(b"secret") && !keys.is_of(b"geheim") && !keys.is_of(b""));
    let text = keys.encode();
    assert!(text.starts_with("$scram-sha-256$4096$YSBzYWx0IG9mIHRlc3RzIQ==$"), "{text}");
    assert_eq!(ScramKeys::parse(&text), Ok(keys.clone()));
    let with = |from: &str, to: &str| ScramKeys::parse(&text.replacen(from, to, 1)).is_ok();
    for iterations in ["4095", "04096", "+4096", "1000001", "", "x"] {
        assert!(!with("$4096$", &format!("${iterations}$")), "{iterations}");
    }
    assert!(with("$4096$", "$1000000$"));
    assert!(!with("YSBzYWx0IG9mIHRlc3RzIQ==", "YSBzYWx0"), "a short salt");
    assert!(!with("scram-sha-256", "scram-sha-1") && ScramKeys::parse(&format!("{text}$")).is_err());
    let debug = format!("{keys:?} {:?}", file_of(&[("anna", keys.clone())]));
    assert!(!debug.contains("YSBz") && debug.contains("4096"), "{debug}");
}

#[test]
fn passwords_and_names_that_would_need_preparation_are_refused() {
    for password in ["", "p\u{e4}ss", "tab\t", "\u{7f}"] {
        assert!(ScramKeys::new(password.as_bytes(), SALT).is_err(), "{password:?}");
    }
    let mut file = PasswordFile::default();
    assert!(file.set_scram("m\u{fc}ller", quick("x")).is_err() && file.set_scram("a:b", quick("x")).is_err());
    assert!(file.is_empty());
}

#[test]
fn a_file_holds_both_kinds_for_one_user() {
    let argon2id = "$argon2id$v=19$m=256,t=3,p=4$c2FsdHNhbHQ$vA2NqqKTfpbrkjoz3KNO2LNVujtveFav";
    let (one, other) = (quick("secret").encode(), quick("geheim").encode());
    let text = format!("# ours\nanna:{one}\nberta:{argon2id}\nanna:{argon2id}\n\nberta:{other}\n");
    let mut file = PasswordFile::parse(&text).unwrap();
    assert_eq!(file.to_text(), text);
    let names: Vec<_> = file.names().into_iter().map(|name| &*name.0).collect();
    assert_eq!(names, ["anna", "berta"]);
    let opens = |password: &str| file.check("anna", password.as_bytes(), 0).login.is_some();
    assert!(opens("p\u{e4}ssword") && !opens("secret"));
    assert!(log_in(&file, &mut ScramClient::new("anna", "secret")).is_ok());
    let errors = PasswordFile::parse(&format!("{text}anna:{other}\nx:$scram-sha-256$1\n")).unwrap_err();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let expected =
        ["line 7: the user has a SCRAM record already", "line 8: the SCRAM record has too many or too few parts"];
    assert_eq!(errors, expected);
    let before = file.clone();
    file.set_scram("berta", quick("new")).unwrap();
    let upholds = |user| file.upholds(&before, user, 0);
    assert!(upholds("anna") && !upholds("berta") && !upholds("carla"));
    assert!(file.remove("anna") && !file.remove("anna"));
    assert_eq!(file.to_text(), format!("# ours\nberta:{argon2id}\n\nberta:{}\n", quick("new").encode()));
    assert!(file.scram_keys("berta").is_some() && file.hash("berta").is_some());
}

proptest! {
    #[test]
    fn k03_no_bytes_make_the_parsers_panic_or_an_exchange_succeed(
        first: Vec<u8>,
        last: Vec<u8>,
        text in "[npy],(a=[a=2CD3]*)?,n=[a=2C3D]*,r=[!-~]*",
    ) {
        let file = vector_file();
        let _ = ClientFirst::parse(&first);
        let _ = ClientFinal::parse(&last);
        let mut exchange = Exchange::new(SECRET);
        if step(&mut exchange, &file, text.as_bytes()).is_ok() {
            prop_assert!(step(&mut exchange, &file, &last).is_err());
        }
    }
}
