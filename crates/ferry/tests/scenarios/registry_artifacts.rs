//! containerd, oras and cosign against our registry, in every way of saying who they are; and what cosign signs, as our daemon sees it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{
    Client, Containerd, FerryRegistry, Run, Sandbox, programs, run, run_with_input,
};
use serde_json::Value;

use crate::{
    default_places::MACHINE,
    registry_clients::{Door, doors},
    scratch, with_busybox,
};

/// `oras`, with what a door needs: at both ends for a copy.
struct Oras<'a> {
    program: PathBuf,
    door: &'a Door,
    logins: PathBuf,
}

impl Oras<'_> {
    fn flags(&self, end: &str) -> Vec<String> {
        let mut flags = match &self.door.certificates {
            Some(place) => ["ca-file=ca.crt", "cert-file=client.cert", "key-file=client.key"]
                .map(|flag| {
                    let (flag, file) = flag.split_once('=').unwrap();
                    format!("--{end}{flag}={}", place.join(file).display())
                })
                .to_vec(),
            None => vec![format!("--{end}plain-http")],
        };
        flags.push(format!("--{end}registry-config={}", self.logins.display()));
        flags
    }

    fn run(&self, words: &[&str]) -> Run {
        let mut command = Command::new(&self.program);
        let ends = if words[0] == "cp" { vec!["from-", "to-"] } else { vec![""] };
        command.args(words).args(ends.into_iter().flat_map(|end| self.flags(end)));
        run(command.current_dir(self.logins.parent().unwrap()))
    }
}

#[test]
fn by_oras() {
    let Some(program) = programs::find("oras") else { return };
    let dir = scratch("clients-oras");
    fs::write(dir.join("notes.txt"), "some notes").unwrap();
    fs::write(dir.join("sbom.json"), "{\"sbom\": true}").unwrap();
    for door in doors(&dir) {
        let name = door.name;
        let logins = dir.join(format!("oras {name}.json"));
        let oras = Oras { program: program.clone(), door: &door, logins };
        let (first, second) = (door.image("one/notes:1"), door.image("two/notes:2"));
        let push = ["push", &first, "notes.txt:text/plain"];
        if let Some((user, password)) = &door.login {
            assert_ne!(oras.run(&push).code, 0, "{name}: nobody pushes");
            let login = |password: &str| {
                let mut command = Command::new(&program);
                command.args(["login", "-u", user, "--password-stdin"]).args(oras.flags(""));
                run_with_input(command.arg(door.host()), password.as_bytes())
            };
            assert_ne!(login("wrong").code, 0, "{name}");
            login(password).ok();
        }
        oras.run(&push).ok();
        oras.run(&["attach", "--artifact-type=example/sbom", &first, "sbom.json:application/json"])
            .ok();
        let about = |image: &str| -> Value {
            let text = oras.run(&["discover", "--format=json", image]).ok();
            let json: Value = serde_json::from_str(&text).unwrap();
            json["referrers"].as_array().map_or(Value::Null, |all| all[0]["artifactType"].clone())
        };
        assert_eq!(about(&first), "example/sbom", "{name}");
        // A copy with what is about it, in another repository of the same registry.
        oras.run(&["cp", "-r", &first, &second]).ok();
        assert_eq!(about(&second), "example/sbom", "{name}");
        let out = dir.join(format!("pulled {name}"));
        oras.run(&["pull", "-o", out.to_str().unwrap(), &second]).ok();
        assert_eq!(fs::read_to_string(out.join("notes.txt")).unwrap(), "some notes");
        assert_eq!(oras.run(&["repo", "tags", &door.image("two/notes")]).ok().trim(), "2");
        oras.run(&["manifest", "delete", "-f", &second]).ok();
        assert_ne!(oras.run(&["manifest", "fetch", &second]).code, 0, "{name}: it is deleted");
        if door.login.is_some() {
            let mut command = Command::new(&program);
            command.args(["logout", "--registry-config"]).arg(&oras.logins).arg(door.host());
            run(&mut command).ok();
        }
        let seen = oras.run(&["manifest", "fetch", &first]);
        assert_eq!(seen.code == 0, door.login.is_none() || door.anonymous, "{name}: {seen}");
    }
}

/// `ctr` with what a door needs.
trait Through {
    fn through(&self, door: &Door, known: bool, words: &[&str], image: &str) -> Run;
}

