//! Every client that people have, in every way of saying who they are: log in, push, pull, copy, delete, log out.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Client, FerryRegistry, Run, Sandbox, programs, run};

use crate::{registry_serve::add_user, scratch, with_busybox};

through_both!(through_a_daemon);

/// A registry, and how its clients get in.
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) registry: FerryRegistry,
    pub(crate) login: Option<(&'static str, String)>,
    /// Whether pulling needs it.
    pub(crate) anonymous: bool,
    /// `ca.crt`, `client.cert`, `client.key`.
    pub(crate) certificates: Option<PathBuf>,
}

impl Door {
    pub(crate) fn host(&self) -> &str {
        self.registry.host()
    }

    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }
}

pub(crate) fn doors(dir: &Path) -> Vec<Door> {
    let root = |name: &str| dir.join(format!("registry-{name}"));
    let door = |name, registry, login| Door {
        name,
        registry,
        login,
        anonymous: false,
        certificates: None,
    };
    let mut doors = vec![door("open", FerryRegistry::start(&root("open"), &[]), None)];
    add_user(&root("user"), "ann", "secret", &[]);
    let login = Some(("ann", "secret".to_owned()));
    doors.push(door("user", FerryRegistry::start(&root("user"), &[]), login.clone()));
    let grant = ["token", "create", "ci", "--grant", "*=pull,push,delete", "--expires", "1h"];
    let secret = FerryRegistry::command(&root("robot"), &grant).ok();
    let robot = Some(("ci", secret.trim().to_owned()));
    doors.push(door("robot", FerryRegistry::start(&root("robot"), &[]), robot));
    add_user(&root("public"), "ann", "secret", &[]);
    let public = FerryRegistry::start(&root("public"), &["--anonymous-pull", "*"]);
    doors.push(Door { anonymous: true, ..door("public", public, login) });
    if let Some(htpasswd) = programs::find("htpasswd") {
        let line = run(Command::new(htpasswd).args(["-nbB", "bob", "word"])).ok();
        let file = dir.join("htpasswd");
        std::fs::write(&file, line).unwrap();
        let flags = ["--htpasswd", file.to_str().unwrap()];
        let registry = FerryRegistry::start(&root("htpasswd"), &flags);
        doors.push(door("htpasswd", registry, Some(("bob", "word".to_owned()))));
    }
    doors.extend(mutual_tls(dir, &root("tls"), None));
    add_user(&root("both"), "ann", "secret", &[]);
    doors.extend(mutual_tls(dir, &root("both"), Some(("ann", "secret".to_owned()))));
    doors
}

