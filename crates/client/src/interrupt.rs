//! SIGINT and SIGTERM for a program that wants to end its connection in order.
//! Called by commands that run until the user stops them. Never ends the process by itself.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Calls `act` at each SIGINT and SIGTERM from then on, on a thread of its own; the signals no longer end the process.
///
/// # Errors
/// The system gives no thread, or lets the signals not be handled; they end the process then, as always.
pub fn on_interrupt(mut act: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => act(),
                    _ = terminate.recv() => act(),
                }
            }
        });
    };
    thread::Builder::new().name("motte-interrupt".to_owned()).spawn(wait).map(drop)
}
