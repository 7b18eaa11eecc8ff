//! Answers about a certificate's status (OCSP, RFC 6960), to be stapled to the handshakes of its holder.
//! Called by `node`, which asks the responder and hands the answer in here. Takes no answer that is not signed by the
//! issuer, or by whom it appointed, about this very certificate, and for this time; never opens a socket.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AlgorithmIdentifier;
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, BERReader, BERReaderSeq, Tag};

use crate::chain::Chain;
use crate::facts;
use crate::index;
use crate::signature::Signed;

/// Clocks differ; an answer may be of one that is ahead by so much.
const SKEW: Duration = Duration::from_secs(5 * 60);
/// Bytes of the longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

const OCSP: &str = "1.3.6.1.5.5.7.48.1";
const BASIC: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 1];
const SHA1: &[u64] = &[1, 3, 14, 3, 2, 26];

/// A good answer, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    pub(crate) der: Vec<u8>,
    /// The certificate it is about.
    pub(crate) leaf: Vec<u8>,
    /// When it was true.
    pub this_update: SystemTime,
    /// When it ends to count.
    pub next_update: SystemTime,
}

/// Why an answer is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StapleError {
    /// The file of the certificate does not hold its issuer's.
    #[error("the certificate file does not hold the certificate of its issuer, so no answer can be verified")]
    NoIssuer,
    /// The responder refuses.
    #[error("the responder gives no answer: {0}")]
    Responder(&'static str),
    /// It is damaged, or in another form.
    #[error("the answer is damaged, or in a form that is not read")]
    Damaged,
    /// It is about another certificate.
    #[error("the answer is about another certificate")]
    Other,
    /// Neither the issuer nor its delegate signed it.
    #[error("the answer is not signed by the issuer of the certificate")]
    Signature,
    /// It is from another time, or does not say until when it counts.
    #[error("the answer does not count at this time")]
    Time,
    /// The certificate is revoked.
    #[error("the responder says that the certificate has been revoked")]
    Revoked,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    Unknown,
}

impl Staple {
    /// Whether it may be shown at `now`.
    pub fn counts_at(&self, now: SystemTime) -> bool {
        self.this_update <= now + SKEW && now < self.next_update
    }

    /// When it is time for the next: in the middle of its life.
    pub fn refresh_at(&self) -> SystemTime {
        let life = self.next_update.duration_since(self.this_update).unwrap_or(Duration::ZERO);
        self.this_update + life / 2
    }

    /// Whether it is about the first certificate of a file.
    pub fn is_about(&self, chain: &Chain) -> bool {
        self.leaf == chain.leaf()
    }

    /// Checks an answer about the first certificate of a chain; the second is its issuer.
    pub fn verify(answer: &[u8], chain: &Chain, now: SystemTime) -> Result<Self, StapleError> {
        let issuer = issuer(chain)?;
        let basic = Basic::read(answer)?;
        basic.check_signature(issuer, now)?;
        let wanted = Identifier::of(chain.leaf(), issuer)?;
        let single = basic.answers.iter().find(|single| single.about == wanted).ok_or(StapleError::Other)?;
        match single.status {
            Status::Good => {}
            Status::Revoked => return Err(StapleError::Revoked),
            Status::Unknown => return Err(StapleError::Unknown),
        }
        let next_update = single.next_update.ok_or(StapleError::Time)?;
        let leaf = chain.leaf().to_vec();
        let staple = Self { der: answer.to_vec(), leaf, this_update: single.this_update, next_update };
        if staple.counts_at(now) { Ok(staple) } else { Err(StapleError::Time) }
    }
}

/// Where to ask about a certificate, as it says itself.
pub fn responder_url(chain: &Chain) -> Option<String> {
    let certificate = facts::parse(chain.leaf()).ok()?;
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            let mut responders = access.accessdescs.iter().filter(|way| way.access_method.to_id_string() == OCSP);
            responders.find_map(|way| match &way.access_location {
                GeneralName::URI(url) => Some((*url).to_owned()),
                _ => None,
            })
        }
        _ => None,
    })
}

