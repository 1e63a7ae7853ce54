//! Containers by name on their host: the proxy, its authority, the resolver. Beyond Docker.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use ferry_testkit::{Sandbox, eventually, free_port, programs, run};

/// A daemon that serves names, and the ports of its proxy (without and with TLS) and resolver.
fn with_names() -> (Sandbox, [u16; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let [http, https, dns] = ports.map(|port| format!("127.0.0.1:{port}"));
    let flags = ["--names", "--names-http", &http, "--names-https", &https, "--names-dns", &dns];
    let sandbox = Sandbox::start_with(&flags);
    sandbox.busybox();
    (sandbox, ports)
}

/// Sends a whole request and reads all of the answer.
fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(port: u16, host: &str) -> String {
    ask(port, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// Starts a web server on port 80 that says one line, as a service of a project.
fn service(sandbox: &Sandbox, project: &str, service: &str, says: &str) {
    let name = format!("{project}-{service}-1");
    let project = format!("com.docker.compose.project={project}");
    let label = format!("com.docker.compose.service={service}");
    let script =
        format!("mkdir /www && echo {says} >/www/index.html && exec httpd -f -p 80 -h /www");
    sandbox.ok(&[
        "run", "-d", "--name", &name, "--label", &project, "--label", &label, "busybox", "sh",
        "-c", &script,
    ]);
}

#[test]
fn a_project_answers_by_name() {
    let (sandbox, [http, https, dns]) = with_names();
    service(&sandbox, "shop", "web", "from-the-shop");
    service(&sandbox, "blog", "web", "from-the-blog");
    // Both have port 80, and neither is published.
    for (host, says) in
        [("web.shop.localhost", "from-the-shop"), ("Web.Blog.localhost.", "from-the-blog")]
    {
        let answer = eventually("the container answers", || {
            Some(get(http, host)).filter(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        assert!(answer.trim_end().ends_with(says), "{answer}");
    }

    let unknown = get(http, "wb.shop.localhost");
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert!(unknown.contains(&format!("  http://web.shop.localhost:{http}/\n")), "{unknown}");
    let foreign = get(http, "evil.example");
    assert!(foreign.starts_with("HTTP/1.1 404") && !foreign.contains("shop"), "{foreign}");
    assert!(ask(http, "GET / HTTP/1.0\r\n\r\n").contains(" 400 Bad Request\r\n"));

    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "mute",
        "--label",
        "ferry.port=81",
        "busybox",
        "sleep",
        "1000",
    ]);
    let mute = get(http, "mute.localhost");
    assert!(mute.starts_with("HTTP/1.1 502"), "{mute}");
    assert!(
        mute.contains("container mute does not answer at") && mute.contains("refused"),
        "{mute}"
    );
    sandbox.ok(&["stop", "-t", "0", "mute"]);
    let ended = get(http, "mute.localhost");
    assert!(
        ended.starts_with("HTTP/1.1 502") && ended.contains("container mute is exited"),
        "{ended}"
    );

    let address = sandbox.inspect("shop-web-1", "{{.NetworkSettings.IPAddress}}");
    let table = sandbox.ok(&["names"]);
    let line = table.lines().find(|line| line.starts_with("web.shop.localhost ")).unwrap();
    assert!(line.ends_with(&format!("shop-web-1   {address}:80")), "{table}");
    assert!(table.contains(&format!("HTTP: 127.0.0.1:{http}\n")), "{table}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.ok(&["names", "--format", "json"])).unwrap();
    assert_eq!(json["Names"].as_array().unwrap().len(), 3);
    let authority = json["Authority"].as_str().unwrap();
    assert_eq!(
        sandbox.ok(&["names", "--ca"]),
        std::fs::read_to_string(authority).unwrap().trim_end()
    );

    resolver(dns);
    tls(&sandbox, https);
}

/// A question for the address of a name.
fn question(name: &str) -> Vec<u8> {
    let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message
}

fn resolver(port: u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    let mut reply = [0; 512];
    socket.send(&question("web.shop.localhost")).unwrap();
    let length = socket.recv(&mut reply).unwrap();
    assert!(reply[..length].ends_with(&[127, 0, 0, 1]));
    socket.send(&question("example.org")).unwrap();
    let length = socket.recv(&mut reply).unwrap();
    assert_eq!((length > 12, reply[3] & 15), (true, 5), "refused");

    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let asked = question("web.shop.localhost");
    stream.write_all(&u16::try_from(asked.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&asked).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply.ends_with(&[127, 0, 0, 1]));
}

/// curl believes the proxy with our authority, and not without.
fn tls(sandbox: &Sandbox, port: u16) {
    let Some(curl) = programs::find("curl") else { return programs::may_be_missing("curl") };
    let authority = sandbox.dir().join("ca.crt");
    std::fs::write(&authority, sandbox.ok(&["names", "--ca"])).unwrap();
    let ask = |flags: &[&str]| {
        let url = format!("https://web.shop.localhost:{port}/");
        let to = format!("web.shop.localhost:{port}:127.0.0.1");
        run(Command::new(&curl)
            .args(["-sS", "--noproxy", "*", "--resolve", &to])
            .args(flags)
            .arg(url))
    };
    assert_eq!(ask(&["--cacert", authority.to_str().unwrap()]).ok().trim(), "from-the-shop");
    assert_ne!(ask(&[]).code, 0);
}

/// Reads a request's head.
fn head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "ended in the head: {head:?}");
    }
    head
}

/// A container with the host's network leads to a server of this test's own, which sees what arrives.
#[test]
fn connections_go_on_and_change_to_other_protocols() {
    let (sandbox, [http, ..]) = with_names();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("ferry.port={}", server.local_addr().unwrap().port());
    let args = ["run", "-d", "--name", "app", "--network", "host", "--label", &port, "busybox"];
    sandbox.ok(&[&args[..], &["sleep", "1000"]].concat());
    let client = TcpStream::connect(("127.0.0.1", http)).unwrap();
    let mut from_proxy = BufReader::new(client.try_clone().unwrap());

    // A body that is sent piece by piece, over a connection that is kept.
    (&client).write_all(b"POST /a?b=c HTTP/1.1\r\nHost: app.localhost\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: keep-alive, X-Own\r\nX-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n").unwrap();
    let (stream, _) = server.accept().unwrap();
    let mut from_there = BufReader::new(stream.try_clone().unwrap());
    let seen = head(&mut from_there).to_ascii_lowercase();
    assert!(seen.starts_with("post /a?b=c http/1.1\r\n"), "{seen}");
    for header in [
        "host: app.localhost".to_owned(),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-host: app.localhost".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        format!("x-forwarded-port: {http}"),
    ] {
        assert!(seen.contains(&format!("\r\n{header}\r\n")), "{header}: {seen}");
    }
    assert!(!seen.contains("x-own") && !seen.contains("1.2.3.4"), "{seen}");
    let mut body = [0; 14];
    from_there.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"4\r\nbody\r\n0\r\n\r\n");
    (&stream).write_all(b"HTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nok").unwrap();
    let answer = head(&mut from_proxy);
    assert!(answer.starts_with("HTTP/1.1 201") && !answer.contains("close"), "{answer}");
    let mut body = [0; 2];
    from_proxy.read_exact(&mut body).unwrap();
    assert_eq!(&body, b"ok");
    (&client).write_all(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n").unwrap();
    assert!(head(&mut from_proxy).starts_with("HTTP/1.1 404"), "the connection goes on");

    let client = TcpStream::connect(("127.0.0.1", http)).unwrap();
    let mut from_proxy = BufReader::new(client.try_clone().unwrap());
    (&client).write_all(b"GET /ws HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n").unwrap();
    let (stream, _) = server.accept().unwrap();
    let mut from_there = BufReader::new(stream.try_clone().unwrap());
    let seen = head(&mut from_there).to_ascii_lowercase();
    assert!(
        seen.contains("\r\nupgrade: websocket\r\n") && seen.contains("sec-websocket-key: k"),
        "{seen}"
    );
    (&stream).write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nhello").unwrap();
    let answer = head(&mut from_proxy).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(
        answer.contains("\r\nupgrade: websocket\r\n") && answer.contains("sec-websocket-accept: a"),
        "{answer}"
    );
    let mut hello = [0; 5];
    from_proxy.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    (&client).write_all(b"there").unwrap();
    from_there.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"there");
    drop((stream, from_there));
    assert_eq!(from_proxy.read(&mut hello).unwrap(), 0, "an end is an end for both");

    // A request that a container sends back to the proxy goes round once.
    let around = "GET / HTTP/1.1\r\nHost: app.localhost\r\nVia: 1.1 ferry-names\r\nConnection: close\r\n\r\n";
    assert!(ask(http, around).starts_with("HTTP/1.1 508"));
}

#[test]
fn a_port_that_somebody_has_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = format!("127.0.0.1:{}", free_port());
    let flags = [
        "--names",
        "--names-http",
        &address,
        "--names-http",
        &free,
        "--names-https",
        "none",
        "--names-dns",
        "none",
    ];
    let sandbox = Sandbox::start_with(&flags);
    let table = sandbox.ok(&["names"]);
    let who = format!("(process {}) has that port", std::process::id());
    let problem = table.lines().find(|line| line.starts_with("Problem: ")).unwrap();
    assert!(problem.starts_with(&format!("Problem: no HTTP at {address}: ")), "{table}");
    assert!(problem.ends_with(&who), "{table}");
    assert!(table.contains(&format!("\nHTTP: {free}\n")), "the other one is served: {table}");
    assert!(sandbox.daemon_log().contains(&who));
    sandbox.run(&["names", "--ca"]).fails(1).says("there is no local authority");
}

