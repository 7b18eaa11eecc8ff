//! Questions that the broker asks of other servers over HTTP: sources of identities, keys of issuers, vaults.
//!
//! Used by the gate and when a snapshot is built. Speaks to the server that the configuration names and to no other: it
//! follows no redirect and knows no proxy. Never used on a shard.

use std::io;

use tokio::runtime::Builder;

mod http;
mod lookup;
mod url;

pub(crate) use http::{Answer, HttpClient, Question};
pub(crate) use lookup::{LOOKUPS_MAX, addresses};
pub use url::{HttpUrl, HttpUrlError};

/// Waits for an answer where no runtime is at hand: on a thread of its own, which has one.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(crate) fn wait_for<T: Send>(asking: impl Future<Output = T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let answer = runtime.block_on(asking);
            // A name that is still looked up is not waited for.
            runtime.shutdown_background();
            Ok(answer)
        });
        asking.join().unwrap_or_else(|_| Err(io::Error::other("a defect ended the question")))
    })
}
