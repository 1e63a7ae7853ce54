//! The web desktop: a page on loopback from which everything is seen and steered, in front of the Engine API.
//!
//! Knows: who may ask (token, cookie, `Host`, `Origin`), the page's own files, how requests and streams go on to a daemon. Does not
//! know: the engine, what the page shows, or which daemon answers: `ferry -H unix:///var/run/docker.sock desktop` works too.
//! Start with `command.rs` (what the user types), `server.rs` (what a request goes through), `guard.rs` (who is let in).
//!
//! Invariants: only loopback is listened on; nothing but the login is answered without the cookie; no request that another site
//! caused reaches the daemon; no answer of the daemon is shown as a page.

mod assets;
mod command;
mod errand;
mod files;
mod guard;
mod layers;
mod proxy;
mod reply;
mod server;
mod tar;
mod tunnel;
mod usage;

use ferry_cli::face::Extension;

/// `ferry desktop`.
pub const EXTENSION: Extension = Extension {
    name: "desktop",
    short: "See and steer everything in a browser",
    run: command::run,
};
