//! Asks a resolver for names as fast as it is told to, from one thread that sends and one that listens, and says how long answers took.

use std::{
    io::ErrorKind,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long the last answers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);
/// Questions on their way at the same time: their numbers have 16 bits.
const NUMBERS: usize = 1 << 16;
/// So many are sent in one go, before the clock is looked at again.
const BURST: u64 = 10;

/// `dns-load RESOLVER NAME RATE SECONDS`: for the benchmark itself, in a container's network namespace.
pub(crate) fn load(arguments: &[String]) -> Result<(), String> {
    let [resolver, name, rate, seconds] = arguments else {
        return Err("dns-load RESOLVER NAME RATE SECONDS".to_owned());
    };
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (rate, seconds) = (number(rate)?.max(1), number(seconds)?);
    let io = |error: std::io::Error| format!("{resolver}: {error}");
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(io)?;
    socket.connect(resolver).map_err(io)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(io)?;
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..NUMBERS).map(|_| AtomicU64::new(0)).collect());
    let begun = Instant::now();
    let listener = {
        let (socket, sent) = (socket.try_clone().map_err(io)?, Arc::clone(&sent));
        thread::spawn(move || listen(&socket, &sent, begun))
    };
    let total = rate * seconds;
    let mut question = question(name);
    for index in 0..total {
        if index % BURST == 0 {
            let due = Duration::from_nanos(index * 1_000_000_000 / rate);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let number = u16::try_from(index % (1 << 16)).unwrap_or_default();
        question[..2].copy_from_slice(&number.to_be_bytes());
        let now = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        sent[usize::from(number)].store(now, Ordering::Relaxed);
        // Full for a moment, or nobody listens: it counts as lost.
        socket.send(&question).ok();
    }
    let asked = begun.elapsed();
    let mut took = listener.join().map_err(|_| "the listener ended")?;
    took.sort_unstable();
    let at = |part: usize| {
        let index = (took.len() * part / 1000).min(took.len().saturating_sub(1));
        took.get(index).map_or(0.0, |nanos| *nanos as f64 / 1e6)
    };
    println!(
        "{} {} {:.0} {:.3} {:.3} {:.3}",
        total,
        took.len(),
        total as f64 / asked.as_secs_f64(),
        at(500),
        at(990),
        at(999)
    );
    Ok(())
}

/// Nanoseconds that answers took.
fn listen(socket: &UdpSocket, sent: &[AtomicU64], begun: Instant) -> Vec<u64> {
    let mut took = Vec::new();
    let mut answer = [0; 1500];
    loop {
        match socket.recv(&mut answer) {
            // With at least one answer.
            Ok(length) if length > 12 && answer[7] > 0 => {
                let number = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
                let now = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                took.push(now.saturating_sub(sent[number].load(Ordering::Relaxed)));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(_) => return took,
        }
    }
}

/// For the IPv4 address of a name.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(63));
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}
