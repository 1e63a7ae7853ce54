//! Connections: opening them, and sending requests over them.

use std::io;

use hyper::{Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::{Client, ClientError, Endpoint, Stream, body::Payload, endpoint::SshPlace};

/// As large as a piece that is worth a system call; progress and logs come in small ones, images in large ones.
const READ_BUFFER: usize = 256 << 10;

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Connection(http1::SendRequest<Payload>);

/// A request was not answered.
pub(crate) enum SendFailure {
    /// It did not reach the daemon: here it is again.
    NotSent(Box<Request<Payload>>),
    /// It may have.
    Broken(hyper::Error),
}

impl Client {
    /// A connection of its own, outside HTTP so far.
    pub(crate) async fn dial(&self) -> Result<Stream, ClientError> {
        let opened = self.state().opened.take();
        if let Some(stream) = opened
            && stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = UnixStream::from_std(stream)
        {
            return Ok(Stream::Unix(stream));
        }
        let config = self.config();
        let stream = match &config.endpoint {
            Endpoint::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
            Endpoint::Tcp { host, port, .. } => {
                TcpStream::connect((host.as_str(), *port)).await.map(Stream::Tcp)
            }
            Endpoint::Ssh(place) => ssh(config.product, place).map(Stream::Unix),
        };
        match (stream.map_err(|error| self.cannot_connect(error))?, &config.tls, &config.endpoint) {
            (Stream::Tcp(tcp), Some(tls), Endpoint::Tcp { host, .. }) => {
                // Small writes are the rule; they must not wait for acknowledgements.
                drop(tcp.set_nodelay(true));
                let (connector, name) = tls.connector(host)?;
                let stream = connector.connect(name, tcp).await.map_err(|source| {
                    ClientError::Dial { endpoint: config.endpoint.clone(), source }
                })?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            (Stream::Tcp(tcp), _, _) => {
                drop(tcp.set_nodelay(true));
                Ok(Stream::Tcp(tcp))
            }
            (stream, _, _) => Ok(stream),
        }
    }

    fn cannot_connect(&self, error: io::Error) -> ClientError {
        let config = self.config();
        let (product, endpoint) = (config.product, config.endpoint.clone());
        match (error.kind(), &config.endpoint) {
            (io::ErrorKind::PermissionDenied, _) => {
                ClientError::Denied { product, endpoint, reason: error }
            }
            (io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut, _)
            | (_, Endpoint::Unix(_)) => ClientError::Connect { product, endpoint, reason: error },
            _ => ClientError::Dial { endpoint, source: error },
        }
    }

    /// An idle connection, or a new one. The second says whether it was used before.
    pub(crate) async fn connection(&self) -> Result<(Connection, bool), ClientError> {
        loop {
            let idle = self.state().idle.pop();
            match idle {
                Some(mut idle) => {
                    if idle.0.ready().await.is_ok() {
                        return Ok((idle, true));
                    }
                }
                None => break,
            }
        }
        let stream = self.dial().await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unanswered("/", error))?;
        // It ends when the daemon closes it or the last sender is gone; what went wrong, the request is told.
        tokio::spawn(async move { drop(connection.await) });
        Ok((Connection(sender), false))
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        if !connection.0.is_closed() {
            self.state().idle.push(connection);
        }
    }

    pub(crate) fn unanswered(
        &self,
        path: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        let (endpoint, path) = (self.endpoint().clone(), path.to_owned());
        ClientError::Send { endpoint, path, source: source.into() }
    }
}

impl Connection {
    pub(crate) async fn send(
        &mut self,
        request: Request<Payload>,
    ) -> Result<Response<Incoming>, SendFailure> {
        self.0.try_send_request(request).await.map_err(|mut failure| match failure.take_message() {
            Some(request) => SendFailure::NotSent(Box::new(request)),
            None => SendFailure::Broken(failure.into_error()),
        })
    }
}

/// Starts ssh, which starts `system dial-stdio` on the other machine. The connection is its standard input and output.
fn ssh(product: &str, place: &SshPlace) -> io::Result<UnixStream> {
    let SshPlace { user, host, port, socket, written: _ } = place;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut command = std::process::Command::new("ssh");
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", host, if product == "Docker" { "docker" } else { "ferry" }]);
    if !socket.is_empty() {
        command.args(["--host", &format!("unix://{socket}")]);
    }
    command.args(["system", "dial-stdio"]);
    let stdin = std::os::fd::OwnedFd::from(theirs.try_clone()?);
    command.stdin(stdin).stdout(std::os::fd::OwnedFd::from(theirs));
    // It ends when the connection is closed, and with this program at the latest.
    drop(command.spawn()?);
    ours.set_nonblocking(true)?;
    UnixStream::from_std(ours)
}
