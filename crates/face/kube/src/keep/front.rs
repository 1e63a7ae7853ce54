//! The front of a service: connections and datagrams go to its pods in turn.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ferry_cli::face::{Cli, CliError, Outcome};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket, lookup_host},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// How long a pod may take to take a connection before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a client of UDP is remembered after its last datagram.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Clients of UDP at once.
const MAX_CLIENTS: usize = 4096;

/// Largest datagram.
const DATAGRAM: usize = 65_535;

/// Where a port leads.
#[derive(Debug)]
struct Rule {
    port: u16,
    is_udp: bool,
    targets: Vec<String>,
    sticky: bool,
    next: AtomicUsize,
}

impl Rule {
    /// Reads `80/tcp=web-0:8080,web-1:8080`.
    fn parse(text: &str, sticky: bool) -> Option<Rule> {
        let (here, there) = text.split_once('=')?;
        let (port, protocol) = here.split_once('/')?;
        let targets = there.split(',').map(str::to_owned).collect();
        let (port, is_udp) = (port.parse().ok()?, protocol == "udp");
        Some(Rule { port, is_udp, targets, sticky, next: AtomicUsize::new(0) })
    }

    /// The pods in the order in which this client asks them.
    fn order(&self, client: IpAddr) -> impl Iterator<Item = &str> {
        let first = if self.sticky {
            let mut hasher = DefaultHasher::new();
            client.hash(&mut hasher);
            usize::try_from(hasher.finish() % 65_521).unwrap_or(0)
        } else {
            self.next.fetch_add(1, Ordering::Relaxed)
        };
        let count = self.targets.len();
        (0..count).map(move |index| self.targets[first.wrapping_add(index) % count].as_str())
    }
}

/// Serves until it is killed.
pub(super) async fn serve(cli: &Cli, words: &[&str]) -> Outcome {
    let sticky = words.first() == Some(&"--sticky");
    let rules = if sticky { &words[1..] } else { words };
    let mut all = JoinSet::new();
    for text in rules {
        let rule = Rule::parse(text, sticky);
        let rule = Arc::new(rule.ok_or_else(|| CliError::new(format!("\"{text}\" is no rule")))?);
        let failed =
            |error: std::io::Error| CliError::new(format!("cannot listen for {text}: {error}"));
        // Both families, where there are both.
        let port = rule.port;
        if rule.is_udp {
            let socket = match UdpSocket::bind(("::", port)).await {
                Ok(socket) => socket,
                Err(_) => UdpSocket::bind(("0.0.0.0", port)).await.map_err(failed)?,
            };
            all.spawn(datagrams(Arc::new(socket), rule));
        } else {
            let listener = match TcpListener::bind(("::", port)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(("0.0.0.0", port)).await.map_err(failed)?,
            };
            all.spawn(connections(listener, rule));
        }
        cli.println(text)?;
    }
    while all.join_next().await.is_some() {}
    Ok(1)
}

async fn connections(listener: TcpListener, rule: Arc<Rule>) {
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                let rule = Arc::clone(&rule);
                tokio::spawn(async move { connection(client, from, &rule).await });
            }
            // Too many open files: some will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(mut client: TcpStream, from: SocketAddr, rule: &Rule) {
    for target in rule.order(from.ip()) {
        if let Ok(Ok(mut pod)) = timeout(PATIENCE, TcpStream::connect(target)).await {
            pod.set_nodelay(true).ok();
            client.set_nodelay(true).ok();
            // Whoever ends it: the other side is told.
            copy_bidirectional(&mut client, &mut pod).await.ok();
            return;
        }
    }
}

async fn datagrams(socket: Arc<UdpSocket>, rule: Arc<Rule>) {
    let mut clients: BTreeMap<SocketAddr, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        let bytes = buffer[..count].to_vec();
        let bytes = match clients.get(&from) {
            Some(known) => match known.try_send(bytes) {
                // Full: it is UDP.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => continue,
                Err(mpsc::error::TrySendError::Closed(bytes)) => bytes,
            },
            None => bytes,
        };
        clients.retain(|_, known| !known.is_closed());
        if clients.len() >= MAX_CLIENTS {
            continue;
        }
        let (sender, receiver) = mpsc::channel(64);
        sender.try_send(bytes).ok();
        clients.insert(from, sender);
        tokio::spawn(client(Arc::clone(&socket), from, receiver, Arc::clone(&rule)));
    }
}

/// One client's datagrams, both ways, until it has been silent for long.
async fn client(
    socket: Arc<UdpSocket>,
    from: SocketAddr,
    mut datagrams: mpsc::Receiver<Vec<u8>>,
    rule: Arc<Rule>,
) {
    let mut pod = None;
    for target in rule.order(from.ip()) {
        let Some(address) = lookup_host(target).await.ok().and_then(|mut all| all.next()) else {
            continue;
        };
        let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let Ok(own) = UdpSocket::bind(any).await else { continue };
        if own.connect(address).await.is_ok() {
            pod = Some(own);
            break;
        }
    }
    let Some(pod) = pod else { return };
    let mut buffer = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            bytes = datagrams.recv() => match bytes {
                Some(bytes) => drop(pod.send(&bytes).await),
                None => return,
            },
            count = pod.recv(&mut buffer) => match count {
                Ok(count) => drop(socket.send_to(&buffer[..count], from).await),
                // The pod does not listen.
                Err(_) => return,
            },
            () = tokio::time::sleep(REMEMBERED) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_take_turns_but_for_those_who_stay() {
        let rule = |sticky| Rule::parse("80/tcp=a:1,b:2,c:3", sticky).unwrap();
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let turns = rule(false);
        let firsts: Vec<&str> = (0..4).filter_map(|_| turns.order(ip(1)).next()).collect();
        assert_eq!(firsts, ["a:1", "b:2", "c:3", "a:1"]);
        assert_eq!(turns.order(ip(1)).collect::<Vec<_>>(), ["b:2", "c:3", "a:1"]);
        let sticky = rule(true);
        let first = |last| sticky.order(ip(last)).next();
        assert_eq!(first(1), first(1));
        assert!((2..40).any(|last| first(last) != first(1)), "not all at one pod");
        for wrong in ["", "80=a:1", "x/tcp=a:1", "80/tcp", "99999/tcp=a:1"] {
            assert!(Rule::parse(wrong, false).is_none(), "{wrong}");
        }
    }
}
