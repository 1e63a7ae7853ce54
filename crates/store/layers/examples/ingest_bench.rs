//! Times ingesting layers, all at once as a pull does: `ingest_bench store-dir layer.tar.gz...`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool for developers")]

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use ferry_layers::LayerStore;

fn main() {
    let mut args = std::env::args().skip(1);
    let store = LayerStore::open(args.next().unwrap()).unwrap();
    let tars: Vec<String> = args.collect();
    let start = Instant::now();
    let layers: Vec<_> = std::thread::scope(|scope| {
        let ingest = |tar| store.ingest(File::open(tar).unwrap(), None).unwrap();
        let threads: Vec<_> = tars.iter().map(|tar| scope.spawn(move || ingest(tar))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let ingested = start.elapsed();
    store.sync().unwrap();
    let synced = start.elapsed();
    let mut buffer = vec![0; 256 << 10];
    for layer in &layers {
        let mut tar = store.tar(&layer.diff_id).unwrap();
        while tar.read(&mut buffer).unwrap() > 0 {}
    }
    let verified = start.elapsed() - synced;
    let megabytes = layers.iter().map(|layer| layer.tar_size).sum::<u64>() / 1_000_000;
    println!(
        "{megabytes} MB in {} entries: ingested {ingested:?}, and synced {synced:?}; read again {verified:?}",
        layers.iter().map(|layer| layer.entries).sum::<u64>()
    );
}
