//! CNI configurations of tests' own, and what goes with them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use ferry_testkit::bridge_list;

use super::Bed;

/// The file with the list.
pub(super) const LIST: &str = "10-test.conflist";

/// A CNI configuration of the test's own, in a directory that goes with it.
pub(super) struct Conf(pub(super) PathBuf);

impl Conf {
    pub(super) fn new(name: &str, text: &str) -> Conf {
        let path = PathBuf::from(format!("/var/tmp/ferry-cni-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::write(path.join(LIST), text).unwrap();
        Conf(path)
    }

    /// A bridge of the test's own with addresses that no other test has, made by Debian's plugins.
    pub(super) fn bridged(name: &str) -> (Conf, Bridge) {
        let (bridge, conf) = (Bridge::new('n'), Conf::new(name, ""));
        fs::write(conf.0.join(LIST), bridge_list(&bridge.0, &conf.0)).unwrap();
        (conf, bridge)
    }

    /// With a plugin that does nothing, and the file where it notes what it is called for: a command and a pod's id in each line.
    pub(super) fn noting(name: &str) -> (Conf, PathBuf) {
        let list =
            format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"noting"}}]}}"#);
        let conf = Conf::new(name, &list);
        let log = conf.0.join("calls");
        let note =
            format!("cat > /dev/null; echo $CNI_COMMAND $CNI_CONTAINERID >> {}", log.display());
        conf.plugin("noting", &format!("{note}; {GOOD}"));
        (conf, log)
    }

    pub(super) fn plugin(&self, name: &str, script: &str) {
        let path = self.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Addresses that host-local has given away.
    pub(super) fn leases(&self) -> Vec<String> {
        let mut all = Vec::new();
        for network in fs::read_dir(self.0.join("ipam")).into_iter().flatten().flatten() {
            let files = fs::read_dir(network.path()).into_iter().flatten().flatten();
            all.extend(files.map(|file| file.file_name().to_string_lossy().into_owned()));
        }
        all.retain(|name| name.contains(['.', ':']) && !name.starts_with("last_reserved"));
        all.sort();
        all
    }

    /// Ours with it.
    pub(super) fn bed(&self, plugins: Option<&Path>) -> Bed {
        let conf = format!("--cni-conf-dir={}", self.0.display());
        let own = format!("--cni-bin-dir={}", self.0.join("bin").display());
        let mut flags = vec![conf.as_str(), own.as_str()];
        let debian = plugins.map(|plugins| format!("--cni-bin-dir={}", plugins.display()));
        flags.extend(debian.as_deref());
        Bed::ours(&flags)
    }
}

/// A result that plugins may print.
pub(super) const GOOD: &str = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'"#;

impl Drop for Conf {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A bridge of a test's own goes with it.
pub(super) struct Bridge(pub(super) String);

impl Bridge {
    pub(super) fn new(letter: char) -> Bridge {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Bridge(format!("f{letter}{}x{number}", std::process::id()))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["link", "delete", &self.0]).output());
    }
}
