//! Reading which statement a test proves out of the test's name.
//!
//! Called by `spec`. It knows nothing of what a standard says.

/// Names of functions marked as tests that begin with `v` and a version. A helper or a comment is none.
pub(super) fn test_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            marked |= line.starts_with("#[test]") || line.contains("::test]") || line.contains("::test(");
        } else if !line.starts_with("//") {
            let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
            let name = function.and_then(|rest| rest.split(['(', '<']).next());
            names.extend(name.filter(|name| marked && version_of(name).is_some()).map(str::to_owned));
            marked = false;
        }
    }
    names
}

/// `v311` of `v311_3_1_0_1_x`.
pub(super) fn version_of(name: &str) -> Option<&str> {
    let version = name.split('_').next()?;
    version
        .strip_prefix('v')
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(version)
}

/// `v5_3_1_2_11_13_x` is for 3.1.2-11 and 3.1.2-13, `v5_3_1_2_18_to_22_x` for all five of them.
pub(super) fn statements_of(name: &str) -> Vec<String> {
    let mut words = name.split('_').skip(1).peekable();
    let mut section = Vec::new();
    while section.len() < 3 {
        match words.next().map(str::parse::<u16>) {
            Some(Ok(number)) => section.push(number.to_string()),
            _ => return Vec::new(),
        }
    }
    let section = section.join(".");
    let mut numbers: Vec<u16> = Vec::new();
    while let Some(word) = words.next() {
        if let Ok(number) = word.parse() {
            numbers.push(number);
            continue;
        }
        let end = words.peek().and_then(|next| next.parse::<u16>().ok());
        match (word, numbers.last().copied(), end) {
            ("to", Some(start), Some(end)) => numbers.extend(start.saturating_add(1)..end),
            _ => break,
        }
    }
    numbers.into_iter().map(|number| format!("{section}-{number}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_may_stand_for_several_statements() {
        assert_eq!(statements_of("v5_3_1_2_11_13_x_4"), ["3.1.2-11", "3.1.2-13"]);
        assert_eq!(statements_of("v311_3_1_2_18_to_20_x"), ["3.1.2-18", "3.1.2-19", "3.1.2-20"]);
        assert_eq!(statements_of("v5_3_1_2_18_to_the_end"), ["3.1.2-18"]);
        assert!(statements_of("v5_noid_properties").is_empty());
    }

    #[test]
    fn only_what_runs_as_a_test_is_counted() {
        let source = "#[test]\nfn v5_1_1_1_1_a() {}\nfn v5_1_1_1_2_helper() {}\n// #[test]\n// fn v5_1_1_1_3_c() {}\n\
            #[tokio::test]\nasync fn v311_1_1_1_4_d() {}\n#[test]\nfn very_good() {}\n";
        assert_eq!(test_names(source), ["v5_1_1_1_1_a", "v311_1_1_1_4_d"]);
    }
}
