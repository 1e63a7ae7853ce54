//! A real registry: Debian's `docker-registry`, where it is installed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use fake::{
    image::{Image, Layer, noise, tar},
    scratch::{Scratch, client},
};
use ferry_errkind::chain;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/tmp/peers/root/usr/bin".into());
    places.into_iter().map(|place| place.join("docker-registry")).find(|path| path.exists())
}

/// A registry on a port of its own, until it is dropped.
struct Registry {
    child: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Registry {
    /// Somebody else may have the port by the time the registry asks for it: then it has another one.
    fn start(binary: &Path, directory: &Path) -> Registry {
        let started = (0..5).find_map(|_| Registry::start_once(binary, directory));
        started.expect("the registry starts")
    }

    fn start_once(binary: &Path, directory: &Path) -> Option<Registry> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let config = directory.join("registry.yml");
        let data = directory.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(binary);
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut registry = Registry { child: command.spawn().unwrap(), host };
        for _ in 0..2400 {
            if registry.child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect(&registry.host).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        None
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        kind: &str,
        body: Bytes,
    ) -> http::response::Parts {
        let uri: Uri = target.parse().unwrap();
        let tcp = tokio::net::TcpStream::connect(&self.host).await.unwrap();
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        let path = uri.path_and_query().unwrap().as_str();
        let request = Request::builder().method(method).uri(path).header("host", &self.host);
        let request = request.header("content-type", kind).body(Full::new(body)).unwrap();
        let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert!(parts.status.is_success(), "{}: {}", parts.status, String::from_utf8_lossy(&body));
        parts
    }

    async fn push(&self, repository: &str, image: &Image) {
        for (digest, blob) in &image.blobs {
            let started = self
                .send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), "", Bytes::new())
                .await;
            let location = started.headers["location"].to_str().unwrap();
            let joint = if location.contains('?') { '&' } else { '?' };
            let target = format!("{location}{joint}digest={digest}");
            self.send(Method::PUT, &target, "application/octet-stream", blob.clone()).await;
        }
        let (kind, bytes) = &image.manifests["latest"];
        self.send(Method::PUT, &format!("/v2/{repository}/manifests/latest"), kind, bytes.clone())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_registry() {
    let Some(binary) = binary() else {
        println!("skipped: there is no docker-registry on this machine");
        return;
    };
    let scratch = Scratch::new();
    let registry = Registry::start(&binary, &scratch.path);
    let large = Layer::gzip(tar("large", &noise(5_000_000, 1)));
    let image = Image::of(&[large, Layer::zstd(tar("small", b"hello"))]);
    registry.push("team/app", &image).await;
    let (client, host) = (client(), &registry.host);

    // An earlier attempt left the first half.
    let blob = &image.layers[0].0;
    std::fs::create_dir_all(scratch.ingest()).unwrap();
    let partial = scratch.ingest().join(format!("{}.partial", blob.hex()));
    std::fs::write(partial, &image.blobs[blob][..2_500_000]).unwrap();
    let pulled = scratch.pull(&client, &format!("{host}/team/app")).await.unwrap();
    assert_eq!(Some(&pulled.digest), image.manifest.as_ref());
    let file = scratch.layers.lower_dirs(&[image.layers[0].1.clone()]).unwrap()[0].join("large");
    assert_eq!(std::fs::read(file).unwrap(), noise(5_000_000, 1));
    assert_eq!(scratch.leftovers(), [""; 0]);

    let error = scratch.pull(&client, &format!("{host}/team/app:nope")).await.unwrap_err();
    let words =
        format!("manifest for {host}/team/app:nope not found: manifest unknown: manifest unknown");
    assert_eq!(chain(&error), words);
}
