//! The file of dynamic security: read, made when it is missing, written when a command changed something.
//!
//! Called by boot, the snapshot and the porter. Writes whole files only; holds no lock, because one thread at a time
//! changes what is in force.

use std::path::Path;
use std::sync::Arc;

use motte_audit::Escaped;
use motte_policy::password::{ENTROPY_BYTES, from_entropy};
use motte_policy::{DynamicSecurity, SALT_BYTES};
use zeroize::Zeroizing;

use crate::config::ConfigError;
use crate::secret::{Secret, SecretRef, process_environment};
use crate::settings::DynamicSettings;
use crate::snapshot::problem;

/// Mosquitto's name for the variable that holds the first password.
const PASSWORD_VARIABLE: &str = "MOSQUITTO_DYNSEC_PASSWORD";
/// Characters of such a password at least, as Mosquitto asks.
const PASSWORD_BYTES_MIN: usize = 12;
/// Who administers a file that was made.
const ADMIN: &str = "admin";

/// Reads the file.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn read(path: &Path) -> Result<DynamicSecurity, Vec<ConfigError>> {
    let hint = "make it with `motte dynsec init FILE`, or make it readable for the broker";
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| vec![problem(path, 0, format!("cannot be read: {error}"), hint)])?;
    parse(path, &text)
}

/// Reads the text of the file.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn parse(path: &Path, text: &str) -> Result<DynamicSecurity, Vec<ConfigError>> {
    let told = |errors: Vec<motte_policy::DynamicError>| {
        errors.into_iter().map(|error| problem(path, error.line, error.what, error.hint)).collect()
    };
    DynamicSecurity::parse(text).map_err(told)
}

/// Makes the file if it is not there, with an administrator whose password is the one that is configured, or the one in
/// Mosquitto's variable, or a new one that is left in a file beside it.
///
/// # Errors
/// There is no usable password, or the file cannot be written.
pub(crate) fn make_if_missing(settings: &DynamicSettings) -> Result<(), ConfigError> {
    let file = &settings.file;
    if file.exists() {
        return Ok(());
    }
    let from_variable = || process_environment(PASSWORD_VARIABLE).map(|_| SecretRef::Env(PASSWORD_VARIABLE.to_owned()));
    let source = settings.admin_password.clone().or_else(from_variable);
    let unwritten = |path: &Path, error: &std::io::Error| {
        problem(path, 0, format!("cannot be written: {error}"), "check that its directory is there and the broker's")
    };
    let (password, is_new) = match &source {
        Some(source) => (given(file, source)?, false),
        None => (from_entropy(random::<ENTROPY_BYTES>()), true),
    };
    if is_new {
        let left = settings.password_file();
        let text = Zeroizing::new(format!("{ADMIN} {}\n", *password));
        motte_pki::write_private(&left, text.as_bytes()).map_err(|error| unwritten(&left, &error))?;
    }
    let text = Zeroizing::new(DynamicSecurity::initial(ADMIN, &password, random::<SALT_BYTES>()).to_text());
    motte_pki::write_private(file, text.as_bytes()).map_err(|error| unwritten(file, &error))?;
    tracing::info!(file = %file.display(), admin = ADMIN, "a new file of dynamic security was made");
    Ok(())
}

/// Reminds of a first password that still lies in clear text beside the file.
pub(crate) fn remind_of_password(settings: &DynamicSettings) {
    let left = settings.password_file();
    if left.exists() {
        let hint = "log in, set another with `mosquitto_ctrl dynsec setClientPassword`, then remove the file";
        tracing::warn!(file = %left.display(), hint, "the first password of dynamic security lies in clear text");
    }
}

/// The password that is configured.
fn given(file: &Path, source: &SecretRef) -> Result<Zeroizing<String>, ConfigError> {
    let told = |what: String, hint: &str| {
        problem(file, 0, format!("cannot be made: the password of {ADMIN} from {source}: {what}"), hint)
    };
    let secret: Secret =
        source.resolve(&process_environment).map_err(|error| told(error.to_string(), &error.hint()))?;
    let text = secret.text().map_err(|error| told(error.to_string(), &error.hint()))?;
    if text.len() < PASSWORD_BYTES_MIN {
        let what = format!("it is shorter than {PASSWORD_BYTES_MIN} bytes");
        return Err(told(what, "give a longer one, or none to have one made"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Bytes of the system's randomness.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gave randomness when the gate was made, and does not stop");
    bytes
}

/// What is in force of it, and why a client must stay outside however it proved its name.
pub(crate) fn barred(model: Option<&Arc<DynamicSecurity>>, user: Option<&str>, client_id: &str) -> Option<String> {
    let barred = model?.bars(user?, client_id)?;
    Some(format!("{barred}: {}", Escaped(user?)))
}
