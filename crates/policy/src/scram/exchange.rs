//! The server's side of an exchange: two messages in, two out, and the proof of who it was.
//!
//! Driven by the gate and by [`super::Reauthentication`]. An exchange that failed stays failed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use subtle::Choice;

use super::keys::{ScramKeys, sign};
use super::message::{ClientFinal, ClientFirst};
use super::{ITERATIONS_NEW, ScramError};
use crate::identity::UserName;
use crate::password::{Fingerprint, SALT_BYTES};

/// Random bytes an exchange takes, for its nonce and those of all exchanges that follow on the connection.
pub const SEED_BYTES: usize = 32;
/// Random bytes in a nonce: 144 bits.
const NONCE_BYTES: usize = 18;

/// The nonces of one connection, drawn out of one seed.
#[derive(Clone)]
pub(super) struct Nonces {
    seed: [u8; SEED_BYTES],
    drawn: u64,
}

impl Nonces {
    pub(super) fn draw(&mut self) -> String {
        self.drawn += 1;
        STANDARD.encode(&sign(&self.seed, &self.drawn.to_be_bytes())[..NONCE_BYTES])
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

/// A user and the keys to check a proof with. Given out by the password file only, so that nobody else decides who is
/// known.
#[derive(Clone, Debug)]
pub struct Candidate {
    user: UserName,
    keys: ScramKeys,
    is_known: bool,
}

impl Candidate {
    /// The keys of a user who proved to know the password before.
    pub(super) fn of(user: &UserName, keys: &ScramKeys) -> Self {
        Self { user: user.clone(), keys: keys.clone(), is_known: true }
    }

    /// The keys of a user, or those of nobody. What an unknown user is asked looks the same each time and differs from
    /// name to name, as it does for known ones; `shape` is that of a record in the file. The same work is done for
    /// known users (K29).
    pub(crate) fn new(
        user: &str,
        known: Option<&ScramKeys>,
        shape: Option<&ScramKeys>,
        secret: &[u8; SEED_BYTES],
    ) -> Self {
        let (iterations, salt_bytes) =
            shape.map_or((ITERATIONS_NEW, SALT_BYTES), |shape| (shape.iterations, shape.salt.len()));
        let salt = decoy(secret, b"salt", user)[..salt_bytes].to_vec();
        let nobody = ScramKeys::of_nobody(iterations, salt);
        Self { user: UserName(user.into()), is_known: known.is_some(), keys: known.cloned().unwrap_or(nobody) }
    }
}

/// 64 bytes that depend on a name and on a secret of this process.
pub(crate) fn decoy(secret: &[u8; SEED_BYTES], use_: &[u8], user: &str) -> [u8; 64] {
    let mac = Hmac::<Sha512>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.chain_update(use_).chain_update(user).finalize().into_bytes().into()
}

/// Somebody who proved to know the password of a user, and what proves to them that this server has its record.
#[derive(Debug)]
pub struct Proved {
    pub(super) user: UserName,
    pub(super) keys: ScramKeys,
    pub(super) nonces: Nonces,
    server_final: Vec<u8>,
}

impl Proved {
    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.user
    }

    /// The record that was proved.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.keys.fingerprint()
    }

    /// The server's last message, for the client.
    #[must_use]
    pub fn server_final(&self) -> &[u8] {
        &self.server_final
    }
}

/// What a message of the client leads to.
#[derive(Debug)]
pub enum Reply {
    /// Data for the client, which has to answer it; empty asks for the first message.
    Continue(Vec<u8>),
    /// The end.
    Proved(Box<Proved>),
}

#[derive(Debug)]
enum State {
    /// Nothing came.
    Silent,
    /// The first message was asked for.
    Asked,
    /// The first message was answered.
    Answered { candidate: Candidate, gs2_header: String, nonce: String, messages: String },
    /// Ended, well or not.
    Over,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    nonces: Nonces,
    nonce: String,
    state: State,
}

impl Exchange {
    /// An exchange whose nonce comes out of `seed`, which has to be random and is used once.
    #[must_use]
    pub fn new(seed: [u8; SEED_BYTES]) -> Self {
        Self::with(Nonces { seed, drawn: 0 })
    }

    pub(super) fn with(mut nonces: Nonces) -> Self {
        let nonce = nonces.draw();
        Self { nonces, nonce, state: State::Silent }
    }

    /// The same with a nonce of the caller's choice.
    #[cfg(test)]
    pub(super) fn with_nonce(nonce: &str) -> Self {
        Self { nonce: nonce.to_owned(), ..Self::new([0; SEED_BYTES]) }
    }

    /// Takes the next data of the client in. `find` is asked once, for the user the first message names.
    pub fn step(
        &mut self,
        data: Option<&[u8]>,
        find: impl FnOnce(&str) -> Result<Candidate, ScramError>,
    ) -> Result<Reply, ScramError> {
        match (std::mem::replace(&mut self.state, State::Over), data) {
            (State::Silent, None) => {
                self.state = State::Asked;
                Ok(Reply::Continue(Vec::new()))
            }
            (State::Silent | State::Asked, Some(data)) => self.open(&ClientFirst::parse(data)?, find),
            (State::Answered { candidate, gs2_header, nonce, messages }, Some(data)) => {
                let last = ClientFinal::parse(data)?;
                if last.gs2_header != gs2_header.as_bytes() || last.nonce != nonce {
                    return Err(ScramError::Message("the last message does not belong to the first"));
                }
                self.close(candidate, &last, &messages)
            }
            (State::Asked | State::Answered { .. }, None) => Err(ScramError::Message("a message is missing")),
            (State::Over, _) => Err(ScramError::Message("the exchange is over")),
        }
    }

    fn open(
        &mut self,
        first: &ClientFirst<'_>,
        find: impl FnOnce(&str) -> Result<Candidate, ScramError>,
    ) -> Result<Reply, ScramError> {
        // Nobody acts on behalf of somebody else.
        if first.authorization_id.as_ref().is_some_and(|other| *other != first.user) {
            return Err(ScramError::OtherUser);
        }
        let candidate = find(&first.user)?;
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let keys = &candidate.keys;
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        self.state = State::Answered {
            messages: format!("{},{server_first}", first.bare),
            gs2_header: first.gs2_header.to_owned(),
            candidate,
            nonce,
        };
        Ok(Reply::Continue(server_first.into_bytes()))
    }

    fn close(&self, candidate: Candidate, last: &ClientFinal<'_>, messages: &str) -> Result<Reply, ScramError> {
        let auth_message = format!("{messages},{}", last.without_proof);
        let Candidate { user, keys, is_known } = candidate;
        let proved = keys.proves(&last.proof, auth_message.as_bytes()) & Choice::from(u8::from(is_known));
        let signature = STANDARD.encode(keys.server_signature(auth_message.as_bytes()));
        if !bool::from(proved) {
            return Err(ScramError::Credentials);
        }
        let server_final = format!("v={signature}").into_bytes();
        Ok(Reply::Proved(Box::new(Proved { user, keys, nonces: self.nonces.clone(), server_final })))
    }
}
