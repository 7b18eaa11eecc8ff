//! Each command: what it answers, what it changes, and every way it fails.

use serde_json::{Value, json};

use crate::dynamic::DynamicSecurity;

fn salt() -> [u8; 16] {
    [9; 16]
}

fn ask(model: &mut DynamicSecurity, request: &Value) -> Value {
    let outcome = model.execute(request.to_string().as_bytes(), &mut salt);
    serde_json::from_str(&outcome.into_text()).unwrap()
}

/// Runs one command and gives its response.
fn run(model: &mut DynamicSecurity, command: Value) -> Value {
    let mut response = ask(model, &json!({ "commands": Value::Array(vec![command]) }));
    response["responses"][0].take()
}

/// A model with `ann` and `bob`, the group `g` with `ann`, and the role `r`, which both `ann` and `g` have.
fn small() -> DynamicSecurity {
    let mut model = DynamicSecurity::default();
    for command in [
        json!({"command": "createRole", "rolename": "r", "acls": [
            {"acltype": "publishClientSend", "topic": "t", "priority": 3, "allow": true}]}),
        json!({"command": "createClient", "username": "ann", "roles": [{"rolename": "r", "priority": 5}]}),
        json!({"command": "createClient", "username": "bob"}),
        json!({"command": "createGroup", "groupname": "g", "roles": [{"rolename": "r"}]}),
        json!({"command": "createGroup", "groupname": "anonymous"}),
        json!({"command": "setAnonymousGroup", "groupname": "anonymous"}),
        json!({"command": "addGroupClient", "groupname": "g", "username": "ann", "priority": 2}),
    ] {
        let response = run(&mut model, command);
        assert_eq!(response.as_object().unwrap().len(), 1, "{response}");
    }
    model
}

