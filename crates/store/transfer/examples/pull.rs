//! Pulls an image into an empty store and tells how long it took and how much memory: `pull IMAGE [DIRECTORY]`.

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use ferry_layers::LayerStore;
use ferry_oci::Reference;
use ferry_transfer::{Client, ClientConfig, Progress};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "127.0.0.1:5055/bench/pullme".to_owned());
    let directory = arguments.next().map_or_else(
        || std::env::temp_dir().join(format!("ferry-pull-{}", std::process::id())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&directory)?;
    let reference = Reference::parse(&name)?.with_default_tag();
    let layers = Arc::new(LayerStore::open(directory.join("layers"))?);
    let client =
        Client::new(ClientConfig { user_agent: "ferry/bench".into(), ..Default::default() });
    let runtime = tokio::runtime::Runtime::new()?;
    let tell = |progress: Progress| {
        if progress.current.is_none() {
            println!("{} {}", progress.id.unwrap_or_default(), progress.status);
        }
    };
    let start = Instant::now();
    let ingest = directory.join("ingest");
    let pulled = runtime.block_on(client.pull(&reference, None, None, &layers, &ingest, &tell))?;
    let seconds = start.elapsed().as_secs_f64();
    let compressed: u64 = pulled.layers.iter().map(|layer| layer.compressed_size).sum();
    let unpacked: u64 = layers.list().iter().map(|layer| layer.tar_size).sum();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!(
        "{seconds:.2} s, {} MB compressed, {} MB unpacked, {peak}",
        compressed / 1_000_000,
        unpacked / 1_000_000
    );
    drop(layers);
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
