//! Checks of one Rust file: header, sizes, words that must not stand in it, and who may make an identity.
//!
//! Called by `tidy` for each `.rs` file. Clippy checks unwraps and printing; this file does not.

use super::Finding;
use super::lexer::code_only;

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 120;
const ARGUMENTS_MAX: usize = 5;

/// Code that must not be committed, and why.
const BANNED: [(&str, &str); 5] = [
    ("todo!", "unfinished code is not committed"),
    ("unimplemented!", "unfinished code is not committed"),
    ("dbg!", "events are reported, not printed"),
    ("#[ignore", "a test that does not run proves nothing"),
    ("unsafe {", "unsafe code is forbidden"),
];

/// Makers of an identity, callable by the gate's authentication alone, and by tests and the simulation.
const IDENTITY_MAKERS: [&str; 6] =
    ["by_certificate", "anonymously", "by_password", "by_secret", "by_scram", "by_source"];

/// All checks of one file.
pub(crate) fn check(file: &str, text: &str) -> Vec<Finding> {
    let code = code_only(text);
    let own_lines = lines_before_tests(file, &code);
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push(Finding::new(file, 1, "opens without a `//!` line that says what the file is"));
    }
    if own_lines > FILE_LINES_MAX {
        findings.push(Finding::new(file, 0, format!("{own_lines} lines without tests; at most {FILE_LINES_MAX}")));
    }
    for (index, line) in text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            findings.push(Finding::new(file, index + 1, format!("{columns} columns; at most {COLUMNS_MAX}")));
        }
    }
    for (index, line) in code.lines().enumerate() {
        for (word, why) in BANNED.iter().filter(|(word, _)| has_word(line, word)) {
            findings.push(Finding::new(file, index + 1, format!("`{word}`: {why}")));
        }
        for maker in IDENTITY_MAKERS.iter().filter(|_| !may_make_identities(file) && index < own_lines) {
            if line.contains(&format!("Authenticated::{maker}")) {
                let what = format!("`Authenticated::{maker}` is called in the gate's authentication only");
                findings.push(Finding::new(file, index + 1, what));
            }
        }
    }
    findings.extend(check_functions(file, &code, own_lines));
    findings
}

fn may_make_identities(file: &str) -> bool {
    let rooms = ["crates/node/src/gate/authn", "crates/policy/src/", "crates/sim/"];
    rooms.iter().any(|room| file.starts_with(room)) || is_test_file(file)
}

fn is_test_file(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("/tests.rs") || file.contains("/benches/")
}

/// Whether `word` stands in `line` and is not the end of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Lines before the tests that close the file; 0 for a file of tests.
pub(super) fn lines_before_tests(file: &str, code: &str) -> usize {
    if is_test_file(file) {
        return 0;
    }
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let is_test_module = |index: usize| {
        lines[index] == "#[cfg(test)]"
            && lines[index + 1..].iter().find(|line| !line.starts_with("#[")).is_some_and(|l| l.starts_with("mod "))
    };
    (0..lines.len()).find(|index| is_test_module(*index)).unwrap_or(lines.len())
}

fn check_functions(file: &str, code: &str, own_lines: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let line = code[..at].matches('\n').count() + 1;
        let starts_a_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if line > own_lines || !starts_a_word {
            continue;
        }
        let Some(function) = Function::parse(&code[at + 3..]) else { continue };
        if function.arguments > ARGUMENTS_MAX {
            let what = format!("`{}` takes {} arguments; at most {ARGUMENTS_MAX}", function.name, function.arguments);
            findings.push(Finding::new(file, line, what));
        }
        if function.lines > FUNCTION_LINES_MAX {
            let what = format!("`{}` has {} lines; at most {FUNCTION_LINES_MAX}", function.name, function.lines);
            findings.push(Finding::new(file, line, what));
        }
    }
    findings
}

/// What is measured of a function.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Arguments beside `self`.
    arguments: usize,
    /// Lines of its body that hold code; 0 without a body.
    lines: usize,
}

