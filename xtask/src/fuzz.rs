//! `cargo xtask fuzz`: builds the fuzz targets, makes their seeds with our encoder and runs each for a while.
//!
//! Called by `main` and by `test`. A search goes on for a time, by chance and from what earlier ones learned; a fixed
//! run tries so many inputs that follow from the code alone, so that it ends alike on every machine. What a run learns
//! stays below the target directory; what it breaks is for people to put below `fuzz/regressions/`, which every later
//! run tries first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::command::{Command, Heard};
use crate::workspace::Workspace;

/// Seconds each target is searched when nothing else is asked.
const SECONDS: u32 = 60;
/// The seed of every fixed run.
const SEED: u32 = 1;
const MANIFEST: &str = "fuzz/Cargo.toml";
/// Stands in for the source of randomness that the keys of hash maps come from: with other keys other branches are
/// taken, and the engine goes on from other inputs.
const FIXED_RANDOM: &str = "fuzz/fixed_random.c";
/// An input that takes longer than this many seconds, or more memory than this many MiB, is a finding.
const INPUT_S_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 2_048;

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// For so many seconds for each target, by chance.
    Search(u32),
    /// As many inputs as the manifest says, always the same ones for the same code.
    Fixed,
}

/// What is asked for on the command line: `[--seconds N | --fixed] [TARGET…]`.
pub(crate) fn parse(words: &[String]) -> Result<(Extent, &[String])> {
    match words {
        [flag, seconds, targets @ ..] if flag == "--seconds" => {
            let seconds = seconds.parse().with_context(|| format!("`{seconds}` is no number of seconds"))?;
            Ok((Extent::Search(seconds), targets))
        }
        [flag, targets @ ..] if flag == "--fixed" => Ok((Extent::Fixed, targets)),
        [flag, ..] if flag.starts_with('-') => bail!("`fuzz` takes --seconds N or --fixed, and targets"),
        targets => Ok((Extent::Search(SECONDS), targets)),
    }
}

/// Runs every target, or those named. The count of targets and inputs in one line; an error when one found something.
pub(crate) fn run(workspace: &Workspace, extent: Extent, only: &[String]) -> Result<String> {
    let manifest = Manifest::read(workspace)?;
    if let Some(unknown) = only.iter().find(|name| !manifest.runs.contains_key(*name)) {
        let known: Vec<&str> = manifest.runs.keys().map(String::as_str).collect();
        bail!("there is no fuzz target `{unknown}`; there are: {}", known.join(", "));
    }
    let mut targets: Vec<String> = manifest.runs.keys().cloned().collect();
    targets.retain(|name| only.is_empty() || only.contains(name));
    let home = workspace.target().join("fuzz");
    let seeds = build(workspace, &home)?;
    let programs = home.join(host(workspace)?).join("release");
    let fixture = if extent == Extent::Fixed { Some(Fixture::make(workspace, &home)?) } else { None };
    let waiting = Mutex::new(targets.clone());
    let results = Mutex::new(Vec::new());
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no holder panics").pop();
                    let Some(target) = next else { return };
                    let job = Job { workspace, home: &home, seeds: &seeds, program: programs.join(&target) };
                    let result = match (extent, &fixture) {
                        (Extent::Search(seconds), _) => job.search(&target, seconds),
                        (Extent::Fixed, fixture) => job.repeat(&target, manifest.runs[&target], fixture.as_ref()),
                    };
                    results.lock().expect("no holder panics").push((target, result));
                }
            });
        }
    });
    let mut inputs = 0;
    let mut broken = Vec::new();
    for (target, result) in results.into_inner().expect("no holder panics") {
        match result {
            Ok(Heard { success: true, text }) => {
                let count = executions(&text).unwrap_or_default();
                println!("{target}: {count} inputs");
                inputs += count;
            }
            Ok(Heard { text, .. }) => {
                eprintln!("{text}");
                broken.push(target);
            }
            Err(error) => broken.push(format!("{target} ({error:#})")),
        }
    }
    if !broken.is_empty() {
        let findings = home.join("findings");
        bail!(
            "{} broke; the inputs are in {}\nhint: run a target with the file as its argument; keep the file below \
             fuzz/regressions/TARGET/ with the fix",
            broken.join(", "),
            findings.display()
        );
    }
    let extent = match extent {
        Extent::Search(seconds) => format!("{seconds} s each, "),
        Extent::Fixed => String::new(),
    };
    Ok(format!("{} targets, {extent}{inputs} inputs", targets.len()))
}

/// Builds targets and seeds; the folder of the seeds.
fn build(workspace: &Workspace, home: &Path) -> Result<PathBuf> {
    workspace.command("cargo").args(["fuzz", "build", "-s", "none", "--target-dir"]).args([home]).aloud()?;
    let seeds = home.join("seeds");
    workspace
        .command("cargo")
        .args(["run", "--quiet", "--locked", "--manifest-path", MANIFEST, "--example", "corpus", "--target-dir"])
        .args([home.as_os_str(), "--".as_ref(), seeds.as_os_str()])
        .aloud()?;
    Ok(seeds)
}

/// One target and what it needs.
struct Job<'a> {
    workspace: &'a Workspace,
    home: &'a Path,
    seeds: &'a Path,
    program: PathBuf,
}

