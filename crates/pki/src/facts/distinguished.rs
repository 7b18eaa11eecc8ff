//! Distinguished names as text (RFC 4514, the successor of RFC 2253). Called by `facts` and its `identity` only.
//! Never loses or merges a field: unknown types are shown by OID, unreadable values as hex.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::text::is_unsafe_to_show;

/// The name, most specific part first, fields of one part joined by `+`.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(field).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn field(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    };
    let value = match attribute.as_str() {
        Ok(value) => escaped(value),
        Err(_) => format!("#{}", super::hex(attribute.attr_value().data)),
    };
    format!("{short}={value}")
}

/// RFC 4514 section 2.4, and everything that is unsafe to show as its UTF-8 bytes in hex.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let edge = (index == 0 && matches!(c, ' ' | '#')) || (index == last && c == ' ');
        if is_unsafe_to_show(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
                text.push('\\');
            }
            text.push(c);
        }
    }
    text
}