/// The question about the first certificate of a chain, DER.
pub fn question(chain: &Chain) -> Result<Vec<u8>, StapleError> {
    let about = Identifier::of(chain.leaf(), issuer(chain)?)?;
    let serial = about.serial.as_bytes().chunks(2).map(|pair| {
        std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or_default()
    });
    let serial: Vec<u8> = serial.collect();
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_sequence(|writer| {
                            writer.next().write_sequence(|writer| {
                                writer.next().write_oid(&ObjectIdentifier::from_slice(SHA1));
                                writer.next().write_null();
                            });
                            writer.next().write_bytes(&about.name);
                            writer.next().write_bytes(&about.key);
                            writer.next().write_bigint_bytes(&serial, true);
                        });
                    });
                });
            });
        });
    }))
}

fn issuer(chain: &Chain) -> Result<&CertificateDer<'static>, StapleError> {
    let issuer = chain.0.get(1).filter(|issuer| facts::is_signed_by(chain.leaf(), issuer));
    issuer.ok_or(StapleError::NoIssuer)
}

/// Which certificate is meant. SHA-1 is a name here and protects nothing; responders know no other.
#[derive(Debug, PartialEq, Eq)]
struct Identifier {
    name: Vec<u8>,
    key: Vec<u8>,
    serial: String,
}

