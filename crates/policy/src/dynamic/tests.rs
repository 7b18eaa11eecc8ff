//! The file in both forms, who may come in, and every command with every error.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod rights;

use super::{Barred, Check, DynamicError, DynamicSecurity};

/// Made by `mosquitto_ctrl dynsec init dyn.json admin secretpw` of Mosquitto 2.0.11.
const OF_2_0: &str = include_str!("../../fixtures/dynsec-2.0.11.json");

/// In the form of 2.1, with everything that can stand in it.
const OF_2_1: &str = r##"{
  "defaultACLAccess": {
    "publishClientSend": false, "publishClientReceive": true, "subscribe": false, "unsubscribe": true
  },
  "clients": [
    {
      "username": "pump-7", "clientid": "pump", "textname": "Pump", "textdescription": "In the cellar",
      "disabled": true,
      "roles": [{"rolename": "b", "priority": 9}, {"rolename": "a"}],
      "encoded_password": "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA"
    },
    {"username": "nobody", "roles": []}
  ],
  "groups": [
    {"groupname": "g", "roles": [{"rolename": "a", "priority": 2}], "clients": [{"username": "pump-7", "priority": 4}]},
    {"groupname": "u", "roles": [], "clients": []}
  ],
  "roles": [
    {
      "rolename": "a", "allowwildcardsubs": false,
      "acls": [
        {"acltype": "subscribePattern", "topic": "x/#", "priority": 1, "allow": false},
        {"acltype": "publishClientSend", "topic": "x/%u", "priority": 100000, "allow": true},
        {"acltype": "publishClientSend", "topic": "y", "priority": 3, "allow": true}
      ]
    },
    {"rolename": "b", "acls": []}
  ],
  "anonymousGroup": "u",
  "changeIndex": 41
}"##;

fn model(text: &str) -> DynamicSecurity {
    DynamicSecurity::parse(text).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    DynamicSecurity::parse(text).unwrap_err().into_iter().map(|DynamicError { what, .. }| what).collect()
}

#[test]
fn a_file_made_by_mosquitto_ctrl_is_read_and_keeps_the_form_of_its_password() {
    let model = model(OF_2_0);
    assert_eq!(model.counts(), (1, 0, 1));
    let text = model.to_text();
    assert!(text.contains("\"password\": \"pgwTNUoV") && text.contains("\"iterations\": 101"), "{text}");
    assert!(text.contains("\"textname\": \"Dynsec admin user\""), "members are known in any case: {text}");
    assert_eq!(DynamicSecurity::parse(&text).unwrap(), model);
}

#[test]
fn a_file_of_2_1_is_read_and_written_whole() {
    let model = model(OF_2_1);
    let text = model.to_text();
    assert_eq!(DynamicSecurity::parse(&text).unwrap(), model);
    let expected: serde_json::Value = serde_json::from_str(OF_2_1).unwrap();
    let mut written: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Names stand in their order, rules by type and priority, and what may be left out of a role is said.
    assert_eq!(written["clients"][0]["username"], "nobody");
    written["clients"].as_array_mut().unwrap().reverse();
    written["roles"][0]["acls"].as_array_mut().unwrap().rotate_left(2);
    written["roles"][1].as_object_mut().unwrap().remove("allowwildcardsubs");
    assert_eq!(written, expected);
}

#[test]
fn a_priority_beyond_the_bounds_is_cut() {
    let text = OF_2_1
        .replace("\"priority\": 9}", "\"priority\": 1234567}")
        .replace("\"priority\": 4", "\"priority\": -123456");
    let text = model(&text).to_text();
    assert!(text.contains("\"priority\": 100000\n") && text.contains("\"priority\": -100000\n"), "{text}");
}

#[test]
fn k28_what_is_not_understood_refuses_the_file() {
    for (from, to, what) in [
        ("\"disabled\": true", "\"disable\": true", "client \"pump-7\" has a member \"disable\" that is not known"),
        ("\"disabled\": true", "\"disabled\": 1", "client \"pump-7\" has a disabled that is not true or false"),
        ("\"clientid\": \"pump\"", "\"clientid\": \"pump\", \"clientId\": \"other\"", "that is there twice"),
        ("\"rolename\": \"b\", \"priority\"", "\"rolename\": \"c\", \"priority\"", "names \"c\", which is not there"),
        (
            "\"username\": \"pump-7\", \"priority\"",
            "\"username\": \"x\", \"priority\"",
            "names \"x\", which is not there",
        ),
        ("\"username\": \"nobody\"", "\"username\": \"pump-7\"", "client \"pump-7\" is there twice"),
        ("\"username\": \"nobody\"", "\"username\": \"\"", "a client has no usable username"),
        ("\"rolename\": \"b\", \"acls\"", "\"rolename\": \"a\", \"acls\"", "role \"a\" is there twice"),
        ("\"topic\": \"y\"", "\"topic\": \"y/#/z\"", "has no topic that is a topic filter"),
        ("\"topic\": \"y\"", "\"topic\": \"x/%u\"", "is the second of its acltype for its topic"),
        ("subscribePattern", "subscribe", "has no known acltype"),
        ("m=64", "m=1", "has a password that cannot be used"),
        ("\"encoded_password\"", "\"password\"", "of password, salt and iterations there are only some"),
        ("\"anonymousGroup\": \"u\"", "\"anonymousGroup\": \"v\"", "names the anonymousGroup \"v\""),
        ("\"changeIndex\": 41", "\"changeIndex\": \"x\"", "a changeIndex that is no whole number"),
        ("\"subscribe\": false", "\"subscribe\": \"no\"", "has a subscribe that is not true or false"),
        ("\"changeIndex\": 41", "\"version\": 3", "the file has a member \"version\""),
    ] {
        let text = OF_2_1.replacen(from, to, 1);
        assert_ne!(text, OF_2_1, "{from}");
        let errors = errors(&text);
        assert!(errors.iter().any(|error| error.contains(what)), "{from} → {to}: {errors:?}");
        assert!(errors.iter().all(|error| !error.contains("AAAA")), "k39: {errors:?}");
    }
}

