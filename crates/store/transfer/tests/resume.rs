//! Interruptions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fake::{
    Fake, Reply, Seen,
    image::{Image, Layer, noise, tar},
    scratch::{Scratch, client, config, tuning},
};
use ferry_errkind::chain;
use ferry_transfer::{Client, Tuning};

const LENGTH: usize = 6_000_000;

fn large() -> Image {
    Image::of(&[Layer::gzip(tar("large", &noise(LENGTH, 1)))])
}

fn is_layer(image: &Image, seen: &Seen) -> bool {
    seen.path.ends_with(&image.layers[0].0.to_string())
}

/// A registry whose first `bad` answers for the layer are changed.
async fn flaky(
    image: &Image,
    bad: usize,
    change: impl Fn(&Seen, Reply) -> Reply + Send + Sync + 'static,
) -> Fake {
    let (image, asked) = (image.clone(), AtomicUsize::new(0));
    Fake::start(move |seen| {
        let reply = image.reply(seen);
        let count = if is_layer(&image, seen) { asked.fetch_add(1, Ordering::SeqCst) } else { bad };
        if count < bad { change(seen, reply) } else { reply }
    })
    .await
}

fn whole(scratch: &Scratch, image: &Image) -> bool {
    let Ok(directories) = scratch.layers.lower_dirs(&[image.layers[0].1.clone()]) else {
        return false;
    };
    std::fs::read(directories[0].join("large")).unwrap() == noise(LENGTH, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_costs_nothing_twice() {
    let image = large();
    let fake = flaky(&image, 3, |_, reply| reply.cut(1_500_000)).await;
    let scratch = Scratch::new();
    scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap();
    assert!(whole(&scratch, &image));
    let requests = fake.blob_requests(&image.layers[0].0);
    let starts: Vec<_> = requests.iter().map(|seen| seen.range().unwrap_or(0)).collect();
    assert_eq!(starts.len(), 4);
    // Each goes on after what came: at most the cut, which a broken connection may take a little of.
    for pair in starts.windows(2) {
        assert!(pair[1] > pair[0] && pair[1] <= pair[0] + 1_500_000, "{starts:?}");
    }
    assert!(starts[1] >= 1_000_000, "{starts:?}");
    let id = &image.layers[0].0.hex()[..12];
    assert!(scratch.statuses(id).contains(&"Retrying in 1 second".to_owned()));
    assert_eq!(scratch.leftovers(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_client_goes_on_where_the_last_stopped() {
    let image = large();
    let dying = flaky(&image, usize::MAX, |seen, reply| match seen.range() {
        None => reply.cut(3_000_000),
        Some(_) => Reply::new(404, ""),
    })
    .await;
    let scratch = Scratch::new();
    let error = scratch.pull(&client(), &format!("{}/app", dying.host())).await.unwrap_err();
    assert!(error.to_string().starts_with("download failed after attempts="), "{error}");
    assert_eq!(scratch.leftovers().len(), 1);
    let partial = scratch.ingest().join(&scratch.leftovers()[0]);
    let kept = std::fs::metadata(&partial).unwrap().len();
    assert!(kept > 2_000_000, "{kept}");
    ferry_transfer::sweep_partials(&scratch.ingest(), Duration::from_secs(3600));
    assert_eq!(scratch.leftovers().len(), 1);

    let healthy = flaky(&image, 0, |_, reply| reply).await;
    scratch.pull(&client(), &format!("{}/app", healthy.host())).await.unwrap();
    assert!(whole(&scratch, &image));
    let requests = healthy.blob_requests(&image.layers[0].0);
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].range().unwrap() as u64, kept);
    assert_eq!(scratch.leftovers(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoilt_partial_file_only_costs_time() {
    let image = large();
    let fake = flaky(&image, 0, |_, reply| reply).await;
    let blob = &image.layers[0].0;
    for spoilt in [vec![0; 2_000_000], noise(image.blobs[blob].len(), 9), vec![1; LENGTH * 2]] {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.ingest()).unwrap();
        std::fs::write(scratch.ingest().join(format!("{}.partial", blob.hex())), spoilt).unwrap();
        scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap();
        assert!(whole(&scratch, &image));
        assert_eq!(scratch.leftovers(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_partial_file_needs_no_network() {
    let image = large();
    let fake = flaky(&image, 0, |_, reply| reply).await;
    let (scratch, blob) = (Scratch::new(), &image.layers[0].0);
    std::fs::create_dir_all(scratch.ingest()).unwrap();
    let path = scratch.ingest().join(format!("{}.partial", blob.hex()));
    std::fs::write(path, &image.blobs[blob]).unwrap();
    scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap();
    assert!(whole(&scratch, &image));
    assert_eq!(fake.blob_requests(blob).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_know_no_ranges() {
    let image = large();
    for stubborn in [200, 416, 206] {
        let (served, asked) = (image.clone(), AtomicUsize::new(0));
        let fake = Fake::start(move |seen| {
            let mut bare = seen.clone();
            bare.headers.remove("range");
            let reply = served.reply(&bare);
            if !is_layer(&served, seen) {
                return reply;
            }
            match (asked.fetch_add(1, Ordering::SeqCst), seen.range(), stubborn) {
                (0, ..) => reply.cut(2_000_000),
                (_, None, _) | (_, _, 200) => reply,
                (_, Some(_), 416) => Reply::new(416, ""),
                // Another range than the one that was asked for.
                (_, Some(start), _) => {
                    let range = format!("bytes {}-{}/*", start + 7, LENGTH);
                    Reply::new(206, reply.body.slice(start..)).with("content-range", range)
                }
            }
        })
        .await;
        let scratch = Scratch::new();
        let pulled = scratch.pull(&client(), &format!("{}/app", fake.host())).await;
        assert!(pulled.is_ok(), "{stubborn}: {}", chain(&pulled.unwrap_err()));
        assert!(whole(&scratch, &image));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_registry_is_asked_again() {
    for status in [429, 500, 502, 503] {
        let image = large();
        let fake =
            flaky(&image, 2, move |_, _| Reply::new(status, "").with("retry-after", "0")).await;
        let scratch = Scratch::new();
        scratch.pull(&client(), &format!("{}/app", fake.host())).await.unwrap();
        assert_eq!(fake.blob_requests(&image.layers[0].0).len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends() {
    let image = large();
    let fake = flaky(&image, usize::MAX, |_, _| Reply::new(503, "")).await;
    let error = Scratch::new().pull(&client(), &format!("{}/app", fake.host())).await.unwrap_err();
    let words = "download failed after attempts=6: received unexpected HTTP status: 503 Service Unavailable";
    assert_eq!(chain(&error), words);
    assert_eq!(fake.blob_requests(&image.layers[0].0).len(), 6);

    let fake =
        flaky(&image, usize::MAX, |_, _| Reply::error(404, "BLOB_UNKNOWN", "blob unknown")).await;
    let error = Scratch::new().pull(&client(), &format!("{}/app", fake.host())).await.unwrap_err();
    assert_eq!(chain(&error), "download failed after attempts=1: blob unknown: blob unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_registry_is_left() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            kept.push(connection);
        }
    });
    let tuning = Tuning {
        stall: Duration::from_millis(100),
        connect_patience: Duration::from_millis(200),
        ..tuning()
    };
    let client = Client::tuned(config(), tuning);
    let start = Instant::now();
    let error = Scratch::new().pull(&client, &format!("{address}/app")).await.unwrap_err();
    assert!(chain(&error).contains("no data came"), "{}", chain(&error));
    assert!(start.elapsed() < Duration::from_secs(5));
    silent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_idle_connection_does_not_show() {
    let image = Arc::new(large());
    let served = Arc::clone(&image);
    // Every connection is good for one request, and the server does not say so.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inner = Fake::start(move |seen| served.reply(seen)).await;
    let target = inner.address;
    let relay = tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut there = tokio::net::TcpStream::connect(target).await.unwrap();
                let relayed = tokio::io::copy_bidirectional(&mut here, &mut there);
                drop(tokio::time::timeout(Duration::from_millis(300), relayed).await);
            });
        }
    });
    let (scratch, client) = (Scratch::new(), client());
    scratch.pull(&client, &format!("{address}/app")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    scratch.pull(&client, &format!("{address}/app")).await.unwrap();
    relay.abort();
}
