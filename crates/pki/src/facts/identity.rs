//! The one name a client certificate stands for, out of the field that the configuration chose.
//!
//! Called by `node`'s gate after TLS verified the chain, and again at each reload. Never picks one of several names and
//! never repairs one: what is not clear is no identity.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::text::is_unsafe_to_show;

use super::{common_name, distinguished, parse};

/// The field of a client certificate that names its holder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityField {
    /// The only common name of the subject.
    #[default]
    CommonName,
    /// The only DNS name among the subject's alternative names, as it is written there.
    SanDns,
    /// The only URI among them.
    SanUri,
    /// The only e-mail address among them.
    SanEmail,
    /// The whole subject as in RFC 4514, such as `CN=pump-1,OU=Water,O=Example`.
    Subject,
}

impl IdentityField {
    /// Every field.
    pub const ALL: [Self; 5] = [Self::CommonName, Self::SanDns, Self::SanUri, Self::SanEmail, Self::Subject];
}

/// The name a client certificate stands for: the chosen field, if it is there exactly once, not empty, valid text, and
/// without characters that could make two names look the same, break a line or mean something in a topic (`+`, `#`,
/// `/`; a URI may hold `/`, without which there are hardly any). Anything else is no identity at all, because picking
/// one of two names, or cutting at a NUL, has let clients pass as others (CVE-2009-2408).
pub fn identity(leaf_der: &[u8], field: IdentityField) -> Option<String> {
    let certificate = parse(leaf_der).ok()?;
    let name = match field {
        IdentityField::CommonName => common_name(certificate.subject())?,
        IdentityField::SanDns => alternative(&certificate, |name| match name {
            GeneralName::DNSName(text) => Some(text),
            _ => None,
        })
        .filter(|name| !name.contains(['*', ' ']))?,
        IdentityField::SanUri => alternative(&certificate, |name| match name {
            GeneralName::URI(text) => Some(text),
            _ => None,
        })?,
        IdentityField::SanEmail => alternative(&certificate, |name| match name {
            GeneralName::RFC822Name(text) => Some(text),
            _ => None,
        })?,
        IdentityField::Subject => whole_subject(&certificate)?,
    };
    let means_levels = name.contains('/') && field != IdentityField::SanUri;
    let is_clear = !name.is_empty() && !means_levels && !name.contains(['+', '#']);
    (is_clear && !name.chars().any(is_unsafe_to_show)).then_some(name)
}

/// The only alternative name of a kind, which is ASCII (IA5String, RFC 5280 section 4.2.1.6).
fn alternative<'a>(
    certificate: &'a X509Certificate<'a>,
    of_kind: impl Fn(&'a GeneralName<'a>) -> Option<&'a str>,
) -> Option<String> {
    // A second extension of the kind is an error here.
    let extension = certificate.subject_alternative_name().ok()??;
    let mut names = extension.value.general_names.iter().filter_map(of_kind);
    let (only, None) = (names.next()?, names.next()) else { return None };
    only.is_ascii().then(|| only.to_owned())
}

/// The subject, unless a value in it would have to be escaped as bytes.
fn whole_subject(certificate: &X509Certificate<'_>) -> Option<String> {
    let subject = certificate.subject();
    let readable = |text: &str| !text.chars().any(is_unsafe_to_show);
    let all_readable = subject.iter_attributes().all(|attribute| attribute.as_str().is_ok_and(readable));
    all_readable.then(|| distinguished::text(subject))
}
