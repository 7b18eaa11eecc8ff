//! `[[tenant]]` and `[tenancy]`.

use super::*;

const TWO: &str = "[[tenant]]\nname = \"acme\"\nuser_suffix = \"@acme\"\nsessions_max = 5\n[[tenant]]\nname = \"b\"\n\
                   listeners = [\"listener-1\"]\nusers = [\"x\"]\nattributes = [\"cert.o=B Ltd\"]\nsuspended = true\n\
                   [tenancy]\nattribute = \"jwt.tenant\"\noutside_users = [\"root\"]\n";

#[test]
fn tenants_are_read_with_what_tells_their_members() {
    let dir = folder();
    let path = dir.path().join("motte.toml");
    fs::write(&path, format!("{GOOD}{TWO}")).unwrap();
    let tenancy = ConfigFile::load(&path).unwrap().tenancy;
    let [acme, b] = &tenancy.tenants[..] else { panic!("{tenancy:?}") };
    assert_eq!((acme.name.as_str(), acme.members.user_suffix.as_deref()), ("acme", Some("@acme")));
    assert_eq!((acme.limits.sessions_max, acme.limits.connections_max), (Some(5), None));
    assert!(b.suspended && b.members.users.contains("x") && b.members.listeners.contains("listener-1"));
    assert_eq!(b.members.attributes, [("cert.o".to_owned(), "B Ltd".to_owned())]);
    assert!(tenancy.outside.users.contains("root"));
    assert_eq!(tenancy.attribute.as_deref(), Some("jwt.tenant"));
}

#[test]
fn a_tenant_that_cannot_be_told_from_another_or_from_nobody_is_an_error() {
    let at = |line: usize| GOOD.lines().count() + line;
    for (text, line, what) in [
        ("[[tenant]]\nname = \"acme\"\n", 1, "nobody belongs to the tenant acme"),
        ("[[tenant]]\nname = \"a/b\"\nusers = [\"x\"]\n", 2, "a tenant is named by 1 to 64 letters"),
        ("[[tenant]]\nusers = [\"x\"]\n", 1, "name is missing in [[tenant]]"),
        ("[[tenant]]\nname = \"a\"\nuser_suffix = \"\"\n", 3, "user_suffix is empty"),
        ("[[tenant]]\nname = \"a\"\nlisteners = [\"mqtt\"]\n", 3, "there is no listener \"mqtt\""),
        ("[[tenant]]\nname = \"a\"\nattributes = [\"cert.o\"]\n", 3, "\"cert.o\" is no attribute with a value"),
        (
            "[[tenant]]\nname = \"a\"\nusers = [\"x\"]\n[[tenant]]\nname = \"a\"\nusers = [\"y\"]\n",
            5,
            "there are two tenants a",
        ),
        (
            "[[tenant]]\nname = \"a\"\nusers = [\"x\"]\n[[tenant]]\nname = \"b\"\nusers = [\"x\"]\n",
            4,
            "\"x\" belongs to the tenant b and to a",
        ),
        ("[tenancy]\noutside_users = [\"x\"]\n", 1, "[tenancy] is for tenants, and there are none"),
    ] {
        let dir = folder();
        let found = errors(dir.path(), format!("{GOOD}{text}").as_bytes(), SystemTime::now());
        let expected = format!(":{}: {what}", at(line));
        assert!(found.iter().any(|error| error.contains(&expected)), "{text}\n{expected}\n{found:?}");
    }
}
