//! How messages of a WebSocket carry channels: Kubernetes' subprotocols for commands and ports.
//!
//! A binary message's first byte is its channel. Browsers' clients take text instead: a digit, and the rest in base64. Before v4 there is no
//! status of a command: the error channel has words when it has failed, and nothing when it has not.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use hyper::body::Incoming;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::{Ticket, serve::chosen};

/// Where a client says which subprotocols it knows.
pub(super) const HEADER: &str = "sec-websocket-protocol";

/// A subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protocol {
    /// What it is called; without a name the client named none.
    pub(super) name: Option<&'static str>,
    is_text: bool,
    has_status: bool,
}

const fn protocol(name: &'static str, is_text: bool, has_status: bool) -> Protocol {
    Protocol { name: Some(name), is_text, has_status }
}

/// Those of commands, the best first.
const COMMANDS: [Protocol; 5] = [
    protocol("v5.channel.k8s.io", false, true),
    protocol("v4.channel.k8s.io", false, true),
    protocol("v4.base64.channel.k8s.io", true, true),
    protocol("channel.k8s.io", false, false),
    protocol("base64.channel.k8s.io", true, false),
];

/// Those of ports.
const PORTS: [Protocol; 2] =
    [protocol("v4.channel.k8s.io", false, true), protocol("v4.base64.channel.k8s.io", true, true)];

impl Protocol {
    /// The best that a client offers.
    ///
    /// # Errors
    /// It offers some, and none of ours: in words.
    pub(super) fn of(ticket: &Ticket, request: &Request<Incoming>) -> Result<Protocol, String> {
        let ours: &[Protocol] = match ticket {
            Ticket::Forward(_) => &PORTS,
            Ticket::Exec(_) | Ticket::Attach(_) => &COMMANDS,
        };
        if !request.headers().contains_key(HEADER) {
            return Ok(Protocol { name: None, is_text: false, has_status: false });
        }
        let names: Vec<&str> = ours.iter().filter_map(|own| own.name).collect();
        let best = chosen(request, HEADER, &names);
        let found = ours.iter().find(|own| own.name == best).copied();
        found.ok_or_else(|| {
            format!("unable to upgrade: the protocols here are {}", names.join(", "))
        })
    }

    /// Bytes on a channel.
    pub(super) fn message(self, channel: u8, bytes: &[u8]) -> Message {
        if self.is_text {
            let mut text = String::from(char::from(b'0'.saturating_add(channel)));
            STANDARD.encode_string(bytes, &mut text);
            return Message::text(text);
        }
        let mut all = BytesMut::with_capacity(bytes.len() + 1);
        all.put_u8(channel);
        all.put_slice(bytes);
        Message::Binary(all.freeze())
    }

    /// What goes to the error channel when a command has ended, if anything.
    pub(super) fn end(self, status: &Value) -> Option<String> {
        if self.has_status {
            return Some(status.to_string());
        }
        status.get("message").and_then(Value::as_str).map(str::to_owned)
    }

    /// A client's message: its channel, and what is on it. Whatever is none is left out.
    pub(super) fn read(self, message: Message) -> Option<(u8, Bytes)> {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                return None;
            }
        };
        let (channel, rest) = bytes.split_first()?;
        if self.is_text {
            let decoded = STANDARD.decode(rest).ok()?;
            return Some((channel.checked_sub(b'0')?, Bytes::from(decoded)));
        }
        Some((*channel, bytes.slice(1..)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_come_back() {
        for protocol in COMMANDS {
            for (channel, bytes) in [(0, &b"in\n"[..]), (4, b"{}"), (1, b"")] {
                let read = protocol.read(protocol.message(channel, bytes));
                assert_eq!(read, Some((channel, Bytes::copy_from_slice(bytes))), "{protocol:?}");
            }
        }
        let text = COMMANDS[2];
        assert_eq!(text.message(1, b"out"), Message::text("1b3V0"));
        for wrong in ["", "1*", "/b3V0"] {
            assert_eq!(text.read(Message::text(wrong)), None, "{wrong}");
        }
        assert_eq!(COMMANDS[0].read(Message::Binary(Bytes::new())), None);
    }

    #[test]
    fn the_end_of_a_command() {
        let (good, bad) =
            (json!({ "status": "Success" }), json!({ "status": "Failure", "message": "why" }));
        for protocol in COMMANDS {
            let is_old = !protocol.has_status;
            assert_eq!(protocol.end(&good), (!is_old).then(|| good.to_string()));
            assert_eq!(
                protocol.end(&bad),
                Some(if is_old { "why".to_owned() } else { bad.to_string() })
            );
        }
    }
}
