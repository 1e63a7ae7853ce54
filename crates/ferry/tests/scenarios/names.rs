//! Names of containers, looked up in containers: 127.0.0.11 on networks of one's own, nothing on the default bridge.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually};

use crate::{lan, with_busybox};

through_both!(
    names_lead_to_containers,
    links_are_names_for_one,
    the_file_says_who_is_asked,
    internal_networks_ask_nobody_outside,
    several_are_asked_in_turn
);
against_docker!(
    names_lead_to_containers,
    links_are_names_for_one,
    the_file_says_who_is_asked,
    internal_networks_ask_nobody_outside,
    several_are_asked_in_turn
);

pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const AAAA: u16 = 28;

pub(crate) fn network(sandbox: &Sandbox, name: &str, options: &[&str]) {
    sandbox.ok(&[&["network", "create"], options, &[name]].concat());
}

pub(crate) fn sleeper(sandbox: &Sandbox, name: &str, options: &[&str]) {
    sandbox.ok(&[&["run", "-d", "--name", name], options, &["busybox", "sleep", "1000"]].concat());
}

pub(crate) fn ip(sandbox: &Sandbox, name: &str, network: &str) -> String {
    sandbox.inspect(name, &format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"))
}

/// The file of a container's network namespace.
pub(crate) fn namespace(sandbox: &Sandbox, name: &str) -> String {
    format!("/proc/{}/ns/net", sandbox.inspect(name, "{{.State.Pid}}"))
}

/// Does something in the network namespace of a container.
fn inside<T: Send + 'static>(
    sandbox: &Sandbox,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    lan::inside(namespace(sandbox, name), work)
}

/// Asks a name server by TCP; its answer.
pub(crate) fn ask_by_tcp(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, message].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

pub(crate) fn question(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&[kind.to_be_bytes(), 1_u16.to_be_bytes()].concat());
    if let Some(size) = edns {
        let parts = [41_u16.to_be_bytes(), size.to_be_bytes()].concat();
        message.extend_from_slice(&[&[0], parts.as_slice(), &[0; 6]].concat());
    }
    message
}

/// The answer's code, and its records' data.
pub(crate) fn read(answer: &[u8], question: &[u8]) -> (u8, Vec<Vec<u8>>) {
    assert_eq!(answer[..2], question[..2]);
    let asked = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    assert_eq!(answer[12..asked], question[12..asked]);
    let (count, mut at) = (u16::from_be_bytes([answer[6], answer[7]]), asked);
    let mut records = Vec::new();
    for _ in 0..count {
        // The record's name: a reference behind labels, or labels to their end, as Docker writes them.
        while !matches!(answer[at], 0 | 0xc0..) {
            at += 1 + usize::from(answer[at]);
        }
        at -= usize::from(answer[at] == 0);
        let length = usize::from(u16::from_be_bytes([answer[at + 10], answer[at + 11]]));
        records.push(answer[at + 12..at + 12 + length].to_vec());
        at += 12 + length;
    }
    (answer[3] & 0xf, records)
}

pub(crate) fn ask_in(
    sandbox: &Sandbox,
    container: &str,
    name: &str,
    kind: u16,
    edns: Option<u16>,
) -> (u8, Vec<Vec<u8>>, Vec<u8>) {
    let message = question(name, kind, edns);
    let answer = ask_for(sandbox, container, message.clone(), PATIENCE);
    let (code, records) = read(&answer, &message);
    (code, records, answer)
}

/// Longer than servers outside are waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than that: who is answered by then was not kept waiting for anybody.
pub(crate) const UNASKED: Duration = Duration::from_millis(3800);

/// The answer to a message that a container sends.
pub(crate) fn ask_for(
    sandbox: &Sandbox,
    container: &str,
    message: Vec<u8>,
    patience: Duration,
) -> Vec<u8> {
    inside(sandbox, container, move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(patience)).unwrap();
        socket.connect("127.0.0.11:53").unwrap();
        socket.send(&message).unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    })
}

pub(crate) fn addresses(records: &[Vec<u8>]) -> Vec<String> {
    let text = |octet: &u8| octet.to_string();
    records.iter().map(|ip| ip.iter().map(text).collect::<Vec<_>>().join(".")).collect()
}

