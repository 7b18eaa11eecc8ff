//! The end of a connection: its last bytes are written, each layer says goodbye, and the socket stays open until the
//! peer has read it.
//!
//! [`say_goodbye`] is for those the gate refuses, which has a runtime to wait on; [`Goodbye`] does the same for a
//! shard's links, which are polled.

use std::io;
use std::time::Duration;

use motte_broker::Millis;
use tokio::time::Instant;

use super::link_socket::LinkSocket;
use crate::socket::Socket;
use crate::wire::{Flushed, Wire};

/// Time for a closed link to take its last bytes.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// Time a closed socket stays open for reading, so that the last packet is not lost to a reset.
const LINGER_MAX: Duration = Duration::from_millis(500);
/// Bytes thrown away while lingering.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A link that ends.
#[derive(Debug)]
pub(super) struct Goodbye {
    stage: Stage,
    /// When it is cut off.
    pub(super) until: Millis,
}

#[derive(Debug)]
enum Stage {
    /// The last bytes leave.
    Packets(Vec<u8>),
    /// The last bytes of the layers leave.
    Layers,
    /// The socket is open for reading; so much was thrown away.
    Lingering(usize),
}

impl Goodbye {
    /// The end begins, with these bytes as the last.
    pub(super) fn new(outbox: Vec<u8>, now: Millis) -> Self {
        Self { stage: Stage::Packets(outbox), until: after(now, FAREWELL_MAX) }
    }

    /// Goes on as far as the socket lets it; tells whether it is over. What is read goes into `scratch`.
    pub(super) fn go_on(&mut self, socket: &LinkSocket, wire: &mut Wire, now: Millis, scratch: &mut [u8]) -> bool {
        loop {
            let outcome = match &mut self.stage {
                Stage::Packets(outbox) => wire.flush(&mut &*socket, outbox),
                Stage::Layers => wire.flush(&mut &*socket, &mut Vec::new()),
                Stage::Lingering(thrown_away) => return linger(socket, thrown_away, scratch),
            };
            match outcome {
                Ok(Flushed::All) => {}
                Ok(Flushed::Blocked) => return false,
                Err(_) => return true,
            }
            if let Stage::Packets(_) = self.stage {
                wire.finish();
                self.stage = Stage::Layers;
            } else if socket.shutdown().is_ok() {
                *self = Self { stage: Stage::Lingering(0), until: after(now, LINGER_MAX) };
            } else {
                return true;
            }
        }
    }
}

/// Reads and throws away; tells whether that is over.
fn linger(socket: &LinkSocket, thrown_away: &mut usize, scratch: &mut [u8]) -> bool {
    while *thrown_away < LINGER_BYTES_MAX {
        if !socket.is_readable() {
            return false;
        }
        match socket.read(scratch) {
            Ok(0) => return true,
            Ok(count) => *thrown_away += count,
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
    true
}

/// A moment that much later.
pub(super) fn after(now: Millis, time: Duration) -> Millis {
    now.plus_ms(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Writes `outbox`, closes each layer, and lingers for a moment. Used for admitted and refused connections alike.
pub(crate) async fn say_goodbye(socket: &mut Socket, wire: &mut Wire, outbox: &mut Vec<u8>) {
    let last_bytes = async {
        write_out(socket, wire, outbox).await?;
        wire.finish();
        write_out(socket, wire, outbox).await?;
        socket.shutdown().await
    };
    if !matches!(tokio::time::timeout(FAREWELL_MAX, last_bytes).await, Ok(Ok(()))) {
        return;
    }
    let deadline = Instant::now() + LINGER_MAX;
    let mut thrown_away = 0;
    let mut buffer = [0; 1024];
    while thrown_away < LINGER_BYTES_MAX {
        if !matches!(tokio::time::timeout_at(deadline, socket.readable()).await, Ok(Ok(()))) {
            return;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => thrown_away += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Writes all of `outbox` and whatever the layers hold.
pub(crate) async fn write_out(socket: &Socket, wire: &mut Wire, outbox: &mut Vec<u8>) -> io::Result<()> {
    while wire.flush(&mut &*socket, outbox)? == Flushed::Blocked {
        socket.writable().await?;
    }
    Ok(())
}
