//! `commit`: what becomes of a container's changes, and that others can read the image.

use std::process::Command;

use ferry_testkit::{Client, programs, run};

use crate::with_busybox;

through_both!(
    a_container_becomes_an_image,
    changes_of_the_configuration,
    files_of_every_kind_survive,
    a_running_container_is_paused,
    others_read_the_image
);

fn a_container_becomes_an_image(client: Client) {
    let sandbox = with_busybox(client);
    let script = "echo new > /new; rm /etc/group; rm -r /var; mkdir /var; echo > /var/only";
    sandbox.ok(&["run", "--name", "cc", "-e", "A=1", "-l", "k=v", "busybox", "sh", "-c", script]);
    let id = sandbox.ok(&["commit", "-a", "me", "-m", "words", "cc", "made:1"]);
    assert!(id.starts_with("sha256:"), "{id}");
    let format =
        "{{.Author}} {{.Comment}} {{.Config.Env}} {{.Config.Labels}} {{len .RootFS.Layers}}";
    let told = sandbox.ok(&["image", "inspect", "-f", format, "made:1"]);
    assert!(told.starts_with("me words [A=1"), "{told}");
    assert!(told.ends_with("map[k:v] 2"), "{told}");
    let history =
        sandbox.ok(&["history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1"]);
    assert_eq!(history.lines().next().unwrap(), format!("sh -c {script}|words"));
    let look = "cat /new; ls /var; test -e /etc/group || echo gone; ls -d /etc/hosts";
    let seen = sandbox.ok(&["run", "--rm", "made:1", "sh", "-c", look]);
    assert_eq!(seen, "new\nonly\ngone\n/etc/hosts");
    // Nothing was changed: no layer.
    sandbox.ok(&["run", "--name", "idle", "busybox", "true"]);
    let id = sandbox.ok(&["commit", "idle"]);
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{len .RootFS.Layers}}", &id]), "1");
    sandbox.run(&["commit", "nobody"]).fails(1).says("No such container: nobody");
    sandbox.run(&["commit", "idle", "UPPER"]).fails(1).says("must be lowercase");
}

fn changes_of_the_configuration(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["create", "--name", "cc", "-w", "/srv", "busybox", "sh", "-c", "old"]);
    let changes = [
        "CMD [\"new\"]",
        "ENTRYPOINT [\"/bin/echo\"]",
        "ENV B=2 C=\"two words\"",
        "EXPOSE 80 53/udp",
        "LABEL made=here",
        "ONBUILD RUN true",
        "USER nobody",
        "VOLUME /data",
        "WORKDIR app",
        "HEALTHCHECK --interval=5s --retries=3 CMD true",
        "STOPSIGNAL SIGINT",
    ];
    let mut words = vec!["commit"];
    for change in changes {
        words.extend(["-c", change]);
    }
    words.extend(["cc", "made"]);
    sandbox.ok(&words);
    let ask = |format: &str| sandbox.ok(&["image", "inspect", "-f", format, "made"]);
    assert_eq!(ask("{{.Config.Cmd}} {{.Config.Entrypoint}}"), "[new] [/bin/echo]");
    assert!(ask("{{json .Config.Env}}").ends_with("\"B=2\",\"C=two words\"]"));
    assert_eq!(ask("{{json .Config.ExposedPorts}}"), r#"{"53/udp":{},"80/tcp":{}}"#);
    assert_eq!(ask("{{.Config.Labels}} {{.Config.OnBuild}}"), "map[made:here] [RUN true]");
    assert_eq!(ask("{{.Config.User}} {{.Config.WorkingDir}}"), "nobody /srv/app");
    assert_eq!(ask("{{.Config.Volumes}} {{.Config.StopSignal}}"), "map[/data:{}] SIGINT");
    let health = "{{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}}";
    let told = ask(health);
    assert!(told == "[CMD-SHELL true] 5s 3" || told == "[CMD-SHELL true] 5000000000 3", "{told}");
    sandbox
        .run(&["commit", "-c", "RUN x", "cc"])
        .fails(1)
        .says("run is not a valid change command");
    sandbox.run(&["commit", "-c", "NOPE x", "cc"]).fails(1).says("unknown instruction: NOPE");
}

