//! What is timed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ferry_testkit::{Containerd, CriOptions, Sandbox};

use super::{
    Plan,
    client::{Client, Net, config},
    floor, memory,
};

/// How many times faster than containerd, and mebibytes for a pod.
const WANTED: f64 = 5.0;
const MOST_MEMORY: f64 = 1.5;

/// Between one runtime's pods and the other's: nobody pays for what the other has left the kernel to do.
const QUIET: Duration = Duration::from_millis(200);

/// Containers of one pod in the case of many.
const CROWD: usize = 25;

/// A runtime that is measured.
struct Runtime {
    name: &'static str,
    client: Client,
    daemon: u32,
    logs: PathBuf,
    parent: String,
}

/// A line of the table, in milliseconds; the first is containerd's.
fn line(what: &str, runtimes: &[&Runtime], figures: Vec<Vec<Duration>>) {
    let figures: Vec<f64> = figures.into_iter().map(median).collect();
    print!("{what:36}");
    for (runtime, figure) in runtimes.iter().zip(&figures) {
        print!("  {} {figure:.2} ms", runtime.name);
    }
    for figure in &figures[1..] {
        print!("  {:.1}x", figures[0] / figure);
    }
    println!("  (wanted {WANTED:.0}x)");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Everything, in a directory that goes with it.
pub(super) fn run(ferry: &Path, plan: &Plan) -> Result<(), String> {
    let wanted = fs::canonicalize(ferry).map_err(|why| format!("{}: {why}", ferry.display()))?;
    let told = std::env::var_os("FERRY_BINARY").and_then(|path| fs::canonicalize(path).ok());
    if told.as_ref() != Some(&wanted) {
        return Err(format!("FERRY_BINARY must be {}", wanted.display()));
    }
    let dir = PathBuf::from(format!("/var/tmp/ferry-bench-cri-{}", std::process::id()));
    let made = ["containerd", "logs"].map(|part| fs::create_dir_all(dir.join(part)));
    made.into_iter().collect::<Result<Vec<()>, _>>().map_err(|error| error.to_string())?;
    let measured = measure(&dir, plan);
    drop(fs::remove_dir_all(&dir));
    measured
}

fn measure(dir: &Path, plan: &Plan) -> Result<(), String> {
    let plugins = ferry_testkit::programs::plugins().ok_or("there are no CNI plugins")?;
    let options = CriOptions { plugins: vec![plugins.clone()], ..CriOptions::default() };
    let other = Containerd::start_cri(&dir.join("containerd"), &options);
    let other = other.ok_or("there is no containerd")?;
    // The same list for both, each with addresses of its own.
    let conf = dir.join("conf");
    let own = ferry_testkit::bridge_list("fbcri", &dir.join("ipam"));
    fs::create_dir_all(&conf)
        .and_then(|()| fs::write(conf.join("10.conflist"), own))
        .map_err(words)?;
    let flags = |name: &str, conf: &Path| {
        [
            "--debug=false".to_owned(),
            format!("--cri=unix://{}", dir.join(name).display()),
            format!("--cni-conf-dir={}", conf.display()),
            format!("--cni-bin-dir={}", plugins.display()),
        ]
    };
    let start = |name: &str, conf: &Path| {
        let flags = flags(name, conf);
        let sandbox = Sandbox::start_with(&flags.each_ref().map(String::as_str));
        sandbox.busybox();
        sandbox
    };
    let (cni, bridge) = (start("cni", &conf), start("bridge", &dir.join("none")));
    // One thread: nothing is measured of how a client's threads wake one another.
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = tokio.map_err(words)?.block_on(async {
        let runtime = |name, socket: PathBuf, daemon| {
            let (logs, parent) = (dir.join("logs"), format!("/ferry-bench-cri-{name}"));
            async move {
                let client = Client::connect(&socket).await?;
                Ok::<_, String>(Runtime { name, client, daemon, logs, parent })
            }
        };
        let mut all = [
            runtime("containerd", other.socket(), other.pid()).await?,
            runtime("ferry", dir.join("cni"), cni.daemon_pid()).await?,
            runtime("ferry-bridge", dir.join("bridge"), bridge.daemon_pid()).await?,
        ];
        let measured = cases(&mut all, plan).await;
        // After an error there are pods, and those of containerd go on without it.
        let mut left = Ok(());
        for runtime in &all {
            left = left.and(runtime.clear().await);
        }
        measured.and(left)
    });
    drop(std::process::Command::new("ip").args(["link", "delete", "fbcri"]).status());
    measured
}

fn words(error: std::io::Error) -> String {
    error.to_string()
}

async fn cases(all: &mut [Runtime; 3], plan: &Plan) -> Result<(), String> {
    let wanted = |part: &str| plan.only.is_empty() || plan.only.iter().any(|one| one == part);
    let host = "the same on the machine's network";
    if wanted("starts") {
        starts(&mut all[..], Net::Pod, "pod + container started", plan).await?;
        starts(&mut all[..2], Net::Host, host, plan).await?;
    }
    if wanted("lists") {
        lists(&mut all[..2], plan).await?;
    }
    if wanted("parallel") {
        together(&mut all[..], Net::Pod, &format!("{} pods in parallel", plan.pods), plan).await?;
        together(&mut all[..2], Net::Host, host, plan).await?;
    }
    if wanted("memory") {
        weigh(&mut all[..], plan).await?;
    }
    Ok(())
}

impl Runtime {
    /// A pod with one container that runs.
    async fn full(&self, name: &str, net: Net) -> Result<String, String> {
        let failed = |status: tonic::Status| format!("{}: {}", self.name, status.message());
        let mut client = self.client.clone();
        let config = config(&self.logs, &self.parent, &format!("{}-{name}", self.name), net);
        let pod = client.pod(&config).await.map_err(failed)?;
        let id = client.container(&pod, "main", &config).await.map_err(failed)?;
        client.start(&id).await.map_err(failed)?;
        Ok(pod)
    }

    async fn remove(&self, pods: &[String]) -> Result<(), String> {
        for pod in pods {
            let removed = self.client.clone().remove(pod).await;
            removed.map_err(|status| format!("{}: {}", self.name, status.message()))?;
        }
        Ok(())
    }

    /// Removes whatever pods there are.
    async fn clear(&self) -> Result<(), String> {
        let failed = |status: tonic::Status| format!("{}: {}", self.name, status.message());
        let pods = self.client.clone().pods().await.map_err(failed)?;
        self.remove(&pods).await
    }

    /// All pods at once, each with its container.
    async fn many(&self, count: usize, net: Net) -> Result<Vec<String>, String> {
        let work = (0..count).map(|at| async move { self.full(&format!("p{at}"), net).await });
        let mut pods = Vec::new();
        for done in join(work.collect()).await {
            pods.push(done?);
        }
        Ok(pods)
    }
}

/// Polls all futures until each is done.
async fn join<T>(work: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut work: Vec<_> = work.into_iter().map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, done) in work.iter_mut().filter(|(_, done)| done.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(value) => *done = Some(value),
                std::task::Poll::Pending => waiting = true,
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    work.into_iter().filter_map(|(_, done)| done).collect()
}

async fn starts(all: &mut [Runtime], net: Net, what: &str, plan: &Plan) -> Result<(), String> {
    let mut times = vec![Vec::new(); all.len()];
    for round in 0..=plan.runs {
        for (runtime, times) in all.iter().zip(&mut times) {
            tokio::time::sleep(QUIET).await;
            let begun = Instant::now();
            let pod = runtime.full("one", net).await?;
            if round > 0 {
                times.push(begun.elapsed());
            }
            runtime.remove(&[pod]).await?;
        }
    }
    line(what, &all.iter().collect::<Vec<_>>(), times);
    Ok(())
}

async fn lists(all: &mut [Runtime], plan: &Plan) -> Result<(), String> {
    let mut pods = Vec::new();
    for runtime in all.iter() {
        let failed = |status: tonic::Status| format!("{}: {}", runtime.name, status.message());
        let mut client = runtime.client.clone();
        let mut own = Vec::new();
        for at in 0..plan.containers {
            if at % CROWD == 0 {
                let name = format!("{}-crowd{at}", runtime.name);
                let config = config(&runtime.logs, &runtime.parent, &name, Net::Host);
                own.push((client.pod(&config).await.map_err(failed)?, config));
            }
            let (pod, config) = &own[at / CROWD];
            client.container(pod, &format!("c{at}"), config).await.map_err(failed)?;
        }
        pods.push(own);
    }
    ask(all, plan).await?;
    for (runtime, own) in all.iter().zip(pods) {
        let ids: Vec<String> = own.into_iter().map(|(pod, _)| pod).collect();
        runtime.remove(&ids).await?;
    }
    Ok(())
}

/// Asks for the lists; for as many bytes from somebody who has nothing else to do, too.
async fn ask(all: &[Runtime], plan: &Plan) -> Result<(), String> {
    let mut times = vec![Vec::new(); all.len() + 1];
    let mut work = vec![0; all.len()];
    let mut clients: Vec<Client> = all.iter().map(|runtime| runtime.client.clone()).collect();
    let answer = clients[1].containers().await?;
    let socket = all[1].logs.with_file_name("floor");
    floor::serve(&socket, &answer)?;
    clients.push(Client::connect(&socket).await?);
    let rounds = plan.runs * 10;
    for round in 0..=rounds {
        for (at, (client, times)) in clients.iter_mut().zip(&mut times).enumerate() {
            let daemon = all.get(at).map(|runtime| runtime.daemon);
            let before = daemon.map_or(0, memory::processor_time);
            let begun = Instant::now();
            let answer = client.containers().await;
            if round > 0 {
                times.push(begun.elapsed());
                if let Some(daemon) = daemon {
                    work[at] += memory::processor_time(daemon).saturating_sub(before);
                }
            }
            let count = Client::count(answer?)?;
            if count != plan.containers {
                return Err(format!("{count} containers, and {} wanted", plan.containers));
            }
        }
    }
    let least = median(times.pop().unwrap_or_default());
    let what = format!("ListContainers, {} containers", plan.containers);
    let all: Vec<&Runtime> = all.iter().collect();
    line(&what, &all, times);
    println!("{:36}  {least:.2} ms", format!("the same {} bytes from nobody", answer.len()));
    let each = |work: u64| vec![Duration::from_nanos(work) / u32::try_from(rounds).unwrap_or(1)];
    line("processor time of the daemon for it", &all, work.into_iter().map(each).collect());
    Ok(())
}

async fn together(all: &mut [Runtime], net: Net, what: &str, plan: &Plan) -> Result<(), String> {
    let mut times = vec![Vec::new(); all.len()];
    for round in 0..=3 {
        for (runtime, times) in all.iter().zip(&mut times) {
            tokio::time::sleep(QUIET * 5).await;
            let begun = Instant::now();
            let pods = runtime.many(plan.pods, net).await?;
            if round > 0 {
                times.push(begun.elapsed());
            }
            runtime.remove(&pods).await?;
        }
    }
    line(what, &all.iter().collect::<Vec<_>>(), times);
    Ok(())
}

async fn weigh(all: &mut [Runtime], plan: &Plan) -> Result<(), String> {
    for runtime in all.iter() {
        tokio::time::sleep(QUIET * 5).await;
        let before = memory::processes(runtime.daemon);
        let pods = runtime.many(plan.pods, Net::Pod).await?;
        tokio::time::sleep(QUIET * 5).await;
        let (new, daemon) =
            memory::grown(&before, &memory::processes(runtime.daemon), runtime.daemon);
        runtime.remove(&pods).await?;
        let each = |kilobytes: u64| kilobytes as f64 / 1024.0 / plan.pods as f64;
        println!(
            "{:36}  {} {:.2} MiB in processes of its own, {:.2} MiB more in the daemon (wanted: {MOST_MEMORY} MiB)",
            "memory for a pod with a container",
            runtime.name,
            each(new),
            each(daemon)
        );
    }
    Ok(())
}