impl Through for Containerd {
    fn through(&self, door: &Door, known: bool, words: &[&str], image: &str) -> Run {
        let mut all: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match &door.certificates {
            Some(place) => {
                for (flag, file) in
                    [("tlscacert", "ca.crt"), ("tlscert", "client.cert"), ("tlskey", "client.key")]
                {
                    all.push(format!("--{flag}={}", place.join(file).display()));
                }
            }
            None => all.push("--plain-http".to_owned()),
        }
        if let (true, Some((user, password))) = (known, &door.login) {
            all.push(format!("--user={user}:{password}"));
        }
        // Since its second version another way is tried first, which knows nothing of certificates.
        if self.run(&["images", "pull", "--help"]).stdout.contains("--local") {
            all.push("--local".to_owned());
        }
        all.push(image.to_owned());
        self.run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[test]
fn by_containerd() {
    let dir = scratch("clients-containerd");
    let Some(containerd) = Containerd::start(&dir) else { return };
    let sandbox = with_busybox(Client::Ferry);
    let tar = dir.join("busybox.tar");
    sandbox.ok(&["save", "-o", tar.to_str().unwrap(), "busybox"]);
    containerd.run(&["images", "import", "--no-unpack", tar.to_str().unwrap()]).ok();
    let base = containerd.run(&["images", "ls", "-q"]).ok().trim().to_owned();
    let digest = |image: &str| {
        let list = containerd.run(&["images", "ls"]).ok();
        let line = list.lines().find(|line| line.starts_with(image)).unwrap_or_default();
        line.split_whitespace().find(|word| word.starts_with("sha256:")).map(str::to_owned)
    };
    let pushed = digest(&base).unwrap();
    for door in doors(&dir) {
        let name = door.name;
        let image = door.image("c/busybox:1");
        containerd.run(&["images", "tag", &base, &image]).ok();
        if door.login.is_some() {
            let seen = containerd.through(&door, false, &["images", "push"], &image);
            assert_ne!(seen.code, 0, "{name}: nobody pushes");
        }
        containerd.through(&door, true, &["images", "push"], &image).ok();
        containerd.run(&["images", "rm", &image]).ok();
        assert_eq!(digest(&image), None);
        let pull = ["images", "pull", "--snapshotter=native"];
        containerd.through(&door, !door.anonymous, &pull, &image).ok();
        assert_eq!(digest(&image).as_ref(), Some(&pushed), "{name}");
        containerd.run(&["images", "rm", &image]).ok();
        if door.login.is_some() && !door.anonymous {
            assert_ne!(containerd.through(&door, false, &pull, &image).code, 0, "{name}");
        }
    }
}

/// `cosign` with keys of its own, which finds the credentials that our `login` keeps by the helper that we are, too.
struct Cosign<'a> {
    program: PathBuf,
    dir: &'a Path,
    config: PathBuf,
}

impl<'a> Cosign<'a> {
    fn new(sandbox: &'a Sandbox) -> Option<Cosign<'a>> {
        let program = programs::find("cosign")?;
        let bin = sandbox.dir().join("helpers");
        fs::create_dir_all(&bin).unwrap();
        let link = bin.join("docker-credential-ferry");
        std::os::unix::fs::symlink(ferry_testkit::binary(), link).unwrap();
        let config = sandbox.dir().join("config");
        let cosign = Cosign { program, dir: sandbox.dir(), config };
        cosign.run(&["generate-key-pair"]).ok();
        Some(cosign)
    }

    fn run(&self, words: &[&str]) -> Run {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(&self.program);
        command.args(words).current_dir(self.dir).env("COSIGN_PASSWORD", "");
        command.env("DOCKER_CONFIG", &self.config).env("XDG_DATA_HOME", self.config.join("share"));
        run(command.env("PATH", format!("{}:{path}", self.dir.join("helpers").display())))
    }

    /// Nobody here has a transparency log.
    fn sign(&self, door: &Door, image: &str, more: &[&str]) -> Run {
        let alone = ["--use-signing-config=false", "--tlog-upload=false"];
        let sign = ["sign", "--yes", "--key=cosign.key"];
        let door = at(door);
        let door: Vec<&str> = door.iter().map(String::as_str).collect();
        let known = self.run(&["sign", "--help"]).stdout;
        // The older one has fewer.
        let alone =
            alone.into_iter().filter(|flag| known.contains(flag.split('=').next().unwrap()));
        self.run(&[&sign[..], &alone.collect::<Vec<_>>(), more, &door, &[image]].concat())
    }

    fn verify(&self, door: &Door, image: &str) -> Run {
        let door = at(door);
        let door: Vec<&str> = door.iter().map(String::as_str).collect();
        let verify = ["verify", "--key=cosign.pub", "--insecure-ignore-tlog=true"];
        self.run(&[&verify[..], &door, &[image]].concat())
    }
}

fn at(door: &Door) -> Vec<String> {
    let Some(place) = &door.certificates else { return vec!["--allow-http-registry".to_owned()] };
    [("cacert", "ca.crt"), ("client-cert", "client.cert"), ("client-key", "client.key")]
        .map(|(flag, file)| format!("--registry-{flag}={}", place.join(file).display()))
        .to_vec()
}

#[test]
fn by_cosign() {
    let sandbox = with_busybox(Client::Ferry);
    let Some(cosign) = Cosign::new(&sandbox) else { return };
    let Some(skopeo) = programs::find("skopeo") else { return };
    for door in doors(sandbox.dir()) {
        let name = door.name;
        // What signs an image is only about the registry: how the image got there is told elsewhere.
        let layout = format!("oci:{}:1", sandbox.dir().join(format!("layout {name}")).display());
        sandbox.ok(&["image", "cp", "-q", "docker-daemon:busybox", &layout]);
        let image = door.image("signed/busybox:1");
        let mut copy = Command::new(&skopeo);
        copy.args(["--insecure-policy", "copy", &layout, &format!("docker://{image}")]);
        match &door.certificates {
            Some(place) => copy.arg("--dest-cert-dir").arg(place),
            None => copy.arg("--dest-tls-verify=false"),
        };
        if let Some((user, password)) = &door.login {
            copy.arg(format!("--dest-creds={user}:{password}"));
        }
        copy.arg(format!("--digestfile={}", sandbox.dir().join("digest").display()));
        run(&mut copy).ok();
        let digest = fs::read_to_string(sandbox.dir().join("digest")).unwrap();
        let exact = door.image(&format!("signed/busybox@{digest}"));
        if let Some((user, password)) = &door.login {
            assert_ne!(cosign.sign(&door, &exact, &[]).code, 0, "{name}: nobody signs");
            if door.certificates.is_some() {
                // Our daemon, which tries the password, is told of certificates for all who run it.
                continue;
            }
            let login = ["login", "-u", user, "--password-stdin", door.host()];
            sandbox.with_input(&login, password.as_bytes()).ok();
            let text = fs::read_to_string(cosign.config.join("config.json")).unwrap();
            assert!(text.contains("\"credHelpers\"") && !text.contains("\"auth\""), "{text}");
        }
        assert_ne!(cosign.verify(&door, &exact).code, 0, "{name}: nobody has signed");
        cosign.sign(&door, &exact, &[]).ok();
        cosign.verify(&door, &exact).ok();
        sandbox.ok(&["logout", door.host()]);
        let seen = cosign.verify(&door, &exact);
        assert_eq!(seen.code == 0, door.login.is_none() || door.anonymous, "{name}: {seen}");
    }
}

/// On a machine whose `/etc/ferry/config.toml` wants signatures. `$2` is the binary, behind it are images to pull.
const PULLS: &str = r#"
cp "$1/cosign.pub" /etc/ferry/
ferry=$2
shift 2
for image; do "$ferry" pull -q "$image" 2>&1 || true; done
"#;

/// Our daemon takes what cosign has signed, in its old form and in its new one, and nothing else.
#[test]
fn a_daemon_takes_what_cosign_signed() {
    let sandbox = with_busybox(Client::Ferry);
    let Some(cosign) = Cosign::new(&sandbox) else { return };
    let registry = FerryRegistry::start(&sandbox.dir().join("signed"), &[]);
    let door = Door { name: "open", registry, login: None, anonymous: false, certificates: None };
    let cosign_3 = cosign.run(&["sign", "--help"]).stdout.contains("--new-bundle-format");
    let forms: &[&[&str]] = match cosign_3 {
        true => &[&["--new-bundle-format=true"], &["--new-bundle-format=false"]],
        false => &[&[]],
    };
    let pushed = |name: &str| {
        let build = format!("FROM busybox\nLABEL name={name}\n");
        let image = door.image(&format!("team/{name}:1"));
        sandbox.with_input(&["build", "-q", "-t", &image, "-"], build.as_bytes()).ok();
        let text = sandbox.ok(&["push", &image]);
        let digest = text.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
        (image, door.image(&format!("team/{name}@{digest}")))
    };
    let mut images = Vec::new();
    for (number, form) in forms.iter().enumerate() {
        let (image, exact) = pushed(&format!("good{number}"));
        cosign.sign(&door, &exact, form).ok();
        images.push(image);
    }
    let good = images.clone();
    // Nobody's, and somebody else's.
    images.push(pushed("unsigned").0);
    let key = sandbox.dir().join("cosign.pub");
    let wanted = fs::read(&key).unwrap();
    for file in ["cosign.pub", "cosign.key"] {
        fs::remove_file(sandbox.dir().join(file)).unwrap();
    }
    cosign.run(&["generate-key-pair"]).ok();
    for (number, form) in forms.iter().enumerate() {
        let (image, exact) = pushed(&format!("other{number}"));
        cosign.sign(&door, &exact, form).ok();
        images.push(image);
    }
    let own = Sandbox::prepared(&[]);
    let machine = own.dir().join("machine");
    fs::create_dir_all(&machine).unwrap();
    fs::write(machine.join("cosign.pub"), wanted).unwrap();
    let daemon =
        serde_json::json!({ "bridge": own.bridge(), "cgroup-parent": own.cgroup_parent() });
    fs::write(machine.join("daemon.json"), daemon.to_string()).unwrap();
    let rule = format!(
        "[[signatures]]\nprefix = \"{}/team\"\nkeys = [\"/etc/ferry/cosign.pub\"]\n",
        door.host()
    );
    fs::write(machine.join("config.toml"), rule).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &[MACHINE, PULLS].concat(),
        "sh",
    ]);
    command.arg(&machine).arg(ferry_testkit::binary()).args(&images);
    command.env_remove("DOCKER_HOST").env_remove("FERRY_HOST");
    let said = run(&mut command).ok();
    for image in &images {
        let came = said.lines().any(|line| line == image);
        assert_eq!(came, good.contains(image), "{image}: {said}");
    }
    let refusals = said.lines().filter(|line| line.contains("sign")).count();
    assert!(refusals >= images.len() - good.len(), "each says why: {said}");
}
