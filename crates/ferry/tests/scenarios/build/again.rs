//! The same build again: why it is done again, whether it makes the same, and what of it differs.

use std::{fs, path::Path, process::Command};

use ferry_testkit::{Client, Sandbox, run};

use super::{context, steps::modern};
use crate::with_busybox;

const DOCKERFILE: &str = "FROM busybox AS make\n\
    WORKDIR /src/deep\n\
    COPY . .\n\
    RUN hostname > /host; echo $SOURCE_DATE_EPOCH > /epoch; mkdir -p /made/d; date -r a.txt +%s > /made/d/time; touch -d @100 /made/old\n\
    RUN --mount=target=/context date -r /context/a.txt +%s > /made/mounted\n\
    FROM busybox\n\
    COPY --from=make /made /made\n\
    COPY --from=make /epoch /host /\n\
    COPY <<end /document\nwords\nend\n\
    COPY a.txt d new/dir/\n\
    ADD t.tar /unpacked/\n\
    CMD [\"cat\", \"/epoch\"]\n";

fn files(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let files = [("Dockerfile", DOCKERFILE), ("a.txt", "a\n"), ("d/b.txt", "b\n"), ("d/c", "c\n")];
    let directory = context(sandbox, name, &files);
    let tar = ["-C", "d", "--mtime=@2000000000", "--owner=0", "--group=0", "-cf", "t.tar", "b.txt"];
    run(Command::new("tar").args(tar).current_dir(&directory)).ok();
    directory
}

fn id(sandbox: &Sandbox, name: &str) -> String {
    sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", name])
}

fn touch(directory: &Path, time: &str) {
    run(Command::new("find").arg(directory).args(["-exec", "touch", "-d", time, "{}", "+"])).ok();
}

#[test]
fn reproducible_builds_are_the_same_on_another_day() {
    let sandbox = with_busybox(Client::Ferry);
    let first = files(&sandbox, "first");
    let build = |directory: &Path, args: &[&str]| {
        modern(&sandbox, directory, &[&["--no-cache"], args].concat()).ok();
    };
    build(&first, &["--reproducible", "-t", "one"]);
    touch(&first, "2001-02-03 04:05:06");
    build(&first, &["--reproducible", "-t", "two"]);
    // Another place, and files that were made in another order.
    build(&files(&sandbox, "second"), &["--reproducible", "-t", "three"]);
    assert_eq!(id(&sandbox, "one"), id(&sandbox, "two"));
    assert_eq!(id(&sandbox, "one"), id(&sandbox, "three"));
    let created = "{{.Created}}";
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", created, "one"]), "1980-01-01T00:00:00Z");
    // Also out of the cache.
    modern(&sandbox, &first, &["--reproducible", "-t", "cached"]).ok();
    assert_eq!(id(&sandbox, "one"), id(&sandbox, "cached"));
    let look = "cat /epoch /host /made/d/time /made/mounted; stat -c '%Y %n' /made /made/old /new/dir/a.txt /new/dir/c /unpacked/b.txt /unpacked";
    assert_eq!(
        sandbox.ok(&["run", "--rm", "one", "sh", "-c", look]),
        "315532800\nbuildkitsandbox\n315532800\n315532800\n315532800 /made\n100 /made/old\n315532800 /new/dir/a.txt\n\
         315532800 /new/dir/c\n315532800 /unpacked/b.txt\n315532800 /unpacked"
    );
    // A time of one's own, as an argument or a variable.
    build(&first, &["--build-arg", "SOURCE_DATE_EPOCH=1600000000", "-t", "dated"]);
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", created, "dated"]), "2020-09-13T12:26:40Z");
    assert_eq!(sandbox.ok(&["run", "--rm", "dated"]), "1600000000");
    let words = ["build", "--no-cache", "-q", "-t", "variable", first.to_str().unwrap()];
    run(sandbox.command(&words).env("SOURCE_DATE_EPOCH", "1600000000")).ok();
    assert_eq!(id(&sandbox, "dated"), id(&sandbox, "variable"));
    // What is not asked for is not done.
    build(&first, &["-t", "plain"]);
    let old = sandbox.ok(&["run", "--rm", "plain", "date", "-r", "/new/dir/a.txt", "+%s"]);
    assert_ne!((old.as_str(), id(&sandbox, "plain")), ("315532800", id(&sandbox, "one")));
    modern(&sandbox, &first, &["--build-arg", "SOURCE_DATE_EPOCH=today"])
        .fails(1)
        .says("invalid SOURCE_DATE_EPOCH: \"today\"");
}

