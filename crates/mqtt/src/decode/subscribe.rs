//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK.
//!
//! Called by the decoder. Filters are checked as text here; their grammar is the server's to answer, one by one.

use crate::decode::DecodeError;
use crate::decode::ack::ACK;
use crate::decode::property::{self, Block, NONE, Set, Value};
use crate::decode::reader::Reader;
use crate::packet::{
    Filters, ProtocolVersion, SubAck, Subscribe, SubscribeFilters, SubscriptionOptions, UnsubAck, Unsubscribe,
    UnsubscribeFilters,
};
use crate::property::SubscriptionId;
use crate::property::raw::id;
use crate::reason::ReasonCode;

const SUBSCRIBE: Set = Set::of(&[id::SUBSCRIPTION_ID, id::USER]);

const UNSUBSCRIBE: Set = Set::of(&[id::USER]);

const NO_FILTER: DecodeError = DecodeError::Protocol("no topic filter");

/// The body of a SUBSCRIBE.
pub(super) fn subscribe<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<Subscribe<'a>, DecodeError> {
    let id = reader.packet_id()?;
    let mut subscription_id = None;
    let block = if version == ProtocolVersion::V5 {
        property::read(reader, SUBSCRIBE, NONE, |_, value| {
            if let Value::Long(number) = value {
                subscription_id = SubscriptionId::new(number);
            }
        })?
    } else {
        Block::EMPTY
    };
    let bytes = reader.take_rest();
    if bytes.is_empty() {
        return Err(NO_FILTER);
    }
    let mut filters = Reader::new(bytes);
    while !filters.is_empty() {
        let filter = filters.text()?;
        let options = options(filters.byte()?, version)?;
        if options.no_local && filter.starts_with("$share/") {
            return Err(DecodeError::Protocol("no local on a shared subscription"));
        }
    }
    let filters = SubscribeFilters(Filters::Wire { bytes, version });
    Ok(Subscribe { id, subscription_id, user: block.user(), filters })
}

fn options(bits: u8, version: ProtocolVersion) -> Result<SubscriptionOptions, DecodeError> {
    let reserved = if version == ProtocolVersion::V5 { 0b1100_0000 } else { 0b1111_1100 };
    if bits & reserved != 0 {
        return Err(DecodeError::Malformed("reserved bits of subscription options"));
    }
    SubscriptionOptions::from_bits(bits, version)
        .ok_or(DecodeError::Protocol("QoS 3 or retain handling 3 in subscription options"))
}

/// The body of a SUBACK.
pub(super) fn suback<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<SubAck<'a>, DecodeError> {
    let id = reader.packet_id()?;
    let (reason_string, block) = answer_properties(reader, version)?;
    let v5 = version == ProtocolVersion::V5;
    let codes = codes(reader, |reason| reason.is_for_suback() && (v5 || reason.is_for_v3_suback()))?;
    Ok(SubAck { id, reason_string, user: block.user(), codes })
}

/// The body of an UNSUBSCRIBE.
pub(super) fn unsubscribe<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<Unsubscribe<'a>, DecodeError> {
    let id = reader.packet_id()?;
    let block = if version == ProtocolVersion::V5 {
        property::read(reader, UNSUBSCRIBE, NONE, |_, _| {})?
    } else {
        Block::EMPTY
    };
    let bytes = reader.take_rest();
    if bytes.is_empty() {
        return Err(NO_FILTER);
    }
    let mut filters = Reader::new(bytes);
    while !filters.is_empty() {
        filters.text()?;
    }
    let filters = UnsubscribeFilters(Filters::Wire { bytes, version });
    Ok(Unsubscribe { id, user: block.user(), filters })
}

/// The body of an UNSUBACK. In 3.x it is the identifier alone, which the fixed header ensured.
pub(super) fn unsuback<'a>(reader: &mut Reader<'a>, version: ProtocolVersion) -> Result<UnsubAck<'a>, DecodeError> {
    let id = reader.packet_id()?;
    let (reason_string, block) = answer_properties(reader, version)?;
    let v5 = version == ProtocolVersion::V5;
    let codes = if v5 { codes(reader, ReasonCode::is_for_unsuback)? } else { &[] };
    Ok(UnsubAck { id, reason_string, user: block.user(), codes })
}

fn answer_properties<'a>(
    reader: &mut Reader<'a>,
    version: ProtocolVersion,
) -> Result<(Option<&'a str>, Block<'a>), DecodeError> {
    if version != ProtocolVersion::V5 {
        return Ok((None, Block::EMPTY));
    }
    let mut reason_string = None;
    let block = property::read(reader, ACK, NONE, |_, value| {
        if let Value::Text(text) = value {
            reason_string = Some(text);
        }
    })?;
    Ok((reason_string, block))
}

/// All that is left, when each byte is a code that `allowed` accepts and there is at least one.
fn codes<'a>(reader: &mut Reader<'a>, allowed: impl Fn(ReasonCode) -> bool) -> Result<&'a [u8], DecodeError> {
    let codes = reader.take_rest();
    if codes.is_empty() {
        return Err(DecodeError::Protocol("no reason code"));
    }
    if codes.iter().all(|code| ReasonCode::from_u8(*code).is_some_and(&allowed)) {
        Ok(codes)
    } else {
        Err(DecodeError::Protocol("reason code that this packet does not have"))
    }
}
