//! The `motte` command: broker, client tools, certificates and passwords in one binary.
//!
//! Started by people and by service managers. Reads the command line, runs one command and ends with its exit code; it
//! holds no logic of a broker or of a client.

mod bench;
mod cli;
mod demo;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
