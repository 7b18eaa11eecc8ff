//! `motte sub`: subscribes and writes what comes to standard output.
//! Called by `cli::run`. Payloads are written byte by byte as they came, unless a terminal would act on them.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use motte_client::error::{EXIT_ACL_DENIED, EXIT_TIMEOUT};
use motte_client::{
    Connection, ConnectionLost, Granted, Message, Qos, ReasonCode, RetainHandling, Subscription, on_interrupt,
    printable,
};

use super::publish::{lost_connection, seconds};
use super::target::{EXIT_CODES, TargetArgs, qos};
use crate::ui::{Failure, SUCCESS, USAGE, Ui};

/// Exit code after a second Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Topic filter; may be given more than once
    #[arg(short, long = "topic", value_name = "FILTER")]
    topics: Vec<String>,
    /// Highest QoS wanted: 0, 1 or 2
    #[arg(short, long, value_name = "QOS", default_value = "0", value_parser = qos)]
    qos: Qos,
    /// End after this many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this many seconds, with exit code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// End once the broker has answered the subscription
    #[arg(short = 'E')]
    end_when_subscribed: bool,
    /// Write the topic before each payload
    #[arg(short, long)]
    verbose: bool,
    /// Write nothing after each payload, not even an end of line
    #[arg(short = 'N')]
    no_newline: bool,
    /// Pass over retained messages
    #[arg(short = 'R')]
    no_retained: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Show this help
    #[arg(long, action = clap::ArgAction::Help, help_heading = "Options")]
    help: Option<bool>,
}

/// Subscribes and writes what comes, until the count, the time or the connection ends.
pub(crate) fn run(args: &Args, _ui: &mut Ui) -> Result<u8, Failure> {
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let subscriptions = subscriptions(args)?;
    let connection = args.target.connect()?;
    close_when_interrupted(&connection);
    let outcome = subscribe(args, &connection, &subscriptions)
        .and_then(|()| if args.end_when_subscribed { Ok(SUCCESS) } else { receive(args, &connection, deadline) });
    // The outcome is known; how the farewell goes does not change it.
    let _ = connection.disconnect();
    outcome
}

/// Ctrl-C ends the connection in order, so that the broker does not publish the will; a second one ends at once,
/// because whoever reads standard output may have stopped reading.
fn close_when_interrupted(connection: &Connection) {
    let closer = connection.closer();
    let mut closing = false;
    // Without it the signal ends the process, which is what the user wants too.
    let _ = on_interrupt(move || {
        if std::mem::replace(&mut closing, true) {
            std::process::exit(INTERRUPTED);
        }
        closer.close();
    });
}

fn subscribe(args: &Args, connection: &Connection, subscriptions: &[Subscription]) -> Result<(), Failure> {
    let granted = connection
        .subscribe(subscriptions)
        .map_err(|error| Failure::new(error.to_string(), error.hint()).with_code(error.exit_code()))?;
    check(subscriptions, &granted)?;
    args.target.debug(|| format!("subscribed to {} topic filters", granted.len()));
    Ok(())
}

fn subscriptions(args: &Args) -> Result<Vec<Subscription>, Failure> {
    let mut filters: Vec<&str> = args.topics.iter().map(String::as_str).collect();
    filters.extend(args.target.url_topic());
    if filters.is_empty() {
        let hint = "give one with -t, or at the end of the URL";
        return Err(Failure::new("no topic filter is given", hint).with_code(USAGE));
    }
    let subscription = |filter: &&str| {
        let mut subscription = Subscription::new(*filter, args.qos);
        if args.no_retained {
            subscription.options.retain_handling = RetainHandling::Never;
        }
        subscription
    };
    Ok(filters.iter().map(subscription).collect())
}

/// Every filter that was refused is named; one is enough to end, because whoever asks for it counts on it.
pub(crate) fn check(subscriptions: &[Subscription], granted: &[Granted]) -> Result<(), Failure> {
    let refused: Vec<(&str, ReasonCode)> = subscriptions
        .iter()
        .zip(granted)
        .filter_map(|(subscription, granted)| granted.err().map(|reason| (subscription.filter.as_str(), reason)))
        .collect();
    let Some((_, first)) = refused.first().copied() else { return Ok(()) };
    let named: Vec<String> = refused
        .iter()
        .map(|(filter, reason)| match reason {
            // All that MQTT 3.1.1 can say.
            ReasonCode::UnspecifiedError => format!("`{}`", printable(filter)),
            reason => {
                let text = reason.to_string();
                let words = text.split_once(' ').map_or(text.as_str(), |(_, words)| words);
                format!("`{}` ({words})", printable(filter))
            }
        })
        .collect();
    let (hint, code) = match first {
        ReasonCode::NotAuthorized => ("this user may not subscribe to it; ask the broker's operator", EXIT_ACL_DENIED),
        reason => ("the broker's access rules or limits do not allow it", reason.as_u8()),
    };
    Err(Failure::new(format!("the broker refused the subscription to {}", named.join(", ")), hint).with_code(code))
}