impl Function {
    /// Reads a function from after its `fn`; `None` for a function pointer type.
    fn parse(code: &str) -> Option<Self> {
        let name: String = code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            return None;
        }
        let mut rest = &code[name.len()..];
        if rest.starts_with('<') {
            rest = &rest[closing(rest)? + 1..];
        }
        let end = closing(rest.trim_start())?;
        let arguments = split_arguments(&rest.trim_start()[1..end]);
        let arguments = arguments.iter().filter(|argument| !is_self(argument)).count();
        let rest = &rest.trim_start()[end + 1..];
        let lines = match rest.find(['{', ';']) {
            Some(open) if rest[open..].starts_with('{') => {
                let body = &rest[open..];
                let inside = &body[1..closing(body)?];
                inside.lines().filter(|line| !line.trim().is_empty()).count()
            }
            _ => 0,
        };
        Some(Self { name, arguments, lines })
    }
}

fn is_self(argument: &str) -> bool {
    let first = argument.split(':').next().unwrap_or_default();
    first.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "self")
}

/// Where the bracket that opens `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let angles = text.starts_with('<');
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            '<' if angles => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            '>' if angles && before != '-' && before != '=' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
        before = c;
    }
    None
}

/// Splits at the commas that stand in no bracket.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut before) = (0_i32, 0, ' ');
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => depth += 1,
            '>' if before == '-' || before == '=' => {}
            ')' | ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "//! What it is.\n";

    #[track_caller]
    fn findings(file: &str, body: &str) -> Vec<String> {
        check(file, &format!("{HEADER}{body}")).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(check("a.rs", "fn f() {}\n").len(), 1);
        assert_eq!(check("a.rs", "").len(), 1);
        assert_eq!(findings("a.rs", "fn f() {}\n"), [""; 0]);
    }

    #[test]
    fn a_long_file_is_found_but_tests_do_not_count() {
        let long = "const A: u8 = 0;\n".repeat(FILE_LINES_MAX);
        assert_eq!(findings("a.rs", &long).len(), 1);
        let tests = format!("#[cfg(test)]\n#[rustfmt::skip]\nmod tests {{\n{long}}}\n");
        assert_eq!(findings("a.rs", &tests), [""; 0]);
        assert_eq!(findings("crates/a/tests/b.rs", &long), [""; 0]);
        let item = format!("#[cfg(test)]\nuse x;\n{long}");
        assert_eq!(findings("a.rs", &item).len(), 1, "a test-only import does not open the tests");
    }

    #[test]
    fn a_long_function_is_found() {
        let body = |lines| format!("fn f() {{\n{}}}\n", "    g();\n\n    // why\n".repeat(lines));
        assert_eq!(findings("a.rs", &body(FUNCTION_LINES_MAX)), [""; 0]);
        assert_eq!(findings("a.rs", &body(FUNCTION_LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn too_many_arguments_are_found() {
        let five =
            "impl X { fn f<A: Fn(u8, u8) -> u8>(&mut self, a: A, b: (u8, u8), c: [u8; 2], d: M<u8, u8>, e: u8,) {} }";
        assert_eq!(findings("a.rs", five), [""; 0]);
        let six = "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8);";
        assert_eq!(findings("a.rs", six), ["`f` takes 6 arguments; at most 5"]);
    }

    #[test]
    fn a_wide_line_is_found() {
        assert_eq!(findings("a.rs", &format!("// {}\n", "é".repeat(117))), [""; 0]);
        assert_eq!(findings("a.rs", &format!("// {}\n", "é".repeat(118))).len(), 1);
    }

    #[test]
    fn banned_words_are_found_in_code_and_not_in_sentences() {
        for word in ["todo!()", "unimplemented!()", "dbg!(x)", "#[ignore]", "#[ignore = why]", "unsafe { x }"] {
            assert_eq!(findings("a.rs", &format!("{word};\n")).len(), 1, "{word}");
            assert_eq!(findings("a.rs", &format!("// {word}\nlet a = \"{word}\";\n")), [""; 0], "{word}");
        }
        assert_eq!(findings("a.rs", "my_todo!();\n"), [""; 0]);
    }

    #[test]
    fn an_identity_is_made_in_the_gate_only() {
        let call = "fn f() { Authenticated::anonymously(); }\n";
        assert_eq!(findings("crates/node/src/worker.rs", call).len(), 1);
        assert_eq!(findings("crates/node/src/gate/authn.rs", call), [""; 0]);
        assert_eq!(findings("crates/node/src/gate/authn/slow.rs", call), [""; 0]);
        assert_eq!(findings("crates/broker/tests/pair.rs", call), [""; 0]);
    }
}
