//! One line of an ACL file: `user NAME`, `topic [access] FILTER`, `pattern [access] FILTER`, a comment, or nothing.
//!
//! Called by `Acl::parse` for each line. Knows no sections: what a line means in its place is the caller's.

use crate::ranked::{Actions, Effect};
use crate::topic::is_filter;

/// A line that may stand in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Blank,
    User(&'a str),
    Topic { access: Access, filter: &'a str },
    Pattern { access: Access, filter: &'a str },
}

/// What a rule does, and with what.
pub(super) type Access = (Effect, Actions);

const READ: Access = (Effect::Allow, Actions::READ);
const WRITE: Access = (Effect::Allow, Actions::PUBLISH);
const READ_WRITE: Access = (Effect::Allow, Actions::READ.and(Actions::PUBLISH));
const DENY: Access = (Effect::Deny, Actions::READ.and(Actions::PUBLISH));

/// What is wrong with a line, and what to do about it.
pub(super) type Wrong = (String, &'static str);

/// Characters of the file that an error repeats at most.
const QUOTED_CHARS_MAX: usize = 48;

/// What C's `isspace` takes for white space in Mosquitto's reader.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

/// Parses one line. `#` opens a comment in column 1 only; white space at the end is no part of the line.
pub(super) fn line(raw: &str) -> Result<Line<'_>, Wrong> {
    let text = raw.trim_end_matches(BLANKS);
    if text.is_empty() || text.starts_with('#') {
        return Ok(Line::Blank);
    }
    let (keyword, rest) = word(text);
    match keyword {
        "user" => user(rest),
        "topic" => {
            let (access, filter) = rule(rest)?;
            Ok(Line::Topic { access, filter })
        }
        "pattern" => {
            let (access, filter) = rule(rest)?;
            whole_level_placeholders(filter)?;
            Ok(Line::Pattern { access, filter })
        }
        _ => Err((format!("unknown keyword {}", quoted(keyword)), unknown_keyword_hint(keyword))),
    }
}

/// The first word, ended by a space and by nothing else, and what follows it. Spaces before it do not count.
fn word(text: &str) -> (&str, &str) {
    text.trim_start_matches(' ').split_once(' ').unwrap_or((text.trim_start_matches(' '), ""))
}

fn user(rest: &str) -> Result<Line<'_>, Wrong> {
    let name = rest.trim_matches(BLANKS);
    if name.is_empty() {
        return Err(("no user name".into(), "write `user NAME`"));
    }
    if name.contains(char::is_control) {
        let hint = "write the name without control characters";
        return Err((format!("the user name {} holds a control character", quoted(name)), hint));
    }
    Ok(Line::User(name))
}

/// `[access SP] filter`. A lone word is a filter, whatever it reads like.
fn rule(rest: &str) -> Result<(Access, &str), Wrong> {
    let (first, remainder) = word(rest);
    let filter = remainder.trim_matches(BLANKS);
    let (access, filter) = match (first, filter) {
        ("", _) => return Err(("no topic filter".into(), "write `topic [read|write|readwrite|deny] FILTER`")),
        (alone, "") => (READ_WRITE, alone),
        ("read", filter) => (READ, filter),
        ("write", filter) => (WRITE, filter),
        ("readwrite", filter) => (READ_WRITE, filter),
        ("deny", filter) => (DENY, filter),
        (other, _) => {
            let hint = "write read, write, readwrite or deny before the filter; a filter with a space in it needs one";
            return Err((format!("unknown access {}", quoted(other)), hint));
        }
    };
    if !is_filter(filter) {
        let hint = "`+` and `#` stand alone in a level, `#` only in the last; no NUL, at most 65535 bytes";
        return Err((format!("{} is no topic filter", quoted(filter)), hint));
    }
    Ok((access, filter))
}

/// A placeholder inside a longer level would be plain text and never mean what it says.
fn whole_level_placeholders(filter: &str) -> Result<(), Wrong> {
    let part = |level: &&str| level.len() > 2 && (level.contains("%u") || level.contains("%c"));
    match filter.split('/').find(part) {
        None => Ok(()),
        Some(level) => Err((
            format!("the level {} mixes a placeholder with other text", quoted(level)),
            "give %u or %c a level of its own, as in `pattern read data/%u/#`",
        )),
    }
}

fn unknown_keyword_hint(keyword: &str) -> &'static str {
    if keyword.starts_with('\u{feff}') {
        "save the file without a byte-order mark"
    } else if keyword.trim_start_matches(BLANKS).starts_with('#') {
        "a comment has its # in the first column"
    } else if keyword.contains('\t') {
        "separate with spaces; a tab is part of the word"
    } else if ["user", "topic", "pattern"].iter().any(|known| known.eq_ignore_ascii_case(keyword)) {
        "write the keyword in lower case"
    } else {
        "a line begins with `user`, `topic`, `pattern` or #"
    }
}

fn quoted(text: &str) -> String {
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() { "…" } else { "" };
    let start: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    format!("`{start}{more}`")
}
