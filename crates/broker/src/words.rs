//! Reason strings: what a reason code of ours means where it stands, for a human who reads the log of a client.
//!
//! Called by the link and by `handle` when an answer or a DISCONNECT is written. Ours alone, never a peer's text, and
//! never more than the code tells about access rules or other clients.

use motte_mqtt::ReasonCode;

/// About a PUBLISH.
pub(crate) fn of_publish(reason: ReasonCode) -> Option<&'static str> {
    Some(match reason {
        ReasonCode::NotAuthorized => "no right to publish to this topic",
        ReasonCode::QuotaExceeded => "no room to keep another message",
        ReasonCode::PayloadFormatInvalid => "the payload is not the UTF-8 it is said to be",
        ReasonCode::PacketIdNotFound => "no message is in flight under this packet identifier",
        _ => return None,
    })
}

/// About the first filter of a SUBSCRIBE or UNSUBSCRIBE that was refused; filters are counted from 1.
pub(crate) fn of_filters(codes: &[u8]) -> Option<String> {
    let reasons = codes.iter().map(|code| ReasonCode::from_u8(*code));
    let (at, reason) = reasons.enumerate().find_map(|(at, code)| Some((at, code.filter(|code| code.is_error())?)))?;
    let words = match reason {
        ReasonCode::NotAuthorized => "no right to receive what it matches",
        ReasonCode::TopicFilterInvalid => "not a topic filter, or one of too many levels or bytes",
        ReasonCode::QuotaExceeded => "no room for another subscription of this session",
        _ => return None,
    };
    Some(format!("filter {}: {words}", at + 1))
}

/// About the end of a connection, where nothing more telling is known.
pub(crate) fn of_end(reason: ReasonCode) -> Option<&'static str> {
    Some(match reason {
        ReasonCode::NotAuthorized => "what proved the identity of this client does not hold any more",
        ReasonCode::ServerShuttingDown => "the server stops",
        ReasonCode::MaximumConnectTime => "the time for which this client proved who it is is over; connect again",
        ReasonCode::KeepAliveTimeout => "no packet came for one and a half times the keep alive",
        ReasonCode::SessionTakenOver => "another connection uses this client identifier",
        ReasonCode::AdministrativeAction => "ended by an operator",
        ReasonCode::ServerBusy => "what is published cannot be kept any more: the storage of the server failed",
        ReasonCode::UseAnotherServer => "the server stops; use the one that is named",
        _ => return None,
    })
}

/// About a CONNECT that was refused.
pub(crate) fn of_connect(reason: ReasonCode) -> Option<&'static str> {
    Some(match reason {
        ReasonCode::ClientIdNotValid => "this client identifier cannot be used here",
        ReasonCode::QuotaExceeded => "there is no room for another session",
        ReasonCode::Banned => "this client or its user is kept out by an operator",
        ReasonCode::ServerUnavailable => "the storage of the server failed",
        ReasonCode::PacketTooLarge => "the answer is larger than the Maximum Packet Size of the client",
        ReasonCode::QosNotSupported => "the QoS of the will is not available here",
        ReasonCode::RetainNotSupported => "nothing is retained here, and no will",
        ReasonCode::PayloadFormatInvalid => "the will is not the UTF-8 it is said to be",
        ReasonCode::ConnectionRateExceeded => "this client or its user connects too often; wait for a minute",
        ReasonCode::TopicNameInvalid => "the will topic has too many levels or bytes",
        _ => return None,
    })
}
