//! What a client certificate says about its holder beside the one name: for rules of policy.
//!
//! Called by `node`'s gate after TLS verified the chain. Gives texts as they stand; one that is not readable, or holds
//! what could break a line, is left out, because no rule could name it.

use x509_parser::extensions::GeneralName;
use x509_parser::x509::AttributeTypeAndValue;

use crate::text::is_unsafe_to_show;

use super::{TAG_IA5, TAG_PRINTABLE, TAG_UTF8, hex, parse};

/// Names and values: `cert.cn`, `cert.o`, `cert.ou`, `cert.san.dns`, `cert.san.uri`, `cert.san.email`, `cert.serial`; a
/// name is there once for each of its values. Nothing for what is no certificate.
pub fn attributes(leaf_der: &[u8]) -> Vec<(&'static str, String)> {
    let Ok(certificate) = parse(leaf_der) else { return Vec::new() };
    let subject = certificate.subject();
    let mut found = Vec::new();
    let named = |name: &'static str| move |value: &AttributeTypeAndValue<'_>| Some((name, text(value)?));
    found.extend(subject.iter_common_name().filter_map(named("cert.cn")));
    found.extend(subject.iter_organization().filter_map(named("cert.o")));
    found.extend(subject.iter_organizational_unit().filter_map(named("cert.ou")));
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        let of_kind = |general: &GeneralName<'_>| match general {
            GeneralName::DNSName(text) => Some(("cert.san.dns", (*text).to_owned())),
            GeneralName::URI(text) => Some(("cert.san.uri", (*text).to_owned())),
            GeneralName::RFC822Name(text) => Some(("cert.san.email", (*text).to_owned())),
            _ => None,
        };
        let readable = |(_, text): &(&str, String)| text.is_ascii() && is_readable(text);
        found.extend(extension.value.general_names.iter().filter_map(of_kind).filter(readable));
    }
    found.push(("cert.serial", hex(certificate.raw_serial())));
    found
}

fn text(value: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = value.attr_value();
    let text = std::str::from_utf8(value.data).ok()?;
    let is_text = match value.tag().0 {
        TAG_UTF8 => true,
        TAG_PRINTABLE | TAG_IA5 => text.is_ascii(),
        _ => false,
    };
    (is_text && is_readable(text)).then(|| text.to_owned())
}

fn is_readable(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(is_unsafe_to_show)
}
