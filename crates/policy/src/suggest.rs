//! "Did you mean …": the known word nearest to one that is not known.
//!
//! Called by every reader of a file that people write: the configuration, the policy file. Pure.

/// The nearest of the known words, if it is near enough to be a slip: at most a third of its letters differ.
#[must_use]
pub fn suggestion<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|candidate| (distance(word, candidate), *candidate)).min()?;
    let bound = (near.1.chars().count() / 3).max(1);
    (near.0 <= bound).then_some(near.1)
}

/// Letters to insert, remove, replace, or swap with their neighbour to make one word of the other (optimal string
/// alignment).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = row[j] + usize::from(a != b);
            let mut best = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, suggestion};

    #[test]
    fn distance_counts_slips() {
        for (left, right, expected) in
            [("", "", 0), ("tls", "tls", 0), ("tsl", "tls", 1), ("listner", "listener", 1), ("", "abc", 3)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["certificate", "key", "client_ca"];
        assert_eq!(suggestion("certifcate", &known), Some("certificate"));
        assert_eq!(suggestion("clientca", &known), Some("client_ca"));
        assert_eq!(suggestion("keys", &known), Some("key"));
        assert_eq!(suggestion("password", &known), None);
    }
}
