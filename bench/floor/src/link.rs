//! One connection of the floor: its socket, TLS if there is any, and the bytes that did not fit into the socket.
//! Driven by the loop of `main`. Never waits and never limits what it holds.

use std::io::{BufRead, ErrorKind, Read, Result, Write};
use std::sync::Arc;

use anyhow::Context;
use mio::event::Event;
use mio::net::TcpStream;
use rustls::{ServerConfig, ServerConnection};

use crate::talk::Talk;

/// A connection.
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
    talk: Talk,
    /// Plaintext that the socket did not take; rustls keeps its own.
    unsent: Vec<u8>,
}

impl Link {
    /// A connection that has just been accepted.
    pub(crate) fn new(socket: TcpStream, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let tls = tls.map(ServerConnection::new).transpose().context("TLS")?.map(|mut tls| {
            tls.set_buffer_limit(None);
            Box::new(tls)
        });
        Ok(Self { socket, tls, talk: Talk::default(), unsent: Vec::new() })
    }

    /// Whether it has subscribed.
    pub(crate) fn is_subscriber(&self) -> bool {
        self.talk.is_subscriber
    }

    /// Handles one event: what came is answered, and what was published is added to `published`.
    /// An error is the end of the link.
    pub(crate) fn turn(&mut self, event: &Event, buffer: &mut [u8], published: &mut Vec<u8>) -> Result<()> {
        self.read_all(event, buffer, published)?;
        let answers = std::mem::take(&mut self.talk.answers);
        if answers.is_empty() { self.flush() } else { self.send(&answers) }
    }

    fn read_all(&mut self, event: &Event, buffer: &mut [u8], published: &mut Vec<u8>) -> Result<()> {
        if !event.is_readable() && !event.is_read_closed() && !event.is_error() {
            return Ok(());
        }
        loop {
            let length = match self.socket.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            match &mut self.tls {
                None => self.talk.hear(&buffer[..length], published),
                Some(tls) => {
                    let mut sealed = &buffer[..length];
                    while !sealed.is_empty() {
                        tls.read_tls(&mut sealed)?;
                        tls.process_new_packets().map_err(|_| ErrorKind::InvalidData)?;
                        open_all(tls, &mut self.talk, published)?;
                    }
                }
            }
            // A short read has emptied the socket; only an end may still be waiting behind it.
            if length < buffer.len() && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    /// Writes as much as the socket takes and keeps the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.writer().write_all(bytes)?;
            return self.flush();
        }
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return self.flush();
        }
        let written = write_some(&mut self.socket, bytes)?;
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        } else if !self.unsent.is_empty() {
            let written = write_some(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..written);
        }
        Ok(())
    }
}

/// Hears everything that has been decrypted.
fn open_all(tls: &mut ServerConnection, talk: &mut Talk, published: &mut Vec<u8>) -> Result<()> {
    let mut reader = tls.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok(plain) => {
                talk.hear(plain, published);
                plain.len()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        reader.consume(length);
    }
}

/// Writes until the socket is full; how far it came.
fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(length) => written += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
