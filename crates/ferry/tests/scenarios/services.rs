//! Real services from Debian's packages: nginx answers, PostgreSQL keeps a row (FEATURES A31, A38).

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use ferry_testkit::{Client, Sandbox, eventually, images};

through_both!(services, services_talk_by_name);
against_docker!(services_talk_by_name);

fn services(client: Client) {
    let Some(tar) = images::debian_tar() else { return };
    let sandbox = Sandbox::start().through(client);
    sandbox.ok(&["import", tar.to_str().unwrap(), "services"]);
    nginx(&sandbox);
    postgres(&sandbox);
    redis(&sandbox);
}

fn nginx(sandbox: &Sandbox) {
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "myweb",
        "-p",
        "127.0.0.1::80",
        "services",
        "nginx",
        "-g",
        "daemon off;",
    ]);
    let address = sandbox.ok(&["port", "myweb", "80/tcp"]);
    let page = eventually("nginx answers", || {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        (!answer.is_empty()).then_some(answer)
    });
    assert!(page.contains("200 OK") && page.contains("nginx"), "{page}");
    sandbox.ok(&["stop", "myweb"]);
    assert_eq!(sandbox.inspect("myweb", "{{.State.ExitCode}}"), "0", "nginx ends well on SIGTERM");
}

fn postgres(sandbox: &Sandbox) {
    let start = "set -e; bin=$(ls -d /usr/lib/postgresql/*/bin); \
        [ -s /data/PG_VERSION ] || $bin/initdb -A trust /data >/dev/null; \
        exec $bin/postgres -D /data -k /tmp";
    let run = || {
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            "db",
            "-u",
            "postgres",
            "-v",
            "pgdata:/data",
            "--shm-size",
            "128m",
            "services",
            "sh",
            "-c",
            start,
        ])
    };
    let query = |sql: &str| {
        sandbox
            .run(&["exec", "-u", "postgres", "db", "psql", "-h", "/tmp", "-Atc", sql, "postgres"])
    };
    sandbox.ok(&[
        "run",
        "--rm",
        "-v",
        "pgdata:/data",
        "services",
        "chown",
        "postgres:postgres",
        "/data",
    ]);
    run();
    eventually("PostgreSQL answers", || (query("select 1").stdout == "1\n").then_some(()));
    query("create table kept (row text)").ok();
    query("insert into kept values ('still here')").ok();
    sandbox.ok(&["rm", "-f", "db"]);
    run();
    let row = eventually("PostgreSQL answers again", || {
        let answer = query("select row from kept");
        (answer.code == 0).then_some(answer.stdout)
    });
    assert_eq!(row, "still here\n");
    sandbox.ok(&["rm", "-f", "db"]);
}

fn redis(sandbox: &Sandbox) {
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "cache",
        "services",
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ]);
    let address = sandbox.inspect("cache", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let answer = eventually("redis answers", || {
        let answer = sandbox.run(&[
            "run",
            "--rm",
            "services",
            "redis-cli",
            "-h",
            &address,
            "incr",
            "visits",
        ]);
        (answer.code == 0).then_some(answer.stdout)
    });
    assert_eq!(answer, "1\n");
}

/// PostgreSQL, redis and nginx on a network of their own; nginx looks names up itself, and finds a container that has moved.
fn services_talk_by_name(client: Client) {
    let Some(tar) = images::debian_tar() else { return };
    let sandbox = crate::daemon_for(client);
    sandbox.ok(&["import", tar.to_str().unwrap(), "services"]);
    sandbox.ok(&["network", "create", "shop"]);
    let run = |name: &str, flags: &[&str], command: &str| {
        let words = ["run", "-d", "--name", name, "--network", "shop"];
        sandbox.ok(&[&words[..], flags, &["services", "sh", "-c", command]].concat());
    };
    let asks = |words: &[&str]| {
        let run = [&["run", "--rm", "--network", "shop", "services"], words].concat();
        let asked = sandbox.run(&run);
        (asked.code == 0).then(|| asked.stdout.trim().to_owned())
    };
    let database = "set -e; bin=$(ls -d /usr/lib/postgresql/*/bin); \
        $bin/initdb -A trust /tmp/data >/dev/null; \
        echo 'host all all all trust' >> /tmp/data/pg_hba.conf; \
        exec $bin/postgres -D /tmp/data -k /tmp -c listen_addresses='*'";
    run("db", &["-u", "postgres", "--shm-size", "128m"], database);
    run("cache", &[], "exec redis-server --bind 0.0.0.0 --protected-mode no");
    let page = |says: &str| {
        format!(
            "mkdir -p /www && echo {says} >/www/index.html && printf 'events {{}} http {{ server {{ listen 80; root /www; }} }}' >/etc/nginx/nginx.conf && exec nginx -g 'daemon off;'"
        )
    };
    run("backend", &[], &page("first"));
    let front = "printf 'events {} http { server { listen 80; resolver 127.0.0.11 valid=1s; location / { set $up http://backend; proxy_pass $up; } } }' >/etc/nginx/nginx.conf && exec nginx -g 'daemon off;'";
    run("front", &["-p", "127.0.0.1::80"], front);

    let query = ["psql", "-h", "db", "-U", "postgres", "-Atc", "select 6 * 7"];
    eventually("PostgreSQL answers by name", || asks(&query).filter(|answer| answer == "42"));
    let count = ["redis-cli", "-h", "cache", "ping"];
    eventually("redis answers by name", || asks(&count).filter(|answer| answer == "PONG"));
    let address = sandbox.ok(&["port", "front", "80/tcp"]);
    let says = |wanted: &str| {
        eventually(&format!("nginx passes on what says {wanted}"), || {
            crate::network::fetch(&address).filter(|page| page == wanted)
        });
    };
    says("first");
    sandbox.ok(&["rm", "-f", "backend"]);
    // Somebody else gets the address that it may have had.
    run("other", &[], "exec sleep 1000");
    run("backend", &[], &page("second"));
    says("second");
    // It is large, and Docker's daemon is not the test's own.
    let all = ["front", "backend", "other", "cache", "db"];
    sandbox.ok(&[&["rm", "-f"], &all[..]].concat());
    sandbox.ok(&["rmi", "services"]);
}
