//! The PROXY header at the gate: read before anything else where a proxy is expected.
//!
//! Called by the gate for sockets of trusted proxies. Leaves the bytes behind the header to the layers above.

use motte_audit::RefusalReason;

use super::Refusal;
use super::visitor::Visitor;
use crate::proxy_header::{ProxyHeader, parse};
use crate::socket::Peer;

/// Reads the header; afterwards the visitor is the client that the proxy named, or the proxy itself.
pub(super) async fn accept(visitor: &mut Visitor) -> Result<(), Refusal> {
    let refused = |detail: String| Refusal::silent(RefusalReason::ProxyHeader, detail);
    let (header, length) = loop {
        if let Some(found) = parse(&visitor.network).map_err(|error| refused(error.to_string()))? {
            break found;
        }
        let ended = |error| refused(format!("the connection ended before a whole PROXY header: {error}"));
        visitor.read_unopened().await.map_err(ended)?;
    };
    visitor.network.drain(..length);
    if let (ProxyHeader::Client(client), Peer::Address(proxy)) = (header, visitor.peer) {
        visitor.peer = Peer::Behind { client, proxy };
    }
    Ok(())
}
