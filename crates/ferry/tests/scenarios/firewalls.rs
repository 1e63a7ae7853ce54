//! The host's own firewall programs, ufw and firewalld of Debian, beside the engine: switched on, reloaded, switched off. On a machine of the
//! test's own: a network namespace that the test's thread is in with everything that it starts, and a root directory for the programs.

use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Client, Sandbox, eventually, free_port, programs, run};

use crate::{
    lan::{Lan, ip},
    with_busybox,
};

/// A network namespace, kept by a process that sleeps, with this thread in it.
pub(crate) struct Machine(Child);

impl Machine {
    pub(crate) fn enter() -> Machine {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let namespace = format!("/proc/{}/ns/net", child.id());
        let of = |path: &str| std::fs::read_link(path).ok();
        let own = of("/proc/thread-self/ns/net");
        eventually("a network namespace", || (of(&namespace) != own).then_some(()));
        let namespace = std::fs::File::open(namespace).unwrap();
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None).unwrap();
        ip("link set lo up");
        Machine(child)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs programs in a root directory that is the machine's with the unpacked packages over it; `/run` is a directory of the test's, so that
/// what they leave there outlives each.
const IN_ROOT: &str = r#"set -e
place=$1 packages=$2; shift 2
mkdir -p "$place/all" "$place/run" "$place/keep"
mount -t tmpfs none "$place/all"
mkdir "$place/all/low" "$place/all/work" "$place/all/upper" "$place/all/root"
cp -a "$packages/." "$place/all/low"
mount -t overlay none -o "lowerdir=$place/all/low:/,upperdir=$place/all/upper,workdir=$place/all/work" "$place/all/root"
[ ! -d "$place/keep/etc" ] || cp -a "$place/keep/." "$place/all/root/"
for kernel in proc dev sys; do mount --rbind "/$kernel" "$place/all/root/$kernel"; done
mount --bind "$place/run" "$place/all/root/run"
status=0
chroot "$place/all/root" "$@" || status=$?
rm -rf "$place/keep/etc"
mkdir -p "$place/keep/etc"
for own in ufw default firewalld; do
  [ ! -d "$place/all/root/etc/$own" ] || cp -a "$place/all/root/etc/$own" "$place/keep/etc/"
done
exit $status"#;

/// The packages over the machine's root directory.
struct Packages {
    root: PathBuf,
    place: PathBuf,
}

impl Packages {
    fn unpacked(sandbox: &Sandbox) -> Option<Packages> {
        let Some(root) = programs::made("firewalls") else {
            programs::may_be_missing("firewalls");
            eprintln!("SKIPPED: ufw and firewalld are not unpacked (scripts/test.sh does)");
            return None;
        };
        Some(Packages { root, place: sandbox.dir().join("firewall") })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", IN_ROOT, "sh"]);
        command.args([&self.place, &self.root]).args(words);
        command
    }

    #[track_caller]
    fn ok(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        run(&mut self.command(&words)).ok()
    }
}

/// A container with a published port, and another host that it can reach and that can reach it.
struct Site {
    sandbox: Sandbox,
    lan: Lan,
    port: u16,
    mirror: Child,
}

const HOST: &str = "198.51.100.1";
const OTHER: &str = "198.51.100.9";

impl Site {
    fn new() -> Site {
        let sandbox = with_busybox(Client::Ferry);
        let lan = Lan::new(&format!("{OTHER}/24"));
        ip(&format!("addr add {HOST}/24 dev {}", lan.parent));
        let mut mirror = Command::new("ip");
        let socat = ["socat", "TCP-LISTEN:7007,fork,reuseaddr", "SYSTEM:echo $SOCAT_PEERADDR"];
        mirror.args(["netns", "exec", &lan.host]).args(socat).stdin(Stdio::null());
        let mirror = mirror.spawn().unwrap();
        Site { sandbox, lan, port: free_port(), mirror }
    }

