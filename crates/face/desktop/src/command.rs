//! `ferry desktop` as the user types it.

use std::{
    io::BufRead,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command as Process, Stdio},
    sync::Arc,
};

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, command_help, logins, usage_line},
    flags::{Flag, Matches, ParseError, terminal_width},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{guard::Guard, server};

/// Where the page is, if nothing else has the port.
const PORT: u16 = 8377;

static COMMAND: Command = Command {
    name: "desktop",
    short: "See and steer everything in a browser",
    long: "See and steer everything in a browser\n\nServes a page on loopback until it is interrupted. The address that is printed lets one browser in, once;\nEnter prints another.",
    usage: "[OPTIONS]",
    flags: &[
        Flag::string(
            "listen",
            "Loopback address and port to serve on (default 127.0.0.1:8377, or any free port if that is taken)",
        ),
        Flag::bool("no-open", "Only print the address, open no browser"),
    ],
    args: Args::None,
    ..Command::NEW
};

/// Runs `desktop` with what stands behind it.
pub(crate) fn run(cli: &Cli, args: &[String]) -> Outcome {
    let path = format!("{} desktop", cli.program());
    let usage = usage_line(&path, &COMMAND);
    let matches = match Matches::parse(COMMAND.flags, args, true) {
        Ok((matches, _)) => matches,
        Err(ParseError::Help { .. }) => {
            cli.print(&command_help(&path, &COMMAND, terminal_width()))?;
            return Ok(0);
        }
        Err(ParseError::Invalid(words)) => {
            let words =
                format!("{words}\n\nUsage:  {usage}\n\nRun '{path} --help' for more information");
            return Err(CliError::new(words).with_code(125));
        }
    };
    if let Some(complaint) = COMMAND.args.complaint(matches.args().len(), &path, &usage) {
        return Err(CliError::new(complaint));
    }
    let client = cli.client()?.clone();
    let open = !matches.flag("no-open") && has_display(cli);
    let listen = matches.text("listen").to_owned();
    cli.wait(async {
        // A daemon that is not there is said now, and not in the browser.
        client.negotiate().await?;
        let listener = listen_on(&listen).await?;
        let address = listener.local_addr().map_err(|error| cannot_listen(&listen, &error))?;
        let guard = Arc::new(Guard::new(address.port())?);
        let url = format!("http://{address}/?token={}", guard.new_token()?);
        cli.println(&format!("Ferry desktop for {}", client.endpoint()))?;
        cli.println(&format!("{url}\nCtrl-C ends it."))?;
        if open {
            open_browser(&url);
        }
        if cli.stdin_is_terminal() {
            print_more(Arc::clone(&guard), address);
        }
        let wrong = |error: std::io::Error| CliError::new(format!("cannot wait: {error}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(wrong)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
        tokio::select! {
            () = server::serve(listener, guard, client, logins(cli)) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(0)
    })
}

fn cannot_listen(address: &str, error: &std::io::Error) -> CliError {
    CliError::new(format!("cannot listen on {address}: {error}"))
}

async fn listen_on(text: &str) -> Result<TcpListener, CliError> {
    if text.is_empty() {
        let usual = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
        if let Ok(listener) = TcpListener::bind(usual).await {
            return Ok(listener);
        }
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        return TcpListener::bind(any).await.map_err(|error| cannot_listen("127.0.0.1", &error));
    }
    let address: SocketAddr =
        text.replacen("localhost:", "127.0.0.1:", 1).parse().map_err(|_| {
            CliError::new(format!(
                "invalid argument {text:?} for \"--listen\": not an address and a port"
            ))
        })?;
    if !address.ip().is_loopback() {
        let words = format!("invalid argument {text:?} for \"--listen\": only loopback addresses");
        return Err(CliError::new(words)
            .with_hint("from another machine, forward the port: ssh -L 8377:127.0.0.1:8377 HOST"));
    }
    TcpListener::bind(address).await.map_err(|error| cannot_listen(text, &error))
}

fn has_display(cli: &Cli) -> bool {
    cli.env("DISPLAY").or_else(|| cli.env("WAYLAND_DISPLAY")).is_some()
}

/// A browser that does not come is no failure: the address is on the terminal.
fn open_browser(url: &str) {
    let mut command = Process::new("xdg-open");
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(command.spawn());
}

/// A fresh address for each Enter: the one that was printed is used up by the browser that came with it.
fn print_more(guard: Arc<Guard>, address: SocketAddr) {
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
            let Ok(token) = guard.new_token() else { return };
            let text = format!("http://{address}/?token={token}\n");
            drop(ferry_cli::face::write_fd(rustix::stdio::stdout(), text.as_bytes()));
        }
    });
}
