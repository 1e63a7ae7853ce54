//! docker-py, from PyPI, as a client: one script for each kind of resource. `FERRY_TEST_PYTHON` names a Python that has the package
//! `docker`; else the one that `scripts/test.sh` makes, or `python3`.

use std::{path::PathBuf, process::Command};

use ferry_testkit::{Client, Sandbox, programs, run};

use crate::with_busybox;

/// A Python with the package. `None` after a line that says what is missing.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("FERRY_TEST_PYTHON").map(PathBuf::from);
    let made = || programs::made("python/bin/python");
    let python = named.or_else(made).or_else(|| programs::find("python3"))?;
    let found = Command::new(&python).args(["-c", "import docker"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    programs::may_be_missing("docker-py");
    eprintln!("SKIPPED: the package docker is not installed for {}", python.display());
    None
}

/// Runs a script whose `client` is docker-py's, and whose `low` is its lower half.
fn script(sandbox: &Sandbox, text: &str) {
    let Some(python) = python() else { return };
    let head = "import docker, io, tarfile, time, threading\nfrom docker.errors import NotFound, APIError, ContainerError, ImageNotFound\nclient = docker.from_env(timeout=60)\nlow = client.api\n";
    let mut command = Command::new(python);
    command
        .args(["-c", &format!("{head}{text}\nprint('all is well')")])
        .env("DOCKER_HOST", sandbox.host());
    assert_eq!(run(&mut command).ok().lines().last(), Some("all is well"));
}

#[test]
fn system() {
    let sandbox = with_busybox(Client::Ferry);
    script(
        &sandbox,
        r#"
assert client.ping()
assert client.version()["ApiVersion"] == low.version()["ApiVersion"]
info = client.info()
assert info["Driver"] == "overlay2" and info["OSType"] == "linux"
assert set(client.df()) >= {"Images", "Containers", "Volumes", "BuildCache"}
events = client.events(decode=True, filters={"type": "container"})
got = []
thread = threading.Thread(target=lambda: [got.append(e["Action"]) or (e["Action"] == "destroy" and events.close()) for e in events])
thread.start(); time.sleep(0.3)
client.containers.run("busybox", "true", remove=True)
thread.join(20)
assert [a for a in got if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"], got
"#,
    );
}

#[test]
fn containers() {
    let sandbox = with_busybox(Client::Ferry);
    script(
        &sandbox,
        r#"
assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
try:
    client.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'", remove=True); assert False
except ContainerError as error:
    assert error.exit_status == 3 and error.stderr == b"bad\n"
c = client.containers.run("busybox", ["sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done"], detach=True, name="daemon",
    labels={"a": "b"}, environment={"X": "1"}, mem_limit="64m", nano_cpus=500000000, cap_drop=["ALL"], cap_add=["CHOWN"],
    tmpfs={"/t": "size=1m"}, extra_hosts={"there": "192.0.2.1"}, hostname="host", working_dir="/tmp", init=False, shm_size="8m",
    ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)], restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
    healthcheck={"test": ["CMD", "true"], "interval": 500000000}, sysctls={"net.core.somaxconn": "99"}, read_only=True)
while c.logs() != b"up\n": time.sleep(0.05)
assert c.status in ("created", "running") and client.containers.get("daemon").id == c.id
assert [x.name for x in client.containers.list(filters={"label": "a=b"})] == ["daemon"]
assert c.attrs["HostConfig"]["Memory"] == 64 << 20
code, output = c.exec_run("sh -c 'echo $X; hostname; pwd; ulimit -n; cat /proc/sys/net/core/somaxconn'")
assert (code, output) == (0, b"1\nhost\n/tmp\n100\n99\n"), output
code, (out, err) = c.exec_run("sh -c 'echo o; echo e >&2'", demux=True)
assert (out, err) == (b"o\n", b"e\n")
assert c.exec_run("true", user="nobody").exit_code == 0
assert c.top()["Processes"]
assert c.stats(stream=False)["memory_stats"]["limit"] == 64 << 20
assert next(c.stats(decode=True))["name"] == "/daemon"
c.pause(); c.reload(); assert c.status == "paused"
c.unpause(); c.rename("renamed"); c.reload(); assert c.name == "renamed"
c.update(mem_limit="32m", memswap_limit="64m")
c.resize(height=10, width=20)
c.kill("SIGTERM"); assert c.wait()["StatusCode"] == 7
c.restart(timeout=1); c.stop(timeout=1); c.start(); c.kill()
c.wait(); c.remove(); assert client.containers.list(all=True) == []
try:
    client.containers.get("daemon"); assert False
except NotFound: pass
client.containers.prune()
"#,
    );
}

