//! Texts that must not be committed in any file: paths of one machine, addresses of package registries, merge marks.
//!
//! Called by `tidy` for each committed file that is text.

use super::Finding;

/// Pieces of forbidden texts; put together so that this file does not hold them. `Cargo.lock` is written by cargo.
const FORBIDDEN: [(&str, &str, &str); 10] = [
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/home", "/", "a path of one machine"),
    ("../sha", "red", "a folder outside the project"),
    ("registry.np", "mjs", "clients know their registry"),
    ("files.pythonho", "sted", "clients know their registry"),
    ("index.cra", "tes.io", "clients know their registry"),
    ("artifac", "tory", "clients know their registry"),
    ("<<<<<", "<< ", "a merge that was not finished"),
    (">>>>>", ">> ", "a merge that was not finished"),
];

/// Forbidden texts of one file, and white space at the ends of lines.
pub(crate) fn check(file: &str, text: &str) -> Vec<Finding> {
    if file.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (head, tail, why) in FORBIDDEN {
            if line.contains(&format!("{head}{tail}")) {
                findings.push(Finding::new(file, index + 1, format!("`{head}{tail}`: {why}")));
            }
        }
        if is_key_header(line) {
            findings.push(Finding::new(file, index + 1, "a private key; tests make their own"));
        }
        if line.ends_with([' ', '\t']) {
            findings.push(Finding::new(file, index + 1, "white space at the end of the line"));
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(file, 0, "the last line does not end"));
    }
    findings
}

/// Whether a PEM private key begins here. Code that looks for such a line holds it within other text.
fn is_key_header(line: &str) -> bool {
    line.strip_prefix("-----BEGIN ").is_some_and(|rest| rest.ends_with("PRIVATE KEY-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_text_is_found() {
        for (head, tail, _) in FORBIDDEN {
            let text = format!("first\nsee {head}{tail} here\n");
            let found = check("README.md", &text);
            assert_eq!(found.len(), 1, "{head}{tail}");
            assert_eq!(found[0].line, 2);
            assert_eq!(check("Cargo.lock", &text), []);
        }
    }

    #[test]
    fn a_private_key_is_found() {
        for kind in ["", "EC ", "RSA ", "ENCRYPTED "] {
            let line = ["-----BEGIN ", kind, "PRIVATE KEY-----\n"].concat();
            assert_eq!(check("a.pem", &line).len(), 1, "{line}");
            assert_eq!(check("a.rs", &format!("find(\"{}\")\n", line.trim_end())), []);
        }
        assert_eq!(check("a.pem", "-----BEGIN CERTIFICATE-----\n"), []);
    }

    #[test]
    fn loose_ends_are_found() {
        assert_eq!(check("a.md", "a \nb\t\nc").len(), 3);
        assert_eq!(check("a.md", "a\nb\n"), []);
    }
}
