//! `motte passwd`: users and their hashes in a password file.
//!
//! Called by `cli::run`. A password comes from a file, the environment, a prompt or the system's randomness, never from
//! the command line, where every user of the machine could read it. Files are written whole, with mode 0600.

mod list;

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use motte_audit::Escaped;
use motte_node::passwords::LockedPasswords;
use motte_policy::password::{ENTROPY_BYTES, SALT_BYTES, from_entropy, moment};
use motte_policy::{Label, PasswordFile, PasswordHash, ScramKeys};
use zeroize::Zeroizing;

use crate::ui::{FAILURE, Failure, SUCCESS, Ui, note, random};

const AFTER_HELP: &str = "\
A password is taken from --password-file, from --prompt, or from the environment variable MOTTE_PASSWORD; without any \
of them `add`, `set` and `rotate` make one of 160 random bits and print it. `set` ends every other secret of the user \
at once, `rotate` leaves them for the time of --overlap. A running broker reads the file again on SIGHUP.
Exit codes: 0 done, or the password is right; 1 failed, or the password is wrong; 2 wrong command line.";

/// Longest password MQTT can carry, in bytes (MQTT-1.5.6).
const PASSWORD_BYTES_MAX: usize = 65_535;
/// The longest overlap, in seconds.
const YEARS_10: u64 = 10 * 366 * 86_400;

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
    /// Give a user another password beside the one there is, which ends after a while
    Rotate(Rotation),
    /// Remove a user, or one secret of a user
    Remove {
        /// User name
        user: String,
        /// Remove the secret with this label only
        #[arg(long, value_parser = label)]
        label: Option<Label>,
    },
    /// Give a user another password; SCRAM stays possible for whom it was
    Set(NewPassword),
    /// Tell whether a password is right
    Check(User),
    /// List every secret: its label, how it is hashed, from when until when it counts
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
struct Rotation {
    #[command(flatten)]
    user: User,
    /// How long the old secrets still count: 7d, 12h, 30m, 45s
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = seconds)]
    overlap: u64,
    /// Label of the new secret; by default the date
    #[arg(long, value_parser = label)]
    label: Option<Label>,
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
        Action::Rotate(rotation) => rotate(&args.file, rotation, ui),
        Action::Remove { user, label } => remove(&args.file, user, label.as_ref()),
        Action::Check(user) => check(&args.file, user),
        Action::List { json } => list::run(&args.file, *json, ui),
    }
}

/// Adds a user, or gives one who is there another password.
fn put(path: &Path, new: &NewPassword, replace: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let args = &new.user;
    let user = Escaped(&args.user);
    let refuse = |file: &PasswordFile| match (file.contains(&args.user), replace) {
        (true, false) => {
            let hint = format!("use `motte passwd set {user}` for another password");
            Err(Failure::new(format!("{user} is already in {}", path.display()), hint))
        }
        (false, true) => Err(unknown(path, &args.user)),
        _ => Ok(()),
    };
    let before = if replace || path.exists() { load(path)? } else { PasswordFile::default() };
    // Nobody is asked for a password that would not be taken.
    refuse(&before)?;
    let (password, generated) = password_for(args)?;
    let bad_name = |error| Failure::new(format!("{user} cannot be a user name: {error}"), "choose another user name");
    // Every line of the user follows the change; one who never sends the password goes on without a hash to send it to.
    let had_scram = before.scram_keys(&args.user).is_some();
    let hashed = if !had_scram || before.hash(&args.user).is_some() { Some(hash(&password)?) } else { None };
    let scram = if had_scram || new.scram { Some(scram_keys(&password)?) } else { None };
    change(path, !replace, |file| {
        refuse(file)?;
        if replace {
            // Another password ends all there were.
            file.keep_plain_only(&args.user);
        }
        if let Some(hash) = hashed {
            file.set(&args.user, hash).map_err(bad_name)?;
        }
        if let Some(keys) = scram {
            file.set_scram(&args.user, keys).map_err(bad_name)?;
        }
        Ok(())
    })?;
    note(format_args!("{user} has a new password in {}", path.display()));
    if generated {
        ui.line(String::from_utf8_lossy(&password))?;
    }
    Ok(SUCCESS)
}

