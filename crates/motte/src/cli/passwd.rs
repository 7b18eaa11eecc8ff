//! `motte passwd`: users and their hashes in a password file.
//!
//! Called by `cli::run`. A password comes from a file, the environment, a prompt or the system's randomness, never from
//! the command line, where every user of the machine could read it. Files are written whole, with mode 0600.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use motte_audit::Escaped;
use motte_policy::password::{ENTROPY_BYTES, SALT_BYTES, from_entropy};
use motte_policy::{PasswordFile, PasswordHash, ScramKeys};
use zeroize::Zeroizing;

use crate::ui::{FAILURE, Failure, SUCCESS, Ui, note, random, table};

const AFTER_HELP: &str = "\
A password is taken from --password-file, from --prompt, or from the environment variable MOTTE_PASSWORD; without any \
of them `add` and `set` make one of 160 random bits and print it. A running broker reads the file again on SIGHUP.
Exit codes: 0 done, or the password is right; 1 failed, or the password is wrong; 2 wrong command line.";

/// Longest password MQTT can carry, in bytes (MQTT-1.5.6).
const PASSWORD_BYTES_MAX: usize = 65_535;

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Password file
    #[arg(short, long, value_name = "FILE", global = true, default_value = "motte-data/passwords")]
    file: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user
    Add(NewPassword),
    /// Remove a user
    Remove {
        /// User name
        user: String,
    },
    /// Give a user another password; SCRAM stays possible for whom it was
    Set(NewPassword),
    /// Tell whether a password is right
    Check(User),
    /// List users and how their passwords are hashed
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct User {
    /// User name
    user: String,
    #[command(flatten)]
    secret: NewSecret,
}

/// Where a password comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct NewSecret {
    /// Take the password from the first line of a file; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    password_file: Option<PathBuf>,
    /// Ask for the password
    #[arg(long)]
    prompt: bool,
}

#[derive(Debug, clap::Args)]
struct NewPassword {
    #[command(flatten)]
    user: User,
    /// Let the user prove the password by SCRAM-SHA-256 as well, without sending it (motte pub --auth-method)
    #[arg(long)]
    scram: bool,
}

/// Runs `motte passwd`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    match &args.action {
        Action::Add(new) => put(&args.file, new, false, ui),
        Action::Set(new) => put(&args.file, new, true, ui),
        Action::Remove { user } => remove(&args.file, user),
        Action::Check(user) => check(&args.file, user),
        Action::List { json } => list(&args.file, *json, ui),
    }
}

/// Adds a user, or gives one who is there another password.
fn put(path: &Path, new: &NewPassword, replace: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let args = &new.user;
    let mut file = if replace || path.exists() { load(path)? } else { PasswordFile::default() };
    let user = Escaped(&args.user);
    match (file.contains(&args.user), replace) {
        (true, false) => {
            let hint = format!("use `motte passwd set {user}` for another password");
            return Err(Failure::new(format!("{user} is already in {}", path.display()), hint));
        }
        (false, true) => return Err(unknown(path, &args.user)),
        _ => {}
    }
    let given = args.secret.given()?;
    let generated = if given.is_none() { Some(generate()?) } else { None };
    let password = given.as_deref().map(Vec::as_slice).or(generated.as_ref().map(|text| text.as_bytes()));
    let password = password.expect("a password that was not given was made");
    let bad_name = |error| Failure::new(format!("{user} cannot be a user name: {error}"), "choose another user name");
    // Every line of the user follows the change; one who never sends the password goes on without a hash to send it to.
    let had_scram = file.scram_keys(&args.user).is_some();
    if !had_scram || file.hash(&args.user).is_some() {
        file.set(&args.user, hash(password)?).map_err(bad_name)?;
    }
    if had_scram || new.scram {
        file.set_scram(&args.user, scram_keys(password)?).map_err(bad_name)?;
    }
    store(path, &file)?;
    note(format_args!("{user} has a new password in {}", path.display()));
    if let Some(password) = generated {
        ui.line(&*password)?;
    }
    Ok(SUCCESS)
}

fn remove(path: &Path, user: &str) -> Result<u8, Failure> {
    let mut file = load(path)?;
    if !file.remove(user) {
        return Err(unknown(path, user));
    }
    store(path, &file)?;
    note(format_args!("{} is no longer in {}", Escaped(user), path.display()));
    Ok(SUCCESS)
}

