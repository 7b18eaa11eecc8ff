//! MQTT over WebSocket (MQTT 5.0 §6): the upgrade, and the frames as a plain byte stream.
//! Called by `connect`. Never sends text frames, never takes any, and never takes a frame larger than a packet may be.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::config::MqttConfig;
use crate::error::ConnectError;

/// Bytes of one frame we send.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Asks the server to speak MQTT over WebSocket on this stream.
pub(crate) async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    config: &MqttConfig,
    path: &str,
) -> Result<WebSocketWire<S>, ConnectError> {
    let refused = |reason: String| ConnectError::WebSocket {
        host: motte_pki::printable(&config.broker),
        path: motte_pki::printable(path),
        reason: motte_pki::printable(&reason),
    };
    let host = if config.broker.contains(':') { format!("[{}]", config.broker) } else { config.broker.clone() };
    let scheme = if config.transport.is_encrypted() { "wss" } else { "ws" };
    let url = format!("{scheme}://{host}:{}{path}", config.port);
    let mut request = url.into_client_request().map_err(|error| refused(error.to_string()))?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    // A frame may carry several packets, and a packet may span frames.
    let size_max = usize::try_from(config.packet_size_max).unwrap_or(usize::MAX).max(FRAME_BYTES_MAX);
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(size_max))
        .max_frame_size(Some(size_max));
    match client_async_with_config(request, stream, Some(limits)).await {
        Ok((socket, _)) => Ok(WebSocketWire { socket, unread: Bytes::new() }),
        Err(tungstenite::Error::Http(response)) => Err(refused(format!("HTTP status {}", response.status()))),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// A WebSocket as a byte stream.
pub(crate) struct WebSocketWire<S> {
    socket: WebSocketStream<S>,
    unread: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketWire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    // MQTT-6.0.0-1.
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a WebSocket text frame")));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketWire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(into_io)?;
        let count = buf.len().min(FRAME_BYTES_MAX);
        let frame = Message::Binary(Bytes::copy_from_slice(&buf[..count]));
        Pin::new(&mut self.socket).start_send(frame).map_err(into_io)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            Ok(()) | Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(into_io(error))),
        }
    }
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            io::Error::from(io::ErrorKind::UnexpectedEof)
        }
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
