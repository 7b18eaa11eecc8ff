//! Where bodies are written: a buffer, or a counter that only measures.
//!
//! Called by the encoders of the packet types, which write each body once for both. Fields are checked before.

use crate::property::{ForwardedProperties, UserProperties};
use crate::wire::varint_len;

/// A place for bytes.
pub(super) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn short(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    fn long(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    fn varint(&mut self, mut number: u32) {
        while number > 0x7F {
            self.byte(0x80 | low_bits(number));
            number >>= 7;
        }
        self.byte(low_bits(number));
    }

    /// A two-byte length and the bytes.
    fn field(&mut self, field: &[u8]) {
        let len = u16::try_from(field.len()).expect("the length of every field is checked before it is written");
        self.short(len);
        self.bytes(field);
    }

    /// A property that is a field.
    fn field_property(&mut self, id: u8, field: Option<&[u8]>) {
        if let Some(field) = field {
            self.byte(id);
            self.field(field);
        }
    }

    fn short_property(&mut self, id: u8, number: Option<u16>) {
        if let Some(number) = number {
            self.byte(id);
            self.short(number);
        }
    }

    fn long_property(&mut self, id: u8, number: Option<u32>) {
        if let Some(number) = number {
            self.byte(id);
            self.long(number);
        }
    }

    /// A flag property, written only where it differs from what its absence means.
    fn flag_property(&mut self, id: u8, flag: bool, default: bool) {
        if flag != default {
            self.bytes(&[id, flag.into()]);
        }
    }

    fn user_properties(&mut self, user: UserProperties<'_>) {
        for property in user.raw() {
            self.bytes(property);
        }
    }

    fn forwarded_properties(&mut self, properties: ForwardedProperties<'_>) {
        for property in properties.parts() {
            self.bytes(property);
        }
    }
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn byte(&mut self, byte: u8) {
        self.push(byte);
    }
}

/// Counts bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Len(usize);

impl Sink for Len {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// How many bytes `write` writes.
pub(super) fn measure(write: impl FnOnce(&mut Len)) -> usize {
    let mut len = Len::default();
    write(&mut len);
    len.0
}

/// The bytes of a fixed header before a body of `body_len` bytes.
pub(super) const fn header_len(body_len: u32) -> usize {
    1 + varint_len(body_len)
}

/// Property Length and properties. `write` is called twice: to measure and to write.
pub(super) fn properties<S: Sink>(out: &mut S, write: impl Fn(&mut dyn Sink)) {
    let mut len = Len::default();
    write(&mut len);
    out.varint(property_len(len.0));
    write(out);
}

/// A Property Length. One that does not fit is clamped: the packet around it is then too large as well and refused
/// when it is measured, before anything is written.
pub(super) fn property_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX).min(crate::wire::VARINT_MAX)
}

/// The low seven bits.
fn low_bits(number: u32) -> u8 {
    number.to_le_bytes()[0] & 0x7F
}