/// A container that publishes a port of the proxy has it for as long as it runs.
#[test]
fn a_container_gets_the_port() {
    let (sandbox, [http, ..]) = with_names();
    service(&sandbox, "shop", "web", "from-the-shop");
    let by_name = || get(http, "web.shop.localhost");
    let reached = || Some(by_name()).filter(|answer| answer.contains("from-the-shop"));
    eventually("the proxy answers", reached);
    let script = "echo published >/tmp/index.html && exec httpd -f -p 80 -h /tmp";
    let port = format!("{http}:80");
    sandbox.ok(&["run", "-d", "--name", "own", "-p", &port, "busybox", "sh", "-c", script]);
    eventually("the container answers", || {
        let asked = crate::network::fetch(&format!("127.0.0.1:{http}"));
        asked.filter(|body| body == "published")
    });
    let table = sandbox.ok(&["names"]);
    let problem =
        format!("Problem: no HTTP at 127.0.0.1:{http}: container own, which publishes it");
    assert!(table.contains(&problem), "{table}");
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("the container answers after a crash", || {
        let asked = crate::network::fetch(&format!("127.0.0.1:{http}"));
        asked.filter(|body| body == "published")
    });
    sandbox.ok(&["rm", "-f", "own"]);
    eventually("the proxy is back", || {
        let mut stream = TcpStream::connect(("127.0.0.1", http)).ok()?;
        let request = "GET / HTTP/1.1\r\nHost: web.shop.localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.contains("from-the-shop").then_some(())
    });
    assert!(!sandbox.ok(&["names"]).contains("Problem"));
}

