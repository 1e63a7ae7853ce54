//! Files of containers: `diff`, `cp` in both directions, `export`.

use ferry_testkit::Client;

use crate::with_busybox;

through_both!(changes_are_told_as_docker_tells_them);

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.get(2..).unwrap_or_default().replace('/', "\0"));
    lines
}

fn changes_are_told_as_docker_tells_them(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["create", "--name", "fresh", "busybox"]);
    assert_eq!(sandbox.ok(&["diff", "fresh"]), "");
    sandbox.ok(&["run", "--name", "idle", "busybox", "true"]);
    assert_eq!(sandbox.ok(&["diff", "idle"]), "", "what was only mounted on is no change");
    let script = "echo x > /etc/new; rm /etc/group; rm -r /root; mkdir /root; echo y > /root/y;
        rm -r /tmp; echo file > /tmp; mkdir -p /a/b; echo > /a/b/c; echo > /a-b; ln -s /a /link; chmod 700 /var;
        touch -r /bin/busybox /bin/sh; chmod 755 /bin/busybox; mkfifo /a/fifo";
    sandbox.ok(&["run", "--name", "busy", "-v", "/volume", "busybox", "sh", "-c", script]);
    let lines = sandbox.ok(&["diff", "busy"]);
    assert_eq!(
        sorted(&lines).join("\n"),
        "A /a\nA /a/b\nA /a/b/c\nA /a/fifo\nA /a-b\nC /etc\nD /etc/group\nA /etc/new\nA /link\nC /root\nA /root/y\nC /tmp\nC /var\nA /volume"
    );
    assert_eq!(sorted(&lines).join("\n"), lines, "they come sorted");
    sandbox.run(&["diff", "nobody"]).fails(1).says("No such container: nobody");
}
