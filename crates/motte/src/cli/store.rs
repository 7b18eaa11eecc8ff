//! `motte store`: look after the durable store of a broker that does not run.
//!
//! Called by `cli::run`. `check` and `export` change nothing; `repair` keeps a copy of what it changes; `import` writes
//! to an empty directory only.

mod progress;
mod show;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use motte_node::config::ConfigFile;
use motte_node::settings::DurabilityMode;
use motte_store::tools::{self, Backup, ToolError};

use crate::cli::serve::refused;
use crate::ui::{FAILURE, Failure, SUCCESS, USAGE, Ui, note, warning};
use progress::Progress;

const AFTER_HELP: &str = "\
The broker must not run: only one process may use a store. Everything acknowledged is in it, also after a crash; a \
store that was not closed in order is sound, and the next start of the broker needs no repair.

Examples:
  motte store check -c motte-data/motte.toml
  motte store repair -c motte-data/motte.toml
  motte store export -c motte-data/motte.toml --out store.jsonl
  motte store import store.jsonl --directory new-store

Exit codes: 0 done, or the store is sound; 1 the store is damaged, or the command failed; 2 the store cannot be read \
at all, or a wrong command line or configuration.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read everything, verify every checksum and reference, and say what is there and what is damaged
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep everything that can be verified, and report every record that is lost
    #[command(after_help = REPAIR_HELP)]
    Repair {
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Make no copy of the damaged store first: what the repair drops is then gone for good
        #[arg(long)]
        danger_no_backup: bool,
    },
    /// Write everything as text, one JSON object on a line
    #[command(after_help = EXPORT_HELP)]
    Export {
        #[command(flatten)]
        place: Place,
        /// File to write, with mode 0600; - for standard output
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
        /// Overwrite the file
        #[arg(long)]
        force: bool,
    },
    /// Make a store of what was exported
    #[command(after_help = IMPORT_HELP)]
    Import {
        /// File to read; - for standard input
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

const CHECK_HELP: &str = "\
Not a byte is changed. Exit codes: 0 sound; 1 damaged; 2 it cannot be read at all, a broker uses it, or a wrong \
command line or configuration.

Examples:
  motte store check -c motte-data/motte.toml
  motte store check --directory motte-data/store --json";

const REPAIR_HELP: &str = "\
The damaged store is copied first, to a directory beside it that is named after the moment. Afterwards `motte store \
check` finds the store sound and the broker starts. A sound store is not touched. Exit codes: 0 the store is sound \
now; 1 failed; 2 it cannot be read at all, a broker uses it, or a wrong command line or configuration.

Example:
  motte store repair -c motte-data/motte.toml --json > lost.json";

const EXPORT_HELP: &str = "\
The text holds everything, payloads too, and depends on no version of the store; docs/durability.md describes it. Its \
last line counts and verifies the others. A damaged store is not exported: repair it first.

Examples:
  motte store export -c motte-data/motte.toml --out store.jsonl
  motte store export --directory motte-data/store | gzip > store.jsonl.gz";

const IMPORT_HELP: &str = "\
The directory must be empty or not there. When anything is wrong with the text, nothing is left in it.

Examples:
  motte store import store.jsonl --directory motte-data/store
  zcat store.jsonl.gz | motte store import - -c motte-data/motte.toml";

#[derive(Debug, clap::Args)]
struct Place {
    /// Configuration file that names the store
    #[arg(short, long, value_name = "FILE", default_value = "motte.toml", conflicts_with = "directory")]
    config: PathBuf,
    /// Directory of the store
    #[arg(short, long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Place {
    fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let settings = ConfigFile::load(&self.config).map_err(|errors| {
            let failure = refused(&errors);
            note("the store itself can be named with --directory");
            failure
        })?;
        if settings.durability.mode == DurabilityMode::Memory {
            let what = format!("{}: [durability] mode is \"memory\": there is no store", self.config.display());
            return Err(Failure::new(what, "name a store with --directory").with_code(USAGE));
        }
        Ok(settings.durability.directory)
    }
}

/// Runs `motte store`.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    match &args.action {
        Action::Check { place, json } => check(&place.directory()?, *json, ui),
        Action::Repair { place, json, danger_no_backup } => repair(&place.directory()?, !danger_no_backup, *json, ui),
        Action::Export { place, out, force } => export(&place.directory()?, out, *force),
        Action::Import { file, place } => import(file, &place.directory()?),
    }
}

