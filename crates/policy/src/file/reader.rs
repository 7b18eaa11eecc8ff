//! Reads values out of the TOML of a policy file and collects everything that is wrong, each with its line.
//!
//! Called by the policy file and its rules. Knows TOML, and nothing of what the values mean.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, value::Datetime};

use super::Attributes;
use crate::acl::AclError;
use crate::suggest::suggestion;

/// A value and the line it stands on.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// Lines of the text, and the errors found so far.
pub(super) struct Reader {
    line_starts: Vec<usize>,
    errors: Vec<AclError>,
}

/// A table of the document.
pub(super) struct Table<'a> {
    /// As it stands in the file.
    title: &'static str,
    pub(super) line: usize,
    table: &'a DeTable<'a>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { line_starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect(), errors: Vec::new() }
    }

    /// The document; `None` when it is not TOML, and then nothing but its syntax is complained of.
    pub(super) fn document<'a>(&mut self, text: &'a str) -> Option<Spanned<DeTable<'a>>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = self.line_of(error.span().map_or(0, |span| span.start));
            let what = error.message().lines().collect::<Vec<_>>().join(", ");
            self.error(line, what, "this is not valid TOML here; is a quotation mark, a bracket or the rest missing?");
        }
        errors.is_empty().then_some(document)
    }

    pub(super) fn top<'a>(&mut self, document: &'a Spanned<DeTable<'a>>, known: &[&str]) -> Table<'a> {
        let top = Table { title: "", line: 0, table: document.get_ref() };
        top.refuse_unknown(known, self);
        top
    }

    pub(super) fn error(&mut self, line: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.errors.push(AclError { line, what: what.into(), hint: hint.into() });
    }

    /// All errors in the order of lines, if there are any.
    pub(super) fn finish(&mut self) -> Result<(), Vec<AclError>> {
        let mut errors = std::mem::take(&mut self.errors);
        errors.sort_by_key(|error| error.line);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }
}

