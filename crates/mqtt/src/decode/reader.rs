//! A cursor over the body of one packet: takes one field after the other and says what is wrong with it.
//!
//! Called by the decoders of the packet types. Never allocates and never reads past the body.

use crate::decode::DecodeError;
use crate::packet::PacketId;
use crate::wire::{has_nul, has_wildcard};

const TRUNCATED: DecodeError = DecodeError::Malformed("a field reaches past the end of the packet");

/// What is left of a body, or of a block of properties.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// All that is left, taken.
    pub(super) const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Nothing may be left.
    pub(super) const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Malformed("bytes left over after the end of the packet"))
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer in its shortest form (MQTT-1.5.5-1).
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u32 = 0;
        for index in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if byte == 0 && index > 0 {
                    return Err(DecodeError::Malformed("variable byte integer is longer than it needs to be"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("variable byte integer takes more than four bytes"))
    }

    /// The next `len` bytes as a body of their own.
    pub(super) fn sub(&mut self, len: u32) -> Result<Reader<'a>, DecodeError> {
        let len = usize::try_from(len).map_err(|_| TRUNCATED)?;
        let (sub, rest) = self.rest.split_at_checked(len).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(Reader { rest: sub })
    }

    /// Bytes with a two-byte length.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.short()?;
        let (field, rest) = self.rest.split_at_checked(usize::from(len)).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(field)
    }

    /// A text: well-formed UTF-8 without U+0000, otherwise as it stands (MQTT-1.5.4-1 to -3).
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let field = self.binary()?;
        let text = std::str::from_utf8(field).map_err(|_| DecodeError::Malformed("text is not well-formed UTF-8"))?;
        if has_nul(field) { Err(DecodeError::Malformed("text holds U+0000")) } else { Ok(text) }
    }

    /// A topic name without wildcards (MQTT-3.3.2-2); it may be empty.
    pub(super) fn topic(&mut self) -> Result<&'a str, DecodeError> {
        let topic = self.text()?;
        if has_wildcard(topic.as_bytes()) { Err(DecodeError::TopicName("it holds a wildcard")) } else { Ok(topic) }
    }

    /// The same, mostly the one that is expected and was checked before.
    pub(super) fn topic_like(&mut self, expected: &'a str) -> Result<&'a str, DecodeError> {
        let start = *self;
        if self.binary()? == expected.as_bytes() {
            return Ok(expected);
        }
        *self = start;
        self.topic()
    }

    /// A packet identifier, which is never 0 (MQTT-2.2.1-3).
    pub(super) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.short()?).ok_or(DecodeError::Protocol("packet identifier 0"))
    }
}
