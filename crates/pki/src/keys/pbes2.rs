//! Encryption under a password (PBES2, RFC 8018): PBKDF2 and AES in CBC mode, both of aws-lc-rs.
//! Called by `keys` and `pkcs12`. Writes AES-256 with HMAC-SHA-256 only; reads AES with any SHA, and nothing older.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, DERWriter};
use zeroize::Zeroizing;

use super::KeyError;

/// Rounds of PBKDF2 for what is written.
const ROUNDS: u32 = 600_000;
/// More would be an attack on whoever reads it.
const ROUNDS_MAX: u32 = 20_000_000;
const IV_BYTES: usize = 16;
const SALT_BYTES: usize = 16;

const PBES2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 13];
const PBKDF2: &[u64] = &[1, 2, 840, 113_549, 1, 5, 12];
const HMAC_SHA1: &[u64] = &[1, 2, 840, 113_549, 2, 7];
const HMAC_SHA256: &[u64] = &[1, 2, 840, 113_549, 2, 9];
const HMAC_SHA384: &[u64] = &[1, 2, 840, 113_549, 2, 10];
const HMAC_SHA512: &[u64] = &[1, 2, 840, 113_549, 2, 11];
const AES_128_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 2];
const AES_192_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 22];
const AES_256_CBC: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 1, 42];

/// How something is encrypted.
pub(crate) struct Scheme {
    salt: Vec<u8>,
    rounds: NonZeroU32,
    prf: pbkdf2::Algorithm,
    cipher: &'static Algorithm,
    key_bytes: usize,
    iv: [u8; IV_BYTES],
}

/// Whether DER is an EncryptedPrivateKeyInfo.
pub(crate) fn is_protected(der: &[u8]) -> bool {
    let shape = |reader: BERReader<'_, '_>| {
        reader.read_sequence(|reader| {
            reader.next().read_sequence(|reader| {
                reader.next().read_oid()?;
                reader.next().read_der()
            })?;
            reader.next().read_bytes()
        })
    };
    yasna::parse_der(der, shape).is_ok()
}

/// Encrypts into an EncryptedPrivateKeyInfo.
pub(crate) fn protect(plain: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let scheme = Scheme::new()?;
    let sealed = scheme.seal(plain, password)?;
    Ok(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            scheme.write(writer.next());
            writer.next().write_bytes(&sealed);
        });
    }))
}

/// Decrypts an EncryptedPrivateKeyInfo.
pub(crate) fn open(protected: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut scheme = Err(KeyError::Damaged);
    let sealed = yasna::parse_ber(protected, |reader| {
        reader.read_sequence(|reader| {
            scheme = Scheme::read(reader.next())?;
            reader.next().read_bytes()
        })
    });
    let sealed = sealed.map_err(|_| KeyError::Damaged)?;
    scheme?.open(sealed, password)
}

impl Scheme {
    /// What is written today, with salt and vector of its own.
    pub(crate) fn new() -> Result<Self, KeyError> {
        let mut salt = vec![0; SALT_BYTES];
        let mut iv = [0; IV_BYTES];
        getrandom::fill(&mut salt).and_then(|()| getrandom::fill(&mut iv)).map_err(|_| KeyError::Damaged)?;
        Ok(Self {
            salt,
            rounds: NonZeroU32::new(ROUNDS).expect("it is not zero"),
            prf: pbkdf2::PBKDF2_HMAC_SHA256,
            cipher: &AES_256,
            key_bytes: 32,
            iv,
        })
    }

    fn key(&self, password: &[u8]) -> Result<UnboundCipherKey, KeyError> {
        let mut key = Zeroizing::new(vec![0; self.key_bytes]);
        pbkdf2::derive(self.prf, self.rounds, &self.salt, password, &mut key);
        UnboundCipherKey::new(self.cipher, &key).map_err(|_| KeyError::Damaged)
    }

    pub(crate) fn seal(&self, plain: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
        // Room for the padding, so that no copy of the plain text stays behind.
        let mut bytes = Vec::with_capacity(plain.len() + IV_BYTES);
        bytes.extend_from_slice(plain);
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(self.key(password)?).map_err(|_| KeyError::Damaged)?;
        let context = EncryptionContext::Iv128(FixedLength::from(self.iv));
        key.less_safe_encrypt(&mut bytes, context).map_err(|_| KeyError::Damaged)?;
        Ok(bytes)
    }

