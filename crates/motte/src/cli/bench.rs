//! `motte bench`: load for any MQTT broker, and what it costs.
//!
//! Called by `cli::run`. The engine is in `crate::bench`; here is what is asked and how it is told.

mod connect;
mod flow;
mod progress;
mod report;
mod setup;

use clap::Subcommand;

use crate::cli::target::EXIT_CODES;
use crate::ui::{Failure, Ui};

/// Exit code when messages were lost or came twice.
const LOST: u8 = 30;

const AFTER_HELP: &str = "\
It is a tool for brokers you run yourself: a few seconds of it are a denial of service for others.

Examples:
  motte bench flow --cafile ca.pem -u me --publishers 1 --subscribers 1 --seconds 5
  motte bench flow --cafile ca.pem -u me --publishers 10 --subscribers 10 --topics own -q 1 --rate 10000
  motte bench publish --cafile ca.pem -u me --publishers 4 -q 1 --count 100000 --json
  motte bench connect --cafile ca.pem -u me --connections 2000 --width 16

Exit codes: 0 done, and everything arrived; 30 messages were lost or came twice; others as in each command's help.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Publishers and subscribers together: throughput, and latency from end to end
    #[command(disable_help_flag = true, disable_version_flag = true, after_help = after_help())]
    Flow(flow::FlowArgs),
    /// Publishers alone: messages per second, and at QoS 1 and 2 the time to the acknowledgement
    #[command(disable_help_flag = true, disable_version_flag = true, after_help = after_help())]
    Publish(flow::PublishArgs),
    /// Subscribers alone: counts what they get
    #[command(disable_help_flag = true, disable_version_flag = true, after_help = after_help())]
    Subscribe(flow::SubscribeArgs),
    /// Connections per second, and what an idle one costs
    #[command(disable_help_flag = true, disable_version_flag = true, after_help = EXIT_CODES)]
    Connect(connect::ConnectArgs),
}

/// Shown below the help of each.
fn after_help() -> String {
    format!("With 30 it ends when messages were lost or came twice. {EXIT_CODES}")
}

/// Puts load on a broker.
pub(crate) fn run(args: &Args, ui: &mut Ui) -> Result<u8, Failure> {
    match &args.what {
        What::Flow(args) => args.run(ui),
        What::Publish(args) => args.run(ui),
        What::Subscribe(args) => args.run(ui),
        What::Connect(args) => args.run(ui),
    }
}
