//! `motte pub`: publishes one message, or each line of standard input.
//! Called by `cli::run`. Ends with success only when the broker has acknowledged everything its QoS asks for.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use motte_client::{Bytes, Connection, ConnectionLost, Message, Pending, PublishError, Qos, printable};

use super::target::{EXIT_CODES, TargetArgs, qos};
use crate::ui::{Failure, SUCCESS, USAGE, Ui};

/// Longest payload MQTT can carry, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 268_435_455;
/// Most messages without an acknowledgement before the oldest is waited for.
const PENDING_MAX: usize = 1000;
/// How soon a refusal shows while no further line comes.
const REFUSAL_SHOWN_WITHIN: Duration = Duration::from_millis(50);

/// What the exit code of `motte pub` cannot say.
const REFUSALS: &str = "\
Whether the broker took a message is known, and shown by the exit code, only with MQTT 5 and -q 1 or 2: a broker does \
not answer QoS 0, and MQTT 3.x has no way of saying no.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true, after_help = format!("{REFUSALS}\n\n{EXIT_CODES}"))]
#[command(group = clap::ArgGroup::new("payload").required(true))]
pub(crate) struct Args {
    /// Topic
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Payload
    #[arg(short, long, value_name = "TEXT", group = "payload", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// Payload from a file
    #[arg(short, long, value_name = "FILE", group = "payload")]
    file: Option<PathBuf>,
    /// One message for each line of standard input
    #[arg(short = 'l', long, group = "payload")]
    stdin_line: bool,
    /// Payload from standard input, all of it
    #[arg(short = 's', long, group = "payload")]
    stdin_file: bool,
    /// Empty payload; with -r it clears the retained message
    #[arg(short, long, group = "payload")]
    null_message: bool,
    /// QoS: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos)]
    qos: Qos,
    /// Keep the message for later subscribers
    #[arg(short, long)]
    retain: bool,
    /// Publish the message this many times
    #[arg(long, value_name = "COUNT", default_value_t = 1, conflicts_with = "stdin_line",
          value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Seconds between repetitions
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    repeat_delay: Duration,
    #[command(flatten)]
    target: TargetArgs,
    /// Show this help
    #[arg(long, action = clap::ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

/// Parses a time of the command line.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().map_err(|_| "this is no number of seconds".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|_| "this is no number of seconds".to_owned())
}

/// Publishes what is asked.
pub(crate) fn run(args: &Args, _ui: &mut Ui) -> Result<u8, Failure> {
    let topic = args.topic.as_deref().or(args.target.url_topic()).ok_or_else(|| {
        Failure::new("no topic is given", "give one with -t, or at the end of the URL").with_code(USAGE)
    })?;
    // A payload that cannot be read is found out before anybody is bothered.
    let payload = if args.stdin_line { None } else { Some(payload(args)?) };
    let connection = args.target.connect()?;
    let outcome = match payload {
        Some(payload) => repeat(args, &connection, topic, &payload),
        None => lines(args, &connection, topic),
    };
    // In order even after a refusal: the will is for those who vanish.
    let farewell = connection.disconnect().map_err(|lost| lost_connection(&lost));
    outcome.and(farewell).map(|()| SUCCESS)
}

fn payload(args: &Args) -> Result<Bytes, Failure> {
    if let Some(text) = &args.message {
        return Ok(Bytes::from(text.clone().into_encoded_bytes()));
    }
    if let Some(path) = &args.file {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
        return whole(file, &name);
    }
    if args.stdin_file { whole(io::stdin().lock(), "standard input") } else { Ok(Bytes::new()) }
}

fn whole(input: impl Read, name: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    input.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        let what = format!("{name} is larger than a message can be (256 MiB)");
        return Err(Failure::new(what, "send it in parts").with_code(motte_client::error::EXIT_OVERSIZE));
    }
    Ok(bytes.into())
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{name} cannot be read: {error}"), "check the path and its mode").with_code(USAGE)
}

fn repeat(args: &Args, connection: &Connection, topic: &str, payload: &Bytes) -> Result<(), Failure> {
    for count in 0..args.repeat {
        if count > 0 {
            thread::sleep(args.repeat_delay);
        }
        connection.publish(message(args, topic, payload.clone())).map_err(|error| failed(&error, topic))?;
        args.target.debug(|| format!("published {} bytes to {}", payload.len(), printable(topic)));
    }
    Ok(())
}

fn message(args: &Args, topic: &str, payload: Bytes) -> Message {
    Message { retain: args.retain, ..Message::new(topic, payload, args.qos) }
}

/// Publishes each line as it comes, many on their way at once, and stops at the first that fails.
fn lines(args: &Args, connection: &Connection, topic: &str) -> Result<(), Failure> {
    let lines = stdin_lines();
    let mut pending = VecDeque::new();
    loop {
        match lines.recv_timeout(REFUSAL_SHOWN_WITHIN) {
            Ok(line) => {
                let line = line.map_err(|error| unreadable("standard input", &error))?;
                let length = line.len();
                let sent = connection.send(message(args, topic, line.into())).map_err(|error| failed(&error, topic))?;
                args.target.debug(|| format!("sent {length} bytes to {}", printable(topic)));
                pending.push_back(sent);
            }
            Err(RecvTimeoutError::Timeout) => {
                if let Some(lost) = connection.lost() {
                    return Err(lost_connection(&lost));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        settle(&mut pending, topic)?;
    }
    pending.into_iter().try_for_each(|one| one.wait().map(drop)).map_err(|error| failed(&error, topic))
}

/// Takes away what is acknowledged, and waits when too much is not.
fn settle(pending: &mut VecDeque<Pending>, topic: &str) -> Result<(), Failure> {
    while let Some(outcome) = pending.front().and_then(Pending::try_wait) {
        pending.pop_front();
        outcome.map_err(|error| failed(&error, topic))?;
    }
    if pending.len() > PENDING_MAX
        && let Some(oldest) = pending.pop_front()
    {
        oldest.wait().map_err(|error| failed(&error, topic))?;
    }
    Ok(())
}

/// The lines of standard input without their ends, read on a thread of its own so that refusals show while it waits.
fn stdin_lines() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(64);
    thread::spawn(move || {
        let mut input = BufReader::new(io::stdin());
        loop {
            let mut line = Vec::new();
            let read = (&mut input).take(PAYLOAD_BYTES_MAX + 1).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) => {
                    line.pop_if(|last| *last == b'\n');
                    Ok(line)
                }
                Err(error) => Err(error),
            };
            let ends = line.is_err();
            if sender.send(line).is_err() || ends {
                return;
            }
        }
    });
    receiver
}

fn failed(error: &PublishError, topic: &str) -> Failure {
    let what = match error {
        PublishError::Lost(lost) => return lost_connection(lost),
        PublishError::Refused(_) => format!("{error} (topic `{}`)", printable(topic)),
        other => other.to_string(),
    };
    Failure::new(what, error.hint()).with_code(error.exit_code())
}

/// Why a connection ended that should not have.
pub(crate) fn lost_connection(lost: &ConnectionLost) -> Failure {
    Failure::new(lost.to_string(), lost.hint()).with_code(lost.exit_code())
}
