//! The two messages of a client, read strictly (RFC 5802 §7).
//!
//! Called by the exchange. Pure functions of bytes that a stranger sent: bounded, and no panic whatever they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ScramError;
use super::keys::{Key, is_prepared};

/// Longest message of a client, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4_096;
/// Longest nonce of a client, in bytes.
const NONCE_BYTES_MAX: usize = 256;

/// The first message: who wants to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The GS2 header as it was sent; the second message has to repeat it.
    pub(super) gs2_header: &'a str,
    /// The message without the GS2 header.
    pub(super) bare: &'a str,
    /// On whose behalf, where that was said.
    pub(super) authorization_id: Option<String>,
    /// The user name, with its escapes undone.
    pub(super) user: String,
    /// The client's nonce.
    pub(super) nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// Reads `n,[a=authzid],n=user,r=nonce`. A channel binding is refused: none is offered. A name that SASLprep might
    /// change is refused as well.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(bytes)?;
        let wrong = ScramError::Message("the first message is not n,,n=USER,r=NONCE");
        let (flag, rest) = text.split_once(',').ok_or(wrong)?;
        match flag {
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::Message("a channel binding is asked for")),
            _ => return Err(wrong),
        }
        let (authorization_id, bare) = rest.split_once(',').ok_or(wrong)?;
        let authorization_id = match authorization_id {
            "" => None,
            named => Some(name(named.strip_prefix("a=").ok_or(wrong)?)?),
        };
        let mut attributes = bare.split(',');
        let user = match attributes.next() {
            Some(first) if first.starts_with("m=") => {
                return Err(ScramError::Message("a mandatory extension is asked for, and there is none"));
            }
            first => name(first.and_then(|first| first.strip_prefix("n=")).ok_or(wrong)?)?,
        };
        let nonce = attributes.next().and_then(|next| next.strip_prefix("r=")).ok_or(wrong)?;
        if !is_nonce(nonce) || !attributes.all(is_extension) {
            return Err(wrong);
        }
        let gs2_header = &text[..text.len() - bare.len()];
        Ok(Self { gs2_header, bare, authorization_id, user, nonce })
    }
}

/// The last message: the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// The GS2 header it repeats, decoded.
    pub(super) gs2_header: Vec<u8>,
    /// Both nonces, one behind the other.
    pub(super) nonce: &'a str,
    /// The message without `,p=`.
    pub(super) without_proof: &'a str,
    /// The proof.
    pub(super) proof: Key,
}

impl<'a> ClientFinal<'a> {
    /// Reads `c=header,r=nonces,p=proof`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(bytes)?;
        let wrong = ScramError::Message("the last message is not c=HEADER,r=NONCES,p=PROOF");
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(wrong)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok()).ok_or(wrong)?;
        let mut attributes = without_proof.split(',');
        let header = attributes.next().and_then(|first| first.strip_prefix("c=")).ok_or(wrong)?;
        let gs2_header = STANDARD.decode(header).map_err(|_| wrong)?;
        let nonce = attributes.next().and_then(|next| next.strip_prefix("r=")).ok_or(wrong)?;
        if !attributes.all(is_extension) {
            return Err(wrong);
        }
        Ok(Self { gs2_header, nonce, without_proof, proof })
    }
}

fn text(bytes: &[u8]) -> Result<&str, ScramError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Message("the message is longer than 4096 bytes"));
    }
    str::from_utf8(bytes).map_err(|_| ScramError::Message("the message is not UTF-8"))
}

/// A `saslname` with its two escapes undone.
fn name(text: &str) -> Result<String, ScramError> {
    let wrong = ScramError::Message("a name is empty, or not printable ASCII with = and , as =3D and =2C");
    let mut pieces = text.split('=');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (escaped, rest) = match (piece.strip_prefix("2C"), piece.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(wrong),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    if name.is_empty() || !is_prepared(name.as_bytes()) { Err(wrong) } else { Ok(name) }
}

fn is_nonce(text: &str) -> bool {
    (1..=NONCE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

/// An optional extension, which is read over: a letter, `=`, and a value.
fn is_extension(attribute: &str) -> bool {
    let mut bytes = attribute.bytes();
    let letter = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    letter && bytes.next() == Some(b'=') && bytes.len() > 0 && !attribute.contains('\0')
}