#[test]
fn what_is_not_json_is_told_with_its_line_and_without_its_text() {
    let found = DynamicSecurity::parse(&OF_2_1.replace("\"disabled\": true,", "\"disabled\": tru,")).unwrap_err();
    assert_eq!((found.len(), found[0].line), (1, 8));
    assert_eq!(found[0].what, "the file is not JSON here");
    assert!(DynamicSecurity::parse("[]").is_err() && DynamicSecurity::parse("").is_err());
    assert!(DynamicSecurity::parse(&"[".repeat(100_000)).is_err(), "depth is bounded");
}

#[test]
fn k39_no_debug_text_shows_a_hash() {
    let shown = format!("{:?}", model(OF_2_0));
    assert!(shown.contains("admin") && !shown.contains("pgwT") && !shown.contains("sd8c"), "{shown}");
}

#[test]
fn a_new_file_holds_one_client_who_may_change_the_rest() {
    let made = DynamicSecurity::initial("root", "twelve or more", [7; 16]);
    assert_eq!(made.counts(), (1, 1, 7));
    let text = made.to_text();
    assert!(!text.contains("twelve") && text.contains("$argon2id$"), "{text}");
    assert_eq!(DynamicSecurity::parse(&text).unwrap(), made);
}

#[test]
fn the_password_mosquitto_ctrl_set_opens_and_no_other() {
    let model = model(OF_2_0);
    let Check::Accepted(who) = model.verify("admin", "any", b"secretpw") else { panic!("the password is right") };
    assert_eq!(who.identity().user_name(), Some("admin"));
    assert!(matches!(model.verify("admin", "any", b"secretpx"), Check::Refused));
    assert!(matches!(model.verify("admin", "any", b""), Check::Refused));
    assert!(matches!(model.verify("Admin", "any", b"secretpw"), Check::Unknown));
    assert!(matches!(DynamicSecurity::default().verify("admin", "any", b"secretpw"), Check::Unknown));
}

#[test]
fn k28_a_client_without_a_password_or_disabled_or_of_another_client_id_is_refused() {
    let mut model = DynamicSecurity::initial("admin", "correct horse", [1; 16]);
    let mut run = |command: &str| {
        let outcome = model.execute(command.as_bytes(), &mut || [2; 16]);
        assert!(outcome.has_changed(), "{}", outcome.into_text());
        model.clone()
    };
    let without = run(r#"{"commands": [{"command": "createClient", "username": "mute"}]}"#);
    assert!(matches!(without.verify("mute", "c", b""), Check::Refused));
    let bound = run(r#"{"commands": [{"command": "setClientId", "username": "admin", "clientid": "desk"}]}"#);
    assert!(matches!(bound.verify("admin", "desk", b"correct horse"), Check::Accepted(_)));
    assert!(matches!(bound.verify("admin", "sofa", b"correct horse"), Check::Refused));
    assert_eq!(bound.bars("admin", "sofa"), Some(Barred::OtherClientId));
    let disabled = run(r#"{"commands": [{"command": "disableClient", "username": "admin"}]}"#);
    assert!(matches!(disabled.verify("admin", "desk", b"correct horse"), Check::Refused));
    assert_eq!((disabled.bars("admin", "desk"), disabled.bars("stranger", "desk")), (Some(Barred::Disabled), None));
}

#[test]
fn k24_a_proof_holds_while_the_password_is_the_same() {
    let before = DynamicSecurity::initial("admin", "correct horse", [1; 16]);
    let after = |command: &str| {
        let mut model = before.clone();
        model.execute(command.as_bytes(), &mut || [2; 16]);
        model
    };
    let same = r#"{"commands": [{"command": "setClientPassword", "username": "admin", "password": "correct horse"}]}"#;
    assert!(before.upholds(&before, "admin") && !before.upholds(&before, "stranger"));
    assert!(!after(same).upholds(&before, "admin"), "a password that was set is another one");
    assert!(!after(r#"{"commands": [{"command": "deleteClient", "username": "admin"}]}"#).upholds(&before, "admin"));
    let renamed = r#"{"commands": [{"command": "modifyClient", "username": "admin", "textname": "x"}]}"#;
    assert!(after(renamed).upholds(&before, "admin"));
}
