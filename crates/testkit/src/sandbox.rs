//! A daemon with everything of its own: data, sockets, bridge, cgroups, nftables table. It leaves nothing behind.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::{
    Api, Run,
    claims::{self, Claim},
    command::{eventually, run, run_with_input},
    programs, traces,
};

/// Whose command line a scenario is typed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Ours.
    Ferry,
    /// The real one.
    Docker,
    /// Ours, and it speaks to Docker's own daemon, [`DOCKERD`].
    FerryOnDocker,
}

/// Names the socket of a Docker daemon that tests may use, as `DOCKER_HOST` would: they take away what they made, and want
/// it to themselves.
pub const DOCKERD: &str = "FERRY_TEST_DOCKER_HOST";

/// A daemon of a test.
#[derive(Debug)]
pub struct Sandbox {
    root: PathBuf,
    bridge: String,
    flags: Vec<String>,
    client: Client,
    daemon: RefCell<Option<Child>>,
    starts: Cell<u32>,
    environment: RefCell<Vec<(String, String)>>,
    /// The socket of a daemon that is not ours, and the containers that it had before.
    foreign: Option<(PathBuf, Vec<String>)>,
    /// Its ranges of addresses.
    _claims: [Claim; 2],
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

impl Sandbox {
    /// Starts a daemon and speaks to it with our command line.
    #[track_caller]
    pub fn start() -> Sandbox {
        Sandbox::start_with(&[])
    }

    /// Starts a daemon with more flags.
    #[track_caller]
    pub fn start_with(flags: &[&str]) -> Sandbox {
        let sandbox = Sandbox::prepared(flags);
        sandbox.start_daemon(None);
        sandbox
    }

    /// Everything but the daemon.
    #[track_caller]
    pub fn prepared(flags: &[&str]) -> Sandbox {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make containers: run them as root"
        );
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let root = PathBuf::from(format!("/var/tmp/ferry-test-{pid}-{number}"));
        std::fs::create_dir_all(&root).unwrap();
        // Fifteen bytes at most; process ids have seven digits at most.
        let bridge = format!("ft{pid}x{number}");
        let mut all = vec![
            format!("--data-root={}", root.join("data").display()),
            format!("--exec-root={}", root.join("run").display()),
            format!("--bridge={bridge}"),
            format!("--cgroup-parent=ferry-test-{pid}-{number}"),
            "--debug".to_owned(),
        ];
        let (ranges, claims) = own_ranges(flags);
        all.extend(ranges);
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Sandbox {
            root,
            bridge,
            flags: all,
            client: Client::Ferry,
            daemon: RefCell::new(None),
            starts: Cell::new(0),
            environment: RefCell::default(),
            foreign: None,
            _claims: claims,
        }
    }

    /// Docker's own daemon instead of ours, if [`DOCKERD`] names one.
    #[track_caller]
    pub fn on_docker() -> Option<Sandbox> {
        let Ok(host) = std::env::var(DOCKERD) else {
            eprintln!("SKIPPED: {DOCKERD} names no Docker daemon to compare with");
            return None;
        };
        let socket = PathBuf::from(host.trim_start_matches("unix://"));
        let mut sandbox = Sandbox::prepared(&[]).through(Client::FerryOnDocker);
        let before = containers(&Api::new(&socket));
        sandbox.foreign = Some((socket, before));
        Some(sandbox)
    }

    /// From here on commands are typed into this client.
    #[must_use]
    pub fn through(mut self, client: Client) -> Sandbox {
        self.client = client;
        self
    }

    /// Starts the daemon, which dies at a failpoint if one is named.
    #[track_caller]
    pub fn start_daemon(&self, failpoint: Option<&str>) {
        let count = self.starts.get();
        self.starts.set(count + 1);
        let log = File::create(self.root.join(format!("daemon-{count}.log"))).unwrap();
        let mut command = Command::new(binary());
        command.arg("daemon").args(&self.flags).stderr(log.try_clone().unwrap()).stdout(log);
        command.envs(self.environment.borrow().iter().cloned());
        if let Some(name) = failpoint {
            command.env("FERRY_FAILPOINT", name);
        }
        *self.daemon.borrow_mut() = Some(command.spawn().unwrap());
        let api = self.api();
        eventually("the daemon answers", || {
            let ended =
                self.daemon.borrow_mut().as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the daemon ended: {}", self.daemon_log());
            api.answers().then_some(())
        });
    }

