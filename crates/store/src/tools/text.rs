//! The text a store is exported to: a JSON object on each line, documented in `docs/durability.md`.
//!
//! Written by [`super::export()`], read by [`super::import()`]. Knows nothing of rows and of redb, so that it
//! outlives both. The same content gives the same bytes. The last line counts the others and holds their SHA-256, so
//! that a file that was cut or changed is noticed.

use std::io::{self, BufRead, Read as _, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The version of the text that is written, and the only one that is read.
pub const TEXT_FORMAT: u32 = 1;

/// No line is longer: a message has at most 256 MiB, which base64 makes a third longer.
const LINE_BYTES_MAX: u64 = 512 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Line {
    /// The first line.
    Store(Head),
    /// A session.
    Session(Session),
    /// A subscription of a session that was named before.
    Subscription(Subscription),
    /// A message, with the sessions that are owed it.
    Message(Message),
    /// The retained message of a topic.
    Retained(Retained),
    /// A user whose messages are withheld.
    Removed(Removed),
    /// Somebody who is kept out.
    Banned(Ban),
    /// The last line.
    End(End),
}

/// What is there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// [`TEXT_FORMAT`].
    pub(crate) format: u32,
    /// Where the clock of the node stood at the last commit; all times are on this clock.
    pub(crate) clock_ms: u64,
    /// The wall clock at that moment, in milliseconds since 1970.
    pub(crate) wall_ms: u64,
    /// Milliseconds since the machine was started, at that moment.
    pub(crate) since_boot_ms: u64,
    /// Which start of the machine that was, as 32 hexadecimal digits.
    pub(crate) boot_id: String,
    /// For each shard that ever wrote, the last position it gave.
    pub(crate) positions: Vec<Position>,
}

/// A shard and a position in its log: the address of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position(pub(crate) u16, pub(crate) u64);

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Session {
    pub(crate) client_id: String,
    /// `null` for nobody in particular.
    pub(crate) user: Option<String>,
    pub(crate) expiry_s: u32,
    pub(crate) mount_point: String,
    /// `null` when it had a connection until the node stopped.
    pub(crate) left_ms: Option<u64>,
    /// What else is known of its owner, as it stands in the store.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub(crate) known: Bytes,
    pub(crate) will: Option<Will>,
    /// Identifiers of incoming QoS 2 messages that were not released.
    pub(crate) received: Vec<u16>,
    /// What was sent and not finished, in the order of sending.
    pub(crate) in_flight: Vec<Flight>,
}

/// A message that was sent and not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flight {
    pub(crate) id: u16,
    /// `null` once PUBREC came and only PUBREL is owed.
    pub(crate) message: Option<Position>,
}

/// A will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) delay_s: u32,
    pub(crate) message_expiry_s: Option<u32>,
    /// As they stand in a PUBLISH of MQTT 5.0, without their length.
    pub(crate) properties: Bytes,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    pub(crate) client_id: String,
    pub(crate) filter: String,
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: u8,
    pub(crate) id: Option<u32>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    pub(crate) at: Position,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) publisher: String,
    /// `null` for nobody in particular.
    pub(crate) publisher_user: Option<String>,
    /// What else is known of the publisher, as it stands in the store.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub(crate) publisher_known: Bytes,
    /// As they stand in a PUBLISH of MQTT 5.0, without their length.
    pub(crate) properties: Bytes,
    pub(crate) accepted_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) owed: Vec<Owed>,
}

/// A session that is owed a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owed {
    pub(crate) client_id: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) ids: Vec<u32>,
    /// Name and filter of the group whose message it is.
    pub(crate) share: Option<(String, String)>,
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retained {
    pub(crate) topic: String,
    pub(crate) message: Position,
    pub(crate) serial: u64,
}

/// A user whose messages are withheld.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Removed {
    pub(crate) user: String,
    pub(crate) at_ms: u64,
}

/// Somebody who is kept out: a user or a client identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    pub(crate) user: Option<String>,
    pub(crate) client_id: Option<String>,
    /// `null` is for good.
    pub(crate) until_ms: Option<u64>,
}

/// What was before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// Lines before this one.
    pub(crate) lines: u64,
    /// SHA-256 of all bytes before this line, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// Bytes, as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(&text).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It ends before its last line.
    #[error("it ends after line {line}: it was cut")]
    Cut {
        /// The last line that is there.
        line: u64,
    },
    /// A line is not what can stand there.
    #[error("line {line}: {what}")]
    Line {
        /// Which.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// It was changed.
    #[error("it is not what was exported: the checksum in its last line is that of another text")]
    Changed,
    /// It is of another version.
    #[error("it is an export of version {0}, this motte reads version {TEXT_FORMAT}")]
    Version(u32),
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
}

