//! JSON Web Tokens (RFC 7519) in compact form, signed (RFC 7515): checked against keys that the operator chose.
//! Called by `node` with the time as an argument. Never believes what a token says about its own key or algorithm:
//! both have to be among those that were pinned, and each kind of key verifies with its own algorithms only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

mod algorithm;
mod keys;

pub use algorithm::JwtAlgorithm;
pub use keys::{JwtKeys, JwtKeysError, KeyMark};

/// Longest token; far more than fits into a CONNECT.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Seconds since 1970 beyond which a date is nonsense: the year 9999 is past.
const DATE_MAX: f64 = 300_000_000_000.0;

/// What a token has to be.
#[derive(Clone, Copy, Debug)]
pub struct JwtExpectations<'a> {
    /// The algorithms it may be signed with.
    pub algorithms: &'a [JwtAlgorithm],
    /// Who it has to be from, `iss`.
    pub issuer: &'a str,
    /// Whom it has to be for: one of its `aud`.
    pub audience: &'a str,
    /// Seconds by which the clock of the issuer may differ.
    pub leeway_s: u64,
    /// Seconds since 1970.
    pub now: u64,
}

/// A token that is all that was expected.
#[derive(Clone, Debug)]
pub struct VerifiedJwt {
    /// Everything it says.
    pub claims: Map<String, Value>,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// The key it was signed with.
    pub key: KeyMark,
}

/// Why a token counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not three parts of base64url with JSON in the first two, or too long.
    #[error("it is no signed token")]
    Malformed,
    /// A header that brings its own key, wants extensions, or is of another kind of token.
    #[error("its header has {0:?}, which is not accepted")]
    Header(&'static str),
    /// `none`, or an algorithm that was not pinned.
    #[error("its algorithm is not among those that are accepted")]
    Algorithm,
    /// No key of this name, or no name where there are several keys.
    #[error("no key is known that it could be signed with")]
    UnknownKey,
    /// The signature is not by that key.
    #[error("its signature is wrong")]
    Signature,
    /// A claim that has to be there is not, or is of a wrong type.
    #[error("it has no usable claim {0:?}")]
    Claim(&'static str),
    /// Ended.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// From somebody else.
    #[error("it is from another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for another audience")]
    Audience,
}

/// The parts of a header that matter. A name that stands twice is an error, because two readers could see two things.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
    jwk: Option<Value>,
    jku: Option<Value>,
    x5u: Option<Value>,
    x5c: Option<Value>,
    b64: Option<Value>,
}

impl Header {
    /// Refuses a header that brings its own key or asks for what is not understood (RFC 7515, 4.1), and tokens that are
    /// meant for other uses by their type (RFC 8725, 3.11).
    fn check(&self) -> Result<(), JwtError> {
        let forbidden = [
            ("jwk", &self.jwk),
            ("jku", &self.jku),
            ("x5u", &self.x5u),
            ("x5c", &self.x5c),
            ("crit", &self.crit),
            ("b64", &self.b64),
        ];
        if let Some((name, _)) = forbidden.iter().find(|(_, value)| value.is_some()) {
            return Err(JwtError::Header(name));
        }
        let kind = self.typ.as_deref().map(str::to_ascii_lowercase);
        match kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind)) {
            None | Some("jwt" | "at+jwt") => Ok(()),
            Some(_) => Err(JwtError::Header("typ")),
        }
    }
}

/// Who a token says it is from, before anything about it is checked: only for finding the one to ask about it.
#[must_use]
pub fn jwt_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claim {
        iss: String,
    }
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let payload = decode(payload).ok().filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
    serde_json::from_slice(&payload).ok().map(|claim: Claim| claim.iss)
}

/// Checks everything about a token, its signature first.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify_jwt(token: &str, keys: &JwtKeys, expect: &JwtExpectations<'_>) -> Result<VerifiedJwt, JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    // A part with a dot in it is no base64url, so there are three parts and no more.
    let [header, payload, signature] = [header, payload, signature].map(decode);
    let header: Header = serde_json::from_slice(&header?).map_err(|_| JwtError::Malformed)?;
    header.check()?;
    let algorithm = JwtAlgorithm::from_name(&header.alg).filter(|algorithm| expect.algorithms.contains(algorithm));
    let algorithm = algorithm.ok_or(JwtError::Algorithm)?;
    let key = keys.verify(algorithm, header.kid.as_deref(), signed.as_bytes(), &signature?)?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload?).map_err(|_| JwtError::Malformed)?;
    let expires_at = check_claims(&claims, expect)?;
    Ok(VerifiedJwt { claims, expires_at, key })
}

/// Checks the registered claims, each of which has to be there; when the token ends.
fn check_claims(claims: &Map<String, Value>, expect: &JwtExpectations<'_>) -> Result<u64, JwtError> {
    let expires_at = date(claims, "exp")?;
    if expect.now >= expires_at.saturating_add(expect.leeway_s) {
        return Err(JwtError::Expired);
    }
    if expect.now.saturating_add(expect.leeway_s) < date(claims, "nbf")? {
        return Err(JwtError::NotYet);
    }
    if claims.get("iss").and_then(Value::as_str).ok_or(JwtError::Claim("iss"))? != expect.issuer {
        return Err(JwtError::Issuer);
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::String(audience)) => audience == expect.audience,
        Some(Value::Array(all)) => all.iter().any(|audience| audience.as_str() == Some(expect.audience)),
        _ => return Err(JwtError::Claim("aud")),
    };
    if is_for_us { Ok(expires_at) } else { Err(JwtError::Audience) }
}

/// A date, which may have a fraction (RFC 7519, section 2).
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<u64, JwtError> {
    let number = claims.get(name).and_then(Value::as_f64).filter(|number| (0.0..=DATE_MAX).contains(number));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number was checked just above")]
    number.map(|number| number as u64).ok_or(JwtError::Claim(name))
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests;