#[test]
fn streams_and_archives() {
    let sandbox = with_busybox(Client::Ferry);
    script(
        &sandbox,
        r#"
c = client.containers.create("busybox", ["cat"], stdin_open=True)
c.start()
socket = c.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
socket._sock.sendall(b"typed\n")
head = socket._sock.recv(8)
assert head[0] == 1 and head[7] == 6, head
assert socket._sock.recv(6) == b"typed\n"
socket.close(); c.kill(); c.wait()
c.remove()
c = client.containers.create("busybox", ["sh", "-c", "echo one; sleep 0.2; echo two"])
stream = c.attach(stream=True, logs=True); c.start()
assert b"".join(stream) == b"one\ntwo\n"
assert list(c.logs(stream=True, follow=True)) == [b"one\n", b"two\n"]
assert c.logs(tail=1) == b"two\n" and c.logs(timestamps=True).startswith(b"20")
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    entry = tarfile.TarInfo("file"); entry.size = 3; archive.addfile(entry, io.BytesIO(b"abc"))
assert c.put_archive("/tmp", tar.getvalue())
chunks, stat = c.get_archive("/tmp/file")
assert stat["name"] == "file" and stat["size"] == 3
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
    assert archive.extractfile("file").read() == b"abc"
assert {"Path": "/tmp/file", "Kind": 1} in c.diff()
with tarfile.open(fileobj=io.BytesIO(b"".join(c.export()))) as archive:
    assert "tmp/file" in archive.getnames()
image = c.commit("made", "v1", changes=["ENV Y=2"])
assert "made:v1" in image.tags and "Y=2" in image.attrs["Config"]["Env"]
assert client.containers.run("made:v1", "cat /tmp/file", remove=True) == b"abc"
c.remove(); client.images.remove("made:v1")
"#,
    );
}

#[test]
fn images() {
    let sandbox = with_busybox(Client::Ferry);
    script(
        &sandbox,
        r#"
image = client.images.get("busybox")
assert image.tags == ["busybox:latest"] and image.history()
assert image.tag("other", "v2") and client.images.get("other:v2").id == image.id
image.reload()
data = b"".join(image.save(named="other:v2"))
client.images.remove("other:v2")
[loaded] = client.images.load(data)
assert loaded.id == image.id and "other:v2" in loaded.tags
assert [i.id for i in client.images.list(name="other")] == [image.id]
assert client.images.list(filters={"dangling": True}) == []
built, log = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo x > /made\nLABEL who=me\nCMD [\"cat\", \"/made\"]\n"), tag="built", rm=True)
assert built.labels == {"who": "me"} and any("Step 1/4" in line.get("stream", "") for line in log)
assert client.containers.run("built", remove=True) == b"x\n"
client.images.remove("built"); client.images.remove("other:v2")
client.images.prune()
try:
    client.images.get("nosuch"); assert False
except ImageNotFound: pass
try:
    client.images.remove("nosuch"); assert False
except ImageNotFound: pass
"#,
    );
}

#[test]
fn networks_and_volumes() {
    let sandbox = with_busybox(Client::Ferry);
    script(
        &sandbox,
        r#"
pool = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.222.33.0/24", gateway="10.222.33.9")])
network = client.networks.create("pynet", driver="bridge", ipam=pool, labels={"n": "1"}, internal=True, check_duplicate=True)
assert network.name == "pynet" and client.networks.list(names=["pynet"])[0].id == network.id
c = client.containers.run("busybox", "sleep 1000", detach=True, name="peer")
network.connect(c, aliases=["alias"], ipv4_address="10.222.33.44")
network.reload(); assert [x.name for x in network.containers] == ["peer"]
c.reload(); assert c.attrs["NetworkSettings"]["Networks"]["pynet"]["IPAddress"] == "10.222.33.44"
assert b"10.222.33.44" in client.containers.run("busybox", "nslookup alias", network="pynet", remove=True)
network.disconnect(c); c.remove(force=True); network.remove()
assert client.networks.list(names=["pynet"]) == []
client.networks.prune()
volume = client.volumes.create("pyvol", labels={"v": "1"})
assert volume.name == "pyvol" and [v.name for v in client.volumes.list(filters={"label": "v=1"})] == ["pyvol"]
mount = docker.types.Mount("/data", "pyvol")
client.containers.run("busybox", "touch /data/x", mounts=[mount], remove=True)
assert client.containers.run("busybox", "ls /data", volumes={"pyvol": {"bind": "/data", "mode": "ro"}}, remove=True) == b"x\n"
volume.remove(); client.volumes.prune()
try:
    client.volumes.get("pyvol"); assert False
except NotFound: pass
assert client.plugins.list() == []
for call in (client.swarm.init, client.services.list, client.nodes.list, client.secrets.list, client.configs.list):
    try:
        call(); assert False, call
    except APIError as error:
        assert error.status_code in (501, 503), error
"#,
    );
}
