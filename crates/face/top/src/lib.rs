//! `ferry top`: the desktop's sister in the terminal. Lists, logs, graphs of what is used, a shell, and the common actions.
//!
//! Knows: keys, what is drawn, and the Engine API by way of the client. Does not know: the engine, or which daemon answers.
//! Start with `app.rs` (what is shown and what keys do, without any I/O), `feed.rs` (what comes from the daemon), `draw.rs`.
//!
//! Invariants: the terminal is always left as it was found; text of containers never reaches the terminal with its control sequences.

mod app;
mod draw;
mod feed;
mod screen;
mod text;

use std::{ffi::OsString, process::Command};

use ferry_cli::face::{Cli, Extension, Outcome};

use crate::{
    app::{App, Wish},
    screen::Screen,
};

/// `ferry top` without a container. With one it is docker's command.
pub const EXTENSION: Extension =
    Extension { name: "top", short: "See and steer everything in the terminal", run };

fn run(cli: &Cli, _: &[String]) -> Outcome {
    let client = cli.client()?.clone();
    // A daemon that is not there is said as every command says it, not on a screen of its own.
    cli.wait(client.negotiate())?;
    let mut app = App::new(client.endpoint().to_string());
    loop {
        let mut screen = Screen::enter()?;
        let wish = cli.wait(feed::session(&client, &mut app, &mut screen))?;
        drop(screen);
        match wish {
            Wish::Shell(name) => shell(&mut app, &name),
            _ => return Ok(0),
        }
    }
}

/// A shell in a container, on the whole terminal, as `exec -it` gives it. A process of its own: whatever of it still waited for
/// a key would take the next one from us.
fn shell(app: &mut App, name: &str) {
    let best = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
    let own: Vec<OsString> = std::env::args_os().skip(1).collect();
    // What stands before our own word says which daemon.
    let globals = own.len().saturating_sub(1);
    let done = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(&own[..globals]).args(["exec", "-it", name, "sh", "-c", best]).status()
    });
    if let Err(error) = done {
        app.fail(&format!("cannot open a shell: {error}"));
    }
}
