//! Dynamic security through Mosquitto's own `mosquitto_ctrl`, over TLS, against the real binary.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::{Value, json};

use crate::common::{Broker, Child, Credentials, OPERATOR, Puppet, mosquitto};

const FILE: &str = "dynamic-security.json";
const RELOADED: &str = "reloaded: certificates, passwords and access rules";

fn admin() -> Credentials {
    Credentials::Password("admin", String::from("an administrator's word"))
}

/// A quickstart broker whose configuration names a file of dynamic security.
fn configured(broker: &Broker) {
    let text = fs::read_to_string(broker.file("motte.toml")).unwrap();
    let with = text.replace("#dynamic_file = ", "dynamic_file = ");
    assert!(text != with, "the sample shows the key");
    fs::write(broker.file("motte.toml"), with).unwrap();
}

/// The same with the file that `mosquitto_ctrl` makes.
fn broker() -> Broker {
    let mut broker = Broker::quickstart();
    let Credentials::Password(user, password) = admin() else { unreachable!("it is one") };
    let file = broker.file(FILE);
    let made = std::process::Command::new("mosquitto_ctrl")
        .args(["dynsec", "init"])
        .arg(&file)
        .args([user, &password])
        .output()
        .expect("mosquitto_ctrl is missing; run `cargo xtask setup`");
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    configured(&broker);
    broker.reload();
    broker.logged(RELOADED);
    broker
}

fn ask(broker: &Broker, args: &[&str]) -> Output {
    let args = [&["dynsec"], args].concat();
    mosquitto("mosquitto_ctrl", broker, &admin(), &args).output().unwrap()
}

