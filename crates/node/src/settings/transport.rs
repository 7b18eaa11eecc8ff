//! What a listener speaks: with TLS or without, MQTT at once or inside WebSocket.
//!
//! Made by `config`, read by boot and the gate. Whether a listener may do without TLS is decided in `config`.

/// The layers of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Whether there is TLS below.
    pub tls: bool,
    /// What is spoken on it.
    pub speech: Speech,
}

/// What is spoken on a listener, inside TLS where there is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speech {
    /// MQTT.
    Mqtt,
    /// MQTT inside WebSocket.
    WebSocket(WebSocketSettings),
    /// Whichever of the two the client begins with: it says so in ALPN, or else its first byte tells.
    Either(WebSocketSettings),
}

/// Which WebSocket upgrades are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketSettings {
    /// Path of the upgrade request, `/mqtt` by default.
    pub path: String,
    /// Origins a browser may come from; empty: requests with an `Origin` are accepted only from the host itself.
    pub origins: Vec<String>,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        Self { path: String::from("/mqtt"), origins: Vec::new() }
    }
}

impl Transport {
    /// MQTT without TLS.
    pub const PLAINTEXT: Self = Self { tls: false, speech: Speech::Mqtt };

    /// MQTT and WebSocket over TLS, the client chooses: what a listener speaks unless told otherwise.
    #[must_use]
    pub fn tls() -> Self {
        Self { tls: true, speech: Speech::Either(WebSocketSettings::default()) }
    }

    /// The protocols offered in ALPN, the preferred one first.
    #[must_use]
    pub fn alpn(&self) -> &'static [&'static [u8]] {
        match self.speech {
            Speech::Mqtt => &[b"mqtt"],
            Speech::WebSocket(_) => &[b"http/1.1"],
            Speech::Either(_) => &[b"mqtt", b"http/1.1"],
        }
    }

    /// The scheme of a URL that leads here: `mqtts`, `wss`, `mqtt` or `ws`. Where both MQTT and WebSocket are spoken it
    /// is that of MQTT.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match (&self.speech, self.tls) {
            (Speech::Mqtt | Speech::Either(_), true) => "mqtts",
            (Speech::Mqtt | Speech::Either(_), false) => "mqtt",
            (Speech::WebSocket(_), true) => "wss",
            (Speech::WebSocket(_), false) => "ws",
        }
    }
}