/// Only clients with a certificate of our authority get in, and with a login, where there is one, only who is known besides.
fn mutual_tls(dir: &Path, root: &Path, login: Option<(&'static str, String)>) -> Option<Door> {
    let openssl = programs::find("openssl")?;
    let name = if login.is_some() { "mutual TLS and a user" } else { "mutual TLS" };
    let place = dir.join(format!("certificates of {name}"));
    std::fs::create_dir_all(&place).unwrap();
    let openssl = |args: &[&str]| {
        let mut command = Command::new(&openssl);
        run(command.args(args).current_dir(&place)).ok();
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let subject = ["-days", "1", "-subj", "/CN=clients", "-keyout", "authority.key"];
    openssl(&[&["req", "-x509"][..], &key, &subject, &["-out", "authority.crt"]].concat());
    let subject = ["-subj", "/CN=ann", "-keyout", "client.key", "-out", "client.csr"];
    openssl(&[&["req"][..], &key, &subject].concat());
    std::fs::write(place.join("use"), "extendedKeyUsage=clientAuth\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        "client.csr",
        "-CA",
        "authority.crt",
        "-CAkey",
        "authority.key",
        "-CAcreateserial",
        "-days",
        "1",
        "-extfile",
        "use",
        "-out",
        "client.cert",
    ]);
    let authority = place.join("authority.crt");
    let flags = ["--tls-self-signed", "127.0.0.1", "--tls-client-ca", authority.to_str().unwrap()];
    let registry = FerryRegistry::start(root, &flags);
    // What is left there is for `--cert-dir`: no other certificate may be in it.
    let shown = dir.join(format!("shown to {name}"));
    std::fs::create_dir_all(&shown).unwrap();
    std::fs::copy(root.join("tls.crt"), shown.join("ca.crt")).unwrap();
    for file in ["client.cert", "client.key"] {
        std::fs::copy(place.join(file), shown.join(file)).unwrap();
    }
    Some(Door { name, registry, login, anonymous: false, certificates: Some(shown) })
}

/// Our own client and docker's, whose pushes and pulls are a daemon's.
fn through_a_daemon(client: Client) {
    let sandbox = with_busybox(client);
    for door in doors(sandbox.dir()) {
        let certificates = Trusted::of(&door);
        one_door(&sandbox, client, &door);
        drop(certificates);
    }
}

/// Certificates where daemons look for them; they go with the test.
struct Trusted(PathBuf);

impl Trusted {
    fn of(door: &Door) -> Option<Trusted> {
        let from = door.certificates.as_ref()?;
        let to = Path::new("/etc/ferry/certs.d").join(door.host());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        Some(Trusted(to))
    }
}

impl Drop for Trusted {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn one_door(sandbox: &Sandbox, client: Client, door: &Door) {
    let name = door.name;
    let (first, second) = (door.image("one/busybox:1"), door.image("two/busybox:2"));
    sandbox.ok(&["tag", "busybox", &first]);
    if let Some((user, password)) = &door.login {
        let refused = sandbox.run(&["push", &first]);
        assert_ne!(refused.code, 0, "{name}: {refused}");
        let args = ["login", "-u", user, "--password-stdin", door.host()];
        let seen = sandbox.with_input(&args, password.as_bytes()).ok();
        assert!(seen.contains("Login Succeeded"), "{name}: {seen}");
    }
    sandbox.ok(&["push", &first]);
    if door.anonymous {
        sandbox.ok(&["logout", door.host()]);
    }
    sandbox.ok(&["rmi", &first]);
    sandbox.ok(&["pull", &first]);
    if let (true, Some((user, password))) = (door.anonymous, &door.login) {
        assert_ne!(sandbox.run(&["push", &second]).code, 0, "{name}");
        let args = ["login", "-u", user, "--password-stdin", door.host()];
        sandbox.with_input(&args, password.as_bytes()).ok();
    }
    if client == Client::Ferry {
        sandbox.ok(&["image", "cp", "-q", &first, &second]);
        sandbox.ok(&["registry", "rm", &second]);
        let gone = sandbox.run(&["registry", "rm", &second]).fails(1);
        assert!(gone.stderr.contains("manifest unknown"), "{name}: {gone}");
        assert!(sandbox.run(&["pull", &second]).code != 0);
    } else {
        // Docker's client copies by a tag and a push, and has no command that deletes at a registry.
        sandbox.ok(&["tag", &first, &second]);
        sandbox.ok(&["push", &second]);
    }
    sandbox.ok(&["logout", door.host()]);
    sandbox.run(&["rmi", "-f", &first, &second]);
    if door.login.is_some() && !door.anonymous {
        assert_ne!(sandbox.run(&["pull", &first]).code, 0, "{name}: logged out");
    }
}

/// A program that is its own daemon.
struct Tool<'a> {
    program: PathBuf,
    base: Vec<String>,
    door: &'a Door,
    logins: PathBuf,
}

impl Tool<'_> {
    fn run(&self, words: &[&str], more: &[&str]) -> Run {
        let mut command = Command::new(&self.program);
        command.args(&self.base).args(words);
        if self.logins.exists() || words[0] == "login" {
            command.arg("--authfile").arg(&self.logins);
        }
        command.args(more).env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        run(&mut command)
    }

    /// As `run`, with what makes it trust the registry, for the end that is named.
    fn secure(&self, words: &[&str], end: &str, more: &[&str]) -> Run {
        let flag = match &self.door.certificates {
            Some(place) => vec![format!("--{end}cert-dir"), place.to_str().unwrap().to_owned()],
            None => vec![format!("--{end}tls-verify=false")],
        };
        let flags: Vec<&str> = flag.iter().map(String::as_str).collect();
        self.run(words, &[&flags[..], more].concat())
    }

    fn log_in(&self) {
        let Some((user, password)) = &self.door.login else { return };
        let wrong = self.secure(&["login"], "", &["-u", user, "-p", "wrong", self.door.host()]);
        assert_ne!(wrong.code, 0, "{}: {wrong}", self.door.name);
        self.secure(&["login"], "", &["-u", user, "-p", password, self.door.host()]).ok();
    }

    fn log_out(&self) {
        if self.door.login.is_some() {
            self.run(&["logout"], &[self.door.host()]).ok();
            std::fs::remove_file(&self.logins).unwrap();
        }
    }
}

