//! Where rules come from: ACL files, policy files, or a configuration that names them.
//!
//! Called by every `motte acl` command. A file is what it looks like: TOML begins with a table.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use motte_node::ConfigFile;
use motte_policy::{Acl, AclError, PasswordFile, Policy, PolicyFile, RuleSet, Source};

use crate::ui::{Failure, USAGE};

/// One file of rules.
pub(super) struct RuleFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// What kind of file.
    pub(super) kind: Kind,
    /// The users it speaks of, with lines.
    pub(super) named: Vec<(String, usize)>,
    /// What it is warned about.
    pub(super) warnings: Vec<AclError>,
}

/// What kind of file.
pub(super) enum Kind {
    /// Mosquitto's grammar.
    Acl(Arc<Acl>),
    /// Motte's own.
    Policy(Arc<RuleSet>),
}

/// Rules that are judged together.
pub(super) struct Rules {
    /// The files.
    pub(super) files: Vec<RuleFile>,
    /// What they make together.
    pub(super) policy: Policy,
    /// The users that can log in by a password, where a file of them is named.
    pub(super) passwords: Option<PasswordFile>,
}

impl RuleFile {
    /// Its rules.
    pub(super) fn rules(&self) -> &RuleSet {
        match &self.kind {
            Kind::Acl(acl) => acl.rules(),
            Kind::Policy(rules) => rules,
        }
    }

    /// What rules of it are shown as.
    fn source(&self) -> Source {
        match self.kind {
            Kind::Acl(_) => Source::AclFile,
            Kind::Policy(_) => Source::PolicyFile,
        }
    }
}

impl Rules {
    /// Reads a file of rules, or those a configuration names (`motte.toml`, told by its `[policy]` section).
    pub(super) fn of(path: &Path) -> Result<Self, Failure> {
        let text = read(path)?;
        if is_configuration(&text) { Self::of_configuration(path) } else { Self::of_files(&[path.to_path_buf()], None) }
    }

    /// Reads all files of rules that a configuration names.
    pub(super) fn of_configuration(path: &Path) -> Result<Self, Failure> {
        let settings = ConfigFile::load(path).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::new(lines.join("\n"), "make the configuration right first, or name the files of rules")
                .with_code(USAGE)
        })?;
        let files: Vec<PathBuf> = settings.acl_file.iter().chain(&settings.policy_file).cloned().collect();
        Self::of_files(&files, settings.identity.password_file.as_deref())
    }

    /// Reads files of rules, at most one of a kind.
    pub(super) fn of_files(paths: &[PathBuf], passwords: Option<&Path>) -> Result<Self, Failure> {
        let mut policy = Policy::deny_all();
        let mut files: Vec<RuleFile> = Vec::new();
        for path in paths {
            let file = rule_file(path)?;
            if files.iter().any(|known| known.source() == file.source()) {
                let what = format!("{} is another file of the same kind", path.display());
                return Err(Failure::new(what, "name one ACL file and one policy file at most").with_code(USAGE));
            }
            policy = match &file.kind {
                Kind::Acl(acl) => policy.with_acl(Arc::clone(acl)),
                Kind::Policy(rules) => policy.with_file(Arc::clone(rules)),
            };
            files.push(file);
        }
        let passwords = passwords.map(read_passwords).transpose()?;
        Ok(Self { files, policy, passwords })
    }

    /// The file a rule is from.
    pub(super) fn path_of(&self, source: Source) -> Option<&Path> {
        self.files.iter().find(|file| file.source() == source).map(|file| &*file.path)
    }
}

/// Reads the file of those who can log in.
pub(super) fn read_passwords(path: &Path) -> Result<PasswordFile, Failure> {
    PasswordFile::parse(&read(path)?).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("{}: {error}", path.display())).collect();
        Failure::new(lines.join("\n"), "write each line with `motte passwd add USER`")
    })
}

fn rule_file(path: &Path) -> Result<RuleFile, Failure> {
    let text = read(path)?;
    let wrong = |errors: Vec<AclError>| {
        let line =
            |error: &AclError| format!("{}:{}: {} — hint: {}", path.display(), error.line, error.what, error.hint);
        Failure::new(errors.iter().map(line).collect::<Vec<_>>().join("\n"), "a broken file is no policy at all")
    };
    let owned = |named: &[(Box<str>, usize)]| named.iter().map(|(name, line)| (name.to_string(), *line)).collect();
    if is_toml(path, &text) {
        let file = PolicyFile::parse(&text).map_err(wrong)?;
        let (named, warnings) = (owned(file.named()), file.warnings().to_vec());
        let kind = Kind::Policy(Arc::clone(file.rules()));
        return Ok(RuleFile { path: path.to_path_buf(), kind, named, warnings });
    }
    let acl = Acl::parse(&text).map_err(wrong)?;
    let (named, warnings) = (owned(acl.named()), acl.warnings().to_vec());
    Ok(RuleFile { path: path.to_path_buf(), kind: Kind::Acl(Arc::new(acl)), named, warnings })
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display()), "name a file that can be read"))
}

/// The first line that says something.
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default()
}

fn is_toml(path: &Path, text: &str) -> bool {
    first_line(text).starts_with('[') || path.extension().is_some_and(|extension| extension == "toml")
}

fn is_configuration(text: &str) -> bool {
    let is_policy = |line: &str| matches!(line, "[policy]" | "[tls]" | "[[listener]]" | "[identity]");
    text.lines().map(str::trim).any(is_policy)
}
