//! `cargo xtask registries`: times `ferry registry serve` beside Debian's docker-registry, in turns, with one client for both.
//!
//! The client is this program: it sends and reads bytes and does nothing else, so that what is timed is the registries.

mod client;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use self::client::Client;

const USAGE: &str = "usage: cargo xtask registries --ferry PROGRAM [--docker-registry PROGRAM] [--runs N] [--dir DIRECTORY]

  e.g. cargo build --release -p ferry && cargo xtask registries --ferry target/release/ferry
  docker-registry is that of Debian's package, by default target/peers/usr/bin/docker-registry (scripts/test.sh unpacks it).
  The directory, by default target/registries, is on the disk that is to be measured; it needs about 4 GB and is removed.";

/// Layers as those of `postgres:16`, compressed, in KiB; nothing in them compresses further.
const LAYERS: [usize; 14] =
    [27_500, 1_120, 4_420, 1_410, 7_860, 1_200, 1, 3, 108_500, 9, 1, 1, 1, 5];
/// Clients that pull at once, tags that are listed, pulls whose memory counts.
const PULLERS: usize = 16;
const TAGS: usize = 10_000;
const HELD: usize = 200;
/// What the issue asks for: ratios to docker-registry, and kilobytes.
const WANTED: [f64; 3] = [1.5, 1.5, 10.0];
const MOST_MEMORY: u64 = 60 << 10;

/// A server that is measured; ends with the program.
struct Server {
    name: &'static str,
    child: Child,
    host: String,
    /// The digest of a large layer that is there.
    layer: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What to measure.
struct Plan {
    ferry: PathBuf,
    docker: PathBuf,
    runs: usize,
    dir: PathBuf,
}

/// Runs everything and prints a table.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let plan = parse(root, arguments)?;
    drop(fs::remove_dir_all(&plan.dir));
    fs::create_dir_all(&plan.dir).map_err(|error| error.to_string())?;
    let measured = measure(&plan);
    drop(fs::remove_dir_all(&plan.dir));
    measured
}

fn parse(root: &Path, arguments: &[String]) -> Result<Plan, String> {
    let mut plan = Plan {
        ferry: PathBuf::new(),
        docker: root.join("target/peers/usr/bin/docker-registry"),
        runs: 5,
        dir: root.join("target/registries"),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        match argument.as_str() {
            "--ferry" => plan.ferry = value.into(),
            "--docker-registry" => plan.docker = value.into(),
            "--runs" => plan.runs = value.parse().map_err(|_| USAGE)?,
            "--dir" => plan.dir = Path::new(value).join("ferry-registries"),
            _ => return Err(USAGE.to_owned()),
        }
    }
    if plan.ferry.as_os_str().is_empty() || plan.runs == 0 {
        Err(USAGE.to_owned())
    } else {
        Ok(plan)
    }
}