#[test]
fn a_request_that_cannot_be_read_is_answered_as_mosquitto_does() {
    for (request, command, error) in [
        ("not json", "Unknown command", "Payload not valid JSON"),
        ("{}", "Unknown command", "Invalid/missing commands"),
        (r#"{"commands": "x"}"#, "Unknown command", "Invalid/missing commands"),
        (r#"{"commands": ["x"]}"#, "Unknown command", "Command not an object"),
        (r#"{"commands": [{}]}"#, "Unknown command", "Missing command"),
        (r#"{"commands": [{"command": 6}]}"#, "Unknown command", "Missing command"),
        (r#"{"commands": [{"command": "x", "correlationData": 6}]}"#, "x", "Invalid correlationData data type."),
        (r#"{"commands": [{"command": "x"}]}"#, "x", "Unknown command"),
    ] {
        let mut model = small();
        let before = model.clone();
        let outcome = model.execute(request.as_bytes(), &mut salt);
        assert!(!outcome.has_changed() && model == before);
        let response: Value = serde_json::from_str(&outcome.into_text()).unwrap();
        assert_eq!(response, json!({"responses": [{"command": command, "error": error}]}), "{request}");
    }
    assert_eq!(ask(&mut small(), &json!({"commands": []})), json!({"responses": []}));
    let many: Vec<Value> = (0..1_001).map(|_| json!({"command": "getDetails"})).collect();
    assert_eq!(ask(&mut small(), &json!({ "commands": many }))["responses"][0]["error"], "Too many commands");
}

#[test]
fn names_of_commands_and_members_are_taken_in_any_case_and_correlation_comes_back() {
    let response = run(&mut small(), json!({"COMMAND": "getclient", "userName": "bob", "correlationData": "42"}));
    assert_eq!((&response["command"], &response["correlationData"]), (&json!("getClient"), &json!("42")));
    assert_eq!(response["data"]["client"]["username"], "bob");
}

#[test]
fn commands_of_one_request_go_on_after_one_that_fails() {
    let mut model = small();
    let response = ask(
        &mut model,
        &json!({"commands": [
            {"command": "deleteClient", "username": "nobody"},
            {"command": "createClient", "username": "eve"},
        ]}),
    );
    assert_eq!(response["responses"][0]["error"], "Client not found");
    assert!(response["responses"][1]["error"].is_null() && model.knows("eve"));
}

/// Each command answers with its error and changes nothing.
fn assert_fail(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (command, error) in cases {
        let mut model = small();
        let before = model.clone();
        let response = run(&mut model, command.clone());
        assert_eq!(response, json!({"command": command["command"], "error": error}), "{command}");
        assert_eq!(model, before, "{command}");
    }
}

#[test]
fn every_error_about_defaults_and_clients_has_its_text() {
    let roles_invalid = "'roles' not an array or missing/invalid rolename";
    assert_fail([
        (json!({"command": "setDefaultACLAccess"}), "Missing/invalid actions array"),
        (json!({"command": "setDefaultACLAccess", "acls": [{"acltype": "x", "allow": true}]}), "Unknown acltype"),
        (json!({"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe"}]}), "Invalid/missing allow"),
        (json!({"command": "setDefaultACLAccess", "acls": [{"allow": true}]}), "Invalid/missing acltype"),
        (json!({"command": "createClient"}), "Invalid/missing username"),
        (json!({"command": "createClient", "username": ""}), "Empty username"),
        (json!({"command": "createClient", "username": "a\u{7}"}), "Username not valid UTF-8"),
        (json!({"command": "createClient", "username": "x", "password": 1}), "Invalid/missing password"),
        (json!({"command": "createClient", "username": "x", "clientid": 1}), "Invalid/missing client id"),
        (json!({"command": "createClient", "username": "x", "clientid": "\u{1}"}), "Client ID not valid UTF-8"),
        (json!({"command": "createClient", "username": "x", "textname": 1}), "Invalid/missing textname"),
        (json!({"command": "createClient", "username": "x", "textdescription": 1}), "Invalid/missing textdescription"),
        (json!({"command": "createClient", "username": "ann"}), "Client already exists"),
        (json!({"command": "createClient", "username": "x", "roles": [{"rolename": "no"}]}), "Role not found"),
        (json!({"command": "createClient", "username": "x", "roles": [1]}), roles_invalid),
        (json!({"command": "createClient", "username": "x", "roles": "r"}), roles_invalid),
        (json!({"command": "createClient", "username": "x", "groups": [{"groupname": "no"}]}), "Group not found"),
        (
            json!({"command": "createClient", "username": "x", "groups": [{}]}),
            "'groups' contains an object with an invalid 'groupname'",
        ),
        (json!({"command": "deleteClient"}), "Invalid/missing username"),
        (json!({"command": "deleteClient", "username": "no"}), "Client not found"),
        (json!({"command": "getClient", "username": "no"}), "Client not found"),
        (json!({"command": "modifyClient", "username": "no"}), "Client not found"),
        (
            json!({"command": "modifyClient", "username": "ann", "groups": [{"groupname": "no"}], "textname": "new"}),
            "'groups' contains an object with a 'groupname' that does not exist",
        ),
        (json!({"command": "modifyClient", "username": "ann", "textname": "n", "roles": [{}]}), roles_invalid),
        (json!({"command": "setClientId", "username": "no"}), "Client not found"),
        (json!({"command": "setClientId", "username": "ann", "clientid": 1}), "Invalid/missing client ID"),
        (json!({"command": "setClientPassword", "username": "ann"}), "Invalid/missing password"),
        (json!({"command": "setClientPassword", "username": "ann", "password": ""}), "Empty password is not allowed"),
        (json!({"command": "setClientPassword", "username": "no", "password": "x"}), "Client not found"),
        (json!({"command": "addClientRole", "username": "ann"}), "Invalid/missing rolename"),
        (json!({"command": "addClientRole", "username": "no", "rolename": "r"}), "Client not found"),
        (json!({"command": "addClientRole", "username": "bob", "rolename": "no"}), "Role not found"),
        (json!({"command": "addClientRole", "username": "ann", "rolename": "r"}), "Client is already in this role"),
        (json!({"command": "addClientRole", "username": "bob", "rolename": "r", "priority": "1"}), "Invalid priority"),
        (json!({"command": "removeClientRole", "username": "no", "rolename": "r"}), "Client not found"),
        (json!({"command": "removeClientRole", "username": "ann", "rolename": "no"}), "Role not found"),
        (json!({"command": "enableClient", "username": "no"}), "Client not found"),
        (json!({"command": "disableClient", "username": "no"}), "Client not found"),
    ]);
}

#[test]
fn every_error_about_groups_and_roles_has_its_text() {
    assert_fail([
        (json!({"command": "createGroup"}), "Invalid/missing groupname"),
        (json!({"command": "createGroup", "groupname": ""}), "Empty groupname"),
        (json!({"command": "createGroup", "groupname": "\u{2}"}), "Group name not valid UTF-8"),
        (json!({"command": "createGroup", "groupname": "g"}), "Group already exists"),
        (json!({"command": "createGroup", "groupname": "x", "roles": [{"rolename": "no"}]}), "Role not found"),
        (json!({"command": "deleteGroup", "groupname": "no"}), "Group not found"),
        (json!({"command": "deleteGroup", "groupname": "anonymous"}), "Deleting the anonymous group is forbidden"),
        (json!({"command": "getGroup", "groupname": "no"}), "Group not found"),
        (json!({"command": "modifyGroup", "groupname": "no"}), "Group not found"),
        (
            json!({"command": "modifyGroup", "groupname": "g", "textname": "n", "clients": [{"username": "no"}]}),
            "'clients' contains an object with a 'username' that does not exist",
        ),
        (
            json!({"command": "modifyGroup", "groupname": "g", "clients": [{}]}),
            "'clients' contains an object with an invalid 'username'",
        ),
        (json!({"command": "addGroupClient", "groupname": "g", "username": "no"}), "Client not found"),
        (json!({"command": "addGroupClient", "groupname": "no", "username": "ann"}), "Group not found"),
        (json!({"command": "addGroupClient", "groupname": "g", "username": "ann"}), "Client is already in this group"),
        (json!({"command": "removeGroupClient", "groupname": "g", "username": "no"}), "Client not found"),
        (json!({"command": "removeGroupClient", "groupname": "no", "username": "ann"}), "Group not found"),
        (json!({"command": "addGroupRole", "groupname": "no", "rolename": "r"}), "Group not found"),
        (json!({"command": "addGroupRole", "groupname": "g", "rolename": "no"}), "Role not found"),
        (json!({"command": "addGroupRole", "groupname": "g", "rolename": "r"}), "Group is already in this role"),
        (json!({"command": "removeGroupRole", "groupname": "no", "rolename": "r"}), "Group not found"),
        (json!({"command": "removeGroupRole", "groupname": "g", "rolename": "no"}), "Role not found"),
        (json!({"command": "setAnonymousGroup", "groupname": "no"}), "Group not found"),
        (json!({"command": "createRole"}), "Invalid/missing rolename"),
        (json!({"command": "createRole", "rolename": ""}), "Empty rolename"),
        (json!({"command": "createRole", "rolename": "\u{3}"}), "Role name not valid UTF-8"),
        (json!({"command": "createRole", "rolename": "r"}), "Role already exists"),
        (json!({"command": "createRole", "rolename": "x", "allowwildcardsubs": 1}), "Invalid allowwildcardsubs"),
        (json!({"command": "createRole", "rolename": "x", "acls": [{}]}), "'acls' contains an invalid acl"),
        (json!({"command": "deleteRole", "rolename": "no"}), "Role not found"),
        (json!({"command": "getRole", "rolename": "no"}), "Role not found"),
        (json!({"command": "modifyRole", "rolename": "no"}), "Role does not exist"),
        (
            json!({"command": "modifyRole", "rolename": "r", "textname": "n", "acls": [{"acltype": "x"}]}),
            "'acls' contains an invalid acl",
        ),
        (json!({"command": "addRoleACL", "rolename": "no"}), "Role not found"),
        (json!({"command": "addRoleACL", "rolename": "r"}), "Invalid/missing acltype"),
        (json!({"command": "addRoleACL", "rolename": "r", "acltype": "x"}), "Unknown acltype"),
        (json!({"command": "addRoleACL", "rolename": "r", "acltype": "publishClientSend"}), "Invalid/missing topic"),
        (
            json!({"command": "addRoleACL", "rolename": "r", "acltype": "publishClientSend", "topic": "a/#/b"}),
            "Invalid ACL topic",
        ),
        (
            json!({"command": "addRoleACL", "rolename": "r", "acltype": "publishClientSend", "topic": "a\u{1}"}),
            "Topic not valid UTF-8",
        ),
        (
            json!({"command": "addRoleACL", "rolename": "r", "acltype": "publishclientsend", "topic": "t"}),
            "ACL with this topic already exists",
        ),
        (
            json!({"command": "removeRoleACL", "rolename": "r", "acltype": "subscribeLiteral", "topic": "t"}),
            "ACL not found",
        ),
        (json!({"command": "listClients", "count": "x"}), "Invalid count"),
    ]);
}

#[test]
fn what_is_created_is_shown_and_counted() {
    let mut model = small();
    let index = model.change_index;
    run(
        &mut model,
        json!({
            "command": "createClient", "username": "cid", "password": "open sesame", "clientid": "c-1",
            "textname": "N", "textdescription": "D", "groups": [{"groupname": "g", "priority": 7}],
            "roles": [{"rolename": "r"}],
        }),
    );
    assert_eq!(model.change_index, index + 1);
    let shown = run(&mut model, json!({"command": "getClient", "username": "cid"}));
    assert_eq!(
        shown["data"]["client"],
        json!({
            "username": "cid", "clientid": "c-1", "textname": "N", "textdescription": "D",
            "roles": [{"rolename": "r"}], "groups": [{"groupname": "g", "priority": 7}],
        }),
        "and nothing of the password"
    );
    let text = model.to_text();
    assert!(text.contains("\"encoded_password\": \"$argon2id$v=19$") && !text.contains("sesame"), "{text}");
    let details = run(&mut model, json!({"command": "getDetails"}));
    let expected = json!({"clientCount": 3, "groupCount": 2, "roleCount": 1, "changeIndex": index + 1});
    assert_eq!(details["data"], expected);
    let group = run(&mut model, json!({"command": "getGroup", "groupname": "g"}));
    assert_eq!(
        group["data"]["group"],
        json!({
            "groupname": "g", "clients": [{"username": "cid"}, {"username": "ann"}], "roles": [{"rolename": "r"}],
        }),
        "the highest priority first"
    );
    let role = run(&mut model, json!({"command": "getRole", "rolename": "r"}));
    assert_eq!(
        role["data"]["role"],
        json!({
            "rolename": "r", "allowwildcardsubs": true,
            "acls": [{"acltype": "publishClientSend", "topic": "t", "priority": 3, "allow": true}],
        })
    );
    let anonymous = run(&mut model, json!({"command": "getAnonymousGroup"}));
    assert_eq!(anonymous["data"], json!({"group": {"groupname": "anonymous"}}));
}

#[test]
fn lists_are_told_in_pages() {
    let mut model = small();
    for (command, data) in [
        (json!({"command": "listClients"}), json!({"totalCount": 2, "clients": ["ann", "bob"]})),
        (json!({"command": "listClients", "count": 1}), json!({"totalCount": 2, "clients": ["ann"]})),
        (
            json!({"command": "listClients", "verbose": false, "count": -1, "offset": 1}),
            json!({"totalCount": 2, "clients": ["bob"]}),
        ),
        (json!({"command": "listClients", "offset": 9}), json!({"totalCount": 2, "clients": []})),
        (json!({"command": "listGroups"}), json!({"totalCount": 2, "groups": ["anonymous", "g"]})),
        (json!({"command": "listRoles"}), json!({"totalCount": 1, "roles": ["r"]})),
        (
            json!({"command": "listClients", "verbose": true, "count": 1}),
            json!({"totalCount": 2, "clients": [{
                "username": "ann", "roles": [{"rolename": "r", "priority": 5}],
                "groups": [{"groupname": "g", "priority": 2}],
            }]}),
        ),
        (
            json!({"command": "listGroups", "verbose": true, "offset": 1}),
            json!({"totalCount": 2, "groups": [
                {"groupname": "g", "clients": [{"username": "ann"}], "roles": [{"rolename": "r"}]}]}),
        ),
        (
            json!({"command": "listRoles", "verbose": true}),
            json!({"totalCount": 1, "roles": [{"rolename": "r", "allowwildcardsubs": true, "acls": [
                {"acltype": "publishClientSend", "topic": "t", "priority": 3, "allow": true}]}]}),
        ),
    ] {
        assert_eq!(run(&mut model, command.clone())["data"], data, "{command}");
    }
}

#[test]
fn what_is_deleted_is_named_nowhere() {
    let mut model = small();
    run(&mut model, json!({"command": "deleteRole", "rolename": "r"}));
    run(&mut model, json!({"command": "deleteClient", "username": "ann"}));
    let text = model.to_text();
    assert!(!text.contains("\"r\"") && !text.contains("\"ann\""), "{text}");
    assert_eq!(DynamicSecurity::parse(&text).unwrap(), model);
    run(&mut model, json!({"command": "createClient", "username": "ann"}));
    let shown = run(&mut model, json!({"command": "getClient", "username": "ann"}));
    assert_eq!(shown["data"]["client"]["groups"], json!([]), "whoever comes by the name later starts with nothing");
}

#[test]
fn clients_are_changed() {
    let mut model = small();
    let commands = [
        json!({"command": "modifyClient", "username": "ann", "textname": "A", "clientid": "c", "password": "p",
            "roles": [], "groups": []}),
        json!({"command": "disableClient", "username": "ann"}),
        json!({"command": "addClientRole", "username": "bob", "rolename": "r", "priority": -7}),
        json!({"command": "setClientId", "username": "bob", "clientid": "b"}),
        json!({"command": "setClientPassword", "username": "bob", "password": "q"}),
    ];
    assert!(commands.into_iter().all(|command| run(&mut model, command)["error"].is_null()));
    let shown = run(&mut model, json!({"command": "listClients", "verbose": true}));
    assert_eq!(
        shown["data"]["clients"],
        json!([
            {"username": "ann", "clientid": "c", "textname": "A", "disabled": true, "roles": [], "groups": []},
            {"username": "bob", "clientid": "b", "roles": [{"rolename": "r", "priority": -7}], "groups": []},
        ])
    );
    run(&mut model, json!({"command": "enableClient", "username": "ann"}));
    run(&mut model, json!({"command": "setClientId", "username": "ann", "clientid": ""}));
    run(&mut model, json!({"command": "removeClientRole", "username": "bob", "rolename": "r"}));
    let shown = run(&mut model, json!({"command": "listClients", "verbose": true}));
    assert_eq!(shown["data"]["clients"][0], json!({"username": "ann", "textname": "A", "roles": [], "groups": []}));
    assert_eq!(shown["data"]["clients"][1]["roles"], json!([]));
}

#[test]
fn groups_roles_and_defaults_are_changed() {
    let mut model = small();
    let commands = [
        json!({"command": "modifyGroup", "groupname": "g", "textdescription": "D",
            "clients": [{"username": "bob", "priority": 1}], "roles": []}),
        json!({"command": "addGroupRole", "groupname": "g", "rolename": "r", "priority": 8}),
        json!({"command": "addRoleACL", "rolename": "r", "acltype": "subscribeliteral", "topic": "t", "allow": true}),
        json!({"command": "modifyRole", "rolename": "r", "allowwildcardsubs": false}),
        json!({"command": "setDefaultACLAccess", "acls": [{"acltype": "SUBSCRIBE", "access": "allow"}]}),
    ];
    assert!(commands.into_iter().all(|command| run(&mut model, command)["error"].is_null()));
    let group = run(&mut model, json!({"command": "getGroup", "groupname": "g"}));
    assert_eq!(
        group["data"]["group"],
        json!({"groupname": "g", "textdescription": "D", "clients": [{"username": "bob"}],
            "roles": [{"rolename": "r", "priority": 8}]})
    );
    let role = run(&mut model, json!({"command": "getRole", "rolename": "r"}));
    let acls = json!([
        {"acltype": "publishClientSend", "topic": "t", "priority": 3, "allow": true},
        {"acltype": "subscribeLiteral", "topic": "t", "priority": 0, "allow": true},
    ]);
    assert_eq!((&role["data"]["role"]["acls"], &role["data"]["role"]["allowwildcardsubs"]), (&acls, &json!(false)));
    let defaults = run(&mut model, json!({"command": "getDefaultACLAccess"}));
    assert_eq!(
        defaults["data"]["acls"],
        json!([
            {"acltype": "publishClientSend", "allow": false}, {"acltype": "publishClientReceive", "allow": true},
            {"acltype": "subscribe", "allow": true}, {"acltype": "unsubscribe", "allow": true},
        ])
    );
    for command in [
        json!({"command": "removeGroupClient", "groupname": "g", "username": "bob"}),
        json!({"command": "removeGroupRole", "groupname": "g", "rolename": "r"}),
        json!({"command": "removeRoleACL", "rolename": "r", "acltype": "publishClientSend", "topic": "t"}),
        json!({"command": "deleteGroup", "groupname": "g"}),
    ] {
        assert_eq!(run(&mut model, command.clone()), json!({"command": command["command"]}));
    }
    assert_eq!(model.counts(), (2, 1, 1));
}

#[test]
fn changes_that_could_not_be_kept_are_told_and_questions_are_still_answered() {
    let mut model = small();
    let request = json!({"commands": [
        {"command": "createClient", "username": "eve", "correlationData": "1"}, {"command": "getDetails"},
        {"command": "deleteClient", "username": "no"},
    ]});
    let mut outcome = model.execute(request.to_string().as_bytes(), &mut salt);
    outcome.not_kept();
    let told: Value = serde_json::from_str(&outcome.into_text()).unwrap();
    let first = json!({"command": "createClient", "error": "Internal error", "correlationData": "1"});
    assert_eq!(told["responses"][0], first);
    assert!(told["responses"][1]["data"].is_object());
    assert_eq!(told["responses"][2]["error"], "Client not found");
}
