//! What a proof says, alone and with another, and how much it may say.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

fn attributes(pairs: &[(&str, &str)]) -> Arc<Attributes> {
    let mut attributes = Attributes::default();
    pairs.iter().for_each(|(name, value)| attributes.add(name, value).unwrap());
    Arc::new(attributes)
}

#[test]
fn a_name_has_each_of_its_values_once_in_their_order() {
    let found = attributes(&[("cert.ou", "Water"), ("cert.cn", "pump"), ("cert.ou", "Air"), ("cert.ou", "Water")]);
    assert_eq!(found.values("cert.ou").collect::<Vec<_>>(), ["Water", "Air"]);
    assert_eq!(found.iter().next(), Some(("cert.cn", "pump")), "in the order of the names");
    assert_eq!(found.values("cert.o").count(), 0);
}

#[test]
fn what_is_said_is_bounded_and_nothing_is_left_out_silently() {
    let mut many = Attributes::default();
    for n in 0..VALUES_MAX {
        many.add("n", &n.to_string()).unwrap();
    }
    assert_eq!(many.add("n", "one more"), Err(TooManyAttributes));
    assert_eq!(many.add("n", "7"), Ok(()), "it is there");
    assert_eq!(Attributes::default().add("n", &"x".repeat(BYTES_MAX)), Err(TooManyAttributes));
}

#[test]
fn two_proofs_say_what_each_says_and_hold_as_long_as_both() {
    let first = Facts { attributes: attributes(&[("cert.cn", "a")]), until: Some(9), ..Facts::default() };
    let tenant = TenantName::parse("t").ok();
    let second = Facts { attributes: attributes(&[("jwt.sub", "a")]), until: Some(5), tenant, ..Facts::default() };
    let both = first.clone().and(second).unwrap();
    assert_eq!(both.attributes, attributes(&[("cert.cn", "a"), ("jwt.sub", "a")]));
    assert_eq!((both.until, both.tenant.unwrap().as_str()), (Some(5), "t"));
    assert_eq!(first.and(Facts::default()).unwrap().until, Some(9));
}
