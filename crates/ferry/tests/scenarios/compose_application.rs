//! A real application from Debian's packages: nginx in front of two replicas, PostgreSQL and redis beside them.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use ferry_testkit::{eventually, images};

use crate::compose::{Pairing, in_all_pairings};

const FILE: &str = r#"
services:
  front:
    image: services
    command: nginx -g 'daemon off;' -c /front.conf
    configs: [{source: front, target: /front.conf}]
    ports: ["127.0.0.1::80"]
    depends_on:
      app: {condition: service_healthy}
      cache: {condition: service_healthy}
  app:
    image: busybox
    command: sh -c 'mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www'
    healthcheck: {test: wget -qO- http://127.0.0.1:8080/, interval: 200ms, retries: 600}
    deploy: {replicas: 2}
    stop_grace_period: 0s
    depends_on: {db: {condition: service_healthy}}
  cache:
    image: services
    command: [redis-server, --bind, 0.0.0.0, --protected-mode, "no", --save, ""]
    healthcheck: {test: redis-cli ping, interval: 200ms, retries: 600}
  db:
    image: services
    environment: {PGDATA: /data/db}
    command:
      - sh
      - -c
      - |
        chown postgres /data
        exec setpriv --reuid postgres --regid postgres --clear-groups sh -ec '
          bin=$$(ls -d /usr/lib/postgresql/*/bin)
          if [ ! -s $$PGDATA/PG_VERSION ]; then
            $$bin/initdb -A trust >/dev/null
            echo "host all all all trust" >> $$PGDATA/pg_hba.conf
          fi
          exec $$bin/postgres -k /tmp -h 0.0.0.0'
    volumes: [pgdata:/data]
    healthcheck: {test: psql -U postgres -h /tmp -c 'select 1', interval: 300ms, timeout: 20s, start_period: 60s}
    stop_signal: SIGINT
configs:
  front:
    content: |
      events {}
      http {
        upstream apps { server app:8080; }
        server { listen 80; location / { proxy_pass http://apps; } }
      }
volumes: {pgdata: }
"#;

fn page(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.trim().to_owned())
}

in_all_pairings!(nginx_two_replicas_postgresql_and_redis);

fn nginx_two_replicas_postgresql_and_redis(pairing: Pairing) {
    let Some(tar) = images::debian_tar() else { return };
    let project = pairing.project(FILE);
    project.import(&tar, "services");
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
    let address = project.ok(&["port", "front", "80"]);
    let mut hosts = BTreeSet::new();
    eventually("both replicas answer through nginx", || {
        hosts.extend(page(&address));
        (hosts.len() == 2).then_some(())
    });
    let sql = |text: &str| {
        project.ok(&[
            "exec", "-T", "-u", "postgres", "cache", "psql", "-h", "db", "-U", "postgres", "-tAc",
            text,
        ])
    };
    sql("create table t (n int)");
    sql("insert into t values (42)");
    eventually("redis answers by its name", || {
        let ask = ["exec", "-T", "app", "sh", "-c", "echo PING | nc -w 1 cache 6379"];
        project.run(&ask).stdout.contains("+PONG").then_some(())
    });
    // What is in the volume outlives the containers.
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120", "db", "cache"]);
    assert_eq!(sql("select n from t"), "42");
    assert_eq!(project.ok(&["ps", "--services"]), "cache\ndb");
}
