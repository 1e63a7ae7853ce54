//! What tutorials promise about containers in general, before they come to any command.

use std::{
    net::TcpStream,
    time::{Duration, SystemTime},
};

use ferry_testkit::{Client, Sandbox, eventually};

use crate::with_busybox;

through_both!(
    releases_side_by_side,
    the_kernel_is_shared_and_nothing_else,
    what_happens_to_one_does_not_touch_others,
    run_is_create_and_start,
    a_life_in_events,
    an_image_is_the_same_everywhere
);
against_docker!(
    releases_side_by_side,
    the_kernel_is_shared_and_nothing_else,
    run_is_create_and_start,
    a_life_in_events,
);

/// An image whose program says which release it is.
fn release(sandbox: &Sandbox, version: &str) {
    let name = format!("app-{version}");
    let script = format!("mkdir -p /etc; echo {version} > /etc/app.conf");
    sandbox.ok(&["run", "--name", &name, "--network", "none", "busybox", "sh", "-c", &script]);
    sandbox.ok(&["commit", &name, &format!("app:{version}")]);
    sandbox.ok(&["rm", &name]);
}

/// "It works on my machine": two releases on one host, each with its own files.
fn releases_side_by_side(client: Client) {
    let sandbox = with_busybox(client);
    for version in ["3.6", "3.9"] {
        release(&sandbox, version);
    }
    for version in ["3.9", "3.6"] {
        let (name, image) = (format!("is-{version}"), format!("app:{version}"));
        sandbox.ok(&["run", "-d", "--name", &name, &image, "sleep", "1000"]);
    }
    for version in ["3.6", "3.9"] {
        let said = sandbox.ok(&["exec", &format!("is-{version}"), "cat", "/etc/app.conf"]);
        assert_eq!(said, version);
    }
    for version in ["3.6", "3.9"] {
        sandbox.ok(&["rm", "-f", &format!("is-{version}")]);
        sandbox.ok(&["rmi", &format!("app:{version}")]);
    }
}

/// No system boots in there: the kernel is the host's, the files and the processes are not.
fn the_kernel_is_shared_and_nothing_else(client: Client) {
    let sandbox = with_busybox(client);
    let inside = |script: &str| {
        sandbox.ok(&["run", "--rm", "--network", "none", "busybox", "sh", "-c", script])
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(inside("uname -r"), kernel.trim());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(inside("cat /proc/sys/kernel/random/boot_id"), boot.trim());
    assert_eq!(inside("test -e /etc/os-release || echo none"), "none");
    // The shell, and nothing else.
    assert_eq!(inside("cd /proc; echo [0-9]*"), "1");
}

/// One runs wild and one is killed for its memory, while another goes on to answer.
fn what_happens_to_one_does_not_touch_others(client: Client) {
    let sandbox = with_busybox(client);
    let serve = "echo here > /index.html; exec httpd -f -p 80 -h /";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        serve,
    ]);
    let address = sandbox.ok(&["port", "web", "80"]);
    let answers = || TcpStream::connect(&address).is_ok();
    eventually("the server answers", || answers().then_some(()));
    let bomb = ["run", "-d", "--name", "bomb", "--pids-limit", "20", "busybox", "sleep", "1000"];
    sandbox.ok(&bomb);
    let script = "for i in $(seq 50); do sleep 1000 & done";
    sandbox.run(&["exec", "bomb", "sh", "-c", script]).fails(2).says("can't fork");
    let memory = ["run", "--name", "greedy", "-m", "16m", "--memory-swap", "16m", "busybox"];
    let greed = ["sh", "-c", "tail /dev/zero"];
    sandbox.run(&[&memory[..], &greed[..]].concat()).fails(137);
    let until = SystemTime::now() + Duration::from_secs(1);
    while SystemTime::now() < until {
        assert!(answers(), "a neighbour was disturbed");
        std::thread::sleep(Duration::from_millis(20));
    }
    let processes = sandbox.ok(&["top", "bomb"]).lines().count() - 1;
    assert!(processes <= 20, "{processes} processes in spite of the limit");
    assert_eq!(sandbox.inspect("web", "{{.State.Status}} {{.RestartCount}}"), "running 0");
}

