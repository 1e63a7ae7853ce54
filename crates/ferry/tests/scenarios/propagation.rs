//! Mounts that come below a bind's source after the start, and those that were there before it.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use ferry_testkit::{Client, Run, Sandbox, run};

use crate::with_busybox;

through_all!(
    mounts_that_come_later,
    mounts_that_were_there,
    sources_that_are_made,
    sources_that_pass_nothing_on,
    the_daemons_own_place
);

/// A shared tmpfs with `before/` and `later/` in it, mounted where the daemon sees it: Docker's own may have a mount namespace of its own.
struct Source {
    place: PathBuf,
    daemon: String,
}

impl Source {
    fn new(sandbox: &Sandbox) -> Source {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let place = PathBuf::from(format!("/tmp/ferry-mounts-{}x{number}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let socket = UnixStream::connect(sandbox.socket()).unwrap();
        let daemon = rustix::net::sockopt::socket_peercred(&socket).unwrap().pid;
        let source = Source { place, daemon: daemon.as_raw_nonzero().to_string() };
        source.tmpfs("");
        source.as_daemon(&["mount", "--make-rshared", &source.path("")]).ok();
        source.as_daemon(&["mkdir", &source.path("before"), &source.path("later")]).ok();
        source.tmpfs("before");
        source
    }

    fn path(&self, below: &str) -> String {
        self.place.join(below).to_string_lossy().trim_end_matches('/').to_owned()
    }

    fn as_daemon(&self, words: &[&str]) -> Run {
        run(Command::new("nsenter").args(["-t", &self.daemon, "-m"]).args(words))
    }

    /// Mounts one with a file in it.
    fn tmpfs(&self, below: &str) {
        let place = self.path(below);
        self.as_daemon(&["mount", "-t", "tmpfs", "ferry-test", &place]).ok();
        self.as_daemon(&["touch", &format!("{place}/file")]).ok();
    }

    fn has(&self, below: &str) -> bool {
        self.as_daemon(&["test", "-e", &self.path(below)]).code == 0
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.as_daemon(&["umount", "-R", "-l", &self.path("")]);
        drop(std::fs::remove_dir(&self.place));
    }
}

/// Runs until it is removed, may mount, and has the source at `/m`.
fn sleeper(sandbox: &Sandbox, name: &str, bind: &[&str]) {
    let flags = ["run", "-d", "--name", name, "--cap-add", "SYS_ADMIN"];
    let free = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
    let sleep = ["busybox", "sleep", "1000"];
    sandbox.ok(&[&flags[..], &free, bind, &sleep].concat());
}

fn mounts_that_come_later(client: Client) {
    let sandbox = with_busybox(client);
    let source = Source::new(&sandbox);
    let volume = |mode: &str| format!("{}:/m{mode}", source.path(""));
    sleeper(&sandbox, "private", &["-v", &volume("")]);
    sleeper(&sandbox, "slave", &["-v", &volume(":rslave")]);
    let mount = format!("type=bind,src={},dst=/m,bind-propagation=rshared", source.path(""));
    sleeper(&sandbox, "shared", &["--mount", &mount]);
    let sees = |name: &str, file: &str| {
        sandbox.run(&["exec", name, "test", "-e", &format!("/m/{file}")]).code == 0
    };
    let all = ["private", "slave", "shared"];
    assert_eq!(all.map(|name| sees(name, "before/file")), [true; 3], "what was there comes along");

    source.tmpfs("later");
    assert_eq!(all.map(|name| sees(name, "later/file")), [false, true, true]);
    source.as_daemon(&["umount", &source.path("later")]).ok();
    assert_eq!(all.map(|name| sees(name, "later/file")), [false; 3]);

    // The other way round.
    for (name, outside) in [("private", false), ("slave", false), ("shared", true)] {
        let script = "mount -t tmpfs inner /m/later && touch /m/later/of-container";
        sandbox.ok(&["exec", name, "sh", "-c", script]);
        assert!(sees(name, "later/of-container"));
        assert_eq!(source.has("later/of-container"), outside, "{name}");
        if outside {
            assert!(sees("slave", "later/of-container"), "by way of the host");
        }
        sandbox.ok(&["exec", name, "umount", "/m/later"]);
        assert!(!source.has("later/of-container"), "{name}");
    }
    sandbox.ok(&["rm", "-f", "private", "slave", "shared"]);
}

fn mounts_that_were_there(client: Client) {
    let sandbox = with_busybox(client);
    let source = Source::new(&sandbox);
    // Which of both can be written, and whether the inner mount is there at all.
    let script = "touch /m/x 2>/dev/null && echo outer; touch /m/before/x 2>/dev/null && echo inner; \
        [ -e /m/before/file ] && echo there; true";
    let seen = |options: &str| {
        let mount = format!("type=bind,src={},dst=/m{options}", source.path(""));
        let run = ["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script];
        sandbox.ok(&run).replace('\n', " ")
    };
    assert_eq!(seen(""), "outer inner there");
    assert_eq!(seen(",bind-recursive=enabled"), "outer inner there");
    assert_eq!(seen(",bind-recursive=disabled"), "outer inner", "a directory of the outer one");
    assert_eq!(seen(",readonly"), "there", "all that is below, as well");
    assert_eq!(seen(",readonly,bind-recursive=disabled"), "");
    assert_eq!(seen(",readonly,bind-recursive=writable"), "inner there");
    let strict = ",readonly,bind-recursive=readonly,bind-propagation=rprivate";
    assert_eq!(seen(strict), "there");
    let bind = format!("{}:/m:ro", source.path(""));
    let run = ["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script];
    assert_eq!(sandbox.ok(&run), "there");
    let refused = |options: &str, words: &str| {
        let mount = format!("type=bind,src={},dst=/m{options}", source.path(""));
        sandbox.run(&["run", "--rm", "--mount", &mount, "busybox"]).fails(125).says(words);
    };
    refused(
        ",bind-recursive=readonly",
        "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction",
    );
    refused(
        ",readonly,bind-recursive=readonly",
        "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction",
    );
    refused(",bind-recursive=maybe", "invalid value");
}

fn sources_that_are_made(client: Client) {
    let sandbox = with_busybox(client);
    let source = Source::new(&sandbox);
    let mount = |more: &str| format!("type=bind,src={}{more},dst=/m", source.path("a/b"));
    let run = |mount: &str| {
        sandbox.run(&["run", "--rm", "--mount", mount, "busybox", "touch", "/m/made"])
    };
    run(&mount("")).fails(125).says("bind source path does not exist");
    assert!(!source.has("a"));
    // Docker's own command line knows the option from 28.4 on.
    if client == Client::Docker {
        return;
    }
    run(&mount(",bind-create-src=false")).fails(125).says("bind source path does not exist");
    run(&mount(",bind-create-src")).ok();
    assert!(source.has("a/b/made"));
    assert!(!Path::new(&source.path("a/b/c")).exists());
    run(&mount(",bind-create-src=true")).ok();
}

/// What would silently be private is refused: the source's mount has to pass on what comes below it.
fn sources_that_pass_nothing_on(client: Client) {
    let sandbox = with_busybox(client);
    let source = Source::new(&sandbox);
    let [before, later] = ["before", "later"].map(|below| source.path(below));
    let bind = |place: &str, mode: &str| {
        let bind = format!("{place}:/m:{mode}");
        sandbox.run(&["run", "--rm", "-v", &bind, "busybox", "test", "-e", "/m/file"])
    };
    source.as_daemon(&["mount", "--bind", &before, &later]).ok();
    source.as_daemon(&["mount", "--make-slave", &later]).ok();
    for mode in ["private", "rprivate", "slave", "rslave"] {
        bind(&later, mode).ok();
    }
    let not_shared = format!("path {later} is mounted on {later} but it is not a shared mount");
    for mode in ["shared", "rshared"] {
        bind(&before, mode).ok();
        bind(&later, mode).fails(125).says(&not_shared);
    }

    source.as_daemon(&["mount", "--make-private", &later]).ok();
    bind(&later, "rprivate").ok();
    let neither = format!("is mounted on {later} but it is not a shared or slave mount");
    for mode in ["slave", "rslave"] {
        bind(&later, mode).fails(125).says(&format!("path {later} {neither}"));
    }
    let deeper = source.path("later/deeper");
    let mount = format!("type=bind,src={deeper},dst=/m,bind-propagation=rslave");
    source.as_daemon(&["mkdir", &deeper]).ok();
    sandbox.ok(&["create", "--name", "later", "--mount", &mount, "busybox", "true"]);
    sandbox.run(&["start", "later"]).fails(1).says(&format!("path {deeper} {neither}"));
    source.as_daemon(&["mount", "--make-shared", &later]).ok();
    sandbox.ok(&["start", "later"]);
    sandbox.ok(&["rm", "-f", "later"]);
}

/// What is mounted in the daemon's directory comes and goes: binds that have it in them follow, unless they are told otherwise.
fn the_daemons_own_place(client: Client) {
    let sandbox = with_busybox(client);
    let place = sandbox.ok(&["info", "--format", "{{.DockerRootDir}}"]);
    let shown = |name: &str, flags: &[&str]| {
        sandbox.ok(&[&["create", "--name", name], flags, &["busybox", "true"]].concat());
        let format = "{{range .Mounts}}{{.Propagation}} {{end}}";
        sandbox.ok(&["inspect", "--format", format, name]).trim().to_owned()
    };
    assert_eq!(shown("all", &["-v", "/:/host:ro"]), "rslave");
    assert_eq!(shown("below", &["-v", &format!("{}/x:/x", place.trim())]), "rslave");
    assert_eq!(shown("else", &["-v", "/proc:/host"]), "rprivate");
    let own = "type=bind,src=/,dst=/host,bind-propagation=rslave";
    assert_eq!(shown("mount", &["--mount", own]), "rslave");
    assert_eq!(shown("mount-else", &["--mount", "type=bind,src=/,dst=/host,ro"]), "rslave");
    // Whether the root passes anything on or not.
    sandbox.ok(&["start", "-a", "all"]);
    sandbox.ok(&["start", "-a", "mount-else"]);
    sandbox.ok(&["rm", "all", "below", "else", "mount", "mount-else"]);
}
