//! Blocks: consecutive messages of one log as one value.
//!
//! Called by the engine and the tools. The key is the number of the log (the shard that accepted the messages), two
//! bytes, and the first position, eight bytes, both big-endian so that keys are in the order of positions.
//!
//! Layout: version u8 · `B` · checksum u32 of the key and everything behind it · messages.

use motte_broker::{Origin, Position, ShardId};

use crate::codec::{Malformed, Reader, checksum};
use crate::entry;

/// The key of a block.
pub(crate) type BlockKey = [u8; 10];

const VERSION: u8 = 1;
const KIND: u8 = b'B';
/// Bytes before the messages.
pub(crate) const HEAD: usize = 6;

pub(crate) fn key(log: u16, first: u64) -> BlockKey {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&log.to_be_bytes());
    key[2..].copy_from_slice(&first.to_be_bytes());
    key
}

/// Log and first position of a key.
pub(crate) fn split_key(key: &BlockKey) -> (u16, u64) {
    let [a, b, first @ ..] = *key;
    (u16::from_be_bytes([a, b]), u64::from_be_bytes(first))
}

/// Fills in the head of a block whose messages are in place.
pub(crate) fn close(key: &BlockKey, value: &mut [u8]) {
    let crc = checksum(key, &value[HEAD..]);
    value[0] = VERSION;
    value[1] = KIND;
    value[2..HEAD].copy_from_slice(&crc.to_le_bytes());
}

/// The messages of a block, each with its length in front; not yet parsed.
pub(crate) fn open<'a>(key: &BlockKey, value: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut reader = Reader::new(value);
    if reader.byte()? != VERSION || reader.byte()? != KIND {
        return Err(Malformed("it is no block of a known version"));
    }
    if reader.u32()? != checksum(key, reader.rest()) {
        return Err(Malformed("checksum does not match"));
    }
    Ok(reader.rest())
}

/// Walks over the entries of an opened block: the origin of each, and its bytes.
pub(crate) fn entries<'a>(
    key: &BlockKey,
    messages: &'a [u8],
) -> impl Iterator<Item = Result<(Origin, &'a [u8]), Malformed>> {
    let (log, first) = split_key(key);
    let mut reader = Reader::new(messages);
    let mut last = None;
    let mut is_broken = false;
    std::iter::from_fn(move || {
        if reader.is_empty() || is_broken {
            return None;
        }
        let next = entry::split(&mut reader).and_then(|bytes| {
            let position = entry::whole(first, entry::position_low(bytes)?)?;
            if last.is_some_and(|last| last >= position) {
                return Err(Malformed("its messages are out of order"));
            }
            last = Some(position);
            Ok((Origin { shard: ShardId(log), position: Position(position) }, bytes))
        });
        is_broken = next.is_err();
        Some(next)
    })
}
