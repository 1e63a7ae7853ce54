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
        programs::find("tmux")?;
        let name = sandbox.dir().file_name().unwrap().to_string_lossy().into_owned();
        let terminal = Terminal { socket: name };
        let ferry = sandbox.command(&[]).get_program().to_string_lossy().into_owned();
        let line =
            format!("DOCKER_HOST={} {ferry} top; echo ended $?; exec sleep 1000", sandbox.host());
        terminal.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", &line]);
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
