//! Payloads that say what they are: publisher, number, and bytes that follow from both.

use crate::random::mix;

/// 16 B mostly, 1 KiB often, 64 KiB sometimes.
fn length_bytes(spread: u64) -> usize {
    match spread % 100 {
        0..60 => 16,
        60..97 => 1024,
        _ => 64 * 1024,
    }
}

/// The payload of a publisher's message.
pub(crate) fn payload(publisher: u8, number: u64) -> Vec<u8> {
    let head = u64::from(publisher) << 56 | number;
    let mut filler = mix(head ^ 0x6d6f_7474_6563_7261);
    let length = length_bytes(filler);
    let mut bytes = head.to_be_bytes().to_vec();
    while bytes.len() < length {
        bytes.extend(filler.to_be_bytes());
        filler = filler.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
    }
    bytes
}

/// Whose message it is and its number; `None` when a byte is not as it was sent.
pub(crate) fn read(bytes: &[u8]) -> Option<(u8, u64)> {
    let head = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let publisher = (head >> 56) as u8;
    let number = head & ((1 << 56) - 1);
    (payload(publisher, number) == bytes).then_some((publisher, number))
}