/// The image that they all push.
fn archive(dir: &Path) -> PathBuf {
    let sandbox = with_busybox(Client::Ferry);
    let tar = dir.join("busybox.tar");
    sandbox.ok(&["save", "-o", tar.to_str().unwrap(), "busybox"]);
    tar
}

#[test]
fn by_skopeo() {
    let Some(skopeo) = programs::find("skopeo") else { return };
    let dir = scratch("clients-skopeo");
    let from = format!("docker-archive:{}", archive(&dir).display());
    for door in doors(&dir) {
        let tool = Tool {
            program: skopeo.clone(),
            base: vec!["--insecure-policy".to_owned()],
            door: &door,
            logins: dir.join("skopeo.json"),
        };
        let (first, second) = (
            format!("docker://{}", door.image("skopeo/busybox:1")),
            format!("docker://{}", door.image("copied/busybox:2")),
        );
        if door.login.is_some() {
            assert_ne!(tool.secure(&["copy"], "dest-", &[&from, &first]).code, 0);
        }
        tool.log_in();
        tool.secure(&["copy"], "dest-", &[&from, &first]).ok();
        let layout = format!("oci:{}:1", dir.join(format!("layout {}", door.name)).display());
        tool.secure(&["copy"], "src-", &[&first, &layout]).ok();
        // Both ends.
        let other = match &door.certificates {
            Some(place) => vec!["--dest-cert-dir", place.to_str().unwrap()],
            None => vec!["--dest-tls-verify=false"],
        };
        tool.secure(&["copy"], "src-", &[&other[..], &[&first, &second]].concat()).ok();
        tool.secure(&["inspect"], "", &[&second]).ok();
        tool.secure(&["delete"], "", &[&second]).ok();
        assert_ne!(tool.secure(&["inspect"], "", &[&second]).code, 0, "{}", door.name);
        tool.log_out();
        let seen = tool.secure(&["inspect"], "", &[&first]);
        assert_eq!(seen.code == 0, door.login.is_none() || door.anonymous, "{}", door.name);
    }
}

/// podman and buildah, which have the same commands. Neither deletes at a registry.
fn by_storage(name: &str, program: &Path, base: Vec<String>, load: &[&str]) {
    let dir = scratch(&format!("clients-{name}"));
    let tar = archive(&dir);
    let mut storage = base;
    for (option, place) in [("--root", "storage"), ("--runroot", "runroot")] {
        storage.extend([option.to_owned(), dir.join(place).to_str().unwrap().to_owned()]);
    }
    storage.push("--storage-driver=vfs".to_owned());
    for door in doors(&dir) {
        let tool = Tool {
            program: program.to_owned(),
            base: storage.clone(),
            door: &door,
            logins: dir.join("logins.json"),
        };
        let archive = load.iter().map(|word| word.replace("TAR", tar.to_str().unwrap()));
        let load: Vec<String> = archive.collect();
        let mut command = Command::new(program);
        // Its name, or its id, is the last word.
        let loaded = run(command.args(&storage).args(&load)).ok();
        let from = loaded.split_whitespace().last().unwrap();
        let (first, second) = (door.image("one/busybox:1"), door.image("two/busybox:2"));
        let push =
            |from: &str, to: &str| tool.secure(&["push"], "", &[from, &format!("docker://{to}")]);
        if door.login.is_some() {
            assert_ne!(push(from, &first).code, 0, "{}", door.name);
        }
        tool.log_in();
        push(from, &first).ok();
        tool.secure(&["pull"], "", &[&first]).ok();
        push(&first, &second).ok();
        tool.log_out();
        if door.anonymous {
            tool.secure(&["pull"], "", &[&second]).ok();
        }
    }
    // Layers are kept with the rights that their files have.
    drop(run(Command::new("chmod").args(["-R", "u+w"]).arg(&*dir)));
}

#[test]
fn by_podman() {
    let Some([podman, conmon, runc]) = programs::all(["podman", "conmon", "runc"]) else { return };
    let [conmon, runc] = [conmon, runc].map(|path| path.to_str().unwrap().to_owned());
    let own = ["--cgroup-manager=cgroupfs", "--events-backend=file", "--conmon"];
    let mut base: Vec<String> = own.map(str::to_owned).to_vec();
    base.extend([conmon, "--runtime".to_owned(), runc]);
    by_storage("podman", &podman, base, &["load", "-q", "-i", "TAR"]);
}

#[test]
fn by_buildah() {
    let Some(buildah) = programs::find("buildah") else { return };
    by_storage("buildah", &buildah, Vec::new(), &["pull", "-q", "docker-archive:TAR"]);
}
