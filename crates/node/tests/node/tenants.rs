//! Tenants: who belongs to which is decided at the gate, and nothing of one reaches another, restarts included.

use motte_mqtt::{Connect, Packet, Qos, ReasonCode};
use motte_node::settings::{Members, Tenancy, TenantSettings};
use motte_policy::TenantName;

use crate::restart::kit::{Guest, keeping, lasting};
use crate::support::{House, Running, connect_as_nobody, listener, logged};

fn tenant(name: &str, members: Members) -> TenantSettings {
    let name = TenantName::parse(name).unwrap();
    TenantSettings { name, suspended: false, members, limits: motte_broker::TenantLimits::default() }
}

fn suffix(text: &str) -> Members {
    Members { user_suffix: Some(text.to_owned()), ..Members::default() }
}

/// A house of the tenants `acme` and `globex`; `root` belongs to none, and `stray` to nothing.
fn house() -> House {
    let mut house = keeping();
    house.settings.tenancy = Tenancy {
        tenants: vec![tenant("acme", suffix("@acme")), tenant("globex", suffix("@globex"))],
        outside: Members { users: ["root".to_owned()].into(), ..Members::default() },
        attribute: None,
    };
    let users = ["pump@acme", "pump@globex", "other@globex", "root", "stray"];
    house.write_passwords(&users.map(|user| (user, "secret")));
    house.write("acl", "pattern readwrite #\npattern read $SYS/#\n");
    house
}

fn as_user<'a>(user: &'a str, connect: Connect<'a>) -> Connect<'a> {
    Connect { user_name: Some(user), password: Some(b"secret"), ..connect }
}

#[track_caller]
fn come(house: &House, node: &Running, connect: &Connect<'_>, present: bool) -> Guest {
    let mut client = house.open(node.address(), None, b"mqtt");
    client.send_packet(&Packet::Connect(*connect));
    client.receive(|packet| match packet {
        Packet::ConnAck(ack) => assert_eq!((ack.reason, ack.session_present), (ReasonCode::Success, present)),
        packet => panic!("{packet:?}"),
    });
    Guest(client)
}

fn refusal(house: &House, node: &Running, user: &str) -> ReasonCode {
    let mut client = house.open(node.address(), None, b"mqtt");
    let code = client.connect(&as_user(user, connect_as_nobody("refused")));
    ReasonCode::from_u8(code).unwrap()
}

#[test]
fn k26_two_tenants_share_a_node_and_its_store_and_never_meet() {
    let house = house();
    let node = house.start();
    let users = ["pump@acme", "pump@globex", "root"];
    for user in users {
        let mut guest = come(&house, &node, &as_user(user, lasting("pump")), false);
        guest.subscribe("#", Qos::AtLeastOnce);
        guest.subscribe("$share/pumps/jobs/+", Qos::AtLeastOnce);
        guest.leave();
    }
    for user in users {
        let mut from = come(&house, &node, &as_user(user, connect_as_nobody("from")), false);
        from.publish("jobs/1", &format!("for {user}"));
        from.publish_as("state", &format!("of {user}"), |publish| publish.retain = true);
        from.next();
        from.leave();
    }
    node.stop().unwrap();
    let node = house.start();
    for user in users {
        let mut guest = come(&house, &node, &as_user(user, lasting("pump")), true);
        let mut told: Vec<_> = (0..3).map(|_| guest.next()).collect();
        told.sort();
        assert!(told[2].starts_with(&format!("state=of {user}")), "{told:?}");
        assert!(told[..2].iter().all(|line| line.starts_with(&format!("jobs/1=for {user}"))), "{told:?}");
        guest.nothing();
        let mut late = come(&house, &node, &as_user(user, connect_as_nobody("late")), false);
        late.subscribe("+", Qos::AtMostOnce);
        assert!(late.next().starts_with(&format!("state=of {user}")));
        late.nothing();
    }
}

#[test]
fn k24_a_tenant_that_is_suspended_is_disconnected_and_the_others_stay() {
    let house = house();
    let text = |suspended: &str, user: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
             [identity]\npassword_file = \"passwords\"\n[policy]\nacl_file = \"acl\"\n[durability]\nmode = \"memory\"\n\
             [[tenant]]\nname = \"acme\"\nuser_suffix = \"@acme\"\nsuspended = {suspended}\n\
             [[tenant]]\nname = \"globex\"\nusers = [\"pump@globex\", \"{user}\"]\n"
        )
    };
    house.write("motte.toml", &text("false", "other@globex"));
    let node = house.start_as(&motte_node::ConfigFile::load(&house.path("motte.toml")).unwrap());
    let users = ["pump@acme", "other@globex", "pump@globex"];
    let mut guests = users.map(|user| come(&house, &node, &as_user(user, connect_as_nobody(user)), false));
    // The second belongs to nobody from now on.
    house.write("motte.toml", &text("true", "root"));
    let begun = std::time::Instant::now();
    node.handle.reload().unwrap();
    for guest in &mut guests[..2] {
        assert_eq!(guest.next(), "disconnect 98");
    }
    assert!(begun.elapsed().as_secs() < 5);
    guests[2].nothing();
    assert_eq!(refusal(&house, &node, "pump@acme"), ReasonCode::Banned);
    assert_eq!(refusal(&house, &node, "other@globex"), ReasonCode::NotAuthorized);
    house.write("motte.toml", &text("false", "other@globex"));
    node.handle.reload().unwrap();
    come(&house, &node, &as_user("pump@acme", connect_as_nobody("id")), false);
}

#[test]
fn k25_a_client_identifier_is_taken_within_its_tenant_only() {
    let house = house();
    let node = house.start();
    let mut own = come(&house, &node, &as_user("pump@globex", lasting("pump")), false);
    let _other_tenant = come(&house, &node, &as_user("pump@acme", lasting("pump")), false);
    let mut refused = house.open(node.address(), None, b"mqtt");
    assert_eq!(refused.connect(&as_user("other@globex", lasting("pump"))), ReasonCode::ClientIdNotValid.as_u8());
    own.nothing();
}

#[test]
fn who_belongs_to_no_tenant_or_to_two_is_refused_and_a_suspended_one_is_closed() {
    let mut house = house();
    house.settings.listeners[0].name = "front".to_owned();
    house.settings.listeners.push(listener("globex-only", motte_node::settings::Transport::tls()));
    let globex = &mut house.settings.tenancy.tenants[1];
    globex.members.listeners.insert("globex-only".to_owned());
    let node = house.start();
    assert_eq!(refusal(&house, &node, "stray"), ReasonCode::NotAuthorized);
    let line = logged(|line| line["message"] == "refused" && line["reason"] == "no_tenant");
    assert_eq!(line["detail"], "the client belongs to no tenant that is known");
    for (user, code) in [("stray", ReasonCode::Success), ("pump@acme", ReasonCode::NotAuthorized)] {
        let mut client = house.open(node.address_of(1), None, b"mqtt");
        assert_eq!(client.connect(&as_user(user, connect_as_nobody("here"))), code.as_u8(), "{user}");
    }
    drop(node);
    house.settings.tenancy.tenants[0].suspended = true;
    let node = house.start();
    assert_eq!(refusal(&house, &node, "pump@acme"), ReasonCode::Banned);
    come(&house, &node, &as_user("pump@globex", connect_as_nobody("open")), false);
}
