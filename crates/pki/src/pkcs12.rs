//! PKCS#12 (RFC 7292): certificates and a key in one file under a password, as devices and browsers take them.
//! Called by `motte cert p12` and `import`. Writes AES-256 and SHA-256; reads nothing that is encrypted in older ways.

use aws_lc_rs::{digest, hmac};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Result, BERReader, DERWriter, Tag};
use zeroize::Zeroizing;

use crate::keys::pbes2::{self, Scheme, invalid};
use crate::keys::{self, KeyError, KeyPassword};

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 6];
const KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 1];
const SHROUDED_KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 2];
const CERT_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113_549, 1, 9, 21];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];

/// Rounds of the key derivation of the integrity check.
const MAC_ROUNDS: u32 = 100_000;
const MAC_ROUNDS_MAX: u32 = 5_000_000;

/// What was in such a file.
#[derive(Debug, Default)]
pub struct Contents {
    /// The certificates, in its order.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The keys.
    pub keys: Vec<PrivateKeyDer<'static>>,
}

/// Packs a key with its certificate and those above it.
pub fn pack(
    name: &str,
    chain: &[CertificateDer<'_>],
    key: &PrivateKeyDer<'_>,
    password: &KeyPassword,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let shrouded = pbes2::protect(&keys::pkcs8(key)?, password.bytes())?;
    let id = chain.first().map(|leaf| digest::digest(&digest::SHA256, leaf));
    let id = id.as_ref().map(AsRef::as_ref).unwrap_or_default();
    let scheme = Scheme::new()?;
    let sealed = scheme.seal(&certificate_bags(name, chain, id), password.bytes())?;
    let key_bags = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            bag(writer.next(), SHROUDED_KEY_BAG, &shrouded, Some((name, id)));
        });
    });
    let safe = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(ENCRYPTED_DATA));
                writer.next().write_tagged(Tag::context(0), |writer| encrypted(writer, &scheme, &sealed));
            });
            content(writer.next(), &key_bags);
        });
    });
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| KeyError::Damaged)?;
    let mac = mac(hmac::HMAC_SHA256, &safe, password, &salt, MAC_ROUNDS)?;
    Ok(Zeroizing::new(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(3);
            content(writer.next(), &safe);
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&oid(SHA256));
                        writer.next().write_null();
                    });
                    writer.next().write_bytes(mac.as_ref());
                });
                writer.next().write_bytes(&salt);
                writer.next().write_u32(MAC_ROUNDS);
            });
        });
    })))
}

/// Whether bytes look like such a file.
pub fn is_pkcs12(bytes: &[u8]) -> bool {
    let begins = |reader: BERReader<'_, '_>| {
        reader.read_sequence(|reader| {
            let version = reader.next().read_u8()?;
            let is_data = reader.next().read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                reader.next().read_der()?;
                Ok(kind.components().as_slice() == DATA)
            })?;
            reader.read_optional(|reader| reader.read_der())?;
            Ok(version == 3 && is_data)
        })
    };
    yasna::parse_ber(bytes, begins) == Ok(true)
}

/// Takes everything out of such a file, once its integrity is sure.
pub fn unpack(bytes: &[u8], password: &KeyPassword) -> Result<Contents, KeyError> {
    let damaged = |_| KeyError::Damaged;
    let (safe, check) = yasna::parse_ber(bytes, |reader| {
        reader.read_sequence(|reader| {
            reader.next().read_u8()?;
            let safe = reader.next().read_sequence(|reader| data(reader))?;
            Ok((safe, reader.read_optional(Check::read)?))
        })
    })
    .map_err(damaged)?;
    check
        .ok_or_else(|| KeyError::Cipher(String::from("a signature instead of a password")))?
        .verify(&safe, password)?;
    let parts = yasna::parse_ber(&safe, |reader| reader.collect_sequence_of(part)).map_err(damaged)?;
    let mut contents = Contents::default();
    for part in parts {
        let bags = match part {
            Part::Plain(bags) => Zeroizing::new(bags),
            Part::Sealed(scheme, sealed) => scheme?.open(sealed, password.bytes())?,
        };
        let bags = yasna::parse_ber(&bags, |reader| reader.collect_sequence_of(|reader| read_bag(reader)));
        for (kind, value) in bags.map_err(damaged)? {
            contents.take(kind.components(), &value, password)?;
        }
    }
    Ok(contents)
}