fn names_lead_to_containers(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "web", &["--network", "back", "--network-alias", "www", "-h", "webhost"]);
    sleeper(&sandbox, "db", &["--network", "back"]);
    let (web, id) = (ip(&sandbox, "web", "back"), sandbox.inspect("web", "{{slice .Id 0 12}}"));
    for name in ["web", "WEB", "www", "webhost", id.as_str(), "web.back"] {
        let (code, records, _) = ask_in(&sandbox, "db", name, A, None);
        assert_eq!((code, addresses(&records)), (0, vec![web.clone()]), "{name}");
        let (code, records, _) = ask_in(&sandbox, "db", name, AAAA, Some(1232));
        assert_eq!((code, records.len()), (0, 0), "{name} has no IPv6 address");
    }
    sandbox.ok(&["exec", "db", "ping", "-c1", "-W2", "web"]);
    // Backwards.
    let octets: Vec<&str> = web.split('.').rev().collect();
    let reverse = format!("{}.in-addr.arpa", octets.join("."));
    let (code, records, _) = ask_in(&sandbox, "db", &reverse, PTR, None);
    assert_eq!((code, records), (0, vec![b"\x03web\x04back\x00".to_vec()]));
    // TCP, and several questions on one connection.
    let message = question("web", A, Some(4096));
    let sent = message.clone();
    let answers = inside(&sandbox, "db", move || {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        (0..3).map(|_| ask_by_tcp(&mut stream, &sent)).collect::<Vec<_>>()
    });
    for answer in answers {
        assert_eq!(addresses(&read(&answer, &message).1), std::slice::from_ref(&web));
        // Docker's daemon answers without it.
        let edns = u8::from(client != Client::FerryOnDocker);
        assert_eq!(answer[11], edns, "EDNS is answered with EDNS");
    }
    // A program may have port 53 of its own.
    inside(&sandbox, "db", || {
        drop((UdpSocket::bind("0.0.0.0:53").unwrap(), TcpListener::bind("0.0.0.0:53").unwrap()));
    });
    sandbox.ok(&["rename", "web", "shop"]);
    assert_eq!(addresses(&ask_in(&sandbox, "db", "shop", A, None).1), [web]);
    sandbox.ok(&["rm", "-f", "shop"]);
    let (code, records, _) = ask_in(&sandbox, "db", "shop", A, None);
    assert!(code != 0 && records.is_empty(), "{code}");
    // The default bridge has no names.
    sleeper(&sandbox, "plain", &[]);
    let hosts = sandbox.ok(&["exec", "plain", "cat", "/etc/resolv.conf"]);
    assert!(!hosts.contains("127.0.0.11"), "{hosts}");
    sandbox.ok(&["network", "connect", "back", "plain"]);
    sandbox.ok(&["exec", "plain", "ping", "-c1", "-W2", "db"]);
    sandbox.run(&["exec", "db", "ping", "-c1", "-W2", "plain"]).ok();
    sandbox.ok(&["network", "disconnect", "back", "plain"]);
    assert_ne!(ask_in(&sandbox, "db", "plain", A, None).0, 0);
}

fn links_are_names_for_one(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "db", &["--network", "back"]);
    sleeper(&sandbox, "web", &["--network", "back", "--link", "db:store"]);
    sleeper(&sandbox, "other", &["--network", "back"]);
    let db = ip(&sandbox, "db", "back");
    assert_eq!(addresses(&ask_in(&sandbox, "web", "store", A, None).1), std::slice::from_ref(&db));
    assert_ne!(ask_in(&sandbox, "other", "store", A, None).0, 0);
    sandbox.ok(&["network", "disconnect", "back", "other"]);
    sandbox.ok(&["network", "connect", "--link", "db:tier", "back", "other"]);
    assert_eq!(addresses(&ask_in(&sandbox, "other", "tier", A, None).1), [db]);
    // The default bridge has files and variables instead.
    sleeper(&sandbox, "old", &["--expose", "80", "-e", "A=b"]);
    let script = "cat /etc/hosts; env | sort";
    let seen = sandbox
        .ok(&["run", "--rm", "--name", "pp", "--link", "old:it", "busybox", "sh", "-c", script]);
    let (old, id) = (ip(&sandbox, "old", "bridge"), sandbox.inspect("old", "{{slice .Id 0 12}}"));
    for line in [
        format!("{old}\tit {id} old"),
        format!("IT_PORT=tcp://{old}:80"),
        format!("IT_PORT_80_TCP_ADDR={old}"),
        "IT_ENV_A=b".to_owned(),
        "IT_NAME=/pp/it".to_owned(),
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
    }
    sandbox.ok(&["stop", "-t", "0", "old"]);
    sandbox
        .run(&["run", "--rm", "--name", "pp", "--link", "old:it", "busybox"])
        .fails(125)
        .says("Cannot link to a non running container: /old AS /pp/it");
    sandbox
        .run(&["run", "--rm", "--link", "nope:it", "busybox"])
        .fails(125)
        .says("could not get container for nope: No such container: nope");
}

