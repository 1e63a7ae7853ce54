//! Servers outside that 127.0.0.11 asks: several at once, over TCP what is too large for a datagram, and names that search domains complete.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
};

use ferry_testkit::{Client, Sandbox};

use crate::{
    lan,
    names::{
        A, PATIENCE, UNASKED, addresses, ask_by_tcp, ask_for, ip, namespace, network, question,
        read, sleeper,
    },
    with_busybox,
};

through_both!(
    one_that_is_silent_delays_nobody,
    large_answers_come_over_tcp,
    search_domains_complete_names
);
against_docker!(
    one_that_is_silent_delays_nobody,
    large_answers_come_over_tcp,
    search_domains_complete_names
);

/// What a server says to a question, by datagram or not.
type Says = fn(question: &[u8], udp: bool) -> Vec<u8>;

/// A name server on port 53 of a container's only address, until its network is gone. Answers the address.
fn serve(sandbox: &Sandbox, container: &str, network: &str, says: Says) -> String {
    let address = ip(sandbox, container, network);
    let there = namespace(sandbox, container);
    let (ready, is_ready) = mpsc::channel();
    let at = address.clone();
    std::thread::spawn(move || {
        lan::enter(&there);
        let socket = UdpSocket::bind((at.as_str(), 53)).unwrap();
        let listener = TcpListener::bind((at.as_str(), 53)).unwrap();
        ready.send(()).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                answer_stream(stream, says).ok();
            }
        });
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&says(&buffer[..length], true), from).ok();
        }
    });
    is_ready.recv().unwrap();
    address
}

fn answer_stream(mut stream: TcpStream, says: Says) -> std::io::Result<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut question)?;
    let answer = says(&question, false);
    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, answer.as_slice()].concat())
}

/// Where a question's name ends.
fn end_of_name(question: &[u8]) -> usize {
    12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1
}

/// An answer with `count` addresses `192.0.2.…`, and flags in the two bytes that have them.
fn answer(question: &[u8], flags: [u8; 2], count: u8) -> Vec<u8> {
    let mut answer = question[..end_of_name(question) + 4].to_vec();
    // Nothing of EDNS is answered.
    answer[2..4].copy_from_slice(&flags);
    answer[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    for last in 1..=count {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, last]);
    }
    answer
}

/// A response, recursion available.
const FINE: [u8; 2] = [0x81, 0x80];
const TRUNCATED: [u8; 2] = [0x83, 0x80];
const ABSENT: [u8; 2] = [0x81, 0x83];

fn one_that_is_silent_delays_nobody(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "dns", &["--network", "back"]);
    let live = serve(&sandbox, "dns", "back", |question, _| answer(question, FINE, 1));
    // Addresses for documentation: what is sent there is lost.
    let silent = ["--dns", "192.0.2.9", "--dns", "192.0.2.10"];
    let asks = [&["--network", "back"], &silent[..], &["--dns", &live]].concat();
    sleeper(&sandbox, "asks", &asks);
    // Docker asks one after the other, and waits for each.
    let patience = if client == Client::FerryOnDocker { PATIENCE } else { UNASKED };
    let message = question("example.org", A, None);
    let answer = ask_for(&sandbox, "asks", message.clone(), patience);
    let (code, records) = read(&answer, &message);
    assert_eq!((code, addresses(&records)), (0, vec!["192.0.2.1".to_owned()]));
}

fn large_answers_come_over_tcp(client: Client) {
    const MANY: u8 = 200;
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "dns", &["--network", "back"]);
    let live = serve(&sandbox, "dns", "back", |question, udp| match udp {
        true => answer(question, TRUNCATED, 0),
        false => answer(question, FINE, MANY),
    });
    sleeper(&sandbox, "asks", &["--network", "back", "--dns", &live]);
    let message = question("many.example.org", A, None);
    let short = ask_for(&sandbox, "asks", message.clone(), PATIENCE);
    assert_eq!((short[2] & 2, read(&short, &message).1.len()), (2, 0), "it is told to come again");
    let sent = message.clone();
    let whole = lan::inside(namespace(&sandbox, "asks"), move || {
        let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        ask_by_tcp(&mut stream, &sent)
    });
    let (code, records) = read(&whole, &message);
    assert_eq!((code, records.len(), whole[2] & 2), (0, usize::from(MANY), 0));
    assert_eq!(addresses(&records)[usize::from(MANY) - 1], format!("192.0.2.{MANY}"));
}

/// Knows `shop.corp.test` alone, which is the asking container itself.
fn corporate(question: &[u8], _: bool) -> Vec<u8> {
    let end = end_of_name(question);
    let is_address = question[end..end + 2] == A.to_be_bytes();
    match question[12..end].eq_ignore_ascii_case(b"\x04shop\x04corp\x04test\0") {
        true if is_address => {
            let mut answer = answer(question, FINE, 1);
            let start = answer.len() - 4;
            answer[start..].copy_from_slice(&[127, 0, 0, 1]);
            answer
        }
        true => answer(question, FINE, 0),
        false => answer(question, ABSENT, 0),
    }
}

/// The container's own library looks names up here, not the test.
fn search_domains_complete_names(client: Client) {
    let sandbox = with_busybox(client);
    network(&sandbox, "back", &[]);
    sleeper(&sandbox, "dns", &["--network", "back"]);
    let live = serve(&sandbox, "dns", "back", corporate);
    let search = ["--dns-search", "nowhere.test", "--dns-search", "corp.test"];
    let asks = [&["--network", "back", "--dns", &live], &search[..]].concat();
    sleeper(&sandbox, "asks", &asks);
    sleeper(&sandbox, "plain", &["--network", "back", "--dns", &live]);
    let ping = |from: &str, name: &str| {
        sandbox.run(&["exec", from, "ping", "-4", "-c1", "-W2", name]).stdout
    };
    assert!(ping("asks", "shop").contains("127.0.0.1"), "{}", ping("asks", "shop"));
    assert!(ping("plain", "shop.corp.test").contains("127.0.0.1"));
    assert_eq!(ping("plain", "shop"), "", "nobody completes it");
    // Containers are found before what search domains make of their names.
    let dns = ip(&sandbox, "dns", "back");
    assert!(ping("asks", "dns").contains(&dns));
}