impl Contents {
    fn take(&mut self, kind: &[u64], value: &[u8], password: &KeyPassword) -> Result<(), KeyError> {
        let key = match kind {
            CERT_BAG => {
                let der = yasna::parse_ber(value, |reader| {
                    reader.read_sequence(|reader| {
                        let kind = reader.next().read_oid()?;
                        let der = reader.next().read_tagged(Tag::context(0), |reader| reader.read_bytes())?;
                        Ok((kind.components().as_slice() == X509).then_some(der))
                    })
                });
                self.certificates.extend(der.map_err(|_| KeyError::Damaged)?.map(CertificateDer::from));
                return Ok(());
            }
            KEY_BAG => Zeroizing::new(value.to_vec()),
            SHROUDED_KEY_BAG => pbes2::open(value, password.bytes())?,
            // Lists, secrets and nested bags are nobody's key or certificate.
            _ => return Ok(()),
        };
        let key = PrivateKeyDer::try_from(key.as_slice()).map_err(|_| KeyError::Damaged)?;
        self.keys.push(key.clone_key());
        Ok(())
    }
}

/// The integrity check.
struct Check {
    kind: ObjectIdentifier,
    value: Vec<u8>,
    salt: Vec<u8>,
    rounds: u32,
}

impl Check {
    fn read(reader: BERReader<'_, '_>) -> ASN1Result<Self> {
        reader.read_sequence(|reader| {
            let (kind, value) = reader.next().read_sequence(|reader| {
                let kind = reader.next().read_sequence(|reader| {
                    let kind = reader.next().read_oid()?;
                    reader.read_optional(|reader| reader.read_der())?;
                    Ok(kind)
                })?;
                Ok((kind, reader.next().read_bytes()?))
            })?;
            let salt = reader.next().read_bytes()?;
            let rounds = reader.read_optional(|reader| reader.read_u32())?.unwrap_or(1);
            Ok(Self { kind, value, salt, rounds })
        })
    }

    fn verify(&self, safe: &[u8], password: &KeyPassword) -> Result<(), KeyError> {
        let algorithm = match self.kind.components().as_slice() {
            [1, 3, 14, 3, 2, 26] => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => hmac::HMAC_SHA256,
            [2, 16, 840, 1, 101, 3, 4, 2, 2] => hmac::HMAC_SHA384,
            [2, 16, 840, 1, 101, 3, 4, 2, 3] => hmac::HMAC_SHA512,
            _ => return Err(KeyError::Cipher(format!("integrity check {}", self.kind))),
        };
        if self.rounds == 0 || self.rounds > MAC_ROUNDS_MAX {
            return Err(KeyError::Damaged);
        }
        let key = mac_key(algorithm, password, &self.salt, self.rounds)?;
        hmac::verify(&key, safe, &self.value).map_err(|_| KeyError::Password)
    }
}

fn mac(
    algorithm: hmac::Algorithm,
    safe: &[u8],
    password: &KeyPassword,
    salt: &[u8],
    rounds: u32,
) -> Result<hmac::Tag, KeyError> {
    Ok(hmac::sign(&mac_key(algorithm, password, salt, rounds)?, safe))
}