impl<'a> Table<'a> {
    /// The tables of an array. Names outside `known` are errors.
    pub(super) fn tables(
        &self,
        name: &str,
        title: &'static str,
        known: &[&str],
        reader: &mut Reader,
    ) -> Vec<Table<'a>> {
        let Some(found) = self.table.get(name) else { return Vec::new() };
        let line = reader.line_of(found.span().start);
        let Some(items) = found.get_ref().as_array() else {
            reader.error(line, format!("{name} is a list of tables"), format!("write {title} above each"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let line = reader.line_of(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => {
                    let table = Table { title, line, table };
                    table.refuse_unknown(known, reader);
                    tables.push(table);
                }
                None => reader.error(line, format!("{name} is a list of tables"), format!("write {title} above each")),
            }
        }
        tables
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The line of a key, or of the table when the key is absent.
    pub(super) fn line_of(&self, key: &str, reader: &Reader) -> usize {
        self.table.get(key).map_or(self.line, |value| reader.line_of(value.span().start))
    }

    /// The name of what the table is about.
    pub(super) fn name(&self, hint: &str, reader: &mut Reader) -> Option<Located<String>> {
        if !self.has("name") {
            reader.error(self.line, format!("name is missing in {}", self.title), format!("add name = \"…\"; {hint}"));
            return None;
        }
        let name = self.text("name", reader)?;
        if name.value.is_empty() || name.value.contains(char::is_control) {
            reader.error(name.line, "the name is empty or holds a control character", "write a readable name");
            return None;
        }
        Some(name)
    }

    pub(super) fn text(&self, key: &str, reader: &mut Reader) -> Option<Located<String>> {
        let text = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        self.take(key, "a text", "put the value in quotation marks", text, reader)
    }

    pub(super) fn flag(&self, key: &str, reader: &mut Reader) -> Option<bool> {
        let hint = "write true or false without quotation marks";
        self.take(key, "true or false", hint, |value: &DeValue<'_>| value.as_bool(), reader).map(|found| found.value)
    }

    /// A whole number of 32 bits.
    pub(super) fn number(&self, key: &str, reader: &mut Reader) -> Option<i32> {
        let hint = "write digits only, from -1000000 to 1000000";
        self.take(key, "a whole number", hint, number, reader).map(|found| found.value)
    }

    /// A list of whole numbers, or one.
    pub(super) fn numbers(&self, key: &str, reader: &mut Reader) -> Option<Located<Vec<i32>>> {
        let all = |value: &DeValue<'_>| match value.as_array() {
            Some(items) => items.iter().map(|item| number(item.get_ref())).collect(),
            None => number(value).map(|one| vec![one]),
        };
        self.take(key, "a whole number or a list of them", "write it as [0, 1]", all, reader)
    }

    /// A date, with or without a time.
    pub(super) fn date(&self, key: &str, reader: &mut Reader) -> Option<Located<Datetime>> {
        let hint = "write it as 2026-01-31, or with a time as 2026-01-31T08:00:00Z, without quotation marks";
        let date = |value: &DeValue<'_>| value.as_datetime().copied().filter(|found| found.date.is_some());
        self.take(key, "a date", hint, date, reader)
    }

    /// A list of texts; one alone is a list of one.
    pub(super) fn texts(&self, key: &str, reader: &mut Reader) -> Vec<Located<String>> {
        let Some(found) = self.table.get(key) else { return Vec::new() };
        texts(key, found, reader)
    }

    /// A list of user names.
    pub(super) fn user_names(&self, key: &str, reader: &mut Reader) -> Vec<Located<String>> {
        let names = self.texts(key, reader);
        for name in names.iter().filter(|name| name.value.is_empty()) {
            reader.error(name.line, "a user name is empty", "name a user, or remove it");
        }
        names
    }

    /// Names of attributes, each with the values of which one is enough.
    pub(super) fn attributes(&self, key: &str, reader: &mut Reader) -> Attributes {
        let Some(found) = self.table.get(key) else { return Vec::new() };
        let line = reader.line_of(found.span().start);
        let hint = format!("write {key} = {{ \"cert.ou\" = [\"Water\"] }}");
        let Some(table) = found.get_ref().as_table() else {
            reader.error(line, format!("{key} must be a table of names with values"), hint);
            return Vec::new();
        };
        let mut attributes = Vec::new();
        flatten("", table, reader, &mut attributes);
        if attributes.is_empty() {
            reader.error(line, format!("{key} is empty"), hint);
        }
        for (name, values) in &attributes {
            if values.is_empty() {
                reader.error(line, format!("{name} has no values and can never hold"), "name at least one value");
            }
        }
        attributes.sort();
        attributes
    }

    fn take<T>(
        &self,
        key: &str,
        what: &str,
        hint: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
        reader: &mut Reader,
    ) -> Option<Located<T>> {
        let found = self.table.get(key)?;
        let line = reader.line_of(found.span().start);
        let value = read(found.get_ref());
        if value.is_none() {
            reader.error(line, format!("{key} must be {what}"), hint);
        }
        value.map(|value| Located { value, line })
    }

    fn refuse_unknown(&self, known: &[&str], reader: &mut Reader) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if known.contains(&&**name) {
                continue;
            }
            let place = if self.title.is_empty() { String::new() } else { format!(" in {}", self.title) };
            let hint = match suggestion(name, known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known are {}", known.join(", ")),
            };
            let line = reader.line_of(key.span().start);
            reader.error(line, format!("unknown key {:?}{place}", name.as_ref()), hint);
        }
    }
}

fn number(value: &DeValue<'_>) -> Option<i32> {
    let written = value.as_integer()?;
    let number = i32::from_str_radix(written.as_str(), written.radix()).ok()?;
    (-1_000_000..=1_000_000).contains(&number).then_some(number)
}

fn texts(key: &str, found: &Spanned<DeValue<'_>>, reader: &mut Reader) -> Vec<Located<String>> {
    let line = reader.line_of(found.span().start);
    let one = |item: &Spanned<DeValue<'_>>| {
        let value = item.get_ref().as_str()?.to_owned();
        Some(Located { value, line: reader.line_of(item.span().start) })
    };
    let all: Option<Vec<_>> = match found.get_ref().as_array() {
        Some(items) => items.iter().map(one).collect(),
        None => one(found).map(|one| vec![one]),
    };
    if all.is_none() {
        reader.error(line, format!("{key} must be a list of texts"), format!("write {key} = [\"…\", \"…\"]"));
    }
    all.unwrap_or_default()
}

/// Attributes have dots in their names, which TOML takes for tables in tables where the name is not in quotation marks.
fn flatten(before: &str, table: &DeTable<'_>, reader: &mut Reader, out: &mut Attributes) {
    for (key, value) in table {
        let name = if before.is_empty() { key.get_ref().to_string() } else { format!("{before}.{}", key.get_ref()) };
        match value.get_ref().as_table() {
            Some(inner) => flatten(&name, inner, reader, out),
            None => {
                let values = texts(&name, value, reader).into_iter().map(|text| text.value.into()).collect();
                out.push((name.into(), values));
            }
        }
    }
}