    /// Sets a variable for every daemon that is started from here on.
    pub fn set_env(&self, name: &str, value: &str) {
        self.environment.borrow_mut().push((name.to_owned(), value.to_owned()));
    }

    /// Ends the daemon as an administrator would.
    #[track_caller]
    pub fn stop_daemon(&self) {
        self.end_daemon(rustix::process::Signal::TERM);
    }

    /// Ends the daemon as a crash would.
    #[track_caller]
    pub fn kill_daemon(&self) {
        self.end_daemon(rustix::process::Signal::KILL);
    }

    fn end_daemon(&self, signal: rustix::process::Signal) {
        let Some(mut child) = self.daemon.borrow_mut().take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).ok();
        child.wait().unwrap();
    }

    /// Waits for the daemon to die by itself, as failpoints make it.
    #[track_caller]
    pub fn wait_for_death(&self) {
        let mut daemon = self.daemon.borrow_mut();
        let child = daemon.as_mut().unwrap();
        eventually("the daemon dies at its failpoint", || child.try_wait().unwrap());
        *daemon = None;
    }

    /// The daemon's process id.
    #[track_caller]
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.borrow().as_ref().unwrap().id()
    }

    /// What the last daemon wrote.
    pub fn daemon_log(&self) -> String {
        let last = self.starts.get().saturating_sub(1);
        std::fs::read_to_string(self.root.join(format!("daemon-{last}.log"))).unwrap_or_default()
    }

    /// The API itself.
    pub fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        match &self.foreign {
            Some((socket, _)) => socket.clone(),
            None => self.root.join("run/ferry.sock"),
        }
    }

    /// `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A directory for the test's own files.
    pub fn dir(&self) -> &Path {
        &self.root
    }

    /// Where the daemon keeps its data.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Name of the bridge.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Name of the nftables table.
    pub fn table(&self) -> String {
        format!("ferry-{}", self.bridge)
    }

    /// The directory name of its cgroups.
    pub fn cgroup_parent(&self) -> String {
        self.root.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// A command of the client, not run yet.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Command {
        let program = match self.client {
            Client::Ferry | Client::FerryOnDocker => binary(),
            Client::Docker => programs::find("docker").unwrap(),
        };
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.root.join("config"))
            .env("XDG_DATA_HOME", self.root.join("config/share"))
            .env_remove("DOCKER_CONTEXT")
            .args(args);
        command
    }

    /// Runs a command of the client.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    /// Runs a command of the client that must end well, and answers its output.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }

    /// Runs a command of the client with input.
    #[track_caller]
    pub fn with_input(&self, args: &[&str], input: &[u8]) -> Run {
        run_with_input(&mut self.command(args), input)
    }

    /// A field of `inspect`.
    #[track_caller]
    pub fn inspect(&self, name: &str, format: &str) -> String {
        self.ok(&["inspect", "-f", format, name])
    }

    /// The shims that have not ended some time after their containers.
    fn shims_that_stay(&self) -> Vec<u32> {
        let deadline = Instant::now() + FAREWELL;
        loop {
            let shims = traces::shims(&self.root);
            if shims.is_empty() || Instant::now() > deadline {
                return shims;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Brings the image `busybox` in.
    #[track_caller]
    pub fn busybox(&self) {
        let tar = crate::images::busybox_tar();
        self.ok(&["import", "-c", "CMD [\"sh\"]", tar.to_str().unwrap(), "busybox:latest"]);
    }
}

/// A shim waits for 20 s for a client that takes nothing.
const FAREWELL: Duration = Duration::from_secs(25);

/// The ids of all containers.
fn containers(api: &Api) -> Vec<String> {
    let (_, all) = api.call("GET", "/containers/json?all=1", None);
    let ids = all.as_array().into_iter().flatten();
    ids.filter_map(|container| container["Id"].as_str().map(str::to_owned)).collect()
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some((socket, before)) = &self.foreign {
            let api = Api::new(socket);
            for id in containers(&api).iter().filter(|id| !before.contains(id)) {
                api.call("DELETE", &format!("/containers/{id}?force=1&v=1"), None);
            }
            api.call("POST", "/volumes/prune?filters=%7B%22all%22%3A%5B%22true%22%5D%7D", None);
            api.call("POST", "/networks/prune", None);
            drop(std::fs::remove_dir_all(&self.root));
            return;
        }
        if self.daemon.borrow().is_none() && !std::thread::panicking() {
            self.start_daemon(None);
        }
        let mut refused = String::new();
        if self.daemon.borrow().is_some() {
            let api = self.api();
            for id in containers(&api) {
                let path = format!("/containers/{id}?force=1&v=1");
                let (status, why) = api.call("DELETE", &path, None);
                if !matches!(status, 204 | 404) {
                    refused += &format!("{id}: {status} {why}\n");
                }
            }
            let (_, all) =
                api.call("GET", "/networks?filters=%7B%22type%22%3A%5B%22custom%22%5D%7D", None);
            for network in all.as_array().into_iter().flatten() {
                api.call(
                    "DELETE",
                    &format!("/networks/{}", network["Id"].as_str().unwrap_or_default()),
                    None,
                );
            }
            self.stop_daemon();
        }
        let left = if std::thread::panicking() { Vec::new() } else { self.shims_that_stay() };
        let log = self.daemon_log();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{log}");
        }
        // The bridge and the table stay with a daemon that stops, as its containers do; the test is over.
        let table = self.table();
        for words in [
            ["ip", "link", "delete", "dev", &self.bridge],
            ["nft", "delete", "table", "ip", &table],
            ["nft", "delete", "table", "ip6", &table],
        ] {
            drop(Command::new(words[0]).args(&words[1..]).output());
        }
        let parent = self.cgroup_parent();
        for controller in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            drop(std::fs::remove_dir(controller.path().join(&parent)));
        }
        drop(std::fs::remove_dir(Path::new("/sys/fs/cgroup").join(&parent)));
        drop(std::fs::remove_dir_all(&self.root));
        assert!(left.is_empty(), "shims {left:?} stay: {refused}--- the daemon's log\n{log}");
    }
}