fn files_of_every_kind_survive(client: Client) {
    let sandbox = with_busybox(client);
    let script = "mkdir /k; cd /k; echo one > one; ln one two; ln -s one link; mkfifo fifo; mknod dev c 1 3;
        echo s > suid; chown 7:8 suid; chmod 4755 suid; touch -d @1000000000 one; dd if=/dev/zero of=big bs=1M seek=63 count=1";
    sandbox.ok(&["run", "--name", "cc", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "cc", "made"]);
    let look = "cd /k; stat -c '%n %F %a %u:%g %h %s' *; stat -c %Y one; du -k big | cut -f1";
    let seen = sandbox.ok(&["run", "--rm", "made", "sh", "-c", look]);
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "big regular file 644 0:0 1 67108864");
    assert_eq!(lines[1], "dev character special file 644 0:0 1 0");
    assert_eq!(lines[2], "fifo fifo 644 0:0 1 0");
    assert_eq!(lines[3], "link symbolic link 777 0:0 1 3");
    assert_eq!(lines[4], "one regular file 644 0:0 2 4");
    assert_eq!(lines[5], "suid regular file 4755 7:8 1 2");
    assert_eq!(lines[6], "two regular file 644 0:0 2 4");
    assert_eq!(lines[7], "1000000000");
    let kibibytes: u64 = lines[8].parse().unwrap();
    assert!(kibibytes < 2048, "64 MiB of zeros take {kibibytes} KiB");
}

fn a_running_container_is_paused(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "cc", "busybox", "sleep", "1000"]);
    let events = |since: &str| {
        let until = run(Command::new("date").arg("+%s.%N")).ok();
        sandbox.ok(&[
            "events",
            "--since",
            since,
            "--until",
            &until,
            "--filter",
            "container=cc",
            "--format",
            "{{.Action}}",
        ])
    };
    let start = run(Command::new("date").arg("+%s.%N")).ok();
    sandbox.ok(&["commit", "cc", "paused"]);
    let told = events(&start);
    assert_eq!(told.lines().collect::<Vec<_>>(), ["pause", "commit", "unpause"]);
    let start = run(Command::new("date").arg("+%s.%N")).ok();
    sandbox.ok(&["commit", "--pause=false", "cc", "running"]);
    assert_eq!(events(&start), "commit");
    assert_eq!(sandbox.inspect("cc", "{{.State.Status}}"), "running");
}

fn others_read_the_image(client: Client) {
    let Some(skopeo) = programs::find("skopeo") else { return };
    let sandbox = with_busybox(client);
    let script =
        "echo new > /new; rm /etc/group; rm -r /tmp; mkdir /tmp; echo > /tmp/x; ln /new /hard";
    sandbox.ok(&["run", "--name", "cc", "busybox", "sh", "-c", script]);
    sandbox.ok(&["commit", "cc", "made:1"]);
    let path = |name: &str| sandbox.dir().join(name).to_str().unwrap().to_owned();
    sandbox.ok(&["save", "-o", &path("made.tar"), "made:1"]);
    let layout = path("layout");
    let (from, to) = (format!("docker-archive:{}", path("made.tar")), format!("oci:{layout}:made"));
    run(Command::new(&skopeo).args(["--insecure-policy", "copy", &from, &to])).ok();
    let tar = format!("oci-archive:{}:made:2", path("back.tar"));
    run(Command::new(&skopeo).args(["--insecure-policy", "copy", &to, &tar])).ok();
    let loaded = sandbox.ok(&["load", "-i", &path("back.tar")]);
    assert!(loaded.contains("made:2"), "{loaded}");
    let look = "cat /hard; ls /tmp; test -e /etc/group || echo gone";
    assert_eq!(sandbox.ok(&["run", "--rm", "made:2", "sh", "-c", look]), "new\nx\ngone");
}
