//! Reads the small configuration file with the three keys `broker`, `port` and `tls_cert_path`, TOML or JSON.
//! Called by whoever has such a file. Never guesses: an unknown key, a wrong type or a missing key is an error that
//! names the line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::MqttConfig;

/// The keys, in the order in which they are shown.
const KEYS: [&str; 3] = ["broker", "port", "tls_cert_path"];
/// The file has three short lines.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is wrong with a configuration file: `FILE:LINE: WHAT — hint: HINT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFileError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for ConfigFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {} — hint: {}", self.what, self.hint)
    }
}

impl std::error::Error for ConfigFileError {}

impl MqttConfig {
    /// Reads `path`: JSON when its name ends in `.json`, otherwise TOML. The file must have exactly the keys `broker`,
    /// `port` and `tls_cert_path`; everything else has its default. A relative `tls_cert_path` starts at the current
    /// directory, as on the command line.
    pub fn from_file(path: &Path) -> Result<Self, ConfigFileError> {
        let whole = |what: String, hint: &str| ConfigFileError {
            path: path.to_owned(),
            line: None,
            what,
            hint: hint.to_owned(),
        };
        let unreadable =
            |error: std::io::Error| whole(format!("cannot be read: {error}"), "check the path and the file's mode");
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > FILE_BYTES_MAX {
            return Err(whole(format!("has {size} bytes, far too many"), "name the file with the three keys"));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        parse(&text, is_json).map_err(|fault| ConfigFileError {
            path: path.to_owned(),
            line: fault.line,
            what: fault.what,
            hint: fault.hint,
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: Option<usize>,
    what: String,
    hint: String,
}

impl Fault {
    fn new(line: Option<usize>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line, what: what.into(), hint: hint.into() }
    }
}

/// Keys and values of the file in one form for both languages.
type Table = serde_json::Map<String, serde_json::Value>;

fn parse(text: &str, is_json: bool) -> Result<MqttConfig, Fault> {
    let table = if is_json { json_table(text)? } else { toml_table(text)? };
    let line_of = |key: &str| line_of_key(text, key, is_json);
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let key_shown = motte_pki::printable(key);
        return Err(Fault::new(line_of(key), format!("unknown key `{key_shown}`"), suggestion(key)));
    }
    let value = |key: &'static str, example: &str| {
        table.get(key).ok_or_else(|| {
            Fault::new(
                None,
                format!("the key `{key}` is missing"),
                format!("add it, such as {}", shown(key, example, is_json)),
            )
        })
    };
    let text_of = |key: &'static str, example: &str| {
        value(key, example)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| {
            let hint = format!("write {}", shown(key, example, is_json));
            Fault::new(line_of(key), format!("`{key}` must be a text that is not empty"), hint)
        })
    };
    let broker = text_of("broker", "\"broker.example.org\"")?;
    let port = value("port", "8883")?.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let port = port.ok_or_else(|| {
        let hint = format!("write {}", shown("port", "8883", is_json));
        Fault::new(line_of("port"), "`port` must be a number from 1 to 65535", hint)
    })?;
    let tls_cert_path = text_of("tls_cert_path", "\"ca.pem\"")?;
    Ok(MqttConfig::new(broker, port, tls_cert_path))
}

fn shown(key: &str, value: &str, is_json: bool) -> String {
    if is_json { format!("`\"{key}\": {value}`") } else { format!("`{key} = {value}`") }
}

fn json_table(text: &str) -> Result<Table, Fault> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(table)) => Ok(table),
        Ok(_) => {
            Err(Fault::new(Some(1), "is not an object", "write { \"broker\": …, \"port\": …, \"tls_cert_path\": … }"))
        }
        Err(error) => {
            Err(Fault::new(Some(error.line().max(1)), format!("is not JSON: {error}"), "check commas and quotes"))
        }
    }
}

fn toml_table(text: &str) -> Result<Table, Fault> {
    toml::from_str::<Table>(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(text, span.start));
        let hint = "write `key = value`, text in double quotes; a JSON file's name must end in .json";
        Fault::new(Some(line), format!("is not TOML: {}", motte_pki::printable(error.message())), hint)
    })
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// The first line on which the key stands as a key. The file is flat, so this is enough.
fn line_of_key(text: &str, key: &str, is_json: bool) -> Option<usize> {
    let quoted = format!("\"{key}\"");
    let is_key = |line: &str| {
        let line = line.trim_start();
        if is_json {
            return line.split_once(&quoted).is_some_and(|(_, rest)| rest.trim_start().starts_with(':'));
        }
        let line = line.strip_prefix('[').unwrap_or(line);
        let rest = line.strip_prefix(&quoted).or_else(|| line.strip_prefix(key));
        rest.is_some_and(|rest| rest.trim_start().starts_with(['=', '.', ']']))
    };
    text.lines().position(is_key).map(|index| index + 1)
}

