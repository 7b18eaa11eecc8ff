//! What is known of a visitor beside who it is: its address, and what its certificate says.
//!
//! Called by the gate once the identity is proved, by whichever source. Rules of policy may ask for it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use motte_pki::CertificateFacts;
use motte_policy::{Attributes, Facts, TooManyAttributes};

use super::visitor::Visitor;

/// The facts of a visitor whose handshake is over. The certificate was verified in it.
pub(super) fn of(visitor: &Visitor) -> Result<Facts, TooManyAttributes> {
    let address = visitor.peer.client().map(|client| client.ip().to_canonical());
    let leaf = visitor.certificates().and_then(|chain| chain.first());
    let Some(leaf) = leaf else { return Ok(Facts { address, ..Facts::default() }) };
    let mut attributes = Attributes::default();
    for (name, value) in motte_pki::attributes(leaf) {
        attributes.add(name, &value)?;
    }
    let end = CertificateFacts::from_der(leaf).ok().map(|facts| facts.not_after);
    let until = end.and_then(|end| end.duration_since(UNIX_EPOCH).ok()).map(|end| end.as_secs());
    Ok(Facts { attributes: Arc::new(attributes), until, address, ..Facts::default() })
}
