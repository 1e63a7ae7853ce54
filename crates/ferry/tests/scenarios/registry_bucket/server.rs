//! Servers that speak S3's protocol: `s3rver`, which checks every signature, and `moto`, which knows more of the protocol.

use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Http, eventually, free_port, programs};

/// What s3rver knows its only user by.
const KEY: &str = "S3RVER";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    S3rver,
    Moto,
}

/// A server with one bucket, `images`; ends with the test.
pub(super) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// `None` after a line that says that the program is missing.
    pub(super) fn start(kind: Kind, dir: &Path) -> Option<Server> {
        let (name, path) = match kind {
            Kind::S3rver => ("s3rver", "s3rver/node_modules/.bin/s3rver"),
            Kind::Moto => ("moto", "moto/bin/moto_server"),
        };
        let Some(program) = programs::made(path) else {
            programs::may_be_missing(name);
            eprintln!("SKIPPED: {name} is not installed (scripts/test.sh does it)");
            return None;
        };
        let port = free_port();
        let number = port.to_string();
        let mut command = Command::new(program);
        match kind {
            Kind::S3rver => {
                let data = dir.join("s3");
                std::fs::create_dir_all(&data).unwrap();
                command.arg("-d").arg(data).args(["-a", "127.0.0.1", "-p", &number]);
                command.args(["--configure-bucket", "images"])
            }
            Kind::Moto => command.args(["-H", "127.0.0.1", "-p", &number]),
        };
        let log = std::fs::File::create(dir.join("s3.log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let server = Server { child, port };
        eventually("the S3 server answers", || {
            TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
        });
        if kind == Kind::Moto {
            Http::new(&server.host()).ask("PUT", "/images").is(200);
        }
        // The credentials are written where all of our commands find them.
        let keys = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {KEY}\n");
        std::fs::write(dir.join("keys"), keys).unwrap();
        Some(server)
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `--storage` with the bucket at this host.
pub(super) fn address(host: &str, dir: &Path) -> String {
    format!(
        "s3://images/of/tests?endpoint=http://{host}&credentials={}",
        dir.join("keys").display()
    )
}