/// The key of the integrity check: RFC 7292 appendix B with the diversifier of such keys, one block long.
fn mac_key(
    algorithm: hmac::Algorithm,
    password: &KeyPassword,
    salt: &[u8],
    rounds: u32,
) -> Result<hmac::Key, KeyError> {
    const MAC_KEY: u8 = 3;
    let hash = algorithm.digest_algorithm();
    let block = hash.block_len();
    let text = std::str::from_utf8(password.bytes()).map_err(|_| KeyError::Password)?;
    let mut wide = Zeroizing::new(Vec::with_capacity(2 * text.len() + 2));
    for unit in text.encode_utf16() {
        wide.extend_from_slice(&unit.to_be_bytes());
    }
    wide.extend_from_slice(&[0, 0]);
    let mut context = digest::Context::new(hash);
    context.update(&vec![MAC_KEY; block]);
    for part in [salt, &wide] {
        let length = part.len().div_ceil(block) * block;
        let filled: Zeroizing<Vec<u8>> = Zeroizing::new(part.iter().copied().cycle().take(length).collect());
        context.update(&filled);
    }
    let mut key = context.finish();
    for _ in 1..rounds {
        key = digest::digest(hash, key.as_ref());
    }
    Ok(hmac::Key::new(algorithm, key.as_ref()))
}

fn certificate_bags(name: &str, chain: &[CertificateDer<'_>], id: &[u8]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (place, der) in chain.iter().enumerate() {
                let value = yasna::construct_der(|writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_oid(&oid(X509));
                        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(der));
                    });
                });
                bag(writer.next(), CERT_BAG, &value, (place == 0).then_some((name, id)));
            }
        });
    })
}

fn bag(writer: DERWriter<'_>, kind: &[u64], value: &[u8], label: Option<(&str, &[u8])>) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_der(value));
        let Some((name, id)) = label else { return };
        writer.next().write_set_of(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(FRIENDLY_NAME));
                writer.next().write_set_of(|writer| writer.next().write_bmp_string(name));
            });
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&oid(LOCAL_KEY_ID));
                writer.next().write_set_of(|writer| writer.next().write_bytes(id));
            });
        });
    });
}

fn encrypted(writer: DERWriter<'_>, scheme: &Scheme, sealed: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_u8(0);
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&oid(DATA));
            scheme.write(writer.next());
            writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(sealed));
        });
    });
}

/// A ContentInfo of plain data.
fn content(writer: DERWriter<'_>, bytes: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(DATA));
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(bytes));
    });
}

fn data(reader: &mut yasna::BERReaderSeq<'_, '_>) -> ASN1Result<Vec<u8>> {
    if reader.next().read_oid()?.components().as_slice() != DATA {
        return Err(invalid());
    }
    reader.next().read_tagged(Tag::context(0), |reader| reader.read_bytes())
}

enum Part {
    Plain(Vec<u8>),
    Sealed(Result<Scheme, KeyError>, Vec<u8>),
}

fn part(reader: BERReader<'_, '_>) -> ASN1Result<Part> {
    reader.read_sequence(|reader| match reader.next().read_oid()?.components().as_slice() {
        DATA => reader.next().read_tagged(Tag::context(0), |reader| reader.read_bytes()).map(Part::Plain),
        ENCRYPTED_DATA => reader.next().read_tagged(Tag::context(0), |reader| {
            reader.read_sequence(|reader| {
                reader.next().read_u8()?;
                reader.next().read_sequence(|reader| {
                    reader.next().read_oid()?;
                    let scheme = Scheme::read(reader.next())?;
                    let sealed = reader.next().read_tagged_implicit(Tag::context(0), |reader| reader.read_bytes())?;
                    Ok(Part::Sealed(scheme, sealed))
                })
            })
        }),
        _ => Err(invalid()),
    })
}

/// The kind of a bag and what is in it.
fn read_bag(reader: BERReader<'_, '_>) -> ASN1Result<(ObjectIdentifier, Vec<u8>)> {
    reader.read_sequence(|reader| {
        let kind = reader.next().read_oid()?;
        let value = reader.next().read_tagged(Tag::context(0), |reader| reader.read_der())?;
        reader.read_optional(|reader| reader.read_der())?;
        Ok((kind, value))
    })
}

fn oid(components: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(components)
}

#[cfg(test)]
mod tests;