/// Gives a user another password beside the one there is.
fn rotate(path: &Path, rotation: &Rotation, ui: &mut Ui) -> Result<u8, Failure> {
    let (user, shown) = (&rotation.user.user, Escaped(&rotation.user.user));
    let refuse = |file: &PasswordFile| if file.contains(user) { Ok(()) } else { Err(unknown(path, user)) };
    refuse(&load(path)?)?;
    let (password, generated) = password_for(&rotation.user)?;
    let hash = hash(&password)?;
    let now = now();
    let until = now + rotation.overlap;
    let today = Label::parse(&moment::format(now)[..10]).expect("a date is a label");
    let mut label = None;
    change(path, false, |file| {
        refuse(file)?;
        let chosen = rotation.label.clone().unwrap_or_else(|| file.free_label(user, &today));
        label = Some(chosen.clone());
        file.rotate(user, (chosen, hash), (now, until)).map_err(|error| {
            let hint = "choose another --label, remove a secret with `motte passwd remove USER --label LABEL`, or use \
                        `motte passwd set`";
            Failure::new(format!("{shown} cannot have another secret: {error}"), hint)
        })
    })?;
    let label = label.expect("a change that was made has a label");
    let until = moment::format(until);
    note(format_args!("{shown} has the secret {label} in {}; the others end at {until}", path.display()));
    if generated {
        ui.line(String::from_utf8_lossy(&password))?;
    }
    Ok(SUCCESS)
}

fn remove(path: &Path, user: &str, label: Option<&Label>) -> Result<u8, Failure> {
    let shown = Escaped(user);
    change(path, false, |file| match label {
        None if file.remove(user) => Ok(()),
        Some(label) if file.remove_secret(user, label) => Ok(()),
        Some(label) if file.contains(user) => {
            let hint = "`motte passwd list` shows the labels";
            Err(Failure::new(format!("{shown} has no secret {label} in {}", path.display()), hint))
        }
        _ => Err(unknown(path, user)),
    })?;
    match label {
        None => note(format_args!("{shown} is no longer in {}", path.display())),
        Some(label) => note(format_args!("{shown} no longer has the secret {label} in {}", path.display())),
    }
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
    if file.check(&args.user, &password, now()).login.is_some() || proves() {
        note("the password is right");
        return Ok(SUCCESS);
    }
    note("the user name or the password is wrong");
    Ok(FAILURE)
}

/// Reads a password file.
fn load(path: &Path) -> Result<PasswordFile, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| {
        let hint = "name the file with -f, or make it with `motte passwd add USER`";
        Failure::new(format!("cannot read {}: {error}", path.display()), hint)
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<PasswordFile, Failure> {
    PasswordFile::parse(text).map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Failure::new(format!("{}: {}", path.display(), all.join("; ")), "mend or remove these lines with an editor")
    })
}

/// Changes the file as it is now, whatever others did meanwhile, while nobody else can.
fn change(
    path: &Path,
    may_make: bool,
    change: impl FnOnce(&mut PasswordFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let locked = LockedPasswords::wait(path).map_err(|error| cannot_write(path, &error))?;
    let mut file = match locked.read() {
        Ok(text) => parse(path, &text)?,
        Err(error) if may_make && error.kind() == io::ErrorKind::NotFound => PasswordFile::default(),
        Err(_) => load(path)?,
    };
    change(&mut file)?;
    locked.write(&file).map_err(|error| cannot_write(path, &error))
}

/// Writes a password file whole, readable for its owner only.
pub(crate) fn store(path: &Path, file: &PasswordFile) -> Result<(), Failure> {
    motte_pki::write_private(path, Zeroizing::new(file.to_text()).as_bytes())
        .map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let hint =
        "check that its directory is there and yours; `motte quickstart` makes ./motte-data, --file names another";
    Failure::new(format!("cannot write {}: {error}", path.display()), hint)
}

/// Seconds of Unix time.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time such as 7d, 12h, 30m or 45s, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(String::from("write a number and d, h, m or s behind it, such as 7d")),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds.filter(|seconds| *seconds <= YEARS_10).ok_or_else(|| String::from("write a time of at most ten years"))
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

fn label(text: &str) -> Result<Label, &'static str> {
    Label::parse(text)
}

/// The password from where the user said, or one that is made, which has to be shown.
fn password_for(args: &User) -> Result<(Zeroizing<Vec<u8>>, bool), Failure> {
    match args.secret.given()? {
        Some(password) => Ok((password, false)),
        None => Ok((Zeroizing::new(generate()?.as_bytes().to_vec()), true)),
    }
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
