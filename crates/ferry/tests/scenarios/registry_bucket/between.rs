//! What stands between a registry and its bucket, and does harm when it is told to.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// What it does with requests whose first line has a certain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// An error of the server's, and nothing is done.
    Fails(u16, &'static str),
    /// The same, once; then no harm.
    FailsOnce(u16, &'static str),
    /// It is done, but the answer never comes.
    Stalls(&'static str),
    /// Other bytes, as many.
    Lies(&'static str),
    /// The first half of the body, then the connection breaks.
    Breaks(&'static str),
    /// Says that it is one byte more than it is.
    Longer(&'static str),
}

pub(super) struct Between {
    port: u16,
    state: Arc<State>,
}

struct State {
    server: String,
    harm: Mutex<Harm>,
    changed: Condvar,
    seen: Mutex<Vec<String>>,
}

impl Between {
    pub(super) fn start(server: &str) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            server: server.to_owned(),
            harm: Mutex::new(Harm::None),
            changed: Condvar::new(),
            seen: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || drop(state.pass(stream)));
            }
        });
        Between { port, state }
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, harm: Harm) {
        *self.state.harm.lock().unwrap() = harm;
        self.state.changed.notify_all();
    }

    /// How many requests' first lines had all of these texts.
    pub(super) fn seen(&self, texts: &[&str]) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|line| texts.iter().all(|text| line.contains(text))).count()
    }
}

/// A head, without the headers about the connection, and the length of the body.
fn head(reader: &mut impl BufRead) -> std::io::Result<(String, Option<u64>)> {
    let (mut text, mut length) = (String::new(), None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
        if line.trim().is_empty() {
            return Ok((text, length));
        }
        if !lower.starts_with("connection:") && !lower.starts_with("keep-alive:") {
            text.push_str(&line);
        }
    }
}

impl State {
    /// Whether a request is to be harmed.
    fn harm_of(&self, line: &str) -> Harm {
        let mut harm = self.harm.lock().unwrap();
        let about = match &*harm {
            Harm::None => return Harm::None,
            Harm::Fails(_, about)
            | Harm::FailsOnce(_, about)
            | Harm::Stalls(about)
            | Harm::Lies(about)
            | Harm::Breaks(about)
            | Harm::Longer(about) => *about,
        };
        if !line.contains(about) {
            return Harm::None;
        }
        match harm.clone() {
            Harm::FailsOnce(status, about) => {
                *harm = Harm::None;
                Harm::Fails(status, about)
            }
            other => other,
        }
    }

    fn pass(&self, client: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut client = client;
        let (asked, length) = head(&mut reader)?;
        let mut body = vec![0; usize::try_from(length.unwrap_or(0)).unwrap()];
        reader.read_exact(&mut body)?;
        let line = asked.lines().next().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push(line.clone());
        let harm = self.harm_of(&line);
        if let Harm::Fails(status, _) = harm {
            let text = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
            return write!(
                client,
                "HTTP/1.1 {status} No\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
        }
        let mut server = TcpStream::connect(&self.server)?;
        server.write_all(format!("{asked}Connection: close\r\n\r\n").as_bytes())?;
        server.write_all(&body)?;
        let mut reader = BufReader::new(server);
        let (mut answer, length) = head(&mut reader)?;
        let mut body = Vec::new();
        if !line.starts_with("HEAD") {
            let body = &mut body;
            match length {
                Some(length) => reader.take(length).read_to_end(body)?,
                None => reader.read_to_end(body)?,
            };
        }
        match harm {
            Harm::Stalls(_) => {
                let wait = self.changed.wait_timeout_while(
                    self.harm.lock().unwrap(),
                    Duration::from_secs(120),
                    |now| matches!(now, Harm::Stalls(_)),
                );
                drop(wait);
                return Ok(());
            }
            Harm::Lies(_) => body.iter_mut().for_each(|byte| *byte ^= 1),
            Harm::Breaks(_) => body.truncate(body.len().div_ceil(2)),
            Harm::Longer(_) => {
                let own = format!("Content-Length: {}", length.unwrap_or(0));
                let more = format!("Content-Length: {}", length.unwrap_or(0) + 1);
                answer = answer.replace(&own, &more).replace(&own.to_lowercase(), &more);
            }
            Harm::None | Harm::Fails(..) | Harm::FailsOnce(..) => {}
        }
        write!(client, "{answer}Connection: close\r\n\r\n")?;
        client.write_all(&body)
    }
}