fn suggestion(key: &str) -> String {
    let known = KEYS.iter().map(|known| (distance(&key.to_ascii_lowercase(), known), *known)).min();
    match known {
        Some((far, known)) if far <= known.len() / 2 && far <= 3 => format!("did you mean `{known}`?"),
        _ => format!("the keys are {}", KEYS.map(|known| format!("`{known}`")).join(", ")),
    }
}

/// How many letters differ (Levenshtein). Long keys are cut: they are far from everything anyway.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is the failure of a test")]

    use std::path::Path;

    use super::{Fault, parse};
    use crate::MqttConfig;

    #[test]
    fn both_languages_give_the_same_configuration() {
        let expected = MqttConfig::new("broker.example.org", 8883, "pki/ca.pem");
        let toml = "# ours\nbroker = \"broker.example.org\"\nport = 8883\ntls_cert_path = \"pki/ca.pem\"\n";
        let json = r#"{"broker": "broker.example.org", "port": 8883, "tls_cert_path": "pki/ca.pem"}"#;
        assert_eq!(parse(toml, false), Ok(expected.clone()));
        assert_eq!(parse(json, true), Ok(expected));
    }

    #[test]
    fn each_fault_names_its_line_and_says_what_to_do() {
        let check = |text: &str, is_json: bool, line: Option<usize>, what: &str, hint: &str| {
            let expected = Fault { line, what: what.into(), hint: hint.into() };
            assert_eq!(parse(text, is_json).unwrap_err(), expected, "{text}");
        };
        let complete = "broker = \"b\"\nport = 1\ntls_cert_path = \"c\"\n";
        let unknown = format!("{complete}\ntls_cert_paht = \"c\"\n");
        check(&unknown, false, Some(5), "unknown key `tls_cert_paht`", "did you mean `tls_cert_path`?");
        let unknown = format!("{complete}qos = 1\n");
        check(&unknown, false, Some(4), "unknown key `qos`", "the keys are `broker`, `port`, `tls_cert_path`");
        let table = format!("{complete}[tls]\nmin = 1\n");
        check(&table, false, Some(4), "unknown key `tls`", "the keys are `broker`, `port`, `tls_cert_path`");
        let json = "{\n \"broker\": \"b\",\n \"Port\": 1,\n \"tls_cert_path\": \"c\"\n}";
        check(json, true, Some(3), "unknown key `Port`", "did you mean `port`?");
        let no_port = "broker = \"b\"\ntls_cert_path = \"c\"\n";
        check(no_port, false, None, "the key `port` is missing", "add it, such as `port = 8883`");
        for port in ["0", "65536", "-1", "\"8883\""] {
            let text = format!("broker = \"b\"\nport = {port}\ntls_cert_path = \"c\"\n");
            check(&text, false, Some(2), "`port` must be a number from 1 to 65535", "write `port = 8883`");
        }
        let empty = "broker = \"b\"\nport = 1\ntls_cert_path = \"\"\n";
        let what = "`tls_cert_path` must be a text that is not empty";
        check(empty, false, Some(3), what, "write `tls_cert_path = \"ca.pem\"`");
    }

    #[test]
    fn broken_files_name_the_line() {
        assert_eq!(parse("broker = \"b\"\nport = \n", false).unwrap_err().line, Some(2));
        assert_eq!(parse("{\n\"broker\": \"b\"\n\"port\": 1}", true).unwrap_err().line, Some(3));
        assert_eq!(parse("[1]", true).unwrap_err().what, "is not an object");
        assert!(parse("broker = \"b\"\nbroker = \"c\"\n", false).is_err(), "a key twice");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = MqttConfig::from_file(Path::new("no/such/file.toml")).unwrap_err().to_string();
        assert!(error.starts_with("no/such/file.toml: cannot be read: "), "{error}");
        assert!(error.contains(" — hint: "), "{error}");
    }
}
