//! Kubernetes' runtime interface, as a kubelet uses it.
//!
//! `FERRY_TEST_CRI` names the socket of another runtime (`unix:///…/containerd.sock`): scenarios that look at nothing of ours
//! are first run against that one.

mod cgroups;
mod client;
mod crash;
mod crash_steps;
mod given;
mod handlers;
mod images;
mod network;
mod pods;
mod streams;
mod terminal;
mod userns;

use std::path::PathBuf;

use ferry_cri::api;
use ferry_testkit::Sandbox;

use client::Cri;

/// A runtime, and a client of it.
struct Bed {
    cri: Cri,
    ferry: Option<Sandbox>,
    logs: PathBuf,
    image: String,
    name: String,
}

/// Names the socket of another runtime, and an image that it has.
const OTHER: &str = "FERRY_TEST_CRI";
const OTHER_IMAGE: &str = "FERRY_TEST_CRI_IMAGE";

impl Bed {
    /// Ours, or the other one where a test runs against that.
    fn any() -> Bed {
        let Ok(address) = std::env::var(OTHER) else { return Bed::ours(&[]) };
        let name = format!("other-{}", std::process::id());
        let logs = PathBuf::from(format!("/var/tmp/ferry-cri-{name}"));
        std::fs::create_dir_all(&logs).unwrap();
        let image = std::env::var(OTHER_IMAGE).unwrap();
        let socket = PathBuf::from(address.trim_start_matches("unix://"));
        Bed { cri: Cri::new(&socket), ferry: None, logs, image, name }
    }

    /// Ours with more flags; no CNI configuration but what they name.
    fn ours(flags: &[&str]) -> Bed {
        let bed = Bed::prepared(flags);
        let ferry = bed.ferry.as_ref().unwrap();
        ferry.start_daemon(None);
        ferry.busybox();
        bed
    }

    /// Everything but the daemon.
    fn prepared(flags: &[&str]) -> Bed {
        // The socket's directory is known only when the sandbox is there.
        static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let directory = PathBuf::from(format!("/var/tmp/ferry-cri-{name}"));
        std::fs::create_dir_all(directory.join("logs")).unwrap();
        let socket = directory.join("cri.sock");
        let mut all = vec![format!("--cri=unix://{}", socket.display())];
        if !flags.iter().any(|flag| flag.starts_with("--cni-conf-dir")) {
            all.push(format!("--cni-conf-dir={}", directory.join("no-cni").display()));
        }
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Bed {
            cri: Cri::new(&socket),
            ferry: Some(Sandbox::prepared(&all)),
            logs: directory.join("logs"),
            image: "busybox:latest".to_owned(),
            name,
        }
    }

    fn ferry(&self) -> &Sandbox {
        self.ferry.as_ref().unwrap()
    }

    /// The configuration of a pod.
    fn pod(&self, name: &str) -> api::PodSandboxConfig {
        let parent = match &self.ferry {
            Some(ferry) => ferry.cgroup_parent(),
            None => format!("ferry-cri-{}", self.name),
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
        let daemon = self.ferry.is_none() || !std::thread::panicking();
        if daemon {
            for pod in self.cri.pods().iter().filter(|pod| own(pod)) {
                drop(self.cri.stop_pod(&pod.id));
                drop(self.cri.remove_pod(&pod.id));
            }
        }
        drop(self.ferry.take());
        let directory = if self.logs.ends_with("logs") { self.logs.parent() } else { None };
        drop(std::fs::remove_dir_all(directory.unwrap_or(&self.logs)));
    }
}

/// Enough for a program that does nothing until it is stopped.
const IDLE: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";

/// Sets the namespaces of a container.
fn with_namespaces(config: &mut api::ContainerConfig, options: api::NamespaceOption) {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().namespace_options = Some(options);
}
