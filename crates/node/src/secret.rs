//! Secrets by reference: the configuration says where a secret is kept, never what it is.
//!
//! Read by `config`, resolved when a snapshot is built, at a start and at each reload. What was resolved is never
//! shown: not by `Debug`, not in an error, and its memory is wiped when it is dropped (K39).

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

pub use self::resolver::Resolver;
pub use self::vault::{VaultLogin, VaultPath, VaultSettings};

mod resolver;
mod vault;

/// Far more than any secret; a wrong path to something huge ends here.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a variable or of a credential.
const NAME_BYTES_MAX: usize = 255;

/// A secret itself. Equality says whether settings changed; it takes its time and is never for what a peer sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of these bytes. One newline at the end is cut: editors and `echo` put it there.
    ///
    /// # Errors
    /// Nothing is left, or it is longer than [`SECRET_BYTES_MAX`].
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, SecretError> {
        let mut bytes = bytes;
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        match bytes.len() {
            0 => Err(SecretError::Empty),
            length if length > SECRET_BYTES_MAX => Err(SecretError::TooLong),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text.
    ///
    /// # Errors
    /// It is no UTF-8.
    pub fn text(&self) -> Result<&str, SecretError> {
        std::str::from_utf8(&self.0).map_err(|_| SecretError::NotText)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: a variable of the environment of the broker.
    Env(String),
    /// `file:PATH`: a file that nobody else can read.
    File(PathBuf),
    /// `credential:NAME`: what systemd passes to the service (`LoadCredential=`, `SetCredential=`).
    Credential(String),
    /// `vault:MOUNT/PATH#KEY`: a value in HashiCorp Vault or OpenBao.
    Vault(VaultPath),
    /// Written out in the configuration; allowed under `[danger]` alone.
    Literal(Secret),
}

/// Why there is no secret. Never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The part behind `env:`, `file:`, `credential:` or `vault:` cannot be a name of that kind.
    #[error("the reference has no usable name behind {0:?}")]
    Name(&'static str),
    /// The variable is not in the environment.
    #[error("the environment has no variable {0}")]
    NoVariable(String),
    /// The process was given no credentials.
    #[error("there is no CREDENTIALS_DIRECTORY: the broker was not started by systemd with credentials")]
    NoCredentials,
    /// There is nothing at the path.
    #[error("{} does not exist", .0.display())]
    NotFound(PathBuf),
    /// A directory, a pipe or a device.
    #[error("{} is not a file", .0.display())]
    NotFile(PathBuf),
    /// Others can read the file.
    #[error("{} holds a secret that other users can read (mode {mode:o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system would not let us read it.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Nothing is in it.
    #[error("the secret is empty")]
    Empty,
    /// Longer than any secret.
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
    /// The vault does not give it.
    #[error("the vault cannot be asked: {0}")]
    Vault(String),
    /// No vault is configured.
    #[error("there is no [vault] to ask")]
    NoVault,
    /// Bytes that are no UTF-8 where text is needed.
    #[error("the secret is not text in UTF-8")]
    NotText,
}

impl SecretError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Name(_) => String::from("write env:NAME, file:PATH, credential:NAME or vault:MOUNT/PATH#KEY"),
            Self::NoVariable(name) => format!("set {name} where the broker is started, or name a file: file:PATH"),
            Self::NoCredentials => {
                String::from("add LoadCredential=NAME:PATH to the unit of the service, or name a file: file:PATH")
            }
            Self::NotFound(_) => {
                String::from("check the path; relative paths start at the folder of the configuration file")
            }
            Self::NotFile(_) => String::from("name a file"),
            Self::Exposed { path, .. } => {
                format!("run `chmod 600 {}`, and make a new secret if others may have read it", path.display())
            }
            Self::Unreadable { .. } => String::from("check the owner and mode of the file and of its directories"),
            Self::Empty => String::from("write the secret into it"),
            Self::TooLong => String::from("check the path"),
            Self::Vault(_) => String::from("check [vault], the path of the secret and what the broker may read there"),
            Self::NoVault => String::from("add [vault] with url, and token or role_id and secret_id"),
            Self::NotText => String::from("write it as text in UTF-8"),
        }
    }
}

/// The environment of the process, as far as references look into it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl SecretRef {
    /// Reads a reference; paths are relative to `folder`. A text that is none is a literal secret.
    ///
    /// # Errors
    /// A reference without a usable name.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, SecretError> {
        if let Some(name) = text.strip_prefix("env:") {
            return match is_name(name) && !name.contains('=') {
                true => Ok(Self::Env(name.to_owned())),
                false => Err(SecretError::Name("env:")),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            return match path.is_empty() || path.contains('\0') {
                false => Ok(Self::File(folder.join(path))),
                true => Err(SecretError::Name("file:")),
            };
        }
        if let Some(name) = text.strip_prefix("credential:") {
            // The name is one file in the directory and must not lead out of it.
            return match is_name(name) && !name.contains('/') && name != "." && name != ".." {
                true => Ok(Self::Credential(name.to_owned())),
                false => Err(SecretError::Name("credential:")),
            };
        }
        if let Some(path) = text.strip_prefix("vault:") {
            return VaultPath::parse(path).map(Self::Vault).ok_or(SecretError::Name("vault:"));
        }
        Secret::new(Zeroizing::new(text.as_bytes().to_vec())).map(Self::Literal)
    }

    /// The file that it is kept in, where it is a named one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) | Self::Credential(_) | Self::Vault(_) | Self::Literal(_) => None,
        }
    }

    /// The secret, as it is where it is kept at present; one in a vault is for [`Resolver`] to find.
    ///
    /// # Errors
    /// It is not there, is open to others, or cannot be read.
    pub fn resolve(&self, environment: Environment<'_>) -> Result<Secret, SecretError> {
        match self {
            Self::Env(name) => {
                let value = environment(name).ok_or_else(|| SecretError::NoVariable(name.clone()))?;
                Secret::new(Zeroizing::new(value.into_encoded_bytes()))
            }
            Self::File(path) => read(path),
            Self::Credential(name) => {
                let folder = environment("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
                read(&Path::new(&folder.ok_or(SecretError::NoCredentials)?).join(name))
            }
            Self::Vault(_) => Err(SecretError::NoVault),
            Self::Literal(secret) => Ok(secret.clone()),
        }
    }
}

/// Where the secret is; never what it is.
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Vault(path) => write!(f, "vault:{path}"),
            Self::Literal(_) => f.write_str("a literal secret"),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Reads a file, through symbolic links: Kubernetes mounts secrets as links that it swaps.
fn read(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => SecretError::NotFound(path.to_owned()),
        _ => SecretError::Unreadable { path: path.to_owned(), reason: error.to_string() },
    };
    // Looked at before it is opened, because opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretError::NotFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if is_exposed(found.mode(), found.uid(), rustix::process::geteuid().as_raw()) {
        return Err(SecretError::Exposed { path: path.to_owned(), mode: found.mode() & 0o777 });
    }
    // All room is taken at once, so that a growing buffer leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
    file.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    Secret::new(bytes)
}

/// Whether others than the broker may have read a file. Its group may where root owns it and the broker is not root:
/// so Kubernetes (`fsGroup`) and systemd (an access list, whose mask is shown as the group's bits) give a secret to a
/// service without making it the owner.
fn is_exposed(mode: u32, owner: u32, broker: u32) -> bool {
    let given_by_root = owner == 0 && broker != 0;
    mode & if given_by_root { 0o037 } else { 0o077 } != 0
}

#[cfg(test)]
mod tests;