fn check(directory: &Path, json: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let report = tools::check(directory, &mut Progress::new("checking").tell()).map_err(|error| failed(&error))?;
    show::report(directory, &report, json, ui)?;
    Ok(if report.is_sound() { SUCCESS } else { FAILURE })
}

fn repair(directory: &Path, keeps_copy: bool, json: bool, ui: &mut Ui) -> Result<u8, Failure> {
    let backup = if keeps_copy { Backup::To(backup_directory(directory)) } else { Backup::None };
    if backup == Backup::None {
        warning("--danger-no-backup: no copy of the damaged store is made; what the repair drops is gone for good");
    }
    let repaired =
        tools::repair(directory, &backup, &mut Progress::new("repairing").tell()).map_err(|error| failed(&error))?;
    show::repaired(directory, &repaired, json, ui)?;
    Ok(SUCCESS)
}

/// A directory beside the store, named after it and this moment.
fn backup_directory(directory: &Path) -> PathBuf {
    const FORMAT: &[time::format_description::FormatItem<'_>] =
        time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    // Where there is no such directory the repair says so.
    let whole = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let moment = time::OffsetDateTime::from(SystemTime::now()).format(FORMAT).unwrap_or_default();
    let mut name = whole.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{moment}"));
    whole.with_file_name(name)
}

fn export(directory: &Path, out: &Path, force: bool) -> Result<u8, Failure> {
    let mut progress = Progress::new("exporting");
    if out == Path::new("-") {
        let mut to = BufWriter::new(io::stdout().lock());
        let counts = match tools::export(directory, &mut to, &mut progress.tell()) {
            Err(ToolError::Output(error)) => return Err(error.into()),
            other => other.map_err(|error| failed(&error))?,
        };
        to.flush()?;
        drop(progress);
        show::counts("exported", &counts);
        return Ok(SUCCESS);
    }
    if out.exists() && !force {
        return Err(Failure::new(format!("{} exists", out.display()), "use --force to overwrite it"));
    }
    // The text is whole under its name or not there: it is written beside it first.
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let counts = write_whole(directory, &partial, &mut progress).inspect_err(|_| {
        // The error that is shown is the first one.
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, out).map_err(|error| cannot_write(out, &error))?;
    show::counts("exported", &counts);
    Ok(SUCCESS)
}

fn write_whole(directory: &Path, path: &Path, progress: &mut Progress) -> Result<tools::Counts, Failure> {
    // One that a former run left behind is replaced, so that the mode is that of a new file.
    let _ = fs::remove_file(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut out = BufWriter::new(file.map_err(|error| cannot_write(path, &error))?);
    let counts = tools::export(directory, &mut out, &mut progress.tell()).map_err(|error| match error {
        ToolError::Output(error) => cannot_write(path, &error),
        error => failed(&error),
    })?;
    let file = out.into_inner().map_err(|error| cannot_write(path, error.error()))?;
    file.sync_all().map_err(|error| cannot_write(path, &error))?;
    Ok(counts)
}

fn import(file: &Path, directory: &Path) -> Result<u8, Failure> {
    let mut progress = Progress::new("importing");
    let counts = if file == Path::new("-") {
        tools::import(&mut io::stdin().lock(), directory, &mut progress.tell())
    } else {
        let text = File::open(file).map_err(|error| {
            Failure::new(format!("cannot read {}: {error}", file.display()), "name a file of `motte store export`")
        })?;
        tools::import(&mut BufReader::new(text), directory, &mut progress.tell())
    };
    let counts = counts.map_err(|error| match error {
        ToolError::Text(error) => {
            let hint = "export it again; nothing was imported";
            Failure::new(format!("{}: {error}", file.display()), hint)
        }
        error => failed(&error),
    })?;
    drop(progress);
    show::counts("imported", &counts);
    Ok(SUCCESS)
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()), "check that its directory is there and yours")
}

/// What a command that could not do its work says, with its exit code.
fn failed(error: &ToolError) -> Failure {
    let code = match error {
        ToolError::Locked { .. }
        | ToolError::Missing { .. }
        | ToolError::Unreadable { .. }
        | ToolError::TooNew { .. } => USAGE,
        _ => FAILURE,
    };
    let hint = error.hint();
    Failure::new(error.to_string(), hint).with_code(code)
}