impl Job<'_> {
    /// Goes on for a time from what earlier searches learned.
    fn search(&self, target: &str, seconds: u32) -> Result<Heard> {
        let corpus = self.home.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        self.run(target, &corpus, &[format!("-max_total_time={seconds}")], None)
    }

    /// Tries the same inputs as on every other machine.
    fn repeat(&self, target: &str, runs: u64, fixture: Option<&Fixture>) -> Result<Heard> {
        let corpus = self.home.join("corpus-fixed").join(target);
        if let Err(error) = fs::remove_dir_all(&corpus)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot empty {}", corpus.display()));
        }
        fs::create_dir_all(&corpus)?;
        // Nothing is read while it runs: when that would happen depends on the time.
        let extent = [format!("-runs={runs}"), format!("-seed={SEED}"), "-reload=0".to_owned()];
        self.run(target, &corpus, &extent, fixture)
    }

    fn run(&self, target: &str, corpus: &Path, extent: &[String], fixture: Option<&Fixture>) -> Result<Heard> {
        let findings = self.home.join("findings");
        fs::create_dir_all(&findings)?;
        let more = [self.seeds.join(target), self.workspace.root().join("fuzz/regressions").join(target)];
        let prefix = findings.join(format!("{target}-"));
        let program = self.program.to_str().context("the target directory has a name in UTF-8")?;
        let command = match fixture {
            Some(fixture) => fixture.command(self.workspace, program),
            None => self.workspace.command(program),
        };
        command
            .args(extent)
            .args([
                format!("-timeout={INPUT_S_MAX}"),
                format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
                format!("-artifact_prefix={}", prefix.display()),
                "-print_final_stats=1".to_owned(),
                "-verbosity=0".to_owned(),
            ])
            .args([corpus])
            .args(more.iter().filter(|folder| folder.is_dir()))
            .quietly()
    }
}

/// What takes chance out of a program: addresses and the keys of hash maps are the same in every run.
struct Fixture {
    library: OsString,
    fixes_addresses: bool,
}

impl Fixture {
    fn make(workspace: &Workspace, home: &Path) -> Result<Self> {
        let library = home.join("fixed_random.so").into_os_string();
        let compile = workspace.command("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library]);
        compile.args([FIXED_RANDOM]).output()?;
        // A container may forbid it; then the engine meets other addresses in what it compares, which matters little.
        let fixes_addresses = workspace.command("setarch").args(["--addr-no-randomize", "true"]).output().is_ok();
        Ok(Self { library, fixes_addresses })
    }

    fn command(&self, workspace: &Workspace, program: &str) -> Command {
        let command = if self.fixes_addresses {
            workspace.command("setarch").args(["--addr-no-randomize", program])
        } else {
            workspace.command(program)
        };
        command.env("LD_PRELOAD", &self.library)
    }
}

/// What the fuzz manifest says.
#[derive(Debug)]
struct Manifest {
    /// How many inputs a fixed run of each target tries.
    runs: BTreeMap<String, u64>,
}

impl Manifest {
    fn read(workspace: &Workspace) -> Result<Self> {
        let text = fs::read_to_string(workspace.root().join(MANIFEST)).with_context(|| format!("read {MANIFEST}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let manifest: toml::Value = toml::from_str(text).with_context(|| MANIFEST.to_owned())?;
        let programs =
            manifest.get("bin").and_then(toml::Value::as_array).context("the fuzz manifest lists programs")?;
        let all = ["package", "metadata", "runs"].iter().try_fold(&manifest, |at, key| at.get(key));
        let runs_of = |name: &str| all?.get(name)?.as_integer().and_then(|runs| u64::try_from(runs).ok());
        let named = programs.iter().filter_map(|program| program.get("name")?.as_str());
        let runs = named.map(|name| {
            let runs = runs_of(name).filter(|runs| *runs > 0);
            let runs = runs.with_context(|| format!("{MANIFEST}: [package.metadata.runs] has no number for `{name}`"));
            Ok((name.to_owned(), runs?))
        });
        Ok(Self { runs: runs.collect::<Result<_>>()? })
    }
}

/// The machine this compiler builds for, which names the folder of the programs.
fn host(workspace: &Workspace) -> Result<String> {
    let text = workspace.command("rustc").args(["-vV"]).output()?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc tells its host")?;
    Ok(host.to_owned())
}

/// Reads `stat::number_of_executed_units: 123`.
fn executions(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_count_of_inputs_is_read() {
        assert_eq!(executions("x\nstat::number_of_executed_units: 4096\nstat::y: 1"), Some(4096));
        assert_eq!(executions("nothing"), None);
    }
    #[test]
    fn a_target_without_a_number_of_runs_is_refused() {
        let text = "[package.metadata.runs]\na = 3\n[[bin]]\nname = \"a\"\n";
        assert_eq!(Manifest::parse(text).unwrap().runs["a"], 3);
        let error = Manifest::parse(&format!("{text}[[bin]]\nname = \"b\"\n")).unwrap_err();
        assert!(error.to_string().contains("no number for `b`"), "{error}");
        // Nothing tried proves nothing.
        assert!(Manifest::parse(&text.replace('3', "0")).is_err());
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parse(&words("")).unwrap().0, Extent::Search(SECONDS));
        let asked = words("--seconds 600 session");
        assert_eq!(parse(&asked).unwrap(), (Extent::Search(600), &asked[2..]));
        let asked = words("--fixed session topic");
        assert_eq!(parse(&asked).unwrap(), (Extent::Fixed, &asked[1..]));
        assert!(parse(&words("--seconds many")).is_err());
        assert!(parse(&words("--long")).is_err());
    }
}
