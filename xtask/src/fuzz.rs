//! `cargo xtask fuzz`: builds the fuzz targets, makes their seeds with our encoder and runs each for a while.
//!
//! Called by `main` and by `test`. What a run learns stays below the target directory; what it breaks is for people to
//! put below `fuzz/regressions/`, which every later run tries first.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, bail};

use crate::command::Heard;
use crate::workspace::Workspace;

/// Seconds each target runs when nothing else is asked.
pub(crate) const SECONDS: u32 = 60;
/// The seed of the runs in the test command: what they find depends on the change they are run on and not on chance.
/// Chance has its place in the longer runs by hand.
pub(crate) const SEED: u32 = 1;
const MANIFEST: &str = "fuzz/Cargo.toml";
/// An input that takes longer than this many seconds, or more memory than this many MiB, is a finding.
const INPUT_S_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 2_048;

/// Runs every target, or those named, for `seconds` each, from a seed of chance or the one given. The count of targets
/// and inputs in one line; an error when one found something.
pub(crate) fn run(workspace: &Workspace, seconds: u32, only: &[String], seed: Option<u32>) -> Result<String> {
    let targets = targets(workspace)?;
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are: {}", targets.join(", "));
    }
    let targets: Vec<String> = targets.into_iter().filter(|name| only.is_empty() || only.contains(name)).collect();
    let home = workspace.target().join("fuzz");
    let seeds = build(workspace, &home)?;
    let programs = home.join(host(workspace)?).join("release");
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
                    let result = job.run(&target, seconds, seed);
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
    Ok(format!("{} targets, {seconds} s each, {inputs} inputs", targets.len()))
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
    fn run(&self, target: &str, seconds: u32, seed: Option<u32>) -> Result<Heard> {
        let corpus = self.home.join("corpus").join(target);
        let findings = self.home.join("findings");
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&findings)?;
        let more = [self.seeds.join(target), self.workspace.root().join("fuzz/regressions").join(target)];
        let prefix = findings.join(format!("{target}-"));
        self.workspace
            .command(self.program.to_str().context("the target directory has a name in UTF-8")?)
            .args([
                format!("-max_total_time={seconds}"),
                format!("-timeout={INPUT_S_MAX}"),
                format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
                format!("-artifact_prefix={}", prefix.display()),
                "-print_final_stats=1".to_owned(),
                "-verbosity=0".to_owned(),
            ])
            .args(seed.map(|seed| format!("-seed={seed}")))
            .args([&corpus])
            .args(more.iter().filter(|folder| folder.is_dir()))
            .quietly()
    }
}

/// Names of the programs in the fuzz manifest.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace.root().join(MANIFEST)).with_context(|| format!("read {MANIFEST}"))?;
    let manifest: toml::Value = toml::from_str(&text).with_context(|| MANIFEST.to_owned())?;
    let programs = manifest.get("bin").and_then(toml::Value::as_array).context("the fuzz manifest lists programs")?;
    Ok(programs.iter().filter_map(|program| program.get("name")?.as_str().map(str::to_owned)).collect())
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
    use super::*;

    #[test]
    fn the_count_of_inputs_is_read() {
        assert_eq!(executions("x\nstat::number_of_executed_units: 4096\nstat::y: 1"), Some(4096));
        assert_eq!(executions("nothing"), None);
    }
}
