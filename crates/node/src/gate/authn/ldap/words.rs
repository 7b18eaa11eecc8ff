//! The words of LDAP: user names in filters, and result codes.

/// A value as it stands in a filter: what has a meaning there, and what is not visible, is escaped (RFC 4515).
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '*' | '(' | ')' | '\\' | '\0'..='\x1f' | '\x7f' => {
                text.push_str(&format!("\\{:02x}", u32::from(character)))
            }
            other => text.push(other),
        }
    }
    text
}

/// What a bind came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The password is right.
    Success,
    /// It is not, or its owner may not use it.
    WrongPassword,
    /// The directory cannot tell.
    Other,
}

/// The meaning of a result code of a bind (RFC 4511, appendix A).
pub(super) fn outcome(code: u32) -> Outcome {
    match code {
        0 => Outcome::Success,
        // invalidCredentials; constraintViolation, insufficientAccessRights and unwillingToPerform are how directories
        // say that an account is locked or switched off.
        49 | 19 | 50 | 53 => Outcome::WrongPassword,
        _ => Outcome::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k17_a_user_name_is_one_value_in_a_filter() {
        for (name, expected) in [
            ("anna", "anna"),
            ("*", "\\2a"),
            ("a)(uid=*", "a\\29\\28uid=\\2a"),
            ("a\\2a", "a\\5c2a"),
            ("a\0b\n", "a\\00b\\0a"),
            ("%u", "%u"),
            ("müller", "müller"),
        ] {
            assert_eq!(escaped(name), expected, "{name:?}");
        }
    }

    #[test]
    fn k28_only_one_code_is_a_yes() {
        assert_eq!((0..200).filter(|code| outcome(*code) == Outcome::Success).collect::<Vec<_>>(), [0]);
        assert_eq!(outcome(49), Outcome::WrongPassword);
        assert_eq!(outcome(10), Outcome::Other, "a referral is not followed");
        assert_eq!(outcome(52), Outcome::Other);
    }
}
