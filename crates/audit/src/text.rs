//! Text from a peer made safe for a log line or a terminal (K34).
//!
//! Called wherever a client identifier, user name or topic is shown. Never changes what is stored or sent.

use std::fmt;

/// Longest text shown, in characters; what is longer is cut and its length told.
const SHOWN_CHARS_MAX: usize = 200;

/// Shows a text with control, format and line-breaking characters escaped, and cut at 200 characters.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for (shown, c) in self.0.chars().enumerate() {
            if shown == SHOWN_CHARS_MAX {
                return write!(f, "…({} bytes)", self.0.len());
            }
            if is_plain(c) { f.write_char(c)? } else { write!(f, "{}", c.escape_unicode())? }
        }
        Ok(())
    }
}

/// Characters that neither move a cursor, break a line, reorder text nor hide.
fn is_plain(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !reorders
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn k34_control_and_bidi_characters_are_escaped() {
        let shown = Escaped("a\r\nb\u{1b}[31m\u{202e}x\u{2028}").to_string();
        assert_eq!(shown, "a\\u{d}\\u{a}b\\u{1b}[31m\\u{202e}x\\u{2028}");
    }

    #[test]
    fn k34_long_text_is_cut_and_its_length_told() {
        let shown = Escaped(&"é".repeat(65_535)).to_string();
        assert!(shown.ends_with("…(131070 bytes)") && shown.chars().count() < 250, "{shown}");
    }
}
