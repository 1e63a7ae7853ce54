//! The built binary, used as a person uses it: a daemon of the test's own, commands typed into our command line and into the
//! real docker, and facts looked up in the kernel. Every scenario was first run against Docker's own daemon.
//!
//! `FERRY_BINARY` names the binary; without it, what cargo built for this profile is used.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

/// Types scenarios into both command lines.
macro_rules! through_both {
    ($($name:ident),+ $(,)?) => {
        mod through_ferry {
            $(#[test] fn $name() { super::$name(ferry_testkit::Client::Ferry); })+
        }
        mod through_docker {
            $(#[test] fn $name() {
                if ferry_testkit::programs::find("docker").is_some() {
                    super::$name(ferry_testkit::Client::Docker);
                }
            })+
        }
    };
}

mod archives;
mod bad_input;
mod containers;
mod crash;
mod guide;
mod isolation;
mod leaks;
mod logs;
mod names;
mod network;
mod network_options;
mod networks;
mod registry;
mod services;
mod volumes;
mod welcome;

use ferry_testkit::{Client, Sandbox};

/// A daemon with the image `busybox`.
fn with_busybox(client: Client) -> Sandbox {
    let sandbox = Sandbox::start().through(client);
    sandbox.busybox();
    sandbox
}