fn measure(plan: &Plan) -> Result<(), String> {
    let mut servers = [docker(plan)?, ferry(plan)?];
    let mut pushes = [Vec::new(), Vec::new()];
    let mut pulls = [Vec::new(), Vec::new()];
    for round in 0..=plan.runs {
        // Content that none of them has.
        let layers = fresh(&plan.dir)?;
        for (at, server) in servers.iter_mut().enumerate() {
            let started = Instant::now();
            let manifest = push(&server.host, &layers)?;
            let pushed = started.elapsed();
            let started = Instant::now();
            pull(&server.host, &layers, &manifest)?;
            let pulled = started.elapsed();
            // The largest.
            server.layer = layers[8].0.clone();
            if round > 0 {
                pushes[at].push(pushed);
                pulls[at].push(pulled);
            }
        }
    }
    let mut lists = [Vec::new(), Vec::new()];
    for server in &servers {
        tag(&server.host)?;
    }
    for _ in 0..plan.runs {
        for (server, lists) in servers.iter().zip(&mut lists) {
            lists.push(list(&server.host)?);
        }
    }
    println!("{:32}{:>16}{:>16}{:>9}{:>9}", "", "docker-registry", "ferry", "ratio", "wanted");
    let rows = ["push of a large image", "16 pulls at once", "listing 10,000 tags"];
    for ((name, times), wanted) in rows.into_iter().zip([pushes, pulls, lists]).zip(WANTED) {
        let [docker, ferry] = times.map(median);
        let ratio = docker.as_secs_f64() / ferry.as_secs_f64();
        println!(
            "{name:32}{:>13.1} ms{:>13.1} ms{ratio:>8.1}x{wanted:>8.1}x",
            docker.as_secs_f64() * 1e3,
            ferry.as_secs_f64() * 1e3
        );
    }
    for server in &servers {
        let (before, during) = held(server)?;
        println!(
            "{}: {before} kB before, {during} kB with {HELD} pulls at once (ferry: {MOST_MEMORY} kB at most)",
            server.name
        );
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn started(name: &'static str, host: String, mut command: Command) -> Result<Server, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let server = Server { name, child, host, layer: String::new() };
    for _ in 0..200 {
        if std::net::TcpStream::connect(&server.host).is_ok() {
            return Ok(server);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{name} does not listen on {}", server.host))
}

fn free_port() -> Result<u16, String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn docker(plan: &Plan) -> Result<Server, String> {
    let host = format!("127.0.0.1:{}", free_port()?);
    let data = plan.dir.join("docker");
    let config = plan.dir.join("docker.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
        data.display()
    );
    fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(&plan.docker);
    command.arg("serve").arg(&config);
    started("docker-registry", host, command)
}

fn ferry(plan: &Plan) -> Result<Server, String> {
    let host = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(&plan.ferry);
    command.args(["registry", "serve", "--addr", &host, "--root"]).arg(plan.dir.join("ferry"));
    started("ferry", host, command)
}

/// Digest and content of each layer.
type Layers = Arc<Vec<(String, Vec<u8>)>>;

fn fresh(dir: &Path) -> Result<Layers, String> {
    let random = fs::File::open("/dev/urandom").map_err(|error| error.to_string())?;
    let layers = LAYERS.iter().map(|size| {
        let mut bytes = vec![0; size << 10];
        std::io::Read::read_exact(&mut &random, &mut bytes).map_err(|error| error.to_string())?;
        Ok((sum(dir, &bytes)?, bytes))
    });
    layers.collect::<Result<Vec<_>, String>>().map(Arc::new)
}

fn sum(dir: &Path, bytes: &[u8]) -> Result<String, String> {
    let path = dir.join("content");
    fs::write(&path, bytes).map_err(|error| error.to_string())?;
    let output =
        Command::new("sha256sum").arg(&path).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(format!("sha256:{}", text.split(' ').next().unwrap_or_default()))
}

/// As docker does it: five layers at once, each in one PATCH, then the manifest.
fn push(host: &str, layers: &Layers) -> Result<String, String> {
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let workers: Vec<_> = (0..5)
        .map(|_| {
            let (host, layers, next) = (host.to_owned(), Arc::clone(layers), Arc::clone(&next));
            thread::spawn(move || {
                let mut client = Client::new(&host);
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some((digest, bytes)) = layers.get(at) else { return Ok::<(), String>(()) };
                    client.push_blob("bench/image", digest, bytes)?;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a pusher panicked")??;
    }
    let list: Vec<serde_json::Value> = layers
        .iter()
        .map(|(digest, bytes)| serde_json::json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": bytes.len() }))
        .collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": client::MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": layers[13].0, "size": layers[13].1.len() },
        "layers": list,
    });
    let text = manifest.to_string();
    Client::new(host).put_manifest("bench/image", "latest", &text)?;
    Ok(text)
}

/// All of the image, by several clients at once.
fn pull(host: &str, layers: &Layers, manifest: &str) -> Result<(), String> {
    let workers: Vec<_> = (0..PULLERS)
        .map(|_| {
            let (host, layers, length) = (host.to_owned(), Arc::clone(layers), manifest.len());
            thread::spawn(move || {
                let mut client = Client::new(&host);
                let path = "/v2/bench/image/manifests/latest";
                if client.get(path)? != length {
                    return Err("another manifest came".to_owned());
                }
                for (digest, bytes) in layers.iter() {
                    let read = client.get(&format!("/v2/bench/image/blobs/{digest}"))?;
                    if read != bytes.len() {
                        return Err(format!("{read} bytes of {} came", bytes.len()));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a puller panicked")??;
    }
    Ok(())
}

fn tag(host: &str) -> Result<(), String> {
    let mut client = Client::new(host);
    let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    client.push_blob("bench/tags", empty, b"{}")?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": client::MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": empty, "size": 2 },
        "layers": [],
    });
    let text = manifest.to_string();
    for number in 0..TAGS {
        client.put_manifest("bench/tags", &format!("v{number}"), &text)?;
    }
    Ok(())
}

/// Lists all tags, page by page where there are pages.
fn list(host: &str) -> Result<Duration, String> {
    let mut client = Client::new(host);
    let started = Instant::now();
    let mut path = Some(format!("/v2/bench/tags/tags/list?n={TAGS}"));
    let mut found = 0;
    while let Some(at) = path {
        let (text, next) = client.text(&at)?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| error.to_string())?;
        found += json["tags"].as_array().map_or(0, Vec::len);
        path = next;
    }
    let took = started.elapsed();
    if found == TAGS { Ok(took) } else { Err(format!("{found} tags were listed")) }
}

/// Memory before and while many clients are in the middle of a large layer.
fn held(server: &Server) -> Result<(u64, u64), String> {
    let before = resident(server.child.id())?;
    let (begun, end) = (Arc::new(Barrier::new(HELD + 1)), Arc::new(Barrier::new(HELD + 1)));
    let path = format!("/v2/bench/image/blobs/{}", server.layer);
    let workers: Vec<_> = (0..HELD)
        .map(|_| {
            let (begun, end) = (Arc::clone(&begun), Arc::clone(&end));
            let (host, path) = (server.host.clone(), path.clone());
            thread::spawn(move || {
                let mut client = Client::new(&host);
                let read = client.get_some(&path, 1 << 20);
                begun.wait();
                end.wait();
                read
            })
        })
        .collect();
    begun.wait();
    // What was freed meanwhile counts as long as the process has it.
    thread::sleep(Duration::from_millis(500));
    let during = resident(server.child.id());
    end.wait();
    for worker in workers {
        worker.join().map_err(|_| "a puller panicked")??;
    }
    Ok((before, during?))
}

fn resident(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).ok_or_else(|| format!("{path} has no VmRSS"))
}
