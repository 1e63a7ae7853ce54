//! `ferry top` on a real terminal: tmux types the keys and says what is on the screen.

use std::process::Command;

use ferry_testkit::{Client, Sandbox, eventually, programs};

use crate::with_busybox;

/// A terminal of the test's own, with `ferry top` in it.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(sandbox: &Sandbox) -> Option<Terminal> {
        Terminal::of(sandbox, "120", "30")
    }

    fn of(sandbox: &Sandbox, width: &str, height: &str) -> Option<Terminal> {
        programs::find("tmux")?;
        let name = sandbox.dir().file_name().unwrap().to_string_lossy().into_owned();
        let terminal = Terminal { socket: name };
        let ferry = sandbox.command(&[]).get_program().to_string_lossy().into_owned();
        let line =
            format!("DOCKER_HOST={} {ferry} top; echo ended $?; exec sleep 1000", sandbox.host());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", width, "-y", height, &line]);
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(words)
            .env_remove("TMUX")
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        for key in keys {
            self.tmux(&["send-keys", key]);
        }
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    fn shows(&self, words: &str) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(words, || {
                last = self.screen();
                last.contains(words).then_some(())
            })
        }));
        assert!(found.is_ok(), "never: {words}; the screen:\n{last}");
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output());
    }
}

#[test]
fn everything_is_steered_by_keys() {
    let sandbox = with_busybox(Client::Ferry);
    let script =
        "echo first line; printf '\\033[2J\\033[31mred\\033[0m\\n'; while :; do sleep 1; done";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--stop-timeout",
        "1",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    sandbox.ok(&["create", "--name", "never", "busybox", "sleep", "1000"]);
    let Some(terminal) = Terminal::open(&sandbox) else { return };
    let screen = terminal.shows("1 of 2 running");
    assert!(
        screen.contains("web") && screen.contains("never") && screen.contains("Created"),
        "{screen}"
    );
    terminal.shows("KiB");
    // What is done elsewhere is seen here.
    sandbox.ok(&["run", "-d", "--name", "late", "--stop-timeout", "1", "busybox", "sleep", "1000"]);
    terminal.shows("2 of 3 running");
    // Actions.
    terminal.keys(&["/", "n", "e", "v", "Enter", "s"]);
    eventually("never runs", || {
        (sandbox.inspect("never", "{{.State.Running}}") == "true").then_some(())
    });
    terminal.shows("ferry start never");
    terminal.keys(&["p"]);
    eventually("paused", || {
        (sandbox.inspect("never", "{{.State.Status}}") == "paused").then_some(())
    });
    terminal.shows("● Paused");
    terminal.keys(&["p"]);
    eventually("resumed", || {
        (sandbox.inspect("never", "{{.State.Status}}") == "running").then_some(())
    });
    terminal.keys(&["d"]);
    terminal.shows("rm -f never?");
    terminal.keys(&["n", "d", "y"]);
    eventually("removed", || {
        (!sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]).contains("never")).then_some(())
    });
    // The log, without its control sequences.
    terminal.keys(&["Escape"]);
    // Escape and the next key at once would be another key.
    terminal.shows("late");
    terminal.keys(&["/", "w", "e", "b", "Enter", "l"]);
    let screen = terminal.shows("Log of web");
    let screen = if screen.contains("red") { screen } else { terminal.shows("red") };
    assert!(screen.contains("first line"), "the log does not clear the screen: {screen}");
    terminal.keys(&["q", "/", "w", "e", "b", "Enter", "u"]);
    terminal.shows("Usage of web");
    // A shell takes the terminal, and gives it back.
    terminal.keys(&["q", "/", "w", "e", "b", "Enter", "e"]);
    terminal.shows("/ #");
    terminal.keys(&["echo $((6*7))-is", "Enter"]);
    terminal.shows("42-is");
    terminal.keys(&["exit", "Enter"]);
    terminal.shows("Containers with \"web\"");
    // The other lists.
    sandbox.ok(&["volume", "create", "doomed"]);
    terminal.keys(&["Tab"]);
    let screen = terminal.shows("busybox:latest");
    assert!(screen.contains(" Images ") && screen.contains("MiB"), "{screen}");
    terminal.keys(&["Tab"]);
    terminal.shows("doomed");
    terminal.keys(&["/", "d", "o", "o", "m", "Enter", "d"]);
    terminal.shows("volume rm doomed?");
    terminal.keys(&["y"]);
    eventually("removed", || (sandbox.ok(&["volume", "ls", "-q"]).is_empty()).then_some(()));
    terminal.keys(&["Tab"]);
    terminal.shows("bridge");
    terminal.keys(&["Tab"]);
    terminal.shows(" Containers ");
    terminal.keys(&["q"]);
    terminal.shows("ended 0");
}

