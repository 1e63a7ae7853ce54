//! A name server that knows one thing: all names below `.localhost` are this machine.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use ferry_engine::{DnsQuery, DnsRcode, DnsRecord, dns_kind, dns_refusal};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
};

/// No question over UDP is larger.
const UDP_LIMIT: usize = 4096;
/// Connections at once; further ones wait.
const CONNECTIONS: usize = 32;
/// How long a connection may say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers what comes by UDP until it is dropped.
pub(crate) async fn udp(socket: UdpSocket) {
    let mut question = vec![0; UDP_LIMIT];
    let mut reply = Vec::new();
    loop {
        let (length, from) = match socket.recv_from(&mut question).await {
            Ok(received) => received,
            // An earlier answer's client has gone, mostly.
            Err(error) => {
                tracing::debug!("a question could not be received: {error}");
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
        };
        if answer(question.get(..length).unwrap_or_default(), None, &mut reply)
            && let Err(error) = socket.send_to(&reply, from).await
        {
            tracing::debug!(%from, "an answer could not be sent: {error}");
        }
    }
}

/// Answers what comes by TCP until it is dropped.
pub(crate) async fn tcp(listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // It ends by itself, or is ended: either way it is over.
                    drop(conversation(stream).await);
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the resolver");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn conversation(mut stream: TcpStream) -> std::io::Result<()> {
    let mut reply = Vec::new();
    loop {
        let asked = tokio::time::timeout(PATIENCE, async {
            let length = stream.read_u16().await?;
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await.map(|_| question)
        });
        let question = asked.await??;
        if !answer(&question, Some(usize::from(u16::MAX)), &mut reply) {
            return Ok(());
        }
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
        let mut message = length.to_be_bytes().to_vec();
        message.extend_from_slice(&reply);
        tokio::time::timeout(PATIENCE, stream.write_all(&message)).await??;
    }
}

/// Writes the answer, of at most `limit` bytes or what the client takes; false if there is none to give.
fn answer(message: &[u8], limit: Option<usize>, reply: &mut Vec<u8>) -> bool {
    let query = match DnsQuery::parse(message) {
        Ok(query) => query,
        Err(malformed) => {
            *reply = malformed.id.map(|id| dns_refusal(id, malformed.rcode)).unwrap_or_default();
            return !reply.is_empty();
        }
    };
    let ours = query.name() == "localhost" || query.name().ends_with(".localhost");
    let rcode = if ours { DnsRcode::NoError } else { DnsRcode::Refused };
    let records = match query.kind() {
        dns_kind::A if ours => vec![DnsRecord::Address(Ipv4Addr::LOCALHOST.into())],
        dns_kind::AAAA if ours => vec![DnsRecord::Address(Ipv6Addr::LOCALHOST.into())],
        _ => Vec::new(),
    };
    query.answer(rcode, &records, limit.unwrap_or_else(|| query.udp_limit()), reply);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }

    #[test]
    fn names_below_localhost_are_this_machine_and_others_nobodys() {
        let mut reply = Vec::new();
        assert!(answer(&question("web.shop.localhost", dns_kind::A), None, &mut reply));
        assert!(reply.ends_with(&[127, 0, 0, 1]));
        assert!(answer(&question("LOCALHOST", dns_kind::AAAA), None, &mut reply));
        assert!(reply.ends_with(&Ipv6Addr::LOCALHOST.octets()));
        // There is such a name, and it has nothing of that kind.
        assert!(answer(&question("web.localhost", dns_kind::MX), None, &mut reply));
        assert_eq!((reply[3] & 15, reply[7]), (0, 0));
        for other in ["example.org", "localhost.example.org", "xlocalhost"] {
            assert!(answer(&question(other, dns_kind::A), None, &mut reply));
            assert_eq!((reply[3] & 15, reply[7]), (5, 0), "{other}");
        }
        assert!(!answer(b"x", None, &mut reply));
    }
}
