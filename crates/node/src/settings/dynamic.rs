//! Dynamic security: where its file is, and what its administrator begins with.
//!
//! Made by `config`, read by boot, the snapshot and whoever answers requests.

use std::path::PathBuf;

use crate::secret::SecretRef;

/// Clients, groups and roles that are changed while the broker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicSettings {
    /// The file, in Mosquitto's form. Made at the start when it is not there.
    pub file: PathBuf,
    /// The password of the administrator of a file that is made; by default one that is made as well.
    pub admin_password: Option<SecretRef>,
}

impl DynamicSettings {
    /// Where the password of the administrator is left when it was made with the file.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        let mut name = self.file.as_os_str().to_owned();
        name.push(".pw");
        PathBuf::from(name)
    }
}