fn receive(args: &Args, connection: &Connection, deadline: Option<Instant>) -> Result<u8, Failure> {
    let stdout = io::stdout();
    let style = Style { verbose: args.verbose, newline: !args.no_newline, escape: stdout.is_terminal() };
    let mut out = BufWriter::new(stdout.lock());
    let mut left = args.count;
    loop {
        let message = match next(connection, &mut out, deadline) {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Failure::new("timed out", "").with_code(EXIT_TIMEOUT)),
            Err(Ended::Lost(ConnectionLost::ClosedHere)) => return Ok(SUCCESS),
            Err(Ended::Lost(lost)) => return Err(lost_connection(&lost)),
            Err(Ended::Output(error)) => return Err(error.into()),
        };
        if args.no_retained && message.retain {
            continue;
        }
        style.write(&message, &mut out)?;
        if let Some(left) = &mut left {
            *left -= 1;
            if *left == 0 {
                out.flush()?;
                return Ok(SUCCESS);
            }
        }
    }
}

/// Why no further message comes.
enum Ended {
    Lost(ConnectionLost),
    Output(io::Error),
}

/// The next message; what was written is flushed only when there is none yet, so that many messages cost few writes.
fn next(connection: &Connection, out: &mut impl Write, deadline: Option<Instant>) -> Result<Option<Message>, Ended> {
    // A connection that has ended is told below, once everything is written.
    if deadline.is_none_or(|deadline| Instant::now() < deadline)
        && let Ok(Some(message)) = connection.next_message(Some(Duration::ZERO))
    {
        return Ok(Some(message));
    }
    out.flush().map_err(Ended::Output)?;
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    connection.next_message(left).map_err(Ended::Lost)
}

/// How a message is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    verbose: bool,
    newline: bool,
    /// A terminal acts on control characters; a file or a pipe gets every byte as it is (K34).
    escape: bool,
}

impl Style {
    fn write(self, message: &Message, out: &mut impl Write) -> io::Result<()> {
        let newline = if self.newline { "\n" } else { "" };
        if self.verbose {
            if self.escape {
                write!(out, "{} ", printable(&message.topic))?;
            } else {
                write!(out, "{} ", message.topic)?;
            }
        }
        match (message.payload.is_empty(), self.verbose) {
            (true, true) => write!(out, "(null){newline}"),
            // As mosquitto_sub: nothing to show, not even an empty line.
            (true, false) => Ok(()),
            (false, _) => {
                if self.escape {
                    let lines = String::from_utf8_lossy(&message.payload);
                    let shown: Vec<String> = lines.split('\n').map(tabs_kept).collect();
                    out.write_all(shown.join("\n").as_bytes())?;
                } else {
                    out.write_all(&message.payload)?;
                }
                out.write_all(newline.as_bytes())
            }
        }
    }
}

fn tabs_kept(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

#[cfg(test)]
mod tests {
    use motte_client::{Granted, Message, Qos, ReasonCode, Subscription};

    use super::{Style, check};

    fn written(style: Style, topic: &str, payload: &[u8]) -> String {
        let mut out = Vec::new();
        let message = Message::new(topic, payload.to_vec(), Qos::AtMostOnce);
        style.write(&message, &mut out).expect("a Vec takes everything");
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn output_is_mosquittos() {
        let plain = Style { verbose: false, newline: true, escape: false };
        let verbose = Style { verbose: true, ..plain };
        assert_eq!(written(plain, "t", b"x"), "x\n");
        assert_eq!(written(plain, "t", b""), "");
        assert_eq!(written(verbose, "t/1", b"x"), "t/1 x\n");
        assert_eq!(written(verbose, "t/1", b""), "t/1 (null)\n");
        assert_eq!(written(Style { newline: false, ..plain }, "t", b"x"), "x");
        assert_eq!(written(plain, "t", b"\x1b[31m"), "\x1b[31m\n");
    }

    #[test]
    fn k34_a_terminal_gets_no_control_characters() {
        let terminal = Style { verbose: true, newline: true, escape: true };
        let shown = written(terminal, "a\u{1b}[2J", b"1\t2\n\x1b[31m");
        assert_eq!(shown, "a\\u{1b}[2J 1\t2\n\\u{1b}[31m\n");
    }

    #[test]
    fn every_refused_filter_is_named() {
        let asked: Vec<_> = ["a", "b/#", "c"].map(|filter| Subscription::new(filter, Qos::AtMostOnce)).into();
        let granted: [Granted; 3] =
            [Err(ReasonCode::NotAuthorized), Ok(Qos::AtMostOnce), Err(ReasonCode::QuotaExceeded)];
        let failure = check(&asked, &granted).expect_err("two are refused");
        assert_eq!(failure.code(), 12);
        let shown = format!("{failure:?}");
        assert!(shown.contains("`a` (not authorized), `c` (quota exceeded)"), "{shown}");
        assert!(check(&asked, &[Ok(Qos::AtMostOnce); 3]).is_ok());
    }
}
