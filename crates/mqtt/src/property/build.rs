//! Owned property blocks: what a program builds before it sends, and what a broker keeps of a message.
//!
//! Texts are checked as they are added, so a block is always fit to be written. Called by broker and client.

use crate::encode::EncodeError;
use crate::property::raw::{RawProperties, id};
use crate::property::{ForwardedProperties, UserProperties};
use crate::wire::{FIELD_MAX, has_nul, has_wildcard};

/// Owned [`ForwardedProperties`]; also the way to build them. A setter returns `self` so that calls chain, and setting
/// a property again replaces it. Cheap to keep: no allocation when empty.
#[derive(Clone, Debug, Default)]
pub struct ForwardedPropertiesBuf {
    pub(super) block: Box<[u8]>,
}

impl ForwardedPropertiesBuf {
    /// No properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The view that packets carry.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the view is a value with a lifetime, which AsRef cannot return")]
    pub fn as_ref(&self) -> ForwardedProperties<'_> {
        ForwardedProperties { block: &self.block }
    }

    /// Sets Payload Format Indicator 1.
    #[must_use]
    pub fn payload_utf8(mut self) -> Self {
        self.remove(id::PAYLOAD_FORMAT);
        self.change(|block| block.extend_from_slice(&[id::PAYLOAD_FORMAT, 1]));
        self
    }

    /// Sets the Content Type. Errors when the text is not allowed in MQTT or too long.
    pub fn content_type(mut self, value: &str) -> Result<Self, EncodeError> {
        let len = text_len("content type", value)?;
        self.remove(id::CONTENT_TYPE);
        self.add(id::CONTENT_TYPE, len, value.as_bytes());
        Ok(self)
    }

    /// Sets the Response Topic. Errors as above, when it is empty (MQTT-4.7.3-1), or when it holds a wildcard
    /// (MQTT-3.3.2-14).
    pub fn response_topic(mut self, value: &str) -> Result<Self, EncodeError> {
        let len = text_len("response topic", value)?;
        if len == 0 || has_wildcard(value.as_bytes()) {
            return Err(EncodeError::Text("response topic"));
        }
        self.remove(id::RESPONSE_TOPIC);
        self.add(id::RESPONSE_TOPIC, len, value.as_bytes());
        Ok(self)
    }

    /// Sets the Correlation Data. Errors above 65,535 bytes.
    pub fn correlation_data(mut self, value: &[u8]) -> Result<Self, EncodeError> {
        let len = field_len("correlation data", value)?;
        self.remove(id::CORRELATION_DATA);
        self.add(id::CORRELATION_DATA, len, value);
        Ok(self)
    }

    /// Adds a user property; order is kept, and so are repetitions.
    pub fn user(mut self, name: &str, value: &str) -> Result<Self, EncodeError> {
        self.change(|block| push_user(block, name, value))?;
        Ok(self)
    }

    /// Takes a property out, so that setting it again leaves one.
    fn remove(&mut self, wanted: u8) {
        let mut kept = 0..0;
        for property in RawProperties(&self.block) {
            let end = kept.end + property.encoded.len();
            if property.id == wanted {
                kept.end = end;
                break;
            }
            kept = end..end;
        }
        self.change(|block| drop(block.drain(kept)));
    }

    fn add(&mut self, id: u8, len: u16, value: &[u8]) {
        self.change(|block| {
            block.push(id);
            push_field(block, len, value);
        });
    }

    /// Changes the block, which is kept without room to grow: it is built once and kept for as long as its message.
    fn change<T>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut block = std::mem::take(&mut self.block).into_vec();
        let done = change(&mut block);
        self.block = block.into();
        done
    }
}

impl PartialEq for ForwardedPropertiesBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}
impl Eq for ForwardedPropertiesBuf {}

/// Owned [`UserProperties`], to be encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPropertiesBuf {
    block: Vec<u8>,
}

impl UserPropertiesBuf {
    /// No properties.
    #[must_use]
    pub const fn new() -> Self {
        Self { block: Vec::new() }
    }

    /// Adds one; order is kept. Errors when a text is not allowed in MQTT or too long.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        push_user(&mut self.block, name, value)
    }

    /// The view that packets carry.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the view is a value with a lifetime, which AsRef cannot return")]
    pub fn as_ref(&self) -> UserProperties<'_> {
        UserProperties { block: &self.block }
    }
}

/// The length of a field, when it fits its two-byte number.
pub(crate) fn field_len(what: &'static str, value: &[u8]) -> Result<u16, EncodeError> {
    debug_assert!(FIELD_MAX == usize::from(u16::MAX));
    u16::try_from(value.len()).map_err(|_| EncodeError::FieldTooLong(what))
}

/// The length of a text that may be sent.
pub(crate) fn text_len(what: &'static str, value: &str) -> Result<u16, EncodeError> {
    let len = field_len(what, value.as_bytes())?;
    if has_nul(value.as_bytes()) { Err(EncodeError::Text(what)) } else { Ok(len) }
}

fn push_user(block: &mut Vec<u8>, name: &str, value: &str) -> Result<(), EncodeError> {
    let name_len = text_len("user property name", name)?;
    let value_len = text_len("user property value", value)?;
    block.push(id::USER);
    push_field(block, name_len, name.as_bytes());
    push_field(block, value_len, value.as_bytes());
    Ok(())
}

fn push_field(block: &mut Vec<u8>, len: u16, value: &[u8]) {
    block.extend_from_slice(&len.to_be_bytes());
    block.extend_from_slice(value);
}