/// Writes lines, and the last one when all are written.
pub(crate) struct TextWriter<W> {
    out: W,
    lines: u64,
    hash: Sha256,
    line: Vec<u8>,
}

impl<W: Write> TextWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, lines: 0, hash: Sha256::new(), line: Vec::new() }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &Line) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.hash.update(&self.line);
        self.lines += 1;
        self.out.write_all(&self.line)
    }

    /// Writes the last line.
    pub(crate) fn end(mut self) -> io::Result<W> {
        let end = End { lines: self.lines, sha256: hexadecimal(&self.hash.clone().finalize()) };
        self.line(&Line::End(end))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads lines, and holds the last one against those before it.
pub(crate) struct TextReader<R> {
    text: R,
    lines: u64,
    hash: Sha256,
    line: Vec<u8>,
}

impl<R: BufRead> TextReader<R> {
    pub(crate) fn new(text: R) -> Self {
        Self { text, lines: 0, hash: Sha256::new(), line: Vec::new() }
    }

    /// The number of the line that was read last.
    pub(crate) fn line_number(&self) -> u64 {
        self.lines
    }

    /// The next line but the last; `None` when the last one was read and is right.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, TextError> {
        self.line.clear();
        let read = (&mut self.text).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        if read == 0 || self.line.last() != Some(&b'\n') {
            return Err(TextError::Cut { line: self.lines });
        }
        let line = serde_json::from_slice(&self.line).map_err(|error| self.wrong(error.to_string()))?;
        let Line::End(end) = line else {
            self.lines += 1;
            self.hash.update(&self.line);
            return Ok(Some(line));
        };
        let is_right = end.lines == self.lines && end.sha256 == hexadecimal(&self.hash.clone().finalize());
        if !is_right {
            return Err(TextError::Changed);
        }
        if self.text.fill_buf()?.is_empty() { Ok(None) } else { Err(self.wrong("there is more after the last line")) }
    }

    fn wrong(&self, what: impl Into<String>) -> TextError {
        TextError::Line { line: self.lines + 1, what: what.into() }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let at = Position(1, 7);
        let owed =
            Owed { client_id: "c".into(), qos: 2, retain: false, ids: vec![3], share: Some(("g".into(), "#".into())) };
        let positions = vec![at];
        vec![
            Line::Store(Head {
                format: 1,
                clock_ms: 5,
                wall_ms: 6,
                since_boot_ms: 7,
                boot_id: "0".repeat(32),
                positions,
            }),
            Line::Removed(Removed { user: "old".into(), at_ms: 4 }),
            Line::Message(Message {
                at,
                topic: "t/\"\n".into(),
                payload: Bytes(vec![0, 255, 10]),
                qos: 2,
                retain: true,
                publisher: "p".into(),
                publisher_user: None,
                publisher_known: Bytes::default(),
                properties: Bytes::default(),
                accepted_ms: 1,
                expires_ms: None,
                owed: vec![owed],
            }),
        ]
    }

    fn text(lines: &[Line]) -> Vec<u8> {
        let mut writer = TextWriter::new(Vec::new());
        lines.iter().for_each(|line| writer.line(line).unwrap());
        writer.end().unwrap()
    }

    fn read(text: &[u8]) -> Result<Vec<Line>, TextError> {
        let mut reader = TextReader::new(text);
        let mut lines = Vec::new();
        while let Some(line) = reader.next()? {
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn lines_are_read_back_as_they_were_written() {
        assert_eq!(read(&text(&lines())).unwrap(), lines());
        let first = String::from_utf8(text(&lines())).unwrap().lines().nth(1).map(str::to_owned);
        assert_eq!(first.as_deref(), Some(r#"{"removed":{"user":"old","at_ms":4}}"#));
    }

    #[test]
    fn a_text_that_was_cut_anywhere_is_refused() {
        let whole = text(&lines());
        for end in 0..whole.len() {
            let error = read(&whole[..end]).unwrap_err();
            assert!(matches!(error, TextError::Cut { .. }), "{end}: {error}");
        }
    }

    #[test]
    fn a_text_that_was_changed_is_refused() {
        let whole = String::from_utf8(text(&lines())).unwrap();
        let refused = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(refused(&whole.replace("\"old\"", "\"new\"")).contains("checksum"));
        assert!(refused(&whole.replacen("{\"removed\":{\"user\":\"old\",\"at_ms\":4}}\n", "", 1)).contains("checksum"));
        assert!(
            refused(&whole.replace("at_ms\":4", "at_ms\":4,\"more\":1")).starts_with("line 2: unknown field `more`")
        );
        assert!(refused(&format!("{whole}{whole}")).starts_with("line 4: there is more after the last line"));
    }
}
