//! Passwords of keys: out of a file, or asked for at the terminal.
//!
//! Called by `cert` and by the client commands. A password never comes from the command line, and is never shown.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use motte_pki::{Authority, KeyPassword, Trouble, is_protected, key_pem, parse_key};
use zeroize::Zeroizing;

use crate::ui::Failure;

/// Fewer characters are guessed at once from a stolen file.
const LENGTH_MIN: usize = 8;

/// Where passwords come from. What was asked for once is not asked for again.
#[derive(Debug)]
pub(crate) struct Secrets {
    file: Option<PathBuf>,
    new_file: Option<PathBuf>,
    new: RefCell<Option<KeyPassword>>,
}

impl Secrets {
    pub(crate) fn new(file: Option<PathBuf>, new_file: Option<PathBuf>) -> Self {
        Self { file, new_file, new: RefCell::new(None) }
    }

    /// The CA of these two files.
    pub(super) fn authority(&self, certificate: &Path, key: &Path) -> Result<Authority, Failure> {
        if !certificate.exists() {
            let hint = "make a CA with `motte cert ca`, or name its directory with --dir";
            let what = format!("cannot read the CA certificate {}: it does not exist", certificate.display());
            return Err(Failure::new(what, hint));
        }
        let password = self.of_key(key)?;
        Authority::load(certificate, key, password.as_ref()).map_err(told)
    }

    /// The password of a key, if it has one.
    pub(crate) fn of_key(&self, key: &Path) -> Result<Option<KeyPassword>, Failure> {
        match std::fs::read(key).map(Zeroizing::new) {
            Ok(bytes) if is_protected(&bytes) => self.of(&key.display().to_string()).map(Some),
            // What cannot be read is told by whoever reads it.
            _ => Ok(None),
        }
    }

    /// The password of something that has one.
    pub(super) fn of(&self, what: &str) -> Result<KeyPassword, Failure> {
        match &self.file {
            Some(path) => KeyPassword::from_file(path).map_err(|error| told(error.trouble())),
            None => ask(&format!("Password of {what}: "), "give it with --key-password-file"),
        }
    }

    /// The password of `--key-password-file`, for files that may have one.
    pub(super) fn given(&self) -> Result<Option<KeyPassword>, Failure> {
        let from = |path: &PathBuf| KeyPassword::from_file(path).map_err(|error| told(error.trouble()));
        self.file.as_ref().map(from).transpose()
    }

    /// A key as it is to be written: protected if that is asked.
    pub(super) fn sealed(&self, plain_pem: &str, encrypt: bool) -> Result<Zeroizing<String>, Failure> {
        if !encrypt {
            return Ok(Zeroizing::new(plain_pem.to_owned()));
        }
        let password = self.fresh()?;
        let failed = |error: motte_pki::KeyError| {
            Failure::new(format!("cannot protect the key: {error}"), "try again; if it happens again, report it")
        };
        let key = parse_key(plain_pem.as_bytes(), None).map_err(failed)?;
        key_pem(&key, Some(&password)).map_err(failed)
    }

    /// The password for something new.
    pub(super) fn fresh(&self) -> Result<KeyPassword, Failure> {
        if let Some(password) = &*self.new.borrow() {
            return Ok(password.clone());
        }
        let hint = "give it with --new-password-file";
        let password = match &self.new_file {
            Some(path) => KeyPassword::from_file(path).map_err(|error| told(error.trouble()))?,
            None => {
                let password = ask("New password: ", hint)?;
                if ask("The same again: ", hint)? != password {
                    return Err(Failure::new("the two passwords differ", "try again"));
                }
                password
            }
        };
        if password.len() < LENGTH_MIN {
            let what = format!("the password is shorter than {LENGTH_MIN} characters");
            return Err(Failure::new(what, "choose a longer one; whoever gets the file has all the time to guess"));
        }
        *self.new.borrow_mut() = Some(password.clone());
        Ok(password)
    }
}

fn ask(prompt: &str, hint: &str) -> Result<KeyPassword, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(format!("no terminal to ask for this: {}", prompt.trim_end_matches(": ")), hint));
    }
    let text = rpassword::prompt_password(prompt)
        .map_err(|error| Failure::new(format!("cannot ask for the password: {error}"), hint))?;
    Ok(KeyPassword::new(Zeroizing::new(text.into_bytes())))
}

/// A trouble of the certificates as a failure of the command.
pub(super) fn told(trouble: Trouble) -> Failure {
    Failure::new(trouble.what, trouble.hint)
}
