//! `motte completions` and `motte man`: made from the same description as the help.
//!
//! Called by `cli::run`. Packagers call both at build time.

use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::ui::{Failure, SUCCESS, Ui};

/// What `motte completions` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "For bash: motte completions bash > ~/.local/share/bash-completion/completions/motte")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// What `motte man` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "Read it at once: motte man | man -l -")]
pub(crate) struct Args {
    /// Directory for one page per command
    dir: Option<PathBuf>,
}

/// Writes the completions of one shell.
pub(crate) fn completions(args: &CompletionsArgs, command: &mut Command, ui: &mut Ui) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "motte", &mut script);
    ui.bytes(&script)?;
    Ok(SUCCESS)
}

/// Writes the manual.
pub(crate) fn run(args: &Args, command: Command, ui: &mut Ui) -> Result<u8, Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        ui.bytes(&page)?;
        return Ok(SUCCESS);
    };
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot write manual pages to {}: {error}", dir.display()), "name a writable directory")
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command.disable_help_subcommand(true), dir).map_err(failed)?;
    Ok(SUCCESS)
}
