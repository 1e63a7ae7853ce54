//! What `--metrics-addr` serves: numbers about the engine in Prometheus' text format, under dockerd's names where it has them.

use std::{convert::Infallible, fmt::Write as _, fs, future::Future, time::Duration};

use bytes::Bytes;
use ferry_engine::{Engine, ops::system};
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::dispatch::Product;

/// How long a client may take for its request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most clients at once.
const CLIENTS: usize = 64;

/// Serves `/metrics` until `stop` is ready.
pub async fn serve_metrics(
    engine: Engine,
    product: Product,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(CLIENTS));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = std::sync::Arc::clone(&permits).try_acquire_owned() else { continue };
        let (engine, product) = (engine.clone(), product.clone());
        tokio::spawn(async move {
            connection(engine, product, stream).await;
            drop(permit);
        });
    }
}

async fn connection(engine: Engine, product: Product, stream: TcpStream) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (engine, product) = (engine.clone(), product.clone());
        async move {
            let mut reply = Response::new(Full::new(Bytes::new()));
            if request.uri().path() != "/metrics" {
                *reply.status_mut() = StatusCode::NOT_FOUND;
                return Ok::<_, Infallible>(reply);
            }
            let text = text(&engine, &product).await;
            *reply.body_mut() = Full::new(Bytes::from(text));
            let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            reply.headers_mut().insert(header::CONTENT_TYPE, kind);
            Ok(reply)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!("metrics: {error}");
    }
}

async fn text(engine: &Engine, product: &Product) -> String {
    let mut text = String::new();
    if let Ok(info) = system::info(engine).await {
        let [_, running, paused, stopped] = info.containers;
        let states = [("paused", paused), ("running", running), ("stopped", stopped)];
        head(
            &mut text,
            "engine_daemon_container_states_containers",
            "gauge",
            "The count of containers in various states",
        );
        for (state, count) in states {
            let _ = writeln!(
                text,
                "engine_daemon_container_states_containers{{state=\"{state}\"}} {count}"
            );
        }
        one(
            &mut text,
            "engine_daemon_engine_cpus_cpus",
            "The number of cpus that the host system of the engine has",
            info.cpus,
        );
        one(
            &mut text,
            "engine_daemon_engine_memory_bytes",
            "The number of bytes of memory that the host system of the engine has",
            info.memory,
        );
        one(&mut text, "engine_daemon_images_images", "The number of images", info.images);
        one(
            &mut text,
            "engine_daemon_events_subscribers_total",
            "The number of current subscribers to events",
            info.event_listeners,
        );
        one(&mut text, "process_open_fds", "Number of open file descriptors.", info.open_files);
        head(
            &mut text,
            "engine_daemon_engine_info",
            "gauge",
            "The information related to the engine and the OS it is running on",
        );
        let labels = [
            ("architecture", info.architecture.as_str()),
            ("commit", &product.git_commit),
            ("daemon_id", &info.id),
            ("graphdriver", &info.driver),
            ("kernel", &info.kernel_version),
            ("os", &info.operating_system),
            ("os_type", "linux"),
            ("os_version", &info.os_version),
            ("version", &product.version),
        ];
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let _ = writeln!(text, "engine_daemon_engine_info{{{}}} 1", labels.join(","));
    }
    let events = system::event_counts(engine);
    head(&mut text, "engine_daemon_events_total", "counter", "The number of events logged");
    let _ = writeln!(text, "engine_daemon_events_total {}", events.all);
    head(
        &mut text,
        "engine_daemon_container_actions_total",
        "counter",
        "The number of container actions by action",
    );
    for (action, count) in &events.container_actions {
        let _ = writeln!(
            text,
            "engine_daemon_container_actions_total{{action=\"{}\"}} {count}",
            escape(action)
        );
    }
    if let Some(bytes) = resident() {
        one(&mut text, "process_resident_memory_bytes", "Resident memory size in bytes.", bytes);
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn one(text: &mut String, name: &str, help: &str, value: u64) {
    head(text, name, "gauge", help);
    let _ = writeln!(text, "{name} {value}");
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
