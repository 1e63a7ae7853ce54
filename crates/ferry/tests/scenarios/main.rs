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

/// Types scenarios into our command line while it speaks to Docker's own daemon, where there is one to use. Only those whose facts do
/// not lie in files of the daemon: it may be in a root of its own.
macro_rules! against_docker {
    ($($name:ident),+ $(,)?) => {
        mod against_docker {
            $(#[test] fn $name() {
                if std::env::var_os(ferry_testkit::DOCKERD).is_some() {
                    super::$name(ferry_testkit::Client::FerryOnDocker);
                } else {
                    eprintln!("SKIPPED: {} names no Docker daemon to use", ferry_testkit::DOCKERD);
                }
            })+
        }
    };
}

/// Both.
macro_rules! through_all {
    ($($name:ident),+ $(,)?) => {
        through_both!($($name),+);
        against_docker!($($name),+);
    };
}

mod archives;
mod at_once;
mod bad_input;
mod bridge_options;
mod build;
mod buildkit;
mod cli_setup;
mod commit;
mod compose;
mod compose_application;
mod compose_builds;
mod compose_elsewhere;
mod compose_flags;
mod compose_interrupted;
mod compose_life;
mod compose_pairings;
mod compose_publish;
mod compose_python;
mod compose_rolling;
mod compose_streams;
mod compose_switches;
mod compose_words;
mod containers;
mod conversations;
mod copying;
mod coverage;
mod crash;
mod crash_parents;
mod crash_ports;
mod cri;
mod default_places;
mod desktop;
mod devices;
mod disk;
mod distribution;
mod docker_py;
mod firewall_rules;
mod firewalls;
mod flags;
mod gateway_modes;
mod guide;
mod health;
mod host_names;
mod hostile;
mod image_copy;
mod isolation;
mod kube;
mod kube_cluster;
mod kube_cron;
mod kube_hooks;
mod kube_jobs;
mod kube_keepers;
mod kube_objects;
mod kube_pods;
mod kube_tutorials;
mod lan;
mod leaks;
mod load;
mod logs;
mod names;
mod network;
mod network_drivers;
mod network_options;
mod networks;
mod news;
mod oci;
mod promises;
mod propagation;
mod prunes;
mod pulls;
mod push;
mod reflinks;
mod registry;
mod registry_artifacts;
mod registry_bucket;
mod registry_clients;
mod registry_faults;
mod registry_pages;
mod registry_proxy;
mod registry_rules;
mod registry_serve;
mod runtimes;
mod services;
mod settings;
mod sharing;
mod shown;
mod shown_networks;
mod six;
mod stats;
mod top;
mod update;
mod upstream_names;
mod user_namespaces;
mod versions;
mod virtual_machine;
mod visitors;
mod volume_content;
mod volume_crashes;
mod volumes;
mod welcome;
mod why;
mod words;

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ferry_testkit::{Client, Sandbox};

/// A daemon for this command line.
fn daemon_for(client: Client) -> Sandbox {
    match client {
        Client::FerryOnDocker => Sandbox::on_docker().unwrap(),
        Client::Ferry | Client::Docker => Sandbox::start().through(client),
    }
}

/// A daemon with the image `busybox`.
fn with_busybox(client: Client) -> Sandbox {
    let sandbox = daemon_for(client);
    sandbox.busybox();
    sandbox
}

/// A directory of the test's own besides its sandbox; it goes when nobody has it any more.
struct Scratch(PathBuf);

/// An empty one.
fn scratch(name: &str) -> Scratch {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let dir = PathBuf::from(format!("/var/tmp/ferry-{name}-{}-{number}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(&dir).unwrap();
    Scratch(dir)
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a browser has started may write for a moment after the browser's end.
        for _ in 0..20 {
            drop(std::fs::remove_dir_all(&self.0));
            if !self.0.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
