//! Reads values out of a TOML document and collects everything that is wrong with them, each with its line.
//!
//! Called by `parse`. Knows TOML and the names in the catalogue, and nothing of what the settings mean.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use motte_policy::suggestion;

use super::ConfigError;

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// All errors found so far in a file and in those it names.
#[derive(Debug)]
pub(super) struct Problems {
    file: PathBuf,
    line_starts: Vec<usize>,
    errors: Vec<ConfigError>,
}

impl Problems {
    pub(super) fn new(file: &Path, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { file: file.to_path_buf(), line_starts, errors: Vec::new() }
    }

    /// The line, from 1, of a byte of the text.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// The path of a file that is named relative to the folder of the configuration.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }

    /// An error in the configuration file itself; line 0 means the file as a whole.
    pub(super) fn at(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        let file = self.file.clone();
        self.push(ConfigError { file, line, what: what.into(), hint: hint.into() });
    }

    /// An error in a file that the configuration names.
    pub(super) fn push(&mut self, error: ConfigError) {
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// All errors: those of the configuration first, by line, then those of other files.
    pub(super) fn into_errors(mut self) -> Vec<ConfigError> {
        let own = self.file;
        self.errors.sort_by(|a, b| (a.file != own, &a.file, a.line).cmp(&(b.file != own, &b.file, b.line)));
        self.errors
    }
}

/// A table of the document, which may be absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    /// As it stands in the file: `[tls]`, `[[listener]]`.
    title: &'static str,
    /// Line of its header; 0 when it is absent.
    pub(super) line: usize,
    table: Option<&'a DeTable<'a>>,
}

impl<'a> Section<'a> {
    /// The whole document. Names outside `known` are errors.
    pub(super) fn root(table: &'a DeTable<'a>, known: &[&'static str], problems: &mut Problems) -> Self {
        let section = Self { title: "", line: 0, table: Some(table) };
        section.refuse_unknown(known, problems);
        section
    }

    /// The table `name`, shown as `title`. Names in it outside `known` are errors.
    pub(super) fn section(
        &self,
        name: &str,
        title: &'static str,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Section<'a> {
        let absent = Section { title, line: 0, table: None };
        let Some(found) = self.find(name) else { return absent };
        let line = problems.line_of(found.span().start);
        let Some(table) = found.get_ref().as_table() else {
            problems.at(
                line,
                format!("{name} is a section, not a value"),
                format!("write {title} on a line of its own"),
            );
            return absent;
        };
        let section = Section { title, line, table: Some(table) };
        section.refuse_unknown(known, problems);
        section
    }

    /// The tables of the array `name`, each shown as `title`.
    pub(super) fn sections(
        &self,
        name: &str,
        title: &'static str,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Vec<Section<'a>> {
        let Some(found) = self.find(name) else { return Vec::new() };
        let mut sections = Vec::new();
        let items = found.get_ref().as_array().map(|array| array.iter().collect::<Vec<_>>());
        for item in items.unwrap_or_else(|| vec![found]) {
            let line = problems.line_of(item.span().start);
            match item.get_ref().as_table() {
                Some(table) if found.get_ref().is_array() => {
                    let section = Section { title, line, table: Some(table) };
                    section.refuse_unknown(known, problems);
                    sections.push(section);
                }
                _ => problems.at(line, format!("{name} is a list of sections"), format!("write {title} above each")),
            }
        }
        sections
    }

    /// Whether the section is absent or holds no key.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_none_or(|table| table.is_empty())
    }

    /// Whether the key stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether the value of the key is a list.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.find(key).is_some_and(|value| value.get_ref().is_array())
    }

    /// The line of a key, or of the section when the key is absent.
    pub(super) fn line_of(&self, key: &str, problems: &Problems) -> usize {
        self.find(key).map_or(self.line, |value| problems.line_of(value.span().start))
    }

    /// Says that a key must be there.
    pub(super) fn missing(&self, key: &str, hint: &str, problems: &mut Problems) {
        problems.at(self.line, format!("{key} is missing in {}", self.title), hint);
    }

    /// A text.
    pub(super) fn text(&self, key: &str, problems: &mut Problems) -> Option<Located<String>> {
        let found = self.find(key)?;
        let line = problems.line_of(found.span().start);
        match found.get_ref().as_str() {
            Some(text) => Some(Located { value: text.to_owned(), line }),
            None => {
                problems.at(line, format!("{key} must be a text"), "put the value in quotation marks");
                None
            }
        }
    }

    /// A path, relative to the folder of the configuration file.
    pub(super) fn path(&self, key: &str, problems: &mut Problems) -> Option<Located<PathBuf>> {
        let text = self.text(key, problems)?;
        if text.value.is_empty() {
            problems.at(text.line, format!("{key} is empty"), "name a file, or remove the line");
            return None;
        }
        Some(Located { value: problems.beside(&text.value), line: text.line })
    }

    /// Yes or no.
    pub(super) fn flag(&self, key: &str, problems: &mut Problems) -> Option<bool> {
        let found = self.find(key)?;
        let value = found.get_ref().as_bool();
        if value.is_none() {
            let line = problems.line_of(found.span().start);
            problems.at(line, format!("{key} must be true or false"), "write true or false without quotation marks");
        }
        value
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &str, range: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let found = self.find(key)?;
        let written = found.get_ref().as_integer();
        let value = written.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            let line = problems.line_of(found.span().start);
            let what = format!("{key} must be a whole number from {} to {}", range.start(), range.end());
            let hint = match written {
                Some(_) => "take a number within these bounds, or leave the key out for its default",
                None => "write digits only, without unit and without quotation marks",
            };
            problems.at(line, what, hint);
        }
        value
    }

    /// One of a closed list of words.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&'static str, T)], problems: &mut Problems) -> Option<T> {
        let text = self.text(key, problems)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let what = format!("{key} cannot be {:?}", text.value);
            let hint = match suggestion(&text.value, &names) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("choose one of {}", quoted(&names)),
            };
            problems.at(text.line, what, hint);
        }
        found.map(|(_, value)| *value)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str, problems: &mut Problems) -> Option<Vec<Located<String>>> {
        let found = self.find(key)?;
        let line = problems.line_of(found.span().start);
        let items = found.get_ref().as_array().map(|array| array.iter().collect::<Vec<_>>());
        let texts = items.and_then(|items| {
            let text = |item: &Spanned<DeValue<'_>>| {
                let value = item.get_ref().as_str()?.to_owned();
                Some(Located { value, line: problems.line_of(item.span().start) })
            };
            items.into_iter().map(text).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            problems.at(line, format!("{key} must be a list of texts"), format!("write {key} = [\"…\", \"…\"]"));
        }
        texts
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table?.get(key)
    }

    fn refuse_unknown(&self, known: &[&'static str], problems: &mut Problems) {
        let Some(table) = self.table else { return };
        for (key, value) in table {
            let name = key.get_ref();
            if known.contains(&&**name) {
                continue;
            }
            let kind = if value.get_ref().is_table() { "section" } else { "key" };
            let place = if self.title.is_empty() { String::new() } else { format!(" in {}", self.title) };
            let hint = match suggestion(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            let line = problems.line_of(key.span().start);
            problems.at(line, format!("unknown {kind} {:?}{place}", name.as_ref()), hint);
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}
