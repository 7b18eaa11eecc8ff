//! The counter: a unix socket at which the owner of the broker's process asks it something, and gets an answer.
//!
//! Opened by boot, served on the gate's runtime; [`ask`] is the other side, used by the command line. One question, a
//! line of JSON, and one answer. Lets in nobody but the user who runs the broker, and root.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream as PlainStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use crate::config::ConfigError;
use crate::control::Command;
use crate::gate::unix_socket::{self, SocketFile};
use crate::reload::{ReloadError, Reloaded};
use crate::review::count;
use crate::worker::mailbox::Mailbox;

pub use crate::review::{Census, Group};

/// The socket is its owner's.
const MODE: u32 = 0o600;
/// Questions that may wait to be accepted.
const WAITING_MAX: i32 = 16;
/// Bytes of a question.
const QUESTION_BYTES_MAX: u64 = 4096;
/// Time for a question to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time for an answer: a reload waits until everybody who has to leave has left.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Reload.
    Reload,
    /// Who is connected, by what proved who they are.
    Census,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Answer {
    /// The files are in force.
    Reloaded(Reloaded),
    /// They are not right, and the old ones stay in force.
    Refused {
        /// All that is wrong.
        errors: Vec<ConfigError>,
    },
    /// Who is connected.
    Census(Census),
    /// The broker stops.
    Stopped,
    /// The question is not understood.
    Unknown,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no broker listens at {}: {source}", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the broker at {} gave no answer: {source}", path.display())]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Asks the broker that listens at `path`, and waits for the answer.
///
/// # Errors
/// Nobody is there, or the answer did not come.
pub fn ask(path: &Path, question: Question) -> Result<Answer, AskError> {
    let stream = PlainStream::connect(path).map_err(|source| AskError::Nobody { path: path.to_owned(), source })?;
    converse(stream, question).map_err(|source| AskError::NoAnswer { path: path.to_owned(), source })
}

fn converse(mut stream: PlainStream, question: Question) -> io::Result<Answer> {
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The counter of a node.
#[derive(Debug)]
pub(crate) struct Counter {
    listener: UnixListener,
    _file: SocketFile,
}

/// Whom the counter asks in turn.
#[derive(Clone, Debug)]
pub(crate) struct Clerk {
    pub(crate) commands: UnboundedSender<Command>,
    pub(crate) mailboxes: Arc<[Mailbox]>,
}

impl Counter {
    /// Opens the counter. Called on the runtime that serves it.
    ///
    /// # Errors
    /// The path cannot be listened on.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (listener, file) = unix_socket::bind(path, MODE, WAITING_MAX)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, _file: file })
    }

    /// Answers one after the other, for ever.
    pub(crate) async fn serve(self, clerk: Clerk) {
        loop {
            match self.listener.accept().await {
                // Whoever hangs up early has no answer, and nobody else minds.
                Ok((stream, _)) => drop(timeout(ANSWER_PATIENCE, attend(stream, &clerk)).await),
                Err(error) => {
                    tracing::warn!(%error, "the control socket accepts nobody for a moment");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// Hears one question and answers it.
async fn attend(stream: UnixStream, clerk: &Clerk) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        tracing::warn!(uid, "another user asked at the control socket and was turned away");
        return Ok(());
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(QUESTION_BYTES_MAX));
    timeout(PATIENCE, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Question::Reload) => clerk.reload().await,
        Ok(Question::Census) => clerk.count().await,
        Err(_) => Answer::Unknown,
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

impl Clerk {
    async fn reload(&self) -> Answer {
        let (sender, outcome) = tokio::sync::oneshot::channel();
        if self.commands.send(Command::Reload(Some(sender))).is_err() {
            return Answer::Stopped;
        }
        match outcome.await {
            Ok(Ok(reloaded)) => Answer::Reloaded(reloaded),
            Ok(Err(ReloadError::Files(errors))) => Answer::Refused { errors },
            Ok(Err(ReloadError::Stopped)) | Err(_) => Answer::Stopped,
        }
    }

    async fn count(&self) -> Answer {
        let mailboxes = Arc::clone(&self.mailboxes);
        let counted = tokio::task::spawn_blocking(move || count(&mailboxes)).await;
        counted.map_or(Answer::Stopped, Answer::Census)
    }
}