fn the_file_says_who_is_asked(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    let file = |options: &[&str]| {
        let words = [
            &["run", "--rm", "--network", "back"],
            options,
            &["busybox", "cat", "/etc/resolv.conf"],
        ];
        sandbox.ok(&words.concat())
    };
    let text = file(&[]);
    assert!(text.contains("nameserver 127.0.0.11") && text.contains("options ndots:0"), "{text}");
    let own = ["--dns", "192.0.2.9", "--dns-search", "a.b", "--dns-option", "ndots:2"];
    let text = file(&own);
    for line in
        ["nameserver 127.0.0.11", "search a.b", "options ndots:2", "# ExtServers: [192.0.2.9]"]
    {
        assert!(text.lines().any(|seen| seen == line), "{line} in {text}");
    }
}

/// A server of the test's own in another container: it is asked from the asking container's network.
fn internal_networks_ask_nobody_outside(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "cell", &["--internal"]);
    sleeper(&sandbox, "alone", &["--network", "cell"]);
    let answer = ask_for(&sandbox, "alone", question("example.org", A, None), UNASKED);
    assert_eq!(answer[3] & 0xf, 2, "SERVFAIL");
    sleeper(&sandbox, "dns", &["--network", "cell"]);
    let address = ip(&sandbox, "dns", "cell");
    let (ready, is_ready) = mpsc::channel();
    let at = address.clone();
    let there = namespace(&sandbox, "dns");
    std::thread::spawn(move || {
        lan::enter(&there);
        let socket = UdpSocket::bind((at.as_str(), 53)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 512];
        for count in 1_u8.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { return };
            let mut answer = buffer[..length].to_vec();
            (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, count]);
            socket.send_to(&answer, from).unwrap();
        }
    });
    is_ready.recv().unwrap();
    sleeper(&sandbox, "asks", &["--network", "cell", "--dns", &address]);
    for count in 1..=3 {
        let (code, records, _) = ask_in(&sandbox, "asks", "example.org", A, None);
        // Asked once, then remembered; Docker's daemon asks each time.
        let count = if client == Client::FerryOnDocker { count } else { 1 };
        assert_eq!((code, addresses(&records)), (0, vec![format!("192.0.2.{count}")]));
    }
    // On a busy machine a question may have been repeated, and counted twice.
    let other = addresses(&ask_in(&sandbox, "asks", "other.org", A, None).1);
    assert!(other.len() == 1 && other != ["192.0.2.1"], "{other:?}");
}

fn several_are_asked_in_turn(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    for name in ["one", "two", "three"] {
        sleeper(&sandbox, name, &["--network", "back", "--network-alias", "service"]);
    }
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let found = addresses(&ask_in(&sandbox, "one", "service", A, None).1);
        assert_eq!(found.len(), 3);
        firsts.insert(found[0].clone());
    }
    assert_eq!(firsts.len(), 3);
}

#[test]
fn names_come_back_after_the_daemon_was_killed() {
    let sandbox = with_busybox(Client::Ferry);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "web", &["--network", "back"]);
    sleeper(&sandbox, "db", &["--network", "back"]);
    let web = ip(&sandbox, "web", "back");
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("names are answered again", || {
        (addresses(&ask_in(&sandbox, "db", "web", A, None).1) == [web.clone()]).then_some(())
    });
    sandbox.ok(&["exec", "db", "ping", "-c1", "-W2", "web"]);
}
