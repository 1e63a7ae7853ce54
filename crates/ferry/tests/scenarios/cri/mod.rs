//! Kubernetes' runtime interface, as a kubelet uses it.
//!
//! A scenario that looks at nothing of ours runs against Debian's containerd first, which says that the scenario is right, and then against
//! ours: [`on_both`].

mod cadvisor;
mod calls;
mod cgroups;
mod checkpoint;
mod checkpoint_crash;
mod client;
mod cni;
mod conf;
mod coverage;
mod crash;
mod crash_steps;
mod fields;
mod given;
mod handlers;
mod images;
mod metrics;
mod network;
mod pods;
mod streams;
mod terminal;
mod userns;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use ferry_cri::api;
use ferry_testkit::{Containerd, CriOptions, Sandbox, programs};

use client::Cri;

/// A runtime, and a client of it.
struct Bed {
    cri: Cri,
    side: Side,
    directory: PathBuf,
    logs: PathBuf,
    image: String,
    name: String,
}

/// Whose runtime it is.
enum Side {
    Ferry(Sandbox),
    Containerd(Containerd),
    /// Ours, which somebody else has started and ends.
    Given,
    /// It ends.
    Gone,
}

/// Name the socket of an engine of ours that runs already, and an image that it has.
const GIVEN: &str = "FERRY_TEST_CRI";
const GIVEN_IMAGE: &str = "FERRY_TEST_CRI_IMAGE";

/// Runs a scenario against Debian's containerd, where that is installed, and against ours.
fn on_both(scenario: impl Fn(&Bed)) {
    on_both_given(&CriOptions::default(), || Bed::ours(&[]), scenario);
}

/// The same with settings of containerd, and ours as it is made.
fn on_both_given(options: &CriOptions, ours: impl FnOnce() -> Bed, scenario: impl Fn(&Bed)) {
    if let Some(bed) = Bed::containerd(options) {
        eprintln!("--- on containerd");
        scenario(&bed);
    }
    eprintln!("--- on ours");
    scenario(&ours());
}

/// A name and a directory of a test's own.
fn place() -> (String, PathBuf) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let directory = PathBuf::from(format!("/var/tmp/ferry-cri-{name}"));
    std::fs::create_dir_all(directory.join("logs")).unwrap();
    (name, directory)
}

impl Bed {
    /// Debian's containerd, if it is here.
    fn containerd(options: &CriOptions) -> Option<Bed> {
        let plugins = programs::plugins()?;
        let (name, directory) = place();
        let mut own = CriOptions {
            cni: options.cni.clone(),
            cdi: options.cdi.clone(),
            path: options.path.clone(),
            ..CriOptions::default()
        };
        own.plugins.clone_from(&options.plugins);
        own.plugins.push(plugins);
        let Some(other) = Containerd::start_cri(&directory, &own) else {
            std::fs::remove_dir_all(directory).unwrap();
            return None;
        };
        let cri = Cri::new(&other.socket());
        Some(Bed {
            cri,
            side: Side::Containerd(other),
            logs: directory.join("logs"),
            directory,
            image: "docker.io/library/busybox:latest".to_owned(),
            name,
        })
    }

    /// Ours with more flags; no CNI configuration but what they name. In a virtual machine it is the one that runs there.
    fn ours(flags: &[&str]) -> Bed {
        if let (Ok(address), Ok(image)) = (std::env::var(GIVEN), std::env::var(GIVEN_IMAGE)) {
            assert!(flags.is_empty(), "{flags:?}: this engine runs already");
            let (name, directory) = place();
            let cri = Cri::new(Path::new(address.trim_start_matches("unix://")));
            let logs = directory.join("logs");
            return Bed { cri, side: Side::Given, directory, logs, image, name };
        }
        let bed = Bed::prepared(flags);
        bed.ferry().start_daemon(None);
        bed.ferry().busybox();
        bed
    }

