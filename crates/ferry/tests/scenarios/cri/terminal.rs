//! Terminals of pods: kubectl on a terminal of the test's own, whose size changes while it is attached.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use ferry_testkit::{eventually, programs};
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{on_both, streams::Kubelet};

/// A terminal, and everything that was written on it.
struct Screen {
    master: File,
    seen: Arc<Mutex<String>>,
}

impl Screen {
    fn new() -> Screen {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let master = File::from(master);
        Screen { master, seen: Arc::default() }
    }

    fn resize(&self, (rows, columns): (u16, u16)) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Runs a program on it, which hears when its size changes; and what ends when all that it wrote is there.
    fn run(&self, setsid: &std::path::Path, command: &Command) -> (Child, JoinHandle<()>) {
        let name = ptsname(&self.master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || File::options().read(true).write(true).open(&name).unwrap();
        let mut inner = Command::new(setsid);
        inner.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            inner.env(name, value.unwrap());
        }
        let child = inner.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        let (mut reader, seen) = (self.master.try_clone().unwrap(), Arc::clone(&self.seen));
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error here: nobody has the other side open.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        (child, reading)
    }

    fn types(&self, line: &str) {
        (&self.master).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Asks the shell at the other end for its size until it is this.
    fn shows(&self, (rows, columns): (u16, u16), what: &str) {
        eventually(&format!("{what}: the size is {rows} {columns}"), || {
            self.types("stty size");
            std::thread::sleep(std::time::Duration::from_millis(200));
            let seen = self.seen.lock().unwrap();
            seen.lines().any(|line| line == format!("{rows} {columns}")).then_some(())
        });
    }
}

/// kubectl with both protocols, and a container whose program is a shell on a terminal.
fn on_a_terminal(args: &[&str], exit_code: i32) {
    let Some(setsid) = programs::find("setsid") else { return };
    for spdy in [true, false] {
        on_both(|bed| {
            let config = bed.pod("term");
            let pod = bed.cri.run_pod(config.clone()).unwrap();
            let mut container = bed.container("main", "exec sh");
            (container.stdin, container.tty) = (true, true);
            let id = bed.cri.create(&pod, container, &config).unwrap();
            bed.cri.start(&id).unwrap();
            let Some(kubelet) = Kubelet::start(bed, &pod, &id, spdy) else { return };
            let what = format!("{args:?}, spdy {spdy}");
            let screen = Screen::new();
            screen.resize((24, 80));
            let (mut child, reading) = screen.run(&setsid, &kubelet.kubectl(args));
            screen.shows((24, 80), &what);
            screen.resize((33, 101));
            screen.shows((33, 101), &what);
            screen.types("tty; exit 6");
            let ended = child.wait().unwrap();
            assert_eq!(ended.code(), Some(exit_code), "{what}");
            reading.join().unwrap();
            let seen = screen.seen.lock().unwrap();
            assert!(seen.contains("/dev/pts/"), "{what}: {seen:?}");
        });
    }
}

#[test]
fn a_terminal_of_exec_changes_its_size() {
    on_a_terminal(&["exec", "-it", "term", "--", "sh"], 6);
}

/// How the program ended is no business of whoever was attached.
#[test]
fn a_terminal_of_attach_changes_its_size() {
    on_a_terminal(&["attach", "-it", "term"], 0);
}
