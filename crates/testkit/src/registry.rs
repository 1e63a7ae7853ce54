//! Debian's `docker-registry` on loopback.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{claims::free_port, command::eventually, programs};

/// How the registry is set up.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// User name and password that it asks for.
    pub login: Option<(String, String)>,
    /// Certificate and key of TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// A registry; ends with the test.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// Starts one with its data in `dir`. `None` where the program is missing.
    #[track_caller]
    pub fn start(dir: &Path, options: &RegistryOptions) -> Option<Registry> {
        let program = programs::find("docker-registry")?;
        let port = free_port();
        let dir = dir.join(format!("registry-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.join("data").display()
        );
        if let Some((certificate, key)) = &options.tls {
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                key.display()
            );
        }
        if let Some((user, password)) = &options.login {
            let htpasswd = programs::find("htpasswd")?;
            let line = crate::run(Command::new(htpasswd).args(["-nbB", user, password])).ok();
            let path = dir.join("htpasswd");
            std::fs::write(&path, line).unwrap();
            config +=
                &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display());
        }
        let file = dir.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new(program)
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let registry = Registry { child, port };
        eventually("the registry listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(registry)
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
