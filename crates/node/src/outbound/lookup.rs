//! Addresses of servers by name, a bounded number of questions at once.
//!
//! The system's resolver blocks a thread of the pool that password hashes are computed on; a resolver that hangs must
//! not take them all.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};

use motte_pki::HostName;
use tokio::sync::Semaphore;

/// Names looked up at once; boot gives the pool as many threads beside those of hashes and files.
pub(crate) const LOOKUPS_MAX: usize = 4;

/// The addresses of a host.
pub(crate) async fn addresses(host: &HostName, port: u16) -> io::Result<Vec<SocketAddr>> {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LOOKUPS_MAX)));
    let name = match host {
        HostName::Ip(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        HostName::Dns(name) => name.clone(),
    };
    let turn = Arc::clone(&TURNS).acquire_owned().await.map_err(io::Error::other)?;
    // The turn travels with the work: a question nobody waits for any more still blocks its thread.
    let looking = tokio::task::spawn_blocking(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
        drop(turn);
        found
    });
    looking.await.map_err(io::Error::other)?
}
