//! Rust source with its comments and literals blanked out, so that a word in a sentence is not taken for code.
//!
//! Used by the checks of `tidy`. Lines and columns stay where they are.

/// The code of `text`: every character of a comment, string or character literal is a blank, newlines stay.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else if is_word(chars[at]) {
            // A word is taken whole, so that the `r` at its end does not open a raw string.
            while at < chars.len() && is_word(chars[at]) {
                code.push(chars[at]);
                at += 1;
            }
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment(rest),
        ['"', ..] => at + quoted(rest, 1, '"'),
        ['b' | 'c', '"', ..] => at + quoted(rest, 2, '"'),
        ['b', '\'', ..] => at + quoted(rest, 2, '\''),
        ['\'', '\\', ..] => at + quoted(rest, 1, '\''),
        ['\'', _, '\'', ..] => at + 3,
        ['r', '"' | '#', ..] => at + raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] => at + raw(rest, 2),
        _ => at,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], start: usize, quote: char) -> usize {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A raw string whose `#`s start at `start`; 0 when it is a raw identifier.
fn raw(rest: &[char], start: usize) -> usize {
    let hashes = rest[start..].iter().take_while(|c| **c == '#').count();
    let open = start + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut at = open + 1;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let code = code_only(text);
        assert_eq!(code.chars().count(), text.chars().count(), "columns moved");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expect);
    }

    #[test]
    fn comments_and_literals_are_blank() {
        check("let a = 1; // b", "let a = 1;");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"f("x \" y", 'z', '\'', b'q', b"w", '"')"#, "f( , , , , , )");
        check(r###"g(r#"a " b"#, br"c", r"d")"###, "g( , , )");
        check("\"two\nlines\" x", "x");
    }

    #[test]
    fn lifetimes_words_and_raw_identifiers_are_code() {
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("for r#type in var", "for r#type in var");
        check("matches!(c, 'a'..='z') && str", "matches!(c, ..= ) && str");
    }
}