#[test]
fn what_has_changed_is_named() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM busybox\nARG WHO=world\nENV KIND=plain\nCOPY a.txt d /app/\nRUN echo $WHO > /who\nWORKDIR /end\n";
    let files = [("Dockerfile", dockerfile), ("a.txt", "a\n"), ("d/b.txt", "b\n"), ("d/c", "c\n")];
    let directory = context(&sandbox, "c", &files);
    let explain = |args: &[&str]| {
        let said = modern(&sandbox, &directory, &[&["--explain"], args].concat());
        let text = said.stderr.clone();
        said.ok();
        text[text.find("Not cached:").unwrap_or_default()..].to_owned()
    };
    let first = explain(&[]);
    assert!(
        first.contains("[2/4] COPY a.txt d /app/\n   no build that is remembered has done it"),
        "{first}"
    );
    assert!(explain(&[]).contains("All steps were cached."));
    fs::write(directory.join("d/b.txt"), "other").unwrap();
    fs::write(directory.join("d/new"), "new").unwrap();
    fs::remove_file(directory.join("d/c")).unwrap();
    let said = explain(&[]);
    let copied = " [2/4] COPY a.txt d /app/\n   source d is not what it was\n   /app/b.txt has other content\n   /app/c is gone\n   /app/new is new\n";
    assert!(said.contains(copied), "{said}");
    let stands = " [3/4] RUN echo $WHO > /who\n   what it stands on is not what it was: [2/4] COPY a.txt d /app/\n";
    assert!(said.contains(stands), "{said}");
    let said = explain(&["--build-arg", "WHO=you"]);
    assert!(!said.contains("COPY a.txt d /app/\n  "), "{said}");
    assert!(
        said.contains("RUN echo $WHO > /who\n   argument WHO is \"you\", was \"world\"\n"),
        "{said}"
    );
    let edited = dockerfile.replace("KIND=plain", "KIND=other").replace("echo $WHO", "echo  $WHO");
    fs::write(directory.join("Dockerfile"), edited).unwrap();
    let said = explain(&[]);
    assert!(said.contains("   variable KIND is \"other\", was \"plain\"\n"), "{said}");
    assert!(
        said.contains("   command is [\"/bin/sh\", \"-c\", \"echo  $WHO > /who\"], was ["),
        "{said}"
    );
    let said = explain(&["--no-cache"]);
    assert!(
        said.contains(
            "[3/4] RUN echo  $WHO > /who\n   the cache was not to be used (--no-cache)\n"
        ),
        "{said}"
    );
    // The next daemon knows it, too.
    sandbox.stop_daemon();
    sandbox.start_daemon(None);
    let said = explain(&["--build-arg", "WHO=them"]);
    assert!(said.contains("argument WHO is \"them\", was \"world\"\n"), "{said}");
}

#[test]
fn files_of_a_mount_are_named() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM busybox\nRUN --mount=type=bind,source=d,target=/m cat /m/* > /all\n";
    let files = [("Dockerfile", dockerfile), ("d/a", "a\n"), ("d/b", "b\n"), ("other", "x")];
    let directory = context(&sandbox, "c", &files);
    modern(&sandbox, &directory, &[]).ok();
    fs::write(directory.join("d/a"), "other\n").unwrap();
    fs::remove_file(directory.join("d/b")).unwrap();
    fs::write(directory.join("d/new"), "new\n").unwrap();
    let words =
        "content of the mount /m is not what it was: a is not what it was, new is new, b is gone\n";
    modern(&sandbox, &directory, &["--explain"]).says(words).ok();
}

#[test]
fn an_image_is_verified() {
    let sandbox = with_busybox(Client::Ferry);
    let directory = files(&sandbox, "c");
    modern(&sandbox, &directory, &["--reproducible", "-t", "app"]).ok();
    touch(&directory, "2001-02-03 04:05:06");
    let verify = |image: &str, args: &[&str]| {
        modern(&sandbox, &directory, &[&["--verify", image], args].concat())
    };
    let said = verify("app", &[]).ok();
    assert_eq!(said.trim(), format!("app is what is built here: {}", id(&sandbox, "app")));
    // Nothing of it stays, and nothing that was there changes.
    assert_eq!(sandbox.ok(&["images", "-q", "-f", "dangling=true"]), "");
    fs::write(directory.join("a.txt"), "other").unwrap();
    let said = verify("app", &[]).fails(1).stdout;
    let words = "app is not what is built here: layer 5 of 6 (COPY a.txt d new/dir/ # buildkit): /new/dir/a.txt has other content";
    assert_eq!(said.trim(), words);
    fs::write(directory.join("a.txt"), "a\n").unwrap();
    fs::write(directory.join("Dockerfile"), DOCKERFILE.replace("\"/epoch\"]", "\"/host\"]"))
        .unwrap();
    let said = verify("app", &[]).fails(1).stdout;
    assert!(said.contains("Cmd is [\"cat\",\"/host\"], was [\"cat\",\"/epoch\"]"), "{said}");
    // One whose times never come again.
    modern(&sandbox, &directory, &["-t", "plain"]).ok();
    let text = verify("plain", &[]).ok();
    assert!(text.contains("Times were not compared"), "{text}");
    verify("nosuch", &[]).fails(1).says("No such image: nosuch");
    verify("app", &["-t", "x"]).fails(1).says("--verify and --tag exclude each other");
}
