//! Who is admitted, and with which will.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

/// A will of QoS 0 that is not retained.
fn plain(topic: &str) -> Publishing<'_> {
    Publishing { topic, qos: 0, retain: false }
}

fn admit(policy: &str, user: &str, client_id: &str, will: Option<&str>) -> Result<AdmitPermit, Refused> {
    let policy = Policy::parse(policy).unwrap();
    policy.admit(Authenticated::by_password(UserName(user.into())), ClientId(client_id.into()), will.map(plain))
}

#[test]
fn a_permit_names_the_subject_and_the_method() {
    let permit = admit("", "a/b", "c/d", None).unwrap();
    assert_eq!(permit.subject().identity.user_name(), Some("a/b"));
    assert_eq!(&*permit.subject().client_id.0, "c/d");
    assert_eq!(permit.method(), Method::Password);
    let nobody = Policy::deny_all().admit(Authenticated::anonymously(), ClientId("x".into()), None).unwrap();
    assert_eq!((nobody.method(), &nobody.subject().identity), (Method::Anonymous, &Identity::Anonymous));
}

#[test]
fn k15_a_will_that_may_not_be_published_is_refused() {
    let policy = "user a\ntopic write w/#\ntopic deny w/no\ntopic read r\ntopic write $SYS/#\ntopic write $CONTROL/#\n";
    assert!(admit(policy, "a", "c", Some("w/yes")).is_ok());
    for topic in ["w/no", "r", "x", "$SYS/broker/uptime", "$CONTROL/x", "w/+", "w/#", ""] {
        assert_eq!(admit(policy, "a", "c", Some(topic)).unwrap_err(), Refused::WillDenied, "{topic}");
    }
    assert_eq!(admit("", "a", "c", Some("w")).unwrap_err(), Refused::WillDenied);
}

#[test]
fn k17_a_name_that_would_widen_a_pattern_is_refused() {
    for name in ["+", "#", "a/b", "a/#", "x+", ""] {
        for pattern in ["pattern read u/%u", "pattern deny u/%u/#"] {
            assert_eq!(admit(pattern, name, "c", None).unwrap_err(), Refused::UnsafeName, "{name}");
            assert!(admit(pattern, "a", name, None).is_ok(), "no pattern uses the client id {name}");
        }
        assert_eq!(admit("pattern read c/%c", "a", name, None).unwrap_err(), Refused::UnsafeName, "{name}");
        assert!(admit("topic read u/%u\npattern read c", name, name, None).is_ok(), "{name}");
    }
    let policy = Policy::parse("pattern read u/%u").unwrap();
    assert!(policy.admit(Authenticated::anonymously(), ClientId("c".into()), None).is_ok());
}
