//! Debian's containerd in a directory of its own, also as the runtime of Kubernetes that others are compared with.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::json;

use crate::{
    claims,
    command::{Run, eventually, run},
    images, programs,
};

/// The namespace where its CRI looks for images.
const KUBERNETES: &str = "k8s.io";

/// What holds a pod's namespaces there.
const PAUSE: &str = "localhost/pause:1";

/// A daemon that ends with this.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    ctr: PathBuf,
    dir: PathBuf,
    namespace: &'static str,
    bridge: Option<String>,
}

/// What its CRI is started with.
#[derive(Debug, Default)]
pub struct CriOptions {
    /// A directory with the CNI configuration; without one it gets a bridge of its own.
    pub cni: Option<PathBuf>,
    /// Directories with CNI plugins.
    pub plugins: Vec<PathBuf>,
    /// Directories with CDI specifications.
    pub cdi: Option<PathBuf>,
    /// Its `PATH`, if not that of the tests.
    pub path: Option<String>,
}

impl Containerd {
    /// Starts one without what it has for Kubernetes. `None` where it is not installed.
    pub fn start(dir: &Path) -> Option<Containerd> {
        let [containerd, ctr] = programs::all(["containerd", "ctr"])?;
        let without = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.runtime\", \"io.containerd.cri.v1.images\", \"io.containerd.internal.v1.opt\"]";
        let child = spawn(&containerd, dir, without, "", None);
        let own = Containerd { child, ctr, dir: dir.to_owned(), namespace: "test", bridge: None };
        own.wait();
        Some(own)
    }

    /// Starts one that serves CRI with Debian's `runc`, with `busybox:latest` in its store. `None` where something is not installed.
    pub fn start_cri(dir: &Path, options: &CriOptions) -> Option<Containerd> {
        let [containerd, ctr, _, runc] =
            programs::all(["containerd", "ctr", "containerd-shim-runc-v2", "runc"])?;
        let mut bridge = None;
        let conf = options.cni.clone().unwrap_or_else(|| {
            static COUNTER: AtomicU32 = AtomicU32::new(0);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("fc{}x{number}", std::process::id());
            let own = dir.join("cni");
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("10-own.conflist"), bridge_list(&name, dir)).unwrap();
            bridge = Some(name);
            own
        });
        let without = "version = 3\ndisabled_plugins = [\"io.containerd.nri.v1.nri\"]";
        let tables = cri_config(&conf, &runc, options);
        let child = spawn(&containerd, dir, without, &tables, options.path.as_deref());
        let own = Containerd { child, ctr, dir: dir.to_owned(), namespace: KUBERNETES, bridge };
        own.wait();
        let sleep = json!({"Entrypoint": ["/bin/busybox", "sleep", "2147483647"]});
        let path = json!(["PATH=/bin"]);
        for (tag, config) in [
            (PAUSE, sleep),
            ("docker.io/library/busybox:latest", json!({"Cmd": ["sh"], "Env": path})),
        ] {
            let tar = images::archive(dir, tag, &config);
            own.run(&["images", "import", tar.to_str().unwrap()]).ok();
        }
        Some(own)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// Runs `ctr`.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Run {
        let mut command = Command::new(&self.ctr);
        run(command.arg("-a").arg(self.socket()).args(["-n", self.namespace]).args(words))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("containerd.log")).unwrap_or_default()
    }

    #[track_caller]
    fn wait(&self) {
        eventually("containerd answers", || {
            (self.run(&["images", "ls", "-q"]).code == 0).then_some(())
        });
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if let Some(bridge) = &self.bridge {
            drop(Command::new("ip").args(["link", "delete", "dev", bridge]).output());
        }
    }
}

/// Starts the program; `settings` are of the whole, `tables` of its parts.
fn spawn(program: &Path, dir: &Path, settings: &str, tables: &str, search: Option<&str>) -> Child {
    let path = dir.join("containerd.toml");
    let place = dir.display();
    let text = format!(
        "root = \"{place}/root\"\nstate = \"{place}/state\"\n{settings}\n[grpc]\naddress = \"{place}/sock\"\n{tables}\n"
    );
    fs::write(&path, text).unwrap();
    let log = File::create(dir.join("containerd.log")).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&path).stdout(log.try_clone().unwrap()).stderr(log);
    command.envs(search.map(|search| ("PATH", search)));
    command.spawn().unwrap()
}

fn cri_config(conf: &Path, runc: &Path, options: &CriOptions) -> String {
    let list = |paths: &[PathBuf]| serde_json::to_string(paths).unwrap();
    let cdi: Vec<PathBuf> = options.cdi.iter().cloned().collect();
    format!(
        r#"[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
cdi_spec_dirs = {}
enable_cdi = true
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = {}
conf_dir = "{}"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{}"
SystemdCgroup = false"#,
        list(&cdi),
        list(&options.plugins),
        conf.display(),
        runc.display(),
    )
}

/// A CNI configuration list: a bridge with addresses that no other test has.
#[track_caller]
pub fn bridge_list(name: &str, dir: &Path) -> String {
    let range = claims::free_range();
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{
        "type": "bridge", "bridge": name, "isGateway": true,
        "ipam": {"type": "host-local", "dataDir": dir.join("ipam"),
            "ranges": [[{"subnet": format!("{range}.0/24")}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }]})
    .to_string()
}
