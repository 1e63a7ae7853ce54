//! Applications as people write them, from Debian's packages: Flask with redis behind nginx, Django with PostgreSQL, and the file that
//! the issue began with.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
};

use ferry_testkit::{eventually, images};

use crate::compose::{Pairing, in_all_pairings};

in_all_pairings!(
    flask_counts_in_redis_behind_nginx,
    django_keeps_users_in_postgresql,
    the_seed_file_goes_up_and_down,
);

/// What a server on an address says to a path; none while it is not there.
fn page(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.trim().to_owned())
}

const FLASK: &str = r#"
services:
  front:
    image: services
    command: nginx -g 'daemon off;' -c /front.conf
    configs: [{source: front, target: /front.conf}]
    ports: ["127.0.0.1::80"]
    depends_on: {web: {condition: service_healthy}}
  web:
    build: .
    healthcheck: {test: python3 -c "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health')", interval: 500ms, retries: 240, timeout: 20s}
    deploy: {replicas: 2}
    stop_grace_period: 1s
    depends_on: [cache]
  cache:
    image: services
    command: [redis-server, --bind, 0.0.0.0, --protected-mode, "no", --save, ""]
configs:
  front:
    content: |
      events {}
      http { upstream web { server web:5000; } server { listen 80; location / { proxy_pass http://web; } } }
"#;

const FLASK_APP: &str = "
import socket
from flask import Flask
from redis import Redis

app = Flask(__name__)
redis = Redis(host='cache')

@app.route('/')
def hello():
    return f'{socket.gethostname()} {redis.incr(\"hits\")}'

@app.route('/health')
def health():
    return 'well'
";

fn flask_counts_in_redis_behind_nginx(pairing: Pairing) {
    let (Some(python), Some(services)) = (images::python_tar(), images::debian_tar()) else {
        return;
    };
    let project = pairing.project(FLASK);
    if !project.can_build() {
        return;
    }
    project.import(&python, "python");
    project.import(&services, "services");
    let dockerfile = "FROM python\nWORKDIR /app\nCOPY app.py .\nCMD [\"gunicorn\", \"-b\", \"0.0.0.0:5000\", \"app:app\"]\n";
    fs::write(project.directory.join("Dockerfile"), dockerfile).unwrap();
    fs::write(project.directory.join("app.py"), FLASK_APP).unwrap();
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
    let address = project.ok(&["port", "front", "80"]);
    let (mut hosts, mut hits) = (BTreeSet::new(), 0);
    eventually("both replicas count in one redis", || {
        let said = page(&address, "/")?;
        let (host, count) = said.split_once(' ')?;
        hosts.insert(host.to_owned());
        let count: u32 = count.parse().ok()?;
        assert!(count > hits, "{count} after {hits}");
        hits = count;
        (hosts.len() == 2).then_some(())
    });
}

const DJANGO: &str = r#"
services:
  web:
    image: python
    working_dir: /app
    command: sh -c 'python3 app.py migrate && exec python3 app.py runserver --noreload 0.0.0.0:8000'
    environment: {DATABASE_PASSWORD_FILE: /run/secrets/password}
    volumes: [./app.py:/app/app.py:ro]
    secrets: [password]
    ports: ["127.0.0.1::8000"]
    depends_on: {db: {condition: service_healthy}}
    stop_grace_period: 0s
  db:
    image: services
    environment: {PGDATA: /data/db}
    secrets: [password]
    command:
      - sh
      - -c
      - |
        chown postgres /data; cp /run/secrets/password /tmp/password; chown postgres /tmp/password
        exec setpriv --reuid postgres --regid postgres --clear-groups sh -ec '
          bin=$$(ls -d /usr/lib/postgresql/*/bin)
          [ -s $$PGDATA/PG_VERSION ] || $$bin/initdb -A scram-sha-256 --pwfile /tmp/password > /dev/null
          grep -q "host all" $$PGDATA/pg_hba.conf || echo "host all all all scram-sha-256" >> $$PGDATA/pg_hba.conf
          exec $$bin/postgres -k /tmp -h 0.0.0.0'
    volumes: [data:/data]
    healthcheck: {test: pg_isready -h /tmp, interval: 300ms, timeout: 20s, start_period: 60s}
    stop_signal: SIGINT
volumes: {data: }
secrets: {password: {environment: PASSWORD}}
"#;

/// Django in one file: a table, and a page that writes and counts.
const DJANGO_APP: &str = "
import os, sys
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

settings.configure(
    DEBUG=True, SECRET_KEY='x', ROOT_URLCONF=__name__, ALLOWED_HOSTS=['*'],
    INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth'],
    DATABASES={'default': {
        'ENGINE': 'django.db.backends.postgresql', 'NAME': 'postgres', 'USER': 'postgres', 'HOST': 'db',
        'PASSWORD': open(os.environ['DATABASE_PASSWORD_FILE']).read().strip(),
    }},
)

def users(request):
    from django.contrib.auth.models import User
    User.objects.create(username=str(User.objects.count()))
    return HttpResponse(f'{User.objects.count()} users')

urlpatterns = [path('', users)]

if __name__ == '__main__':
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
";

fn django_keeps_users_in_postgresql(pairing: Pairing) {
    let (Some(python), Some(services)) = (images::python_tar(), images::debian_tar()) else {
        return;
    };
    let project = pairing.project(DJANGO);
    project.import(&python, "python");
    project.import(&services, "services");
    fs::write(project.directory.join("app.py"), DJANGO_APP).unwrap();
    fs::write(project.directory.join(".env"), "PASSWORD=opener\n").unwrap();
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
    let users = |count: u32| {
        let address = project.ok(&["port", "web", "8000"]);
        eventually("Django answers", || {
            page(&address, "/").filter(|said| *said == format!("{count} users"))
        })
    };
    users(1);
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
    users(2);
}

/// The first file of all: old version, a build, a database with a password, and the name of the one for the other.
const SEED: &str = r#"
version: "1"
services:
  web:
    build: .
    ports: ["8000:80"]
    depends_on: [db]
  db:
    image: postgres
    environment:
      POSTGRES_PASSWORD: example
"#;

fn the_seed_file_goes_up_and_down(pairing: Pairing) {
    let free = ferry_testkit::free_port();
    let project = pairing.project(&SEED.replace("8000", &free.to_string()));
    if !project.can_build() {
        return;
    }
    // Servers that stand for the real ones: who has the password answers on 5432.
    let image = project.sandbox.dir().join("postgres");
    fs::create_dir_all(&image).unwrap();
    let database = "FROM busybox\nCMD test -n \"$POSTGRES_PASSWORD\" && exec nc -ll -p 5432 -e echo database\n";
    fs::write(image.join("Dockerfile"), database).unwrap();
    project.build(&image, "postgres");
    let web = "FROM busybox\nCMD exec nc -ll -p 80 -e sh -c 'nc db 5432 < /dev/null'\n";
    fs::write(project.directory.join("Dockerfile"), web).unwrap();
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.stderr.contains("the attribute `version` is obsolete"), "{up:?}");
    let said = || {
        let mut text = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", free)).ok()?;
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    eventually("web reaches db by its name", || (said()?.trim() == "database").then_some(()));
    // With a cache as the third part: the others stay as they are.
    let before = project.ok(&["ps", "-q"]);
    let three = fs::read_to_string(project.directory.join("compose.yaml")).unwrap()
        + "  cache:\n    image: busybox\n    command: nc -ll -p 6379 -e echo cache\n    stop_grace_period: 0s\n";
    fs::write(project.directory.join("compose.yaml"), three).unwrap();
    project.ok(&["up", "-d"]);
    let after = project.ok(&["ps", "-q"]);
    assert!(before.lines().all(|id| after.contains(id)), "{before} {after}");
    eventually("db reaches the cache", || {
        let said =
            project.run(&["exec", "-T", "db", "sh", "-c", "nc cache 6379 < /dev/null"]).stdout;
        (said.trim() == "cache").then_some(())
    });
    project.ok(&["down", "-t", "0"]);
    assert_eq!(project.containers("shop"), "");
}
