//! Random bytes as a password that people can read out and type.
//!
//! Called by `motte passwd` and quickstart, which draw the bytes. Never draws any itself.

use zeroize::{Zeroize, Zeroizing};

/// Random bytes a generated password takes: 160 bits.
pub const ENTROPY_BYTES: usize = 20;

/// Five bits a character, without `0`, `1`, `l` and `o`, which are taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password of 32 lower-case letters and digits that holds all 160 bits of `bytes`. Both copies are wiped when
/// dropped.
#[must_use]
pub fn from_entropy(mut bytes: [u8; ENTROPY_BYTES]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(ENTROPY_BYTES * 8 / 5));
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let index = usize::try_from(bits >> (5 * place) & 31).expect("five bits are an index");
            text.push(char::from(ALPHABET[index]));
        }
    }
    bytes.zeroize();
    text
}
