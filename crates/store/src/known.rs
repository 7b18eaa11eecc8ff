//! What was known of a publisher or an owner beside name and client identifier, as it stands in an entry or a row:
//! policy judges what is stored by it again after a restart (K20, K21).
//!
//! Called by the entries, the rows and the tools.
//!
//! Layout: flags u8 · tenant (when flagged) · address, 4 or 16 bytes (when flagged) · attributes (when flagged): their
//! number, then name and value of each · rights (when flagged): their number, then for each a byte of its actions, the
//! highest bit set when it allows, and its filter. Nothing at all when nothing is known.

use std::net::IpAddr;
use std::sync::Arc;

use motte_broker::policy::ranked::{Actions, Effect};
use motte_broker::policy::{Attributes, Facts, Grant, Grants, Subject, TenantName};

use crate::codec::{Malformed, Reader, put_blob, put_len};

const TENANT: u8 = 1;
const V4: u8 = 1 << 1;
const V6: u8 = 1 << 2;
const ATTRIBUTES: u8 = 1 << 3;
const GRANTS: u8 = 1 << 4;
const ALLOWS: u8 = 1 << 7;

/// Whether there is anything to write.
pub(crate) fn is_any(subject: &Subject) -> bool {
    flags(subject) != 0
}

fn flags(subject: &Subject) -> u8 {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    flag(subject.tenant.is_some(), TENANT)
        | flag(subject.address.is_some_and(|address| address.is_ipv4()), V4)
        | flag(subject.address.is_some_and(|address| address.is_ipv6()), V6)
        | flag(!subject.attributes.is_empty(), ATTRIBUTES)
        | flag(subject.grants.is_some(), GRANTS)
}

/// Appends what is known.
pub(crate) fn put(out: &mut Vec<u8>, subject: &Subject) {
    out.push(flags(subject));
    if let Some(tenant) = &subject.tenant {
        put_blob(out, tenant.as_str().as_bytes());
    }
    match subject.address {
        Some(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        None => {}
    }
    if !subject.attributes.is_empty() {
        put_len(out, subject.attributes.iter().count());
        for (name, value) in subject.attributes.iter() {
            put_blob(out, name.as_bytes());
            put_blob(out, value.as_bytes());
        }
    }
    if let Some(grants) = &subject.grants {
        put_len(out, grants.list().len());
        for Grant { effect, actions, filter } in grants.list() {
            out.push(actions.bits() | if *effect == Effect::Allow { ALLOWS } else { 0 });
            put_blob(out, filter.as_bytes());
        }
    }
}

/// The same as bytes of its own; none when nothing is known.
pub(crate) fn encode(subject: &Subject) -> Vec<u8> {
    let mut out = Vec::new();
    if is_any(subject) {
        put(&mut out, subject);
    }
    out
}

/// Reads past it; gives its bytes.
pub(crate) fn skip<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let before = reader.rest();
    let flags = reader.byte()?;
    if flags >> 5 != 0 || flags & (V4 | V6) == V4 | V6 {
        return Err(Malformed("what is known of somebody has unknown flags"));
    }
    if flags & TENANT != 0 {
        reader.text()?;
    }
    reader.take(if flags & V4 != 0 { 4 } else { 0 })?;
    reader.take(if flags & V6 != 0 { 16 } else { 0 })?;
    if flags & ATTRIBUTES != 0 {
        for _ in 0..reader.count()? {
            reader.text()?;
            reader.text()?;
        }
    }
    if flags & GRANTS != 0 {
        for _ in 0..reader.count()? {
            reader.byte()?;
            reader.text()?;
        }
    }
    Ok(&before[..before.len() - reader.rest().len()])
}

/// The subject with what these bytes tell of it.
pub(crate) fn decode(bytes: &[u8], subject: Subject) -> Result<Subject, Malformed> {
    if bytes.is_empty() {
        return Ok(subject);
    }
    let mut reader = Reader::new(bytes);
    skip(&mut reader)?;
    reader.end()?;
    let mut reader = Reader::new(bytes);
    let flags = reader.byte()?;
    let mut facts = Facts::default();
    if flags & TENANT != 0 {
        let tenant = TenantName::parse(reader.text()?).map_err(|_| Malformed("a tenant has a name that is none"))?;
        facts.tenant = Some(tenant);
    }
    if flags & V4 != 0 {
        facts.address = Some(IpAddr::from(<[u8; 4]>::try_from(reader.take(4)?).map_err(|_| SHORT)?));
    }
    if flags & V6 != 0 {
        facts.address = Some(IpAddr::from(<[u8; 16]>::try_from(reader.take(16)?).map_err(|_| SHORT)?));
    }
    if flags & ATTRIBUTES != 0 {
        let mut attributes = Attributes::default();
        for _ in 0..reader.count()? {
            let (name, value) = (reader.text()?, reader.text()?);
            attributes.add(name, value).map_err(|_| Malformed("more attributes than anybody has"))?;
        }
        facts.attributes = Arc::new(attributes);
    }
    if flags & GRANTS != 0 {
        let mut list = Vec::new();
        for _ in 0..reader.count()? {
            let (bits, filter) = (reader.byte()?, reader.text()?.into());
            let effect = if bits & ALLOWS == 0 { Effect::Deny } else { Effect::Allow };
            let actions = Actions::from_bits(bits & !ALLOWS).ok_or(Malformed("a right is for unknown actions"))?;
            list.push(Grant { effect, actions, filter });
        }
        let grants = Grants::new(list).map_err(|_| Malformed("the rights of somebody are none"))?;
        facts.grants = Some(Arc::new(grants));
    }
    Ok(subject.with_facts(facts))
}

const SHORT: Malformed = Malformed("it ends too early");

#[cfg(test)]
mod tests {
    //! What is written is read back, and nothing else is.
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use motte_broker::policy::{ClientId, Identity};

    use super::*;

    fn nobody() -> Subject {
        Subject::new(Identity::Anonymous, ClientId("c".into()))
    }

    fn full(address: &str) -> Subject {
        let mut attributes = Attributes::default();
        attributes.add("cert.ou", "Water").unwrap();
        attributes.add("cert.ou", "Air").unwrap();
        let grant = |effect, filter: &str| Grant { effect, actions: Actions::READ, filter: filter.into() };
        let grants = Grants::new(vec![grant(Effect::Deny, "a"), grant(Effect::Allow, "a/%u/#")]).unwrap();
        let facts = Facts {
            attributes: Arc::new(attributes),
            tenant: TenantName::parse("acme").ok(),
            grants: Some(Arc::new(grants)),
            until: None,
            address: address.parse().ok(),
        };
        nobody().with_facts(facts)
    }

    #[test]
    fn what_is_known_comes_back_as_it_was() {
        for subject in [nobody(), full("10.1.2.3"), full("2001:db8::1"), full("none")] {
            let bytes = encode(&subject);
            assert_eq!(decode(&bytes, nobody()).unwrap(), subject);
            for short in 1..bytes.len() {
                assert!(decode(&bytes[..short], nobody()).is_err(), "{short} of {}", bytes.len());
            }
        }
        assert!(encode(&nobody()).is_empty());
    }

    #[test]
    fn bytes_that_tell_nothing_known_are_refused() {
        for bytes in
            [&[1 << 5][..], &[V4 | V6, 0, 0, 0, 0], &[TENANT, 1, b'+'], &[GRANTS, 1, 1, 3, b'a', b'#', b'b'], &[0, 0]]
        {
            assert!(decode(bytes, nobody()).is_err(), "{bytes:?}");
        }
    }
}
