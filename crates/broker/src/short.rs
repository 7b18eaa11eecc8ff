//! Text as a key of a map: a short one takes no memory of its own, and comparing it reads nothing else.
//!
//! Used by the route map for filters and by the retained store for levels. Ordered as the text is, never changes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A text; up to `SHORT_BYTES` bytes of it fit into the value itself.
#[derive(Debug)]
pub(crate) enum Text<const SHORT_BYTES: usize> {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<[u8]>),
}

impl<const SHORT_BYTES: usize> From<&str> for Text<SHORT_BYTES> {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Short { len, bytes }
            }
            _ => Self::Long(text.as_bytes().into()),
        }
    }
}

impl<const SHORT_BYTES: usize> Text<SHORT_BYTES> {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }
}

impl<const SHORT_BYTES: usize> Borrow<[u8]> for Text<SHORT_BYTES> {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<const SHORT_BYTES: usize> Hash for Text<SHORT_BYTES> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<const SHORT_BYTES: usize> PartialEq for Text<SHORT_BYTES> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const SHORT_BYTES: usize> Eq for Text<SHORT_BYTES> {}

impl<const SHORT_BYTES: usize> PartialOrd for Text<SHORT_BYTES> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const SHORT_BYTES: usize> Ord for Text<SHORT_BYTES> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_texts_stand_in_the_order_of_their_bytes() {
        let texts = ["", "a", "a\0", "a\0b", "ab", "abc", "abcd", "abcde", "b", "é", "日本"];
        for one in texts {
            for other in texts {
                let (a, b) = (Text::<3>::from(one), Text::<3>::from(other));
                assert_eq!(a.cmp(&b), one.as_bytes().cmp(other.as_bytes()), "{one:?} {other:?}");
                assert_eq!(a == b, one == other);
                assert_eq!(a.as_bytes(), one.as_bytes());
            }
        }
    }
}
