//! Where the project and its target directory are, and what `cargo metadata` says of its crates.
//!
//! Made once in `main`, read by every subcommand. Never touches the network.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::Command;

/// The work tree being checked.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Name in `Cargo.toml`.
    pub(crate) name: String,
    /// What it names as dependencies, its own development ones included.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// Name of the crate that is used.
    pub(crate) name: String,
    /// Whether it is for tests only.
    pub(crate) development: bool,
}

impl Workspace {
    /// Asks cargo about the workspace this tool was built from.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies below the root")?.to_owned();
        let text = Command::new("cargo", &root)
            .args(["metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"])
            .output()
            .context("cargo metadata")?;
        let (target, packages) = parse_metadata(&text)?;
        Ok(Self { root, target, packages })
    }

    /// The folder of the root `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything that is built goes.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where tools that cargo installs are kept.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where foreign MQTT clients are kept; the end-to-end tests look here.
    pub(crate) fn foreign(&self) -> PathBuf {
        self.target.join("foreign")
    }

    /// The crates of the workspace.
    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// A command that runs at the root of the work tree and finds the tools that were installed for it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let tools = self.tools().join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)));
        let command = Command::new(program, &self.root);
        match path {
            Ok(path) => command.env("PATH", path),
            // A target directory with a colon in its name cannot be on the path; the rest of it stays as it is.
            Err(_) => command,
        }
    }

    /// Files git knows of or would add, relative to the root, sorted.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        // Git refuses a work tree that another user owns; who builds this tree trusts it already.
        let trusted = format!("safe.directory={}", self.root.display());
        let text = self
            .command("git")
            .args(["-c", &trusted, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .context("git ls-files: tidy reads the files of a git work tree")?;
        let mut files: Vec<String> = text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        files.sort_unstable();
        files.dedup();
        files.retain(|name| self.root.join(name).is_file());
        Ok(files)
    }
}

/// Reads the answer of `cargo metadata --no-deps`: the target directory and the crates.
fn parse_metadata(text: &str) -> Result<(PathBuf, Vec<Package>)> {
    let value: Value = serde_json::from_str(text).context("cargo metadata gave no JSON")?;
    let Some(target) = value["target_directory"].as_str() else { bail!("cargo metadata names no target directory") };
    let packages = value["packages"].as_array().context("cargo metadata names no packages")?;
    let packages = packages.iter().map(parse_package).collect::<Result<Vec<_>>>()?;
    Ok((PathBuf::from(target), packages))
}

fn parse_package(value: &Value) -> Result<Package> {
    let name = value["name"].as_str().context("a package without a name")?.to_owned();
    let dependencies = value["dependencies"].as_array().context("a package without dependencies")?;
    let dependencies = dependencies
        .iter()
        .map(|dependency| {
            let name = dependency["name"].as_str().context("a dependency without a name")?.to_owned();
            Ok(Dependency { name, development: dependency["kind"].as_str() == Some("dev") })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Package { name, dependencies })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn metadata_tells_development_dependencies_apart() {
        let text = r#"{"target_directory":"/t","packages":[{"name":"a","dependencies":[
            {"name":"b","kind":null},{"name":"c","kind":"dev"},{"name":"d","kind":"build"}]}]}"#;
        let (target, packages) = parse_metadata(text).unwrap();
        assert_eq!(target, PathBuf::from("/t"));
        let development: Vec<bool> = packages[0].dependencies.iter().map(|d| d.development).collect();
        assert_eq!(development, [false, true, false]);
    }

    #[test]
    fn metadata_without_packages_is_an_error() {
        assert!(parse_metadata(r#"{"target_directory":"/t"}"#).is_err());
        assert!(parse_metadata("no json").is_err());
    }
}