    /// Everything but the daemon.
    fn prepared(flags: &[&str]) -> Bed {
        // The socket's directory is known only when the sandbox is there.
        let (name, directory) = place();
        let socket = directory.join("cri.sock");
        let mut all = vec![format!("--cri=unix://{}", socket.display())];
        if !flags.iter().any(|flag| flag.starts_with("--cni-conf-dir")) {
            all.push(format!("--cni-conf-dir={}", directory.join("no-cni").display()));
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Bed {
            cri: Cri::new(&socket),
            side: Side::Ferry(Sandbox::prepared(&all)),
            logs: directory.join("logs"),
            directory,
            image: "docker.io/library/busybox:latest".to_owned(),
            name,
        }
    }

    /// Whether it is ours, where a scenario must know.
    fn is_ours(&self) -> bool {
        matches!(self.side, Side::Ferry(_) | Side::Given)
    }

    fn ferry(&self) -> &Sandbox {
        let Side::Ferry(ferry) = &self.side else { panic!("this is not ours") };
        ferry
    }

    /// The configuration of a pod.
    fn pod(&self, name: &str) -> api::PodSandboxConfig {
        let parent = match &self.side {
            Side::Ferry(ferry) => ferry.cgroup_parent(),
            // The virtual machine with systemd, whose driver takes slices only.
            Side::Given if Path::new("/run/systemd/system").exists() => {
                format!("ferry-cri-{}.slice", self.name)
            }
            _ => format!("ferry-cri-{}", self.name),
        };
        api::PodSandboxConfig {
            metadata: Some(api::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-{}-{name}", self.name),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: name.to_owned(),
            log_directory: self.logs.join(name).to_string_lossy().into_owned(),
            labels: [("app".to_owned(), name.to_owned())].into(),
            annotations: [("note".to_owned(), "of a test".to_owned())].into(),
            linux: Some(api::LinuxPodSandboxConfig {
                cgroup_parent: format!("/{parent}"),
                ..api::LinuxPodSandboxConfig::default()
            }),
            ..api::PodSandboxConfig::default()
        }
    }

    /// The configuration of a container that runs a script.
    fn container(&self, name: &str, script: &str) -> api::ContainerConfig {
        api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(api::ImageSpec { image: self.image.clone(), ..api::ImageSpec::default() }),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            labels: [("role".to_owned(), name.to_owned())].into(),
            linux: Some(api::LinuxContainerConfig::default()),
            ..api::ContainerConfig::default()
        }
    }

    /// A pod with one container that runs.
    fn running(&self, name: &str, script: &str) -> (String, String) {
        let config = self.pod(name);
        let pod = self.cri.run_pod(config.clone()).unwrap();
        let id = self.cri.create(&pod, self.container("main", script), &config).unwrap();
        self.cri.start(&id).unwrap();
        (pod, id)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let own = |pod: &api::PodSandbox| {
            let uid = pod.metadata.as_ref().map(|it| it.uid.clone()).unwrap_or_default();
            uid.starts_with(&format!("uid-{}-", self.name))
        };
        if !self.is_ours() || !std::thread::panicking() {
            for pod in self.cri.list_pods().unwrap_or_default().iter().filter(|pod| own(pod)) {
                drop(self.cri.stop_pod(&pod.id));
                drop(self.cri.remove_pod(&pod.id));
            }
        }
        if let Side::Containerd(other) = &self.side {
            if std::thread::panicking() {
                eprintln!("--- containerd's log\n{}", other.log());
            }
            remove_cgroups(&format!("ferry-cri-{}", self.name));
        }
        self.side = Side::Gone;
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Removes what is left of cgroups below the root of each hierarchy.
fn remove_cgroups(name: &str) {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        drop(std::fs::remove_dir(hierarchy.path().join(name)));
    }
    drop(std::fs::remove_dir(format!("/sys/fs/cgroup/{name}")));
}

/// Enough for a program that does nothing until it is stopped.
const IDLE: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";

/// Sets the namespaces of a container.
fn with_namespaces(config: &mut api::ContainerConfig, options: api::NamespaceOption) {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().namespace_options = Some(options);
}