impl Identifier {
    fn of(leaf: &[u8], issuer: &[u8]) -> Result<Self, StapleError> {
        let (Ok(leaf), Ok(issuer)) = (facts::parse(leaf), facts::parse(issuer)) else {
            return Err(StapleError::Damaged);
        };
        let hash = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        Ok(Self {
            name: hash(issuer.subject().as_raw()),
            key: hash(&issuer.public_key().subject_public_key.data),
            serial: index::normal(&facts::hex(leaf.raw_serial())),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Good,
    Revoked,
    Unknown,
}

struct Single {
    about: Identifier,
    status: Status,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
}

/// A basic answer: what is said, and who signed it.
struct Basic {
    said: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    certificates: Vec<Vec<u8>>,
    answers: Vec<Single>,
}

impl Basic {
    fn read(answer: &[u8]) -> Result<Self, StapleError> {
        let damaged = |_| StapleError::Damaged;
        let (status, bytes) = yasna::parse_der(answer, |reader| {
            reader.read_sequence(|reader| {
                let status = reader.next().read_enum()?;
                let bytes = reader.read_optional(|reader| {
                    reader.read_tagged(Tag::context(0), |reader| {
                        reader.read_sequence(|reader| {
                            let kind = reader.next().read_oid()?;
                            let bytes = reader.next().read_bytes()?;
                            Ok((kind.components().as_slice() == BASIC).then_some(bytes))
                        })
                    })
                })?;
                Ok((status, bytes.flatten()))
            })
        })
        .map_err(damaged)?;
        let refusal = match status {
            0 => None,
            1 => Some("malformed request"),
            2 => Some("internal error"),
            3 => Some("try later"),
            5 => Some("a signature is required"),
            6 => Some("unauthorized"),
            _ => Some("an unknown status"),
        };
        if let Some(refusal) = refusal {
            return Err(StapleError::Responder(refusal));
        }
        yasna::parse_der(&bytes.ok_or(StapleError::Damaged)?, |reader| reader.read_sequence(basic)).map_err(damaged)
    }

    /// Whether the issuer signed, or somebody with its certificate for this.
    fn check_signature(&self, issuer: &[u8], now: SystemTime) -> Result<(), StapleError> {
        let Ok(([], algorithm)) = AlgorithmIdentifier::from_der(&self.algorithm) else {
            return Err(StapleError::Damaged);
        };
        let signed = Signed { message: &self.said, algorithm: &algorithm, signature: &self.signature };
        let is_by = |certificate: &[u8]| facts::public_key_der(certificate).is_some_and(|key| signed.is_by(&key));
        let is_delegate = |certificate: &[u8]| {
            facts::is_signed_by(certificate, issuer)
                && facts::parse(certificate).is_ok_and(|certificate| {
                    let usage = certificate.extended_key_usage().ok().flatten();
                    let validity = certificate.validity();
                    let (begin, end) =
                        (facts::system_time(validity.not_before), facts::system_time(validity.not_after));
                    usage.is_some_and(|usage| usage.value.ocsp_signing) && begin <= now && now <= end
                })
        };
        let delegates = self.certificates.iter().filter(|certificate| is_delegate(certificate));
        let good = is_by(issuer) || delegates.into_iter().any(|certificate| is_by(certificate));
        if good { Ok(()) } else { Err(StapleError::Signature) }
    }
}

fn basic(reader: &mut BERReaderSeq<'_, '_>) -> ASN1Result<Basic> {
    let said = reader.next().read_der()?;
    let algorithm = reader.next().read_der()?;
    // What is not signed is to have its one form as well.
    yasna::parse_der(&algorithm, |reader| {
        reader.read_sequence(|reader| {
            reader.next().read_oid()?;
            reader.read_optional(|reader| reader.read_der())
        })
    })?;
    let (signature, bits) = reader.next().read_bitvec_bytes()?;
    if bits != signature.len() * 8 {
        return Err(crate::keys::pbes2::invalid());
    }
    let certificates = reader.read_optional(|reader| {
        reader.read_tagged(Tag::context(0), |reader| reader.collect_sequence_of(|reader| reader.read_der()))
    })?;
    let answers = yasna::parse_der(&said, |reader| {
        reader.read_sequence(|reader| {
            reader.read_optional(|reader| reader.read_tagged(Tag::context(0), |reader| reader.read_u8()))?;
            // Who answers, and when: what counts is whose signature it is, and the times below.
            reader.next().read_der()?;
            reader.next().read_der()?;
            let answers = reader.next().collect_sequence_of(single)?;
            reader.read_optional(|reader| reader.read_der())?;
            Ok(answers)
        })
    })?;
    Ok(Basic { said, algorithm, signature, certificates: certificates.unwrap_or_default(), answers })
}

fn single(reader: BERReader<'_, '_>) -> ASN1Result<Single> {
    reader.read_sequence(|reader| {
        let about = reader.next().read_sequence(|reader| {
            let is_sha1 = reader.next().read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                reader.read_optional(|reader| reader.read_der())?;
                Ok(kind.components().as_slice() == SHA1)
            })?;
            let (name, key) = (reader.next().read_bytes()?, reader.next().read_bytes()?);
            let (serial, _) = reader.next().read_bigint_bytes()?;
            // By another hash it is not what was asked for.
            let name = if is_sha1 { name } else { Vec::new() };
            Ok(Identifier { name, key, serial: index::normal(&facts::hex(&serial)) })
        })?;
        let status = reader.next().read_der()?;
        let status = match status.first() {
            Some(0x80) => Status::Good,
            Some(0xa1) => Status::Revoked,
            _ => Status::Unknown,
        };
        let this_update = moment(&reader.next().read_der()?)?;
        let mut next_update = None;
        for tag in 0..2 {
            let found =
                reader.read_optional(|reader| reader.read_tagged(Tag::context(tag), |reader| reader.read_der()))?;
            if let Some(der) = found.filter(|_| tag == 0) {
                next_update = Some(moment(&der)?);
            }
        }
        Ok(Single { about, status, this_update, next_update })
    })
}

fn moment(der: &[u8]) -> ASN1Result<SystemTime> {
    match ASN1Time::from_der(der) {
        Ok(([], time)) => Ok(facts::system_time(time)),
        _ => Err(crate::keys::pbes2::invalid()),
    }
}

#[cfg(test)]
mod tests;
