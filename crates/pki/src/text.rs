//! Makes text that came from a peer or from inside a certificate safe to show on one line of a log or a terminal.
//! Called by every `Display` form of this crate. Never changes the text that identities are compared with.

use std::fmt::Write as _;

/// True for characters that can break a line, move a cursor or reorder what is read: all of Unicode's control
/// characters, the line and paragraph separators, and the invisible marks that change direction.
pub(crate) fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}')
        || matches!(c, '\u{2060}'..='\u{2069}' | '\u{061C}' | '\u{FEFF}')
}

/// The text with every character that is unsafe to show written as `\u{..}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe_to_show(c) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn k34_control_and_direction_characters_are_escaped() {
        assert_eq!(printable("a\r\nb\u{1b}[31m\u{202e}c\u{2028}"), r"a\u{d}\u{a}b\u{1b}[31m\u{202e}c\u{2028}");
        assert_eq!(printable("Überwachung 1"), "Überwachung 1");
    }
}
