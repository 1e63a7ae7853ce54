//! Real services from Debian's packages: nginx answers, PostgreSQL keeps a row (FEATURES A31, A38).

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use ferry_testkit::{Client, Sandbox, eventually, images};

through_both!(services);

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
