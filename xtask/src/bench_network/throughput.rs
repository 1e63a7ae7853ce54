//! What goes through a published port, and from container to container, in rounds: whatever else the machine does meets all engines.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::{Engine, Options, line, sleeper};

/// Odd, for a median that was measured.
const ROUNDS: usize = 5;
/// The first engine's port of the host.
const FIRST_PORT: usize = 25_201;

/// A process that ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Two containers of an engine, and iperf3 that serves in the network of one of them.
struct Pair<'a> {
    engine: &'a Engine,
    containers: Vec<String>,
    /// Where the server is published.
    port: String,
    /// The server's own address.
    address: String,
    /// The process of the other container.
    client: i64,
    _serving: Option<Server>,
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        for id in &self.containers {
            self.engine.remove(id);
        }
    }
}

impl Pair<'_> {
    fn start(engine: &Engine, port: usize) -> Result<Pair<'_>, String> {
        let (containers, port) = (Vec::new(), port.to_string());
        let (address, client) = (String::new(), 0);
        let mut pair = Pair { engine, containers, port, address, client, _serving: None };
        let mut body = sleeper();
        body["ExposedPorts"]["5201/tcp"] = json!({});
        body["HostConfig"]["PortBindings"]["5201/tcp"] = json!([{"HostPort": pair.port}]);
        for (name, body) in [("ferry-bench-server", body), ("ferry-bench-client", sleeper())] {
            let id = engine.container(name, body)?;
            pair.containers.push(id.clone());
            engine.start(&id)?;
        }
        let (server, address) = engine.place(&pair.containers[0], "bridge")?;
        (pair.client, _) = engine.place(&pair.containers[1], "bridge")?;
        pair.address = address;
        let mut serve = inside(server, &["-s"]);
        let serving = serve.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        pair._serving = Some(Server(serving.map_err(|error| format!("iperf3: {error}"))?));
        Ok(pair)
    }

    /// Gigabits a second from the host through the published port, and from the client.
    fn measure(&self, seconds: &str) -> Result<[f64; 2], String> {
        let flags = ["-t", seconds, "-J"];
        let mut own = Command::new("iperf3");
        own.args(["-c", "127.0.0.1", "-p", &self.port]).args(flags);
        let first = gigabits(&mut own)?;
        let second = gigabits(inside(self.client, &["-c", &self.address]).args(flags))?;
        Ok([first, second])
    }
}

/// iperf3 of this machine in the network of a container's process.
fn inside(pid: i64, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "iperf3"]).args(words);
    command
}

fn gigabits(command: &mut Command) -> Result<f64, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("iperf3: {error}"))?;
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let bits = shown["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.map(|bits| bits / 1e9).ok_or_else(|| format!("iperf3: {}", shown["error"]))
}

pub(super) fn case(options: &Options) -> Result<(), String> {
    let pairs = options.engines.iter().zip(FIRST_PORT..);
    let pairs: Vec<Pair<'_>> =
        pairs.map(|(engine, port)| Pair::start(engine, port)).collect::<Result<_, _>>()?;
    thread::sleep(Duration::from_secs(1));
    let seconds = options.seconds.to_string();
    let mut seen = vec![[const { Vec::new() }; 2]; pairs.len()];
    for round in 0..ROUNDS {
        // Nobody is always the first.
        for turn in 0..pairs.len() {
            let at = (round + turn) % pairs.len();
            for (figures, figure) in seen[at].iter_mut().zip(pairs[at].measure(&seconds)?) {
                figures.push(figure);
            }
        }
    }
    for (way, what) in ["host to published port", "container to container"].iter().enumerate() {
        let figures: Vec<f64> = seen.iter_mut().map(|seen| median(&mut seen[way])).collect();
        line(what, "Gbit/s", &options.engines, &figures, true);
        for (engine, seen) in options.engines.iter().zip(&seen) {
            println!(
                "{:28}  {} from {:.2} to {:.2}",
                "",
                engine.name,
                seen[way][0],
                seen[way][ROUNDS - 1]
            );
        }
    }
    Ok(())
}

/// The one in the middle; all are in order afterwards.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
