//! A machine where nothing was set up but `/etc/ferry`: the command line starts the daemon, which reads its files where they are by
//! default. In a mount namespace that has `/etc`, `/run` and `/var` of its own, so that none of the user's is touched.

use std::process::Command;

use ferry_testkit::{Client, Registry, RegistryOptions, Sandbox, binary, free_port, images, run};

use crate::with_busybox;

/// A machine of its own in a mount namespace: `$1` is an empty directory in which lies what is to be in `/etc/ferry`.
pub(crate) const MACHINE: &str = r#"
set -e
mkdir "$1/upper" "$1/work" "$1/lib" "$1/log"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
mkdir -p /etc/ferry
cp "$1/daemon.json" "$1/config.toml" /etc/ferry/
mount --bind "$1/lib" /var/lib
mount --bind "$1/log" /var/log
mount -t tmpfs tmpfs /run
end() {
  daemon=$(cat /run/ferry/ferry.pid)
  kill "$daemon"
  while [ -d "/proc/$daemon" ]; do sleep 0.05; done
}
trap end EXIT
"#;

/// In it; `$2` is the binary, `$3` an image's tar.
const SCRIPT: &str = r#"
"$2" import "$3" busybox >/dev/null
echo "label: $("$2" info --format '{{.Labels}}')"
echo "run: $("$2" run --rm --network none busybox echo hello)"
"$2" pull -q registry.example/app:1
echo "pulled: $("$2" run --rm --network none registry.example/app:1 echo from the mirror)"
[ -d /var/lib/ferry/containers ] && echo "data is there"
"#;

#[test]
fn the_first_command_starts_a_daemon_with_the_files_of_the_machine() {
    let sandbox = with_busybox(Client::Ferry);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let image = format!("{}/app:1", registry.host());
    sandbox.ok(&["tag", "busybox", &image]);
    sandbox.ok(&["push", "-q", &image]);
    // Names that are nobody else's, and a place that is tidied up.
    let own = Sandbox::prepared(&[]);
    let directory = own.dir().join("machine");
    std::fs::create_dir_all(&directory).unwrap();
    let daemon = serde_json::json!({
        "bridge": own.bridge(), "cgroup-parent": own.cgroup_parent(), "labels": ["place=default"],
    });
    std::fs::write(directory.join("daemon.json"), daemon.to_string()).unwrap();
    let mirror = format!("http://{}", registry.host());
    let config = format!("[registries.\"registry.example\"]\nmirrors = [\"{mirror}\"]\n");
    std::fs::write(directory.join("config.toml"), config).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &[MACHINE, SCRIPT].concat(),
        "sh",
    ]);
    command.args([directory.as_path(), &binary(), &images::busybox_tar()]);
    command.env_remove("DOCKER_HOST").env_remove("FERRY_HOST");
    let said = run(&mut command).ok();
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "label: [place=default]",
        "run: hello",
        "registry.example/app:1",
        "pulled: from the mirror",
        "data is there",
    ];
    assert_eq!(lines, expected);
}

/// `$4` is the port of the proxy of names, `$5` one to publish.
const WITH_NAMES: &str = r#"
"$2" import "$3" busybox >/dev/null
serve='echo page > /tmp/index.html; exec httpd -f -p 80 -h /tmp'
"$2" run -d --name web -p "127.0.0.1:$5:80" busybox sh -c "$serve" >/dev/null
curl -s --retry 9 --retry-all-errors --retry-delay 1 -o "$1/page" "http://127.0.0.1:$5/"
echo "published: $(cat "$1/page")"
echo "listens: $(ss -Hltn "sport = :$5" | wc -l)"
echo "by name: $(curl -s -H 'Host: web.localhost' "http://127.0.0.1:$4/")"
"$2" rm -f web >/dev/null
"#;

/// `firewall` and `names` in `/etc/ferry/config.toml`: the daemon listens at published ports itself, and answers by name.
#[test]
fn the_machines_file_says_firewall_and_names() {
    let own = Sandbox::prepared(&[]);
    let directory = own.dir().join("machine");
    std::fs::create_dir_all(&directory).unwrap();
    let daemon = serde_json::json!({"bridge": own.bridge(), "cgroup-parent": own.cgroup_parent()});
    std::fs::write(directory.join("daemon.json"), daemon.to_string()).unwrap();
    let [http, port] = [free_port(), free_port()].map(|port| port.to_string());
    let config = format!(
        "firewall = \"respect\"\nnames = true\nnames-http = [\"127.0.0.1:{http}\"]\nnames-https = []\nnames-dns = []\n"
    );
    std::fs::write(directory.join("config.toml"), config).unwrap();
    let mut command = Command::new("unshare");
    let script = [MACHINE, WITH_NAMES].concat();
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    command.args([directory.as_path(), &binary(), &images::busybox_tar()]).args([http, port]);
    command.env_remove("DOCKER_HOST").env_remove("FERRY_HOST");
    let said = run(&mut command).ok();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines, ["published: page", "listens: 1", "by name: page"]);
}