/// Addresses of the default network, unless the test has its own, and of all others: daemons beside each other would choose the same range
/// at the same time.
fn own_ranges(flags: &[&str]) -> (Vec<String>, [Claim; 2]) {
    let base = |number: u32| Ipv4Addr::from_bits((10 << 24) + (200 << 16) + (number << 8));
    let bridge = claims::claim("bridge", 6 * 256, |number| claims::is_unrouted(base(number)));
    let pool = claims::claim("pool", 16 * 4, |_| true);
    let mut own = Vec::new();
    if !flags.iter().any(|flag| flag.starts_with("--bip=")) {
        let gateway = Ipv4Addr::from_bits(base(bridge.number).to_bits() + 1);
        own.push(format!("--bip={gateway}/24"));
    }
    if !flags.iter().any(|flag| flag.starts_with("--default-address-pool=")) {
        let number = pool.number;
        let base = format!("10.{}.{}.0/18", 160 + number / 4, number % 4 * 64);
        own.push(format!("--default-address-pool=base={base},size=24"));
        // Where a route of the machine is wider than all that.
        own.push("--default-address-pool=base=172.16.0.0/12,size=16".to_owned());
    }
    (own, [bridge, pool])
}

/// The binary under test: what `FERRY_BINARY` names, or what cargo has built for this profile.
pub fn binary() -> PathBuf {
    match std::env::var_os("FERRY_BINARY") {
        Some(path) => PathBuf::from(path),
        None => target_dir().join("debug/ferry"),
    }
}

/// Cargo's target directory: test binaries are in `<target>/<profile>/deps`, other programs in `<target>/<profile>`.
pub(crate) fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let is_test = own.parent().is_some_and(|directory| directory.ends_with("deps"));
    own.ancestors().nth(if is_test { 3 } else { 2 }).unwrap().to_owned()
}
