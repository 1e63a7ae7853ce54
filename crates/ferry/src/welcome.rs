//! `ferry welcome`: the web server of the built-in image. It shows where it finds itself: a container.
//!
//! It runs on a root file system that has nothing but this program, so everything comes from `/proc` and `/sys`.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    process::ExitCode,
    time::Duration,
};

/// Longest request line that is read, in bytes.
const MAX_LINE: u64 = 8 << 10;

/// Runs the server on port 80, or with `--show` prints the page as text.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let outcome = match args {
        [] => serve(80),
        [flag] if flag == "--show" => {
            print!("{}", text(&facts(None)));
            Ok(())
        }
        [flag, port] if flag == "--port" => match port.parse() {
            Ok(port) => serve(port),
            Err(_) => Err(io::Error::other(format!("--port {port}: not a port"))),
        },
        _ => Err(io::Error::other("usage: ferry welcome [--show | --port PORT]")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferry welcome: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening on port {}", listener.local_addr()?.port());
    for stream in listener.incoming() {
        // One visitor at a time is enough for a page like this; a slow one does not hold up the others for long.
        if let Err(error) = stream.and_then(answer) {
            eprintln!("a visitor left early: {error}");
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let (visitor, own) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
    let mut reader = BufReader::new(stream.try_clone()?.take(MAX_LINE));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    // The rest of the head is of no interest, but a client that is cut off while it writes sees a reset.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or("/");
    println!("{visitor} {}", line.trim_end());
    let facts = facts(Some(own));
    let (status, kind, body) = match path {
        "/" => ("200 OK", "text/html; charset=utf-8", page(&facts)),
        "/plain" => ("200 OK", "text/plain; charset=utf-8", text(&facts)),
        _ => ("404 Not Found", "text/plain; charset=utf-8", "there is / and /plain\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What the container can see of itself: name and value.
fn facts(own: Option<IpAddr>) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("host name", read("/proc/sys/kernel/hostname")),
        ("address", own.or_else(address).map_or_else(|| "none".to_owned(), |ip| ip.to_string())),
        ("process id", std::process::id().to_string()),
        ("processes in here", processes().to_string()),
    ];
    facts.push(("memory limit", memory_limit()));
    facts.push(("CPU limit", cpu_limit()));
    facts.push(("process limit", process_limit()));
    facts.push(("layers", layers()));
    facts.push(("capabilities", capabilities()));
    facts.push(("seccomp", if status("Seccomp:") == "2" { "filtered" } else { "off" }.to_owned()));
    facts.push(("kernel", read("/proc/sys/kernel/osrelease")));
    facts
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The address from which packets would leave; nothing is sent.
fn address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn processes() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .count()
}

/// The first of these files that can be read: cgroup v2's, then v1's.
fn limit(paths: [&str; 2]) -> String {
    paths.iter().map(|path| read(path)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn memory_limit() -> String {
    let limit = limit(["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]);
    match limit.parse::<u64>() {
        // Without a limit v1 shows the largest multiple of a page.
        Ok(bytes) if bytes < 1 << 60 => format!("{} MiB", bytes >> 20),
        _ => "none".to_owned(),
    }
}

fn cpu_limit() -> String {
    let unified = read("/sys/fs/cgroup/cpu.max");
    let (quota, period) = match unified.split_once(' ') {
        Some((quota, period)) => (quota.to_owned(), period.to_owned()),
        None => (
            read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
            read("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
        ),
    };
    match (quota.parse::<f64>(), period.parse::<f64>()) {
        (Ok(quota), Ok(period)) if quota > 0.0 && period > 0.0 => {
            format!("{:.2} CPUs", quota / period)
        }
        _ => "none".to_owned(),
    }
}

fn process_limit() -> String {
    let limit = limit(["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"]);
    if limit.is_empty() || limit == "max" { "none".to_owned() } else { limit }
}

/// How many directories the root file system is stacked from.
fn layers() -> String {
    let mounts = read("/proc/self/mountinfo");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let options = root.and_then(|line| line.split(" - ").nth(1)).unwrap_or_default();
    let lower: usize = options
        .split([' ', ','])
        .filter_map(|option| {
            option.strip_prefix("lowerdir+=").or_else(|| option.strip_prefix("lowerdir="))
        })
        .map(|directories| directories.split(':').count())
        .sum();
    match lower {
        0 => "unknown".to_owned(),
        1 => "1, and one to write to".to_owned(),
        count => format!("{count}, and one to write to"),
    }
}

fn status(name: &str) -> String {
    let status = read("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

fn capabilities() -> String {
    match u64::from_str_radix(&status("CapEff:"), 16) {
        Ok(mask) => format!("{} of {}", mask.count_ones(), 41),
        Err(_) => "unknown".to_owned(),
    }
}

fn text(facts: &[(&str, String)]) -> String {
    let mut text = "Welcome to Ferry: this comes from inside a container.\n\n".to_owned();
    for (name, value) in facts {
        let _ = writeln!(text, "  {name:18} {value}");
    }
    text
}

fn page(facts: &[(&str, String)]) -> String {
    let rows = facts.iter().fold(String::new(), |mut rows, (name, value)| {
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name),
            escape(value)
        );
        rows
    });
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Welcome to Ferry</title>\n<style>\n\
         body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; color: #1b2733; background: #f6f9fb }}\n\
         h1 {{ font-size: 1.8rem; margin-bottom: .2rem }} p {{ color: #4a5b6b }}\n\
         table {{ border-collapse: collapse; width: 100%; background: #fff; border: 1px solid #d9e2ea; border-radius: 6px }}\n\
         th, td {{ text-align: left; padding: .45rem .8rem; border-top: 1px solid #e7eef3; vertical-align: top }}\n\
         tr:first-child > * {{ border-top: 0 }} th {{ font-weight: 500; color: #4a5b6b; width: 12rem }}\n\
         td {{ font-family: ui-monospace, monospace }} code {{ background: #e7eef3; padding: .1rem .3rem; border-radius: 3px }}\n\
         </style>\n<h1>Welcome to Ferry</h1>\n<p>This page comes from inside a container. What it sees of itself:</p>\n\
         <table>\n{rows}</table>\n<p>Next: <code>ferry logs</code> shows who was here, <code>ferry exec</code> runs something inside, \
         <code>ferry pull nginx</code> brings the next image.</p>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_the_kernel_says() {
        let facts = facts(None);
        let host = read("/proc/sys/kernel/hostname");
        assert!(text(&facts).contains(&host));
        assert!(page(&facts).contains(&format!("<td>{host}</td>")));
        assert_eq!(escape("<a&b>"), "&lt;a&amp;b&gt;");
    }
}
