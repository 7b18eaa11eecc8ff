//! The password of a dynamic client, and in which of Mosquitto's two forms it stands in the file.
//!
//! Called by `read`, `write` and the commands. Shows no hash in `Debug`.

use subtle::Choice;

use crate::password::{PasswordHash, SALT_BYTES};

/// The form in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One string, `encoded_password`, as 2.1 writes it.
    Encoded,
    /// `password`, `salt` and `iterations` of PBKDF2 apart, as 2.0 writes them.
    Apart,
}

/// A hash that somebody can log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Password {
    hash: PasswordHash,
    form: Form,
}

impl Password {
    /// Hashes a new password.
    pub(super) fn new(password: &str, salt: [u8; SALT_BYTES]) -> Self {
        Self { hash: PasswordHash::new(password.as_bytes(), salt), form: Form::Encoded }
    }

    /// Reads the form of 2.1.
    pub(super) fn encoded(text: &str) -> Result<Self, &'static str> {
        Ok(Self { hash: PasswordHash::parse(text)?, form: Form::Encoded })
    }

    /// Reads the form of 2.0.
    pub(super) fn apart(password: &str, salt: &str, iterations: i64) -> Result<Self, &'static str> {
        if password.contains('$') || salt.contains('$') {
            return Err("the salt or the password is not base64");
        }
        Ok(Self { hash: PasswordHash::parse(&format!("$7${iterations}${salt}${password}"))?, form: Form::Apart })
    }

    /// The text of the form of 2.1.
    pub(super) fn encode(&self) -> String {
        self.hash.encode()
    }

    /// Password, salt and iterations, where it came in the form of 2.0: it goes back in the same, so that a broker of
    /// that age can read the file.
    pub(super) fn parts(&self) -> Option<(String, String, i64)> {
        if self.form == Form::Encoded {
            return None;
        }
        let text = self.hash.encode();
        let mut fields = text.strip_prefix("$7$")?.split('$');
        let (iterations, salt, password) = (fields.next()?, fields.next()?, fields.next()?);
        Some((password.to_owned(), salt.to_owned(), iterations.parse().ok()?))
    }

    /// How it is hashed.
    pub(super) fn scheme(&self) -> &'static str {
        self.hash.scheme()
    }

    /// Whether it is this one, compared in constant time.
    pub(super) fn matches(&self, password: &[u8]) -> Choice {
        self.hash.matches(password)
    }
}
