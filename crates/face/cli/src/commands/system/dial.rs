//! `docker system dial-stdio`: the daemon's socket on standard input and output, for those who come over ssh.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
};

use ferry_client::Endpoint;

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(super) const COMMAND: Command = Command {
    name: "dial-stdio",
    short: "Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    usage: "",
    args: Args::None,
    hidden: true,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, _: &Matches) -> Outcome {
    let failed = |error: io::Error| {
        CliError::new(format!("failed to open the raw stream connection: {error}"))
    };
    match cli.client()?.endpoint() {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(failed)?;
            let other = stream.try_clone().map_err(failed)?;
            let end = stream.try_clone().map_err(failed)?;
            pump(other, stream, move || drop(end.shutdown(Shutdown::Write)))
        }
        Endpoint::Tcp { host, port, .. } if !cli.globals().tls().0 => {
            let stream = TcpStream::connect((host.as_str(), *port)).map_err(failed)?;
            let other = stream.try_clone().map_err(failed)?;
            let end = stream.try_clone().map_err(failed)?;
            pump(other, stream, move || drop(end.shutdown(Shutdown::Write)))
        }
        other => Err(CliError::new(format!(
            "dial-stdio: {other} is neither a unix socket nor plain TCP"
        ))),
    }
}

/// Both directions at once. When the daemon has said everything it is over; a thread that still reads input ends with the program.
fn pump(
    mut to: impl Write + Send + 'static,
    mut from: impl Read,
    end: impl FnOnce() + Send + 'static,
) -> Outcome {
    std::thread::spawn(move || {
        // Whoever is gone, the other direction notices.
        drop(io::copy(&mut io::stdin().lock(), &mut to));
        end();
    });
    let mut stdout = io::stdout().lock();
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(0),
            Ok(count) => {
                let written = stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush());
                if written.is_err() {
                    return Ok(0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CliError::new(error.to_string())),
        }
    }
}
