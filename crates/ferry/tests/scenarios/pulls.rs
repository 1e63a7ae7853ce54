//! Pulls that are cut short.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ferry_testkit::{Client, Registry, RegistryOptions, eventually};

use crate::with_busybox;

through_both!(goes_on_where_the_killed_daemon_stopped);

/// A road to a registry that lets only so many bytes through until it is opened.
struct Toll {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Bytes that went to the client.
    passed: AtomicU64,
    open: AtomicBool,
    /// A part of something was asked for.
    ranges: AtomicBool,
}

impl Toll {
    fn new(registry: &str, allowed: u64) -> Toll {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (counts, registry) = (Arc::clone(&shared), registry.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let server = TcpStream::connect(&registry).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let asks = Arc::clone(&counts);
                std::thread::spawn(move || requests(from, to, &asks));
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || answers(server, client, &counts, allowed));
            }
        });
        Toll { port, shared }
    }

    fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

fn requests(mut client: TcpStream, mut server: TcpStream, shared: &Shared) {
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..count]).to_ascii_lowercase();
        if text.contains("\r\nrange: bytes=") {
            shared.ranges.store(true, Ordering::SeqCst);
        }
        if server.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
}

fn answers(mut server: TcpStream, mut client: TcpStream, shared: &Shared, allowed: u64) {
    let mut buffer = [0; 65536];
    while let Ok(count @ 1..) = server.read(&mut buffer) {
        while !shared.open.load(Ordering::SeqCst) && shared.passed.load(Ordering::SeqCst) > allowed
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        shared.passed.fetch_add(count as u64, Ordering::SeqCst);
        if client.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
}

/// The daemon is killed in the middle of a layer; the next one fetches the rest of it, and nothing that was there already.
fn goes_on_where_the_killed_daemon_stopped(client: Client) {
    const LAYER: u64 = 24_000_000;
    let sandbox = with_busybox(client);
    let Some(registry) = Registry::start(sandbox.dir(), &RegistryOptions::default()) else {
        return;
    };
    let script = format!("head -c {LAYER} /dev/urandom > /noise; sha256sum < /noise > /sum");
    sandbox.ok(&["run", "--name", "maker", "busybox", "sh", "-c", &script]);
    let direct = format!("{}/large:1", registry.host());
    sandbox.ok(&["commit", "maker", &direct]);
    sandbox.ok(&["push", "-q", &direct]);
    sandbox.ok(&["rm", "maker"]);
    sandbox.ok(&["rmi", &direct, "busybox"]);
    let toll = Toll::new(&registry.host(), LAYER / 2);
    let image = format!("127.0.0.1:{}/large:1", toll.port);
    let mut pull = sandbox.command(&["pull", &image]).spawn().unwrap();
    let partial = || {
        let files = std::fs::read_dir(sandbox.data().join("ingest")).ok()?.flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).max()
    };
    eventually("half of the layer is there", || partial().filter(|length| *length > LAYER / 3));
    sandbox.kill_daemon();
    assert!(!pull.wait().unwrap().success(), "its daemon was killed");
    let kept = partial().unwrap();
    let before = toll.passed();
    toll.shared.open.store(true, Ordering::SeqCst);
    sandbox.start_daemon(None);
    sandbox.ok(&["pull", "-q", &image]);
    let fetched = toll.passed() - before;
    assert!(toll.shared.ranges.load(Ordering::SeqCst), "the rest was asked for");
    assert!(fetched < LAYER - kept + 4_000_000, "{fetched} bytes came, {kept} were there");
    sandbox.ok(&["run", "--rm", &image, "sh", "-c", "sha256sum < /noise | cmp - /sum"]);
}
