//! The data types of MQTT as they stand in bytes, and the text rule all of them share.
//!
//! Called by decoder, encoder and the views over checked bytes. Every function is total: a value that is not there is
//! `None`, never a panic.

/// The greatest Remaining Length, and the greatest variable byte integer.
pub(crate) const VARINT_MAX: u32 = 268_435_455;

/// The longest text or binary field in bytes: its length is a two-byte number.
pub(crate) const FIELD_MAX: usize = 65_535;

/// A length-prefixed field and what follows it.
pub(crate) fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// A length-prefixed text and what follows it.
pub(crate) fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (field, rest) = field(bytes)?;
    Some((std::str::from_utf8(field).ok()?, rest))
}

/// A variable byte integer in its shortest form and what follows it; `None` when it is incomplete, over-long or has a
/// fifth byte (MQTT-1.5.5-1).
pub(crate) fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return (*byte != 0 || index == 0).then(|| (value, &bytes[index + 1..]));
        }
    }
    None
}

/// How many bytes a variable byte integer takes.
pub(crate) const fn varint_len(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Whether the bytes of a well-formed UTF-8 text hold U+0000 (MQTT-1.5.4-2). The fold has no early exit so that it
/// compiles to wide instructions.
pub(crate) fn has_nul(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte == 0))
}

/// Whether a topic name holds `+` or `#` (MQTT-3.3.2-2).
pub(crate) fn has_wildcard(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte == b'+') | (*byte == b'#'))
}