    pub(crate) fn open(&self, sealed: Vec<u8>, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut bytes = Zeroizing::new(sealed);
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(self.key(password)?).map_err(|_| KeyError::Damaged)?;
        let context = DecryptionContext::Iv128(FixedLength::from(self.iv));
        let length = key.decrypt(&mut bytes, context).map_err(|_| KeyError::Password)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    pub(crate) fn write(&self, writer: DERWriter<'_>) {
        let oid = ObjectIdentifier::from_slice;
        writer.write_sequence(|writer| {
            writer.next().write_oid(&oid(PBES2));
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(PBKDF2));
                    writer.next().write_sequence(|writer| {
                        writer.next().write_bytes(&self.salt);
                        writer.next().write_u32(self.rounds.get());
                        writer.next().write_sequence(|writer| {
                            writer.next().write_oid(&oid(HMAC_SHA256));
                            writer.next().write_null();
                        });
                    });
                });
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(AES_256_CBC));
                    writer.next().write_bytes(&self.iv);
                });
            });
        });
    }

    /// Reads an algorithm identifier: the outer error is one of form, the inner one says what is not read.
    pub(crate) fn read(reader: BERReader<'_, '_>) -> ASN1Result<Result<Self, KeyError>> {
        reader.read_sequence(|reader| {
            let scheme = reader.next().read_oid()?;
            if scheme.components().as_slice() != PBES2 {
                reader.next().read_der()?;
                return Ok(Err(unread(&scheme)));
            }
            reader.next().read_sequence(|reader| {
                let derivation = reader.next().read_sequence(|reader| {
                    let kind = reader.next().read_oid()?;
                    if kind.components().as_slice() == PBKDF2 {
                        return reader.next().read_sequence(|reader| Derivation::read(reader).map(Ok));
                    }
                    reader.next().read_der()?;
                    Ok(Err(unread(&kind)))
                })?;
                let (cipher, iv) = reader.next().read_sequence(|reader| {
                    let kind = reader.next().read_oid()?;
                    Ok((cipher(&kind), reader.next().read_der()?))
                })?;
                Ok(derivation.and_then(|derivation| derivation.with(cipher?, &iv)))
            })
        })
    }
}

struct Derivation {
    salt: Vec<u8>,
    rounds: u32,
    key_bytes: Option<u32>,
    prf: ObjectIdentifier,
}

impl Derivation {
    fn read(reader: &mut yasna::BERReaderSeq<'_, '_>) -> ASN1Result<Self> {
        let salt = reader.next().read_bytes()?;
        let rounds = reader.next().read_u32()?;
        let key_bytes = reader.read_optional(|reader| reader.read_u32())?;
        let prf = reader.read_optional(|reader| {
            reader.read_sequence(|reader| {
                let prf = reader.next().read_oid()?;
                reader.read_optional(|reader| reader.read_null())?;
                Ok(prf)
            })
        })?;
        let prf = prf.unwrap_or_else(|| ObjectIdentifier::from_slice(HMAC_SHA1));
        Ok(Self { salt, rounds, key_bytes, prf })
    }

    fn with(self, (cipher, key_bytes): (&'static Algorithm, usize), iv: &[u8]) -> Result<Scheme, KeyError> {
        let prf = match self.prf.components().as_slice() {
            HMAC_SHA1 => pbkdf2::PBKDF2_HMAC_SHA1,
            HMAC_SHA256 => pbkdf2::PBKDF2_HMAC_SHA256,
            HMAC_SHA384 => pbkdf2::PBKDF2_HMAC_SHA384,
            HMAC_SHA512 => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(unread(&self.prf)),
        };
        let rounds = NonZeroU32::new(self.rounds).filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let fits = self.key_bytes.is_none_or(|length| usize::try_from(length) == Ok(key_bytes));
        let iv = yasna::parse_ber(iv, |reader| reader.read_bytes()).ok().and_then(|iv| iv.try_into().ok());
        let (Some(rounds), true, Some(iv)) = (rounds, fits, iv) else { return Err(KeyError::Damaged) };
        Ok(Scheme { salt: self.salt, rounds, prf, cipher, key_bytes, iv })
    }
}

fn cipher(kind: &ObjectIdentifier) -> Result<(&'static Algorithm, usize), KeyError> {
    match kind.components().as_slice() {
        AES_128_CBC => Ok((&AES_128, 16)),
        AES_192_CBC => Ok((&AES_192, 24)),
        AES_256_CBC => Ok((&AES_256, 32)),
        _ => Err(unread(kind)),
    }
}

fn unread(kind: &ObjectIdentifier) -> KeyError {
    KeyError::Cipher(format!("algorithm {kind}"))
}

/// The error of a form that is not the expected one.
pub(crate) fn invalid() -> ASN1Error {
    ASN1Error::new(ASN1ErrorKind::Invalid)
}