/// `run` is `create` and `start`, and the events say so in Docker's order.
fn run_is_create_and_start(client: Client) {
    let sandbox = with_busybox(client);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let since = format!("{since:.3}");
    sandbox.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    sandbox.ok(&["create", "--name", "two", "busybox", "sleep", "1000"]);
    sandbox.ok(&["start", "two"]);
    let events = |name: &str| {
        let id = sandbox.inspect(name, "{{.Id}}");
        let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let until = format!("{:.3}", until.as_secs_f64());
        let format = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.container}}";
        let all = sandbox.ok(&["events", "--since", &since, "--until", &until, "--format", format]);
        let own = all.lines().filter(|line| line.contains(&id));
        own.map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(events("one"), ["container create", "network connect", "container start"]);
    assert_eq!(events("one"), events("two"));
    for field in ["{{json .Config.Cmd}}", "{{.HostConfig.NetworkMode}}", "{{.State.Status}}"] {
        assert_eq!(sandbox.inspect("one", field), sandbox.inspect("two", field));
    }
    sandbox.ok(&["rm", "-f", "one", "two"]);
}

/// A life on each kind of network, action by action as dockerd 28.5 tells of it.
fn a_life_in_events(client: Client) {
    let sandbox = with_busybox(client);
    for network in ["none", "host", "bridge"] {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let since = format!("{:.9}", since.as_secs_f64());
        let program = "trap 'exit 3' TERM; touch /up; while :; do sleep 0.1; done";
        let up = || {
            eventually("the program to run", || {
                let look = sandbox.run(&["exec", "life", "test", "-e", "/up"]);
                (look.code == 0).then_some(())
            });
            sandbox.ok(&["exec", "life", "rm", "/up"]);
        };
        let network_flag = format!("--network={network}");
        let name = ["run", "-d", "--name", "life", &network_flag];
        sandbox.ok(&[&name[..], &["busybox", "sh", "-c", program]].concat());
        up();
        sandbox.ok(&["top", "life"]);
        sandbox.ok(&["restart", "-t", "30", "life"]);
        up();
        sandbox.ok(&["stop", "-t", "30", "life"]);
        sandbox.ok(&["start", "life"]);
        sandbox.ok(&["kill", "life"]);
        sandbox.ok(&["wait", "life"]);
        sandbox.ok(&["rm", "life"]);
        let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let until = format!("{:.9}", until.as_secs_f64());
        let format = "{{.Type}} {{.Action}}";
        let all = sandbox.ok(&["events", "--since", &since, "--until", &until, "--format", format]);
        let seen: Vec<&str> = all.lines().filter(|line| !line.contains("exec_")).collect();
        let begin = ["network connect", "container start"];
        let end = ["network disconnect", "container stop", "container die"];
        let wanted = [
            &["container create"][..],
            &begin,
            &["container top", "container kill"],
            &end,
            &begin,
            &["container restart", "container kill"],
            &end,
            &begin,
            &["container kill", "network disconnect", "container die", "container destroy"],
        ]
        .concat();
        assert_eq!(seen, wanted, "{network}");
    }
}

/// Two machines that load an image have the same id, and the same bytes in its containers.
fn an_image_is_the_same_everywhere(client: Client) {
    let here = with_busybox(client);
    release(&here, "1");
    let archive = here.dir().join("app.tar");
    here.ok(&["save", "-o", archive.to_str().unwrap(), "app:1"]);
    let there = Sandbox::start().through(client);
    there.ok(&["load", "-i", archive.to_str().unwrap()]);
    let tree = "find / -xdev -type f | sort | xargs sha256sum | sha256sum";
    // What the engine itself puts into a container differs, and is no part of the image.
    let run = ["run", "--rm", "--network", "none", "--hostname", "same", "app:1", "sh", "-c", tree];
    assert_eq!(here.ok(&run), there.ok(&run));
    let id = ["image", "inspect", "-f", "{{.Id}} {{json .RootFS}}", "app:1"];
    assert_eq!(here.ok(&id), there.ok(&id));
}