    fn serve(&self) {
        let published = format!("{}:80", self.port);
        let script = "echo web > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
        let flags = ["run", "-d", "--name", "web", "-p", &published];
        self.sandbox.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    }

    /// The port as another host reaches it, and as this one does.
    fn is_published(&self) -> bool {
        let get = |words: &[&str], at: &str| {
            let url = format!("http://{at}:{}/index.html", self.port);
            let words = [words, &["curl", "-sm2", &url]].concat();
            run(Command::new(words[0]).args(&words[1..])).stdout.trim() == "web"
        };
        get(&["ip", "netns", "exec", &self.lan.host], HOST) && get(&[], "127.0.0.1")
    }

    /// The sender that the other host sees.
    fn reaches_out(&self) -> bool {
        let asked = self.sandbox.run(&["exec", "web", "nc", "-w", "2", OTHER, "7007"]);
        asked.stdout.trim() == HOST
    }

    fn works(&self, when: &str) {
        eventually(&format!("the port answers {when}"), || self.is_published().then_some(()));
        eventually(&format!("the outside is reached {when}"), || self.reaches_out().then_some(()));
    }

    /// Our rules, without their order.
    fn rules(&self) -> Vec<String> {
        let table = self.sandbox.table();
        let mut lines: Vec<String> =
            run(Command::new("nft").args(["-s", "list", "table", "ip", &table]))
                .ok()
                .lines()
                .map(str::to_owned)
                .collect();
        lines.sort();
        lines
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.mirror.kill().ok();
        self.mirror.wait().ok();
    }
}

/// ufw denies what is forwarded unless it is told otherwise: the user's word counts, and is what `info` warns of. Whatever it reloads, our
/// rules stay, and so do its own.
#[test]
fn beside_ufw() {
    let _machine = Machine::enter();
    let site = Site::new();
    let Some(ufw) = Packages::unpacked(&site.sandbox) else { return };
    site.serve();
    site.works("without a firewall");
    let rules = site.rules();

    ufw.ok("ufw --force enable");
    ufw.ok("ufw allow 22/tcp");
    assert_eq!(site.rules(), rules, "our rules are not ufw's");
    assert!(!site.reaches_out(), "ufw denies it");
    site.sandbox.ok(&["rm", "-f", "web"]);
    site.serve();
    let told = site.sandbox.run(&["info"]);
    let told = told.stderr.clone() + &told.ok();
    assert!(told.contains("ufw default allow routed"), "a warning tells what to do: {told}");

    ufw.ok("ufw default allow routed");
    site.works("when ufw allows it");
    let users = || {
        let all = run(Command::new("nft").args(["-s", "list", "table", "ip", "filter"])).ok();
        let users = all.lines().filter(|line| line.contains("dport 22 "));
        users.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let own = users();
    assert_eq!(own.len(), 1, "{own:?}");
    let rules = site.rules();
    for round in ["once", "twice", "three times"] {
        ufw.ok("ufw reload");
        site.works(&format!("after ufw was reloaded {round}"));
        assert_eq!((site.rules(), users()), (rules.clone(), own.clone()), "{round}");
    }
    ufw.ok("ufw disable");
    site.works("after ufw was disabled");
    ufw.ok("ufw --force enable");
    site.works("after ufw was enabled again");
    site.sandbox.kill_daemon();
    ufw.ok("ufw reload");
    site.sandbox.start_daemon(None);
    site.works("after a reload that no daemon saw");
    assert_eq!((site.rules(), users()), (rules, own));
    site.sandbox.ok(&["rm", "-f", "web"]);
}

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=/run/dbus-socket</listen><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#;

/// Programs that end when this file is there.
struct Service(Child, PathBuf);

impl Drop for Service {
    fn drop(&mut self) {
        std::fs::write(&self.1, "").ok();
        self.0.wait().ok();
    }
}

#[test]
fn beside_firewalld() {
    firewalld("nftables");
}

#[test]
fn beside_firewalld_of_iptables() {
    firewalld("iptables");
}

/// firewalld rejects what links that are in none of its zones forward: it is asked to have our bridges in one, again after each reload.
fn firewalld(backend: &str) {
    let _machine = Machine::enter();
    let site = Site::new();
    let Some(packages) = Packages::unpacked(&site.sandbox) else { return };
    site.serve();
    site.works("without a firewall");

    std::fs::create_dir_all(packages.place.join("run")).unwrap();
    std::fs::write(packages.place.join("run/bus.conf"), BUS).unwrap();
    let socket = packages.place.join("run/dbus-socket");
    let address = format!("unix:path={}", socket.display());
    site.sandbox.set_env("DBUS_SYSTEM_BUS_ADDRESS", &address);
    site.sandbox.stop_daemon();
    site.sandbox.start_daemon(None);
    // Everything in one: the programs share their root directory, and end together.
    let script = "sed -i s/^FirewallBackend=.*/FirewallBackend=$1/ /etc/firewalld/firewalld.conf
dbus-daemon --config-file=/run/bus.conf --nofork --nopidfile & bus=$!
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus-socket
while [ ! -S /run/dbus-socket ]; do sleep 0.1; done
firewalld --nofork --nopid >/run/firewalld.log 2>&1 & firewalld=$!
while [ ! -e /run/stop ]; do
  if [ -e /run/do ]; then words=$(cat /run/do); rm /run/do; firewall-cmd $words >/run/said 2>&1; echo $? >/run/status; fi
  sleep 0.05
done
kill $firewalld $bus; wait";
    let mut command = packages.command(&["sh", "-c", script, "sh", backend]);
    let _service = Service(command.spawn().unwrap(), packages.place.join("run/stop"));
    let client = |words: &str| {
        let run = packages.place.join("run");
        std::fs::remove_file(run.join("status")).ok();
        std::fs::write(run.join("new"), words).unwrap();
        std::fs::rename(run.join("new"), run.join("do")).unwrap();
        let status = eventually("firewall-cmd ends", || read(&run.join("status")));
        (status.trim() == "0").then(|| read(&run.join("said")).unwrap_or_default())
    };
    eventually("firewalld runs", || client("--state").filter(|said| said.contains("running")));
    let own_table = run(Command::new("nft").args(["list", "tables"])).ok().contains("firewalld");
    assert_eq!(own_table, backend == "nftables");
    site.works("when firewalld has begun");
    let bridge = site.sandbox.bridge().to_owned();
    let zone = || client(&format!("--get-zone-of-interface={bridge}")).unwrap_or_default();
    assert_eq!(zone().trim(), "trusted");
    for words in ["--reload", "--complete-reload"] {
        client(words).unwrap();
        site.works(&format!("after {words}"));
    }

    // It has forgotten the bridges while no daemon was there.
    site.sandbox.kill_daemon();
    client(&format!("--zone=trusted --remove-interface={bridge}")).unwrap();
    assert_eq!(zone().trim(), "");
    site.sandbox.start_daemon(None);
    site.works("after a daemon came that finds firewalld without its bridges");
    assert_eq!(zone().trim(), "trusted");

    // A network of one's own comes and goes with its zone.
    let id = site.sandbox.ok(&["network", "create", "own"]);
    let link = format!("fr-{}", &id[..12]);
    let own = ["run", "--rm", "--network", "own", "busybox", "nc", "-w", "2", OTHER, "7007"];
    assert_eq!(site.sandbox.ok(&own).trim(), HOST);
    let links = || client("--zone=trusted --list-interfaces").unwrap_or_default();
    assert!(links().contains(&link), "{}", links());
    site.sandbox.ok(&["network", "rm", "own"]);
    assert!(!links().contains(&link), "{}", links());

    // What its user chose counts.
    client(&format!("--zone=drop --change-interface={bridge}")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(zone().trim(), "drop");
    site.sandbox.ok(&["rm", "-f", "web"]);
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().filter(|text| !text.is_empty())
}