/// What a command prints; it has to be done.
#[track_caller]
fn ctrl(broker: &Broker, args: &[&str]) -> String {
    let output = ask(broker, args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_done = output.status.success() && !complained.contains("Error") && !said.contains("Error");
    assert!(is_done, "{args:?}: {said}{complained}");
    said
}

fn kept(broker: &Broker) -> Value {
    serde_json::from_str(&fs::read_to_string(broker.file(FILE)).unwrap()).unwrap()
}

fn pump(password: &str) -> Credentials {
    Credentials::Password("pump", password.to_owned())
}

/// What a 5.0 client is told that publishes once.
fn publish(broker: &Broker, who: &Credentials, topic: &str) -> String {
    let args = ["-V", "5", "-q", "1", "-t", topic, "-m", "x"];
    let output = mosquitto("mosquitto_pub", broker, who, &args).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether somebody is not let in at all.
fn is_turned_away(broker: &Broker, who: &Credentials) -> bool {
    publish(broker, who, "sensors/pump/t").contains("Connection error")
}

fn make_pump(broker: &Broker) {
    ctrl(broker, &["createRole", "meter"]);
    ctrl(broker, &["addRoleACL", "meter", "publishClientSend", "sensors/%u/#", "allow"]);
    ctrl(broker, &["addRoleACL", "meter", "subscribePattern", "commands/%u/#", "allow", "5"]);
    ctrl(broker, &["createClient", "pump", "-p", "first word"]);
    ctrl(broker, &["addClientRole", "pump", "meter", "3"]);
}

#[test]
fn k24_clients_made_by_mosquitto_ctrl_log_in_are_held_to_their_rules_and_outlive_a_restart() {
    let broker = broker();
    make_pump(&broker);
    assert_eq!(publish(&broker, &pump("first word"), "sensors/pump/t"), "");
    ctrl(&broker, &["setClientPassword", "pump", "second word"]);
    assert!(is_turned_away(&broker, &pump("first word")), "the old word is over");
    assert_eq!(publish(&broker, &pump("second word"), "sensors/pump/t"), "");
    let told = publish(&broker, &pump("second word"), "sensors/other/t");
    assert!(told.contains("Not authorized"), "{told}");
    let text = kept(&broker).to_string();
    assert!(text.contains("$argon2id$") && !text.contains("second word"), "{text}");
    assert_eq!(fs::metadata(broker.file(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    let broker = broker.restart();
    assert_eq!(publish(&broker, &pump("second word"), "sensors/pump/t"), "");
    assert!(ctrl(&broker, &["getClient", "pump"]).contains("meter"));
}

#[test]
fn groups_roles_and_lists_are_what_mosquitto_ctrl_expects() {
    let broker = broker();
    make_pump(&broker);
    ctrl(&broker, &["createGroup", "cellar"]);
    ctrl(&broker, &["addGroupClient", "cellar", "pump", "2"]);
    ctrl(&broker, &["createRole", "extra"]);
    ctrl(&broker, &["addRoleACL", "extra", "publishClientSend", "extra", "allow"]);
    assert!(publish(&broker, &pump("first word"), "extra").contains("Not authorized"));
    ctrl(&broker, &["addGroupRole", "cellar", "extra"]);
    assert_eq!(publish(&broker, &pump("first word"), "extra"), "", "a right of the group holds at once");
    let listed = ctrl(&broker, &["listClients"]);
    assert!(listed.lines().eq(["admin", "pump"]), "{listed}");
    assert!(ctrl(&broker, &["listGroups"]).contains("cellar") && ctrl(&broker, &["listRoles"]).contains("extra"));
    assert!(ctrl(&broker, &["getGroup", "cellar"]).contains("pump"));
    let role = ctrl(&broker, &["getRole", "meter"]);
    assert!(role.contains("sensors/%u/#") && role.contains("commands/%u/#"), "{role}");
    assert!(ctrl(&broker, &["getDefaultACLAccess"]).contains("publishClientSend"));
    ctrl(&broker, &["setDefaultACLAccess", "publishClientSend", "allow"]);
    assert_eq!(publish(&broker, &pump("first word"), "anything"), "");
    ctrl(&broker, &["setAnonymousGroup", "cellar"]);
    assert!(ctrl(&broker, &["getAnonymousGroup"]).contains("cellar"));
    ctrl(&broker, &["removeRoleACL", "extra", "publishClientSend", "extra"]);
    ctrl(&broker, &["removeGroupClient", "cellar", "pump"]);
    ctrl(&broker, &["removeGroupRole", "cellar", "extra"]);
    ctrl(&broker, &["deleteRole", "extra"]);
    let failed = ask(&broker, &["deleteGroup", "cellar"]);
    let said = [failed.stdout, failed.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("Deleting the anonymous group is forbidden"));
    ctrl(&broker, &["removeClientRole", "pump", "meter"]);
    ctrl(&broker, &["deleteClient", "pump"]);
    assert!(is_turned_away(&broker, &pump("first word")));
    let clients = kept(&broker)["clients"].as_array().unwrap().len();
    assert_eq!((clients, kept(&broker)["anonymousGroup"].as_str()), (1, Some("cellar")));
}

#[test]
fn k24_who_is_disabled_is_out_at_once_by_password_and_by_certificate() {
    let mut broker = broker();
    make_pump(&broker);
    let listen = ["-i", "listener", "-t", "commands/pump/#"];
    let mut listener = Child::start(&mut mosquitto("mosquitto_sub", &broker, &pump("first word"), &listen));
    // Subscribed for certain once a message comes through.
    let operator = Credentials::Certificate(OPERATOR);
    let mut sender = Puppet::paho(&broker, "5", &operator, &json!({"id": "operator"})).connected();
    while sender.publish("commands/pump/x", "hello", 1, false) == 16 {}
    listener.take("a message", |line| line == "hello");
    ctrl(&broker, &["disableClient", "pump"]);
    broker.closed("listener");
    assert!(is_turned_away(&broker, &pump("first word")));
    ctrl(&broker, &["enableClient", "pump"]);
    assert_eq!(publish(&broker, &pump("first word"), "sensors/pump/t"), "");
    // One whose certificate proves the name is no better off.
    ctrl(&broker, &["createClient", OPERATOR, "-p", "never used"]);
    ctrl(&broker, &["disableClient", OPERATOR]);
    assert_eq!(sender.event("disconnected")["by_server"], true);
    assert!(is_turned_away(&broker, &operator));
    ctrl(&broker, &["deleteClient", OPERATOR]);
    assert_eq!(publish(&broker, &operator, "commands/x"), "", "without the entry the other rules hold again");
}

#[test]
fn k19_nobody_else_may_ask_and_what_is_told_goes_to_who_asked() {
    let broker = broker();
    make_pump(&broker);
    let request = r#"{"commands": [{"command": "listClients"}]}"#;
    let topic = "$CONTROL/dynamic-security/v1";
    let mut other = Puppet::paho(&broker, "5", &admin(), &json!({"id": "other"})).connected();
    other.subscribe("$CONTROL/#", 1);
    let mut nobody = Puppet::paho(&broker, "5", &pump("first word"), &json!({"id": "nobody"})).connected();
    assert_eq!(nobody.publish(topic, request, 1, false), 135);
    let mut asking = Puppet::paho(&broker, "5", &admin(), &json!({"id": "asking"})).connected();
    asking.subscribe("$CONTROL/dynamic-security/v1/response", 1);
    assert_eq!(asking.publish(topic, request, 1, false), 0);
    let told = asking.event("message");
    assert_eq!(told["topic"], "$CONTROL/dynamic-security/v1/response");
    assert!(told["payload"].as_str().unwrap().contains("\"clients\":[\"admin\",\"pump\"]"), "{told}");
    assert!(!other.has_event("message"));
}

#[test]
fn a_file_that_is_not_there_is_made_with_a_password_left_beside_it_for_its_owner() {
    let broker = Broker::quickstart();
    configured(&broker);
    let mut broker = broker.restart();
    let reminded = broker.logged("the first password of dynamic security lies in clear text");
    assert_eq!(reminded["level"], "WARN");
    let left = broker.file("dynamic-security.json.pw");
    assert_eq!(fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&left).unwrap();
    let password = text.trim_end().strip_prefix("admin ").unwrap().to_owned();
    let admin = Credentials::Password("admin", password);
    let output = mosquitto("mosquitto_ctrl", &broker, &admin, &["dynsec", "listRoles"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("super-admin"), "{output:?}");
    let mut asking = Puppet::paho(&broker, "5", &admin, &json!({"id": "asking"})).connected();
    asking.subscribe("$CONTROL/broker/v1/response", 1);
    let request = r#"{"commands": [{"command": "listListeners"}, {"command": "listPlugins"}]}"#;
    assert_eq!(asking.publish("$CONTROL/broker/v1", request, 1, false), 0);
    let told: Value = serde_json::from_str(asking.event("message")["payload"].as_str().unwrap()).unwrap();
    assert_eq!(told["responses"][0]["data"]["listeners"][0]["tls"], true);
    assert_eq!(told["responses"][1]["data"]["plugins"][0]["name"], "dynamic-security");
}

#[test]
fn what_is_changed_by_hand_is_taken_and_no_command_writes_over_it() {
    let mut broker = broker();
    make_pump(&broker);
    let mut by_hand = kept(&broker);
    by_hand["clients"].as_array_mut().unwrap().push(json!({"username": "hand", "roles": [{"rolename": "meter"}]}));
    fs::write(broker.file(FILE), by_hand.to_string()).unwrap();
    ctrl(&broker, &["setClientPassword", "hand", "a word"]);
    let hand = Credentials::Password("hand", String::from("a word"));
    assert_eq!(publish(&broker, &hand, "sensors/hand/t"), "");
    fs::write(broker.file(FILE), "{ broken").unwrap();
    broker.logged("reload failed");
    let failed = ask(&broker, &["disableClient", "pump"]);
    let said = [failed.stdout, failed.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("Internal error"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(publish(&broker, &pump("first word"), "sensors/pump/t"), "", "nothing changed");
    assert_eq!(fs::read_to_string(broker.file(FILE)).unwrap(), "{ broken");
}
