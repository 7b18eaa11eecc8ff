//! The WebSocket upgrade (RFC 6455, section 4.2) and the few plain HTTP answers beside it.
//!
//! Called by the gate, behind TLS where there is any. The request head is bounded before it is parsed; path, origin and
//! subprotocol are checked before the upgrade is granted (K37), and no extension is ever negotiated.

use motte_audit::RefusalReason;
use motte_console::Response;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};

use super::Refusal;
use super::visitor::Visitor;
use crate::settings::WebSocketSettings;
use crate::wire::WebSocket;

/// Bytes of a request head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Subprotocols of MQTT: the standard's, which is selected wherever it is offered (MQTT-6.0.0-4), and the one of 3.1
/// clients.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// A message may hold a CONNECT of the greatest length and this much behind it.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// What is done with a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Upgraded, with that subprotocol.
    Upgrade(&'static str),
    /// Not for the upgrade path: an ordinary HTTP answer.
    Answer(Response),
    /// An upgrade that is refused, and why.
    Refuse(Response, &'static str),
}

/// Whether the client begins with HTTP where it may begin with MQTT as well: it said so in ALPN, or else its first byte
/// is a letter, as in `GET `. A CONNECT begins with 0x10.
pub(super) async fn is_begun(visitor: &mut Visitor) -> Result<bool, Refusal> {
    if let Some(protocol) = visitor.wire.connection().and_then(|tls| tls.alpn_protocol()) {
        return Ok(protocol == b"http/1.1");
    }
    while visitor.plain.is_empty() {
        let ended = |error| {
            let detail = format!("the connection ended before its first byte: {error}");
            Refusal::silent(RefusalReason::BadConnect, detail)
        };
        visitor.read_more().await.map_err(ended)?;
    }
    Ok(visitor.plain[0].is_ascii_uppercase())
}

/// Reads the request and grants the upgrade or answers in HTTP.
pub(super) async fn accept(
    visitor: &mut Visitor,
    settings: &WebSocketSettings,
    connect_bytes_max: u32,
) -> Result<(), Refusal> {
    let refused = |detail: String| Refusal::silent(RefusalReason::WebSocketUpgrade, detail);
    let (length, request) = loop {
        match Request::try_parse(&visitor.plain) {
            Ok(Some(parsed)) if parsed.0 <= HEAD_BYTES_MAX => break parsed,
            Ok(None) if visitor.plain.len() <= HEAD_BYTES_MAX => {}
            Ok(_) => {
                visitor.answer_and_close(&Response::text(431, "request head too large\n")).await;
                return Err(refused(format!("the request head is longer than {HEAD_BYTES_MAX} bytes")));
            }
            Err(error) => {
                visitor.answer_and_close(&Response::text(400, "bad request\n")).await;
                return Err(refused(format!("no HTTP/1.1 GET request: {error}")));
            }
        }
        visitor.read_more().await.map_err(|error| refused(format!("the connection ended in the upgrade: {error}")))?;
    };
    let scheme = if visitor.wire.connection().is_some() { "https://" } else { "http://" };
    match judge(&request, settings, scheme) {
        Verdict::Upgrade(subprotocol) => {
            let early = visitor.plain.split_off(length);
            visitor.plain.clear();
            upgrade(visitor, &request, subprotocol, early, connect_bytes_max).await
        }
        Verdict::Answer(response) => {
            visitor.answer_in_http(response.to_bytes()).await;
            Err(refused(String::from("a plain HTTP request")))
        }
        Verdict::Refuse(response, why) => {
            visitor.answer_and_close(&response).await;
            Err(refused(why.to_owned()))
        }
    }
}

/// Sends the 101 answer and puts the WebSocket layer in place.
async fn upgrade(
    visitor: &mut Visitor,
    request: &Request,
    subprotocol: &'static str,
    early: Vec<u8>,
    connect_bytes_max: u32,
) -> Result<(), Refusal> {
    let refused = |detail: String| Refusal::silent(RefusalReason::WebSocketUpgrade, detail);
    let mut response = create_response(request).map_err(|error| refused(error.to_string()))?;
    response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
    let mut bytes = Vec::new();
    write_response(&mut bytes, &response).map_err(|error| refused(error.to_string()))?;
    visitor.write(bytes).await.map_err(|error| refused(error.to_string()))?;
    let connect_bytes_max = usize::try_from(connect_bytes_max).unwrap_or(usize::MAX);
    visitor.wire.upgrade(WebSocket::new(connect_bytes_max.saturating_add(EARLY_BYTES_MAX)));
    visitor.wire.reopen(&early, &mut visitor.plain).map_err(|error| refused(error.to_string()))
}

/// Checks path, upgrade headers, origin and subprotocol, in this order. `scheme` is that of this listener's own pages.
fn judge(request: &Request, settings: &WebSocketSettings, scheme: &str) -> Verdict {
    let asked = request.uri().path();
    let headers = request.headers();
    if !headers.contains_key("upgrade") {
        return Verdict::Answer(motte_console::respond(request.method().as_str(), asked));
    }
    if asked != settings.path {
        return Verdict::Refuse(Response::text(404, "not found\n"), "a path that is not the listener's");
    }
    if !origin_is_allowed(headers, &settings.origins, scheme) {
        return Verdict::Refuse(Response::text(403, "forbidden\n"), "an origin that is not allowed");
    }
    if create_response(request).is_err() {
        return Verdict::Refuse(Response::text(400, "bad request\n"), "upgrade headers that are not RFC 6455");
    }
    match offered_subprotocol(headers) {
        Some(subprotocol) => Verdict::Upgrade(subprotocol),
        None => Verdict::Refuse(Response::text(400, "subprotocol mqtt required\n"), "no subprotocol of MQTT offered"),
    }
}

/// The status of the answer to a request head, 101 for an upgrade.
pub(crate) fn status(head: &[u8], settings: &WebSocketSettings) -> Option<u16> {
    let (_, request) = Request::try_parse(head).ok().flatten()?;
    Some(match judge(&request, settings, "https://") {
        Verdict::Upgrade(_) => 101,
        Verdict::Answer(response) | Verdict::Refuse(response, _) => response.status,
    })
}

/// A browser tells where its page came from. Without a list only pages of this very host may connect; programs that are
/// no browsers send no `Origin` and need credentials like everybody.
fn origin_is_allowed(headers: &HeaderMap, origins: &[String], scheme: &str) -> bool {
    let mut given = headers.get_all("origin").iter();
    let Some(origin) = given.next() else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if given.next().is_some() {
        return false;
    }
    if !origins.is_empty() {
        return origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
    }
    let host = headers.get("host").and_then(|host| host.to_str().ok());
    let from = origin.strip_prefix(scheme);
    matches!((from, host), (Some(from), Some(host)) if from.eq_ignore_ascii_case(host))
}

/// The first subprotocol the client names that is MQTT.
fn offered_subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let lists = headers.get_all("sec-websocket-protocol").iter().filter_map(|list| list.to_str().ok());
    let offers: Vec<&str> = lists.flat_map(|list| list.split(',')).map(str::trim).collect();
    SUBPROTOCOLS.into_iter().find(|known| offers.contains(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;

    use super::{Request, Verdict, WebSocketSettings, judge};

    fn verdict(path: &str, headers: &str, origins: &[&str]) -> Result<&'static str, u16> {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: broker.example:8443\r\nConnection: keep-alive, Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let (_, request) = Request::try_parse(text.as_bytes()).unwrap().unwrap();
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let settings = WebSocketSettings { origins, ..WebSocketSettings::default() };
        match judge(&request, &settings, "https://") {
            Verdict::Upgrade(subprotocol) => Ok(subprotocol),
            Verdict::Answer(response) | Verdict::Refuse(response, _) => Err(response.status),
        }
    }

    const MQTT: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

    #[test]
    fn k37_path_and_subprotocol_are_required() {
        assert_eq!(verdict("/mqtt", MQTT, &[]), Ok("mqtt"));
        assert_eq!(verdict("/mqtt?x=1", MQTT, &[]), Ok("mqtt"));
        assert_eq!(verdict("/mqtt", "Sec-WebSocket-Protocol: chat, mqttv3.1\r\n", &[]), Ok("mqttv3.1"));
        assert_eq!(verdict("/", MQTT, &[]), Err(404));
        assert_eq!(verdict("/mqtt/", MQTT, &[]), Err(404));
        assert_eq!(verdict("/mqtt", "", &[]), Err(400));
        assert_eq!(verdict("/mqtt", "Sec-WebSocket-Protocol: mqtt5\r\n", &[]), Err(400));
    }

    #[test]
    fn k37_a_foreign_origin_is_forbidden() {
        let from = |origin: &str| format!("{MQTT}Origin: {origin}\r\n");
        assert_eq!(verdict("/mqtt", &from("https://broker.example:8443"), &[]), Ok("mqtt"));
        assert_eq!(verdict("/mqtt", &from("https://evil.example"), &[]), Err(403));
        assert_eq!(verdict("/mqtt", &from("http://broker.example:8443"), &[]), Err(403));
        assert_eq!(verdict("/mqtt", &from("null"), &[]), Err(403));
        let allowed = ["https://app.example"];
        assert_eq!(verdict("/mqtt", &from("https://app.example"), &allowed), Ok("mqtt"));
        assert_eq!(verdict("/mqtt", &from("https://app.example.evil.example"), &allowed), Err(403));
        let two = format!("{}Origin: https://evil.example\r\n", from("https://app.example"));
        assert_eq!(verdict("/mqtt", &two, &allowed), Err(403));
    }

    #[test]
    fn a_request_that_is_no_upgrade_gets_an_http_answer() {
        let get = |path: &str| {
            let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let (_, request) = Request::try_parse(text.as_bytes()).unwrap().unwrap();
            match judge(&request, &WebSocketSettings::default(), "https://") {
                Verdict::Answer(response) => response.status,
                verdict => panic!("{verdict:?}"),
            }
        };
        assert_eq!(get("/healthz"), 200);
        assert_eq!(get("/mqtt"), 404);
    }
}
