//! A stretch of wire between clients and the broker that the test can cut and mend.
//!
//! Used by the end-to-end tests. Carries bytes as they are, so that TLS stays between the two ends.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A listening port of the loopback interface behind which the broker is. Its threads end with the test's process.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    wire: Arc<Mutex<Wire>>,
}

#[derive(Debug, Default)]
struct Wire {
    is_cut: bool,
    /// Both ends of every connection since the last cut.
    ends: Vec<TcpStream>,
}

impl Relay {
    /// A whole wire to this port of the broker.
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::<Mutex<Wire>>::default();
        let shared = wire.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut wire = shared.lock().unwrap();
                // Who calls while the wire is cut is hung up on.
                if let (false, Ok(client), Ok(server)) =
                    (wire.is_cut, client, TcpStream::connect(("127.0.0.1", broker)))
                {
                    wire.ends.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                    carry(client.try_clone().unwrap(), server.try_clone().unwrap());
                    carry(server, client);
                }
            }
        });
        Self { port, wire }
    }

    /// Where clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and those to come, until it is mended.
    pub(crate) fn cut(&self) {
        let mut wire = self.wire.lock().unwrap();
        wire.is_cut = true;
        for end in wire.ends.drain(..) {
            // An end that is gone already cannot be shut.
            drop(end.shutdown(Shutdown::Both));
        }
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.wire.lock().unwrap().is_cut = false;
    }
}

/// Carries bytes until one end closes, then closes the other.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        drop(io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
}