/// SIGHUP: names come, move and go while the daemon runs.
#[test]
fn settings_are_read_again() {
    let scratch = crate::scratch("names-reload");
    let file = scratch.join("daemon.json");
    let (first, second) = (free_port(), free_port());
    std::fs::write(&file, "{}").unwrap();
    let flag = format!("--config-file={}", file.display());
    let sandbox = Sandbox::start_with(&[&flag]);
    let told = |text: String| {
        std::fs::write(&file, text).unwrap();
        let pid = sandbox.daemon_pid().to_string();
        run(Command::new("kill").args(["-HUP", &pid])).ok();
    };
    let at = |port: u16| {
        format!(
            r#"{{"names": true, "names-http": ["127.0.0.1:{port}"], "names-https": ["none"], "names-dns": ["none"]}}"#
        )
    };
    sandbox.run(&["names"]).fails(1).says("names are off");
    let served = |port: u16| {
        let line = format!("HTTP: 127.0.0.1:{port}\n");
        eventually("names are served", || {
            sandbox.run(&["names"]).stdout.contains(&line).then_some(())
        });
        assert!(get(port, "nobody.localhost").starts_with("HTTP/1.1 404"));
    };
    told(at(first));
    served(first);
    told(at(second));
    served(second);
    assert!(TcpStream::connect(("127.0.0.1", first)).is_err(), "they have moved");
    told("{}".to_owned());
    eventually("names are off", || (sandbox.run(&["names"]).code == 1).then_some(()));
    assert!(TcpStream::connect(("127.0.0.1", second)).is_err(), "they are off");
}

#[test]
fn nothing_is_there_when_names_are_off() {
    let sandbox = Sandbox::start();
    sandbox.run(&["names"]).fails(1).says("names are off");
    assert!(!sandbox.data().join("names").exists());
}