fn check(path: &Path, args: &User) -> Result<u8, Failure> {
    let file = load(path)?;
    let password = match args.secret.given()? {
        Some(password) => password,
        None if io::stdin().is_terminal() => ask("Password: ")?,
        None => {
            let hint = "use --password-file FILE, --prompt, or the environment variable MOTTE_PASSWORD";
            return Err(Failure::new("no password was given to check", hint).with_code(crate::ui::USAGE));
        }
    };
    let proves = || file.scram_keys(&args.user).is_some_and(|keys| keys.is_of(&password));
    if file.verify(&args.user, &password).is_some() || proves() {
        note("the password is right");
        return Ok(SUCCESS);
    }
    note("the user name or the password is wrong");
    Ok(FAILURE)
}

fn list(path: &Path, json: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let file = load(path)?;
    if json {
        let users = file.schemes().map(|(user, scheme)| serde_json::json!({ "user": &*user.0, "scheme": scheme }));
        ui.line(serde_json::Value::Array(users.collect()))?;
        return Ok(SUCCESS);
    }
    let rows = file.schemes().map(|(user, scheme)| vec![Escaped(&user.0).to_string(), scheme.to_owned()]);
    let rows: Vec<_> = rows.collect();
    for line in table(&["USER", "SCHEME"], &rows) {
        ui.line(line)?;
    }
    Ok(SUCCESS)
}

/// Reads a password file.
fn load(path: &Path) -> Result<PasswordFile, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        let hint = "name the file with -f, or make it with `motte passwd add USER`";
        Failure::new(format!("cannot read {}: {error}", path.display()), hint)
    })?;
    PasswordFile::parse(&text).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::new(format!("{}: {}", path.display(), all.join("; ")), "mend or remove these lines with an editor")
    })
}

/// Writes a password file whole, readable for its owner only.
pub(crate) fn store(path: &Path, file: &PasswordFile) -> Result<(), Failure> {
    motte_pki::write_private(path, file.to_text().as_bytes()).map_err(|error| {
        let hint =
            "check that its directory is there and yours; `motte quickstart` makes ./motte-data, --file names another";
        Failure::new(format!("cannot write {}: {error}", path.display()), hint)
    })
}

/// Makes a password of 160 random bits.
pub(crate) fn generate() -> Result<Zeroizing<String>, Failure> {
    Ok(from_entropy(random::<ENTROPY_BYTES>()?))
}

/// Hashes a password with a salt of its own.
pub(crate) fn hash(password: &[u8]) -> Result<PasswordHash, Failure> {
    Ok(PasswordHash::new(password, random::<SALT_BYTES>()?))
}

/// The SCRAM record of a password, with a salt of its own.
fn scram_keys(password: &[u8]) -> Result<ScramKeys, Failure> {
    ScramKeys::new(password, random::<SALT_BYTES>()?)
        .map_err(|error| Failure::new(error, "give a password in ASCII, or leave --scram out"))
}

fn unknown(path: &Path, user: &str) -> Failure {
    let hint = "`motte passwd list` shows who is there; `motte passwd add` adds";
    Failure::new(format!("{} is not in {}", Escaped(user), path.display()), hint)
}

impl NewSecret {
    /// The password from where the user said, if anywhere.
    pub(crate) fn given(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let password = if let Some(path) = &self.password_file {
            first_line(path)?
        } else if self.prompt {
            let password = ask("Password: ")?;
            if matches!(ask("Again: ")?, again if again != password) {
                return Err(Failure::new("the two passwords differ", "try again"));
            }
            password
        } else if let Some(password) = std::env::var_os("MOTTE_PASSWORD") {
            Zeroizing::new(password.into_encoded_bytes())
        } else {
            return Ok(None);
        };
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::new(
                "a password has 1 to 65535 bytes",
                "give another password, or none to have one made",
            ));
        }
        Ok(Some(password))
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let password = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::new(format!("cannot ask for a password: {error}"), "use --password-file or MOTTE_PASSWORD")
    })?;
    Ok(Zeroizing::new(password.into_bytes()))
}

/// The first line of a file, without its end.
fn first_line(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(format!("cannot read the password from {}: {error}", path.display()), "check the path")
    };
    // One byte more than a password and a line end may have, so that what is too long is seen as such.
    let most = u64::try_from(PASSWORD_BYTES_MAX).expect("it fits") + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    if path == Path::new("-") {
        io::stdin().take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    bytes.truncate(end);
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(bytes)
}
