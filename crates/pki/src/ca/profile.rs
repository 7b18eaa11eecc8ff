//! What a leaf certificate is to say: subject, names, role and life, from a request or a certificate that is renewed.
//! Called by `Authority` and by `motte cert`. Takes over nothing that it does not know.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use x509_parser::extensions::GeneralName;
use x509_parser::x509::X509Name;

use super::{CLIENT_DAYS_MAX, COMMON_NAME_CHARS_MAX, IssueError, LeafRequest, Role, SERVER_DAYS_MAX};
use crate::facts::{self, CertificateFacts, CertificateRole};
use crate::name::HostName;
use crate::text::{is_unsafe_to_show, printable};

/// DER tags of the strings a name is made of.
const TAG_UTF8: u32 = 12;
const TAG_PRINTABLE: u32 = 19;
const TAG_IA5: u32 = 22;

/// What a leaf certificate says.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(super) role: Role,
    pub(super) subject: DistinguishedName,
    pub(super) names: Vec<SanType>,
    pub(super) days: u16,
}

impl Profile {
    /// What a request of ours asks for, checked.
    pub fn new(request: &LeafRequest) -> Result<Self, IssueError> {
        let profile = Self {
            role: request.role,
            subject: named(&request.common_name)?,
            names: request.names.iter().map(host_name).collect::<Result<_, _>>()?,
            days: request.days,
        };
        profile.check()?;
        Ok(profile)
    }

    /// The same as a certificate says, for the longest life of its role.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IssueError> {
        let unreadable = |error: facts::FactsError| IssueError::Request(error.to_string());
        let role = match CertificateFacts::from_der(der).map_err(unreadable)?.role {
            CertificateRole::Server => Role::Server,
            CertificateRole::Client => Role::Client,
            CertificateRole::Authority | CertificateRole::Other => return Err(IssueError::NoRole),
        };
        let certificate = facts::parse(der).map_err(unreadable)?;
        let names = match certificate.subject_alternative_name() {
            Ok(Some(extension)) => extension.value.general_names.iter().map(|name| general(name, role)).collect(),
            _ => Ok(Vec::new()),
        };
        Ok(Self { role, subject: distinguished(certificate.subject())?, names: names?, days: most_days(role) })
    }

    /// The same for another number of days.
    pub fn lasting(self, days: u16) -> Result<Self, IssueError> {
        let profile = Self { days, ..self };
        profile.check()?;
        Ok(profile)
    }

    /// Server or client.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The common name, as it will stand in the certificate.
    pub fn common_name(&self) -> Option<String> {
        match self.subject.get(&DnType::CommonName)? {
            DnValue::Utf8String(text) => Some(text.clone()),
            DnValue::PrintableString(text) => Some(text.as_str().to_owned()),
            DnValue::Ia5String(text) => Some(text.as_str().to_owned()),
            _ => None,
        }
    }

    /// The alternative names, safe to show.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(shown).collect()
    }

    /// The DNS names and addresses alone.
    pub fn host_names(&self) -> Vec<HostName> {
        let host = |name: &SanType| match name {
            SanType::DnsName(text) => text.as_str().parse().ok(),
            SanType::IpAddress(address) => Some(HostName::Ip(*address)),
            _ => None,
        };
        self.names.iter().filter_map(host).collect()
    }

    pub(super) fn check(&self) -> Result<(), IssueError> {
        let most = most_days(self.role);
        if self.days == 0 || self.days > most {
            return Err(IssueError::Days { role: self.role, most });
        }
        if self.role == Role::Server && self.names.is_empty() {
            return Err(IssueError::NoNames);
        }
        Ok(())
    }

    /// Puts all but dates and serial number into a certificate.
    pub(super) fn fill(&self, params: &mut CertificateParams) {
        params.distinguished_name = self.subject.clone();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.role {
            Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.subject_alt_names.clone_from(&self.names);
    }
}

pub(super) fn most_days(role: Role) -> u16 {
    match role {
        Role::Server => SERVER_DAYS_MAX,
        Role::Client => CLIENT_DAYS_MAX,
    }
}

/// A subject of a common name alone.
pub(super) fn named(common_name: &str) -> Result<DistinguishedName, IssueError> {
    let length = common_name.chars().count();
    if length == 0 || length > COMMON_NAME_CHARS_MAX || common_name.chars().any(is_unsafe_to_show) {
        return Err(IssueError::CommonName);
    }
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

/// A name out of a certificate, to be written again exactly as it is.
pub(super) fn distinguished(name: &X509Name<'_>) -> Result<DistinguishedName, IssueError> {
    let odd = || IssueError::Subject(facts::name_text(name));
    let mut copy = DistinguishedName::new();
    for part in name.iter() {
        let mut attributes = part.iter();
        let (Some(only), None) = (attributes.next(), attributes.next()) else { return Err(odd()) };
        let kind = DnType::from_oid(&only.attr_type().iter().ok_or_else(odd)?.collect::<Vec<_>>());
        let text = std::str::from_utf8(only.attr_value().data).map_err(|_| odd())?;
        let value = match only.attr_value().tag().0 {
            TAG_UTF8 => Some(DnValue::Utf8String(text.to_owned())),
            TAG_PRINTABLE => text.try_into().ok().map(DnValue::PrintableString),
            TAG_IA5 => text.try_into().ok().map(DnValue::Ia5String),
            _ => None,
        };
        if copy.get(&kind).is_some() || text.chars().any(is_unsafe_to_show) {
            return Err(odd());
        }
        copy.push(kind, value.ok_or_else(odd)?);
    }
    Ok(copy)
}

/// A `Dns` built by hand may hold anything, so it is parsed again.
pub(crate) fn host_name(name: &HostName) -> Result<SanType, IssueError> {
    match name {
        HostName::Ip(address) => Ok(SanType::IpAddress(*address)),
        HostName::Dns(text) => dns(text),
    }
}

fn dns(text: &str) -> Result<SanType, IssueError> {
    match text.parse::<HostName>() {
        Ok(HostName::Dns(checked)) => {
            checked.try_into().map(SanType::DnsName).map_err(|_| IssueError::Name(text.to_owned()))
        }
        Ok(HostName::Ip(_)) | Err(_) => Err(IssueError::Name(text.to_owned())),
    }
}

/// A name of a request or a certificate. Only clients have names of people and things.
pub(super) fn general(name: &GeneralName<'_>, role: Role) -> Result<SanType, IssueError> {
    let refused = |text: &str| IssueError::NameKind(text.to_owned());
    let plain = |text: &str| match text {
        text if role == Role::Client && !text.is_empty() && !text.chars().any(is_unsafe_to_show) => {
            text.try_into().map_err(|_| refused(text))
        }
        _ => Err(refused(text)),
    };
    match name {
        GeneralName::DNSName(text) => dns(text),
        GeneralName::IPAddress(bytes) => {
            facts::address(bytes).map(SanType::IpAddress).ok_or_else(|| refused("an address"))
        }
        GeneralName::RFC822Name(text) => plain(text).map(SanType::Rfc822Name),
        GeneralName::URI(text) => plain(text).map(SanType::URI),
        other => Err(refused(&other.to_string())),
    }
}

fn shown(name: &SanType) -> String {
    match name {
        SanType::DnsName(text) | SanType::Rfc822Name(text) | SanType::URI(text) => printable(text.as_str()),
        SanType::IpAddress(address) => address.to_string(),
        _ => String::from("?"),
    }
}