/// What help names and the flow above does not press: moving, restarting, why, following, the other lists.
#[test]
fn the_other_keys() {
    let sandbox = with_busybox(Client::Ferry);
    let script = "n=0; while [ $n -lt 200 ]; do n=$((n+1)); echo number $n; done; exec sleep 1000";
    let run = |name: &str, script: &str| {
        let volume = format!("of-{name}:/v");
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--stop-timeout",
            "0",
            "-v",
            &volume,
            "busybox",
            "sh",
            "-c",
            script,
        ]);
    };
    run("a-first", "exec sleep 1000");
    run("b-second", script);
    run("c-fails", "exit 7");
    let Some(terminal) = Terminal::open(&sandbox) else { return };
    terminal.shows("2 of 3 running");
    terminal.keys(&["?"]);
    terminal.shows("why it ended, or what is wrong with it");
    terminal.keys(&["q", "j", "l"]);
    terminal.shows("Log of b-second");
    terminal.shows("number 200");
    terminal.keys(&["g"]);
    let screen = terminal.shows("number 1\n");
    assert!(screen.contains("f follows") && !screen.contains("number 200"), "{screen}");
    terminal.keys(&["NPage"]);
    terminal.shows("number 50\n");
    terminal.keys(&["f"]);
    terminal.shows("following");
    terminal.keys(&["/", "1", "9", "9", "Enter"]);
    terminal.shows("1 lines with \"199\"");
    terminal.keys(&["q", "G", "w"]);
    let screen = terminal.shows("Why c-fails");
    let why = sandbox.ok(&["why", "c-fails"]);
    let first = why.lines().next().unwrap();
    assert!(screen.contains(first) || terminal.shows(first).contains(first), "{screen}");
    terminal.keys(&["q", "g", "j"]);
    let pid = sandbox.inspect("b-second", "{{.State.Pid}}");
    terminal.keys(&["r"]);
    eventually("another process", || {
        let now = sandbox.inspect("b-second", "{{.State.Pid}}");
        (now != pid && now != "0").then_some(())
    });
    terminal.keys(&["Tab"]);
    let line = |words: &str| {
        let screen = terminal.shows(words);
        screen.lines().find(|line| line.contains(words)).unwrap().trim_end().to_owned()
    };
    assert!(line("busybox:latest").ends_with(" 3"), "three containers use it");
    terminal.keys(&["Tab"]);
    assert!(line("of-a-first").ends_with(" 1"), "{}", line("of-a-first"));
    sandbox.ok(&["network", "create", "doomed"]);
    sandbox.ok(&["tag", "busybox", "doomed:image"]);
    terminal.keys(&["Tab", "/", "d", "o", "o", "m", "Enter"]);
    terminal.shows("doomed");
    terminal.keys(&["d"]);
    terminal.shows("network rm doomed?");
    terminal.keys(&["y"]);
    eventually("no network", || {
        sandbox.ok(&["network", "ls", "-q", "--filter", "name=doomed"]).is_empty().then_some(())
    });
    terminal.keys(&["Tab", "Tab", "/", "d", "o", "o", "m", "Enter"]);
    terminal.shows("doomed:image");
    terminal.keys(&["d", "y"]);
    eventually("no image", || sandbox.ok(&["images", "-q", "doomed"]).is_empty().then_some(()));
    terminal.keys(&["C-c"]);
    terminal.shows("ended 0");
}

/// The way out and every name can be seen in a small terminal.
#[test]
fn small_terminals() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "first-of-all", "busybox", "sleep", "1000"]);
    sandbox.run(&["run", "--name", "last", "busybox", "sh", "-c", "exit 3"]).fails(3);
    for (width, state) in [("80", "Exited (3) "), ("50", "Exited (3)"), ("30", "Exited (3)")] {
        let Some(terminal) = Terminal::of(&sandbox, width, "12") else { return };
        let screen = terminal.shows("first-of-all");
        let last = screen.lines().find(|line| line.contains("last")).unwrap();
        assert!(last.contains(state), "{screen}");
        let foot = screen.lines().rfind(|line| !line.is_empty()).unwrap();
        assert!(foot.contains("? help") && foot.ends_with("q quit"), "{screen}");
        terminal.keys(&["Tab"]);
        terminal.shows("busybox:latest");
        terminal.keys(&["q", "q"]);
        terminal.shows("ended 0");
    }
}

/// A terminal that is closed ends it, also where SIGHUP is ignored.
#[test]
fn a_closed_terminal_ends_it() {
    let sandbox = Sandbox::start();
    let Some(terminal) = Terminal::open(&sandbox) else { return };
    terminal.shows("No containers yet");
    let pids = || {
        let wanted = format!("DOCKER_HOST={}", sandbox.host());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let read = |name| std::fs::read(process.path().join(name)).unwrap_or_default();
                let (line, around) = (read("cmdline"), read("environ"));
                line.ends_with(b"top\0") && String::from_utf8_lossy(&around).contains(&wanted)
            })
            .count()
    };
    assert_eq!(pids(), 1);
    drop(terminal);
    eventually("it has ended", || (pids() == 0).then_some(()));
}

#[test]
fn docker_s_top_is_still_there() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    assert!(sandbox.ok(&["top", "web"]).contains("sleep 1000"));
    sandbox.run(&["top"]).fails(1).says("requires at least 1 argument");
}
