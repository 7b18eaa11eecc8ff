//! What a running node answers to plain HTTP requests, as a pure function of the request.
//!
//! Called by `node/gate` for a request on a WebSocket listener that is no upgrade. Opens no socket, and without an
//! authenticated operator tells nothing about clients, topics or configuration.

use std::borrow::Cow;

/// An answer to one request; the connection is closed behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Cow<'static, str>,
}

/// Media type of short answers.
const TEXT: &str = "text/plain; charset=utf-8";

impl Response {
    /// A short text answer.
    #[must_use]
    pub const fn text(status: u16, body: &'static str) -> Self {
        Self { status, content_type: TEXT, body: Cow::Borrowed(body) }
    }

    /// The answer as it goes over the wire in HTTP/1.1 (RFC 9112), with headers that keep a browser from guessing types
    /// and from keeping the answer.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\n\r\n{}",
            self.status,
            phrase(self.status),
            self.content_type,
            self.body.len(),
            self.body
        )
        .into_bytes()
    }
}

/// Answers `method` on `path` (without its query). `/healthz` says `ok` as long as the gate is alive; there is nothing
/// else to see without credentials.
#[must_use]
pub fn respond(method: &str, path: &str) -> Response {
    match (method, path) {
        ("GET", "/healthz") => Response::text(200, "ok\n"),
        (_, "/healthz") => Response::text(405, "method not allowed\n"),
        _ => Response::text(404, "not found\n"),
    }
}

/// The words behind a status code (RFC 9110, section 15).
const fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{Response, respond};

    #[test]
    fn health_is_ok_and_nothing_else_is_found() {
        assert_eq!(respond("GET", "/healthz"), Response::text(200, "ok\n"));
        assert_eq!(respond("POST", "/healthz").status, 405);
        for path in ["/", "/healthz/", "/metrics", "/../etc/passwd", "//healthz"] {
            assert_eq!(respond("GET", path).status, 404, "{path}");
        }
    }

    #[test]
    fn an_answer_states_its_length_and_closes() {
        let bytes = respond("GET", "/healthz").to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.contains("\r\ncontent-length: 3\r\n") && text.ends_with("connection: close\r\n\r\nok\n"),
            "{text}"
        );
    }
}
