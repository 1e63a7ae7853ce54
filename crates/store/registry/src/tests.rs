//! The store as a whole: pushes beside collections, crashes, damage.

use std::{
    path::PathBuf,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use ferry_db::Batch;
use ferry_oci::{Digest, media};

use crate::{
    Collected, Damage, GcOptions, Limits, Pattern, PutManifest, Refusal, Store, StoreError, Target,
    records::{LINKS, LinkRecord, key},
};

/// A store in a directory of the test's own, which goes with it.
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    pub(super) fn new(name: &str) -> Place {
        let root = std::env::temp_dir().join(format!("ferry-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&root));
        std::fs::create_dir_all(&root).unwrap();
        Place { root }
    }

    pub(super) fn open(&self) -> Store {
        Store::open(&self.root, Limits::default(), vec![Pattern::new("fixed:v*")]).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.root));
    }
}

pub(super) fn blob(store: &Store, repository: &str, content: &str) -> Digest {
    let digest = Digest::sha256_of(content.as_bytes());
    let upload = store.begin_upload(repository).unwrap();
    let claim = upload.claim().unwrap();
    claim.append(&[Bytes::from(content.to_owned())], u64::MAX).unwrap();
    store.commit(&claim, &digest).unwrap();
    digest
}

pub(super) fn manifest_of(config: &Digest, layers: &[Digest]) -> String {
    let layers: Vec<String> = layers
        .iter()
        .map(|digest| format!("{{\"mediaType\":\"l\",\"digest\":\"{digest}\",\"size\":1}}"))
        .collect();
    format!(
        "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"c\",\"digest\":\"{config}\",\"size\":1}},\"layers\":[{}]}}",
        layers.join(",")
    )
}

fn put(store: &Store, repository: &str, tag: &str, text: &str) -> Result<Digest, StoreError> {
    let target = Target::Tag(tag.to_owned());
    let put = PutManifest {
        repository,
        target: &target,
        media_type: media::OCI_MANIFEST,
        bytes: text.as_bytes(),
        cached: false,
    };
    store.put_manifest(&put).map(|put| put.digest)
}

fn push(store: &Store, repository: &str, tag: &str, seed: &str) -> Digest {
    let config = blob(store, repository, &format!("config {seed}"));
    let layer = blob(store, repository, &format!("layer {seed}"));
    put(store, repository, tag, &manifest_of(&config, &[layer])).unwrap()
}

fn at_once() -> GcOptions {
    GcOptions { grace: 0, uploads: 0, ..GcOptions::default() }
}

#[test]
fn what_nobody_needs_goes_and_nothing_else() {
    let place = Place::new("collect");
    let store = place.open();
    push(&store, "a", "1", "one");
    let two = push(&store, "a", "2", "two");
    push(&store, "b", "1", "one");
    blob(&store, "a", "garbage");
    store.delete_manifest("a", &two).unwrap();
    let kept = store.collect(&GcOptions::default()).unwrap();
    assert_eq!(kept, Collected::default(), "somebody may be pushing");
    let dry = GcOptions { dry: true, ..at_once() };
    assert_eq!(store.collect(&dry).unwrap().links, 4);
    let gone = store.collect(&at_once()).unwrap();
    // Garbage, and the configuration, layer and manifest of two.
    assert_eq!((gone.links, gone.blobs), (4, 4));
    // What a and b share goes with the last of them.
    store.delete_tag("a", "1").unwrap();
    let untagged = GcOptions { untagged: Some(0), ..at_once() };
    let gone = store.collect(&untagged).unwrap();
    assert_eq!((gone.manifests, gone.links, gone.blobs), (1, 3, 0));
    assert_eq!(store.repositories("", 9).unwrap(), ["b"]);
    store.blob("b", &Digest::sha256_of(b"layer one")).unwrap();
    store.delete_tag("b", "1").unwrap();
    assert_eq!(store.collect(&untagged).unwrap().blobs, 3);
    assert_eq!(store.scrub().unwrap().blobs, 0);
}

#[test]
fn an_index_keeps_its_manifests_and_a_signature_lives_as_long_as_its_image() {
    let place = Place::new("index");
    let store = place.open();
    let child = push(&store, "a", "child", "child");
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"m\",\"digest\":\"{child}\",\"size\":1}}]}}"
    );
    let target = Target::Tag("index".to_owned());
    let of_index = PutManifest {
        repository: "a",
        target: &target,
        media_type: media::OCI_INDEX,
        bytes: index.as_bytes(),
        cached: false,
    };
    let index = store.put_manifest(&of_index).unwrap().digest;
    let config = blob(&store, "a", "{}");
    let about = manifest_of(&config, &[]).replacen(
        '{',
        &format!("{{\"subject\":{{\"mediaType\":\"m\",\"digest\":\"{index}\",\"size\":1}},"),
        1,
    );
    let signature = put(&store, "a", "signature", &about).unwrap();
    for tag in ["child", "signature"] {
        store.delete_tag("a", tag).unwrap();
    }
    let untagged = GcOptions { untagged: Some(0), ..at_once() };
    assert_eq!(store.collect(&untagged).unwrap().manifests, 0);
    assert_eq!(store.referrers("a", &index, "", 10).unwrap()[0].digest, signature);
    store.delete_tag("a", "index").unwrap();
    assert_eq!(store.collect(&untagged).unwrap().manifests, 3);
    assert!(store.referrers("a", &index, "", 10).unwrap().is_empty());
}

#[test]
fn what_is_about_an_image_is_listed_in_pages() {
    let place = Place::new("pages");
    let store = place.open();
    let subject = Digest::sha256_of(b"not here");
    let config = blob(&store, "a", "{}");
    for number in 0..5 {
        let about = manifest_of(&config, &[]).replacen(
            '{',
            &format!(
                "{{\"subject\":{{\"digest\":\"{subject}\"}},\"annotations\":{{\"n\":\"{number}\"}},"
            ),
            1,
        );
        put(&store, "a", &format!("t{number}"), &about).unwrap();
    }
    let all = store.referrers("a", &subject, "", 10).unwrap();
    assert_eq!(all.len(), 5);
    let mut pages = Vec::new();
    loop {
        let last = pages.last().map(|one: &crate::Referrer| one.digest.hex()).unwrap_or_default();
        let page = store.referrers("a", &subject, &last, 2).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        pages.extend(page);
    }
    assert_eq!(pages, all);
}

#[test]
fn uploads_without_end_are_refused() {
    let place = Place::new("uploads");
    let limits = Limits { uploads: 3, ..Limits::default() };
    let store = Store::open(&place.root, limits, Vec::new()).unwrap();
    let begun: Vec<_> = (0..3).map(|_| store.begin_upload("a").unwrap()).collect();
    let refused = store.begin_upload("a").unwrap_err();
    assert!(matches!(refused, StoreError::Refused(Refusal::TooManyUploads(3))), "{refused}");
    store.forget(&begun[0].claim().unwrap()).unwrap();
    store.begin_upload("a").unwrap();
    assert_eq!(std::fs::read_dir(place.root.join("uploads")).unwrap().count(), 6);
}

#[test]
fn a_copy_may_come_before_what_it_refers_to() {
    let place = Place::new("copies");
    let store = place.open();
    let (config, layer) = (Digest::sha256_of(b"config"), Digest::sha256_of(b"layer"));
    let text = manifest_of(&config, &[layer]);
    let target = Target::Tag("1".to_owned());
    let copy = PutManifest {
        repository: "up/a",
        target: &target,
        media_type: media::OCI_MANIFEST,
        bytes: text.as_bytes(),
        cached: true,
    };
    let digest = store.put_manifest(&copy).unwrap().digest;
    assert!(store.scrub().unwrap().damage.is_empty(), "what did not come is not missing");
    assert!(store.set_tag("up/a", "2", &digest).unwrap());
    assert!(!store.set_tag("up/a", "3", &Digest::sha256_of(b"unknown")).unwrap());
    // Its layer comes with another repository, and is given to this one.
    let layer = blob(&store, "other", "layer");
    assert!(store.is_held(&layer).unwrap() && store.blob("up/a", &layer).is_err());
    assert!(store.adopt(&layer, "up/a").unwrap());
    assert_eq!(store.blob("up/a", &layer).unwrap().size, 5);
    assert!(!store.adopt(&config, "up/a").unwrap());
    store.collect(&at_once()).unwrap();
    assert_eq!(store.blob("up/a", &layer).unwrap().size, 5, "a manifest needs it");
}

/// The link of a blob becomes as old as links can be, and forgotten is who asked for it until now.
fn age(store: &Store, repository: &str, digest: &Digest) {
    let name = key(repository, &digest.hex());
    let mut batch = Batch::new();
    batch.put(&LINKS, &name, &LinkRecord { at: 1 }).unwrap();
    let mut records = store.records();
    records.db.write(batch).unwrap();
    records.wanted.remove(&name);
}

#[test]
fn a_thousand_pushes_at_once_beside_collections_lose_nothing() {
    const PUSHES: usize = 1000;
    const ENOUGH: usize = 30;
    const MOST_ROUNDS: usize = 20;
    let place = Place::new("beside");
    let mut store = place.open();
    // Nobody asked for anything before: what is old now may go at once.
    store.opened = 0;
    // Layers that every image has one of lie about, old and in no image, in repositories that nobody pushes to any more: a collection
    // takes them from there while others send the same.
    for repository in 0..5 {
        for layer in 0..10 {
            let old = format!("old/{repository}");
            let digest = blob(&store, &old, &format!("layer {layer}"));
            age(&store, &old, &digest);
        }
    }
    let (store, begin) = (Arc::new(store), Arc::new(Barrier::new(PUSHES + 1)));
    let collected = Arc::new(AtomicUsize::new(0));
    let pushers: Vec<_> = (0..PUSHES)
        .map(|number| {
            let (store, begin) = (Arc::clone(&store), Arc::clone(&begin));
            let collected = Arc::clone(&collected);
            let push = move || {
                begin.wait();
                for _ in 0..MOST_ROUNDS {
                    one_push(&store, number);
                    // All may be done before a collection has come far: they go on until it has taken enough.
                    if collected.load(Ordering::Relaxed) >= ENOUGH {
                        return;
                    }
                }
            };
            thread::Builder::new().stack_size(256 << 10).spawn(push).unwrap()
        })
        .collect();
    begin.wait();
    // Longer than the test takes: what was asked for since it began stays.
    let options = GcOptions { grace: 3600, ..GcOptions::default() };
    while !pushers.iter().all(thread::JoinHandle::is_finished) {
        let links = store.collect(&options).unwrap().links;
        collected.fetch_add(usize::try_from(links).unwrap(), Ordering::Relaxed);
    }
    for pusher in pushers {
        pusher.join().unwrap();
    }
    assert!(collected.load(Ordering::Relaxed) >= ENOUGH, "it did collect meanwhile");
    // Also what is left when nothing is spared any more is whole.
    store.collect(&at_once()).unwrap();
    let scrubbed = store.scrub().unwrap();
    assert_eq!(scrubbed.damage, []);
    for number in (0..PUSHES).filter(|number| !number.is_multiple_of(3)) {
        let found = store.manifest(&format!("r{}", number % 7), &Target::Tag(number.to_string()));
        for digest in found.unwrap().record.blobs {
            store.open_blob(&digest).unwrap();
        }
    }
}

/// Shares content with its neighbours, as images do: some blobs are sent, some are there, some are mounted. Every third image is
/// deleted again at once.
fn one_push(store: &Store, number: usize) {
    let repository = format!("r{}", number % 7);
    let shared = format!("layer {}", number % 10);
    let digest = Digest::sha256_of(shared.as_bytes());
    let other = format!("r{}", (number + 1) % 7);
    let there = store.want_blob(&repository, &digest).is_ok()
        || store.mount(&digest, &other, &repository).is_ok();
    if !there {
        blob(store, &repository, &shared);
    }
    let config = blob(store, &repository, &format!("config {number}"));
    let text = manifest_of(&config, &[digest]);
    let manifest = put(store, &repository, &number.to_string(), &text).unwrap();
    if number.is_multiple_of(3) {
        store.delete_manifest(&repository, &manifest).unwrap();
    }
}

#[test]
fn a_collection_that_spares_nothing_never_breaks_a_manifest() {
    // Without a grace period a push may find its blobs gone; then its manifest is refused, never kept broken.
    let place = Place::new("race");
    let store = Arc::new(place.open());
    let done = Arc::new(AtomicBool::new(false));
    let collector = {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                store.collect(&GcOptions { grace: 0, ..GcOptions::default() }).unwrap();
            }
        })
    };
    let (mut kept, mut refused) = (0, 0);
    for number in 0..150 {
        let config = blob(&store, "a", &format!("config {number}"));
        let layer = blob(&store, "a", "shared");
        match put(&store, "a", &number.to_string(), &manifest_of(&config, &[layer])) {
            Ok(_) => kept += 1,
            Err(StoreError::Refused(Refusal::ManifestBlobUnknown(_))) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    done.store(true, Ordering::Relaxed);
    collector.join().unwrap();
    assert_eq!(kept + refused, 150);
    assert_eq!(store.scrub().unwrap().damage, []);
}

#[test]
fn an_upload_survives_the_process() {
    let place = Place::new("resume");
    let store = place.open();
    let upload = store.begin_upload("a").unwrap();
    let id = upload.id().to_owned();
    upload.claim().unwrap().append(&[Bytes::from_static(b"abc")], 10).unwrap();
    drop((upload, store));
    let store = place.open();
    let upload = store.upload("a", &id).unwrap();
    assert_eq!(upload.size(), 3);
    assert!(store.upload("b", &id).is_err(), "it is a's");
    let claim = upload.claim().unwrap();
    assert!(upload.claim().is_none(), "one request at a time");
    assert!(claim.append(&[Bytes::from_static(b"12345678")], 10).is_err(), "too large");
    claim.append(&[Bytes::from_static(b"def")], 10).unwrap();
    store.commit(&claim, &Digest::sha256_of(b"abcdef")).unwrap();
    assert_eq!(store.blob("a", &Digest::sha256_of(b"abcdef")).unwrap().size, 6);
    assert!(store.upload("a", &id).is_err());
}

#[test]
fn what_a_crash_left_is_swept() {
    let place = Place::new("crash");
    let store = place.open();
    push(&store, "a", "1", "kept");
    drop(store);
    // A blob that was placed and not recorded, an upload without its note, a note without its upload.
    let digest = Digest::sha256_of(b"orphan");
    let orphan = place.root.join("blobs").join(&digest.hex()[..2]).join(digest.hex());
    std::fs::write(&orphan, "orphan").unwrap();
    for name in ["uploads/x", "uploads/y.repository"] {
        std::fs::write(place.root.join(name), "").unwrap();
    }
    let store = place.open();
    assert!(matches!(
        Store::open(&place.root, Limits::default(), Vec::new()),
        Err(StoreError::InUse(_))
    ));
    assert_eq!(store.collect(&GcOptions::default()).unwrap().blobs, 1);
    assert!(!orphan.exists());
    assert_eq!(std::fs::read_dir(place.root.join("uploads")).unwrap().count(), 0);
    assert_eq!(store.scrub().unwrap().damage, []);
}

#[test]
fn damage_is_found() {
    let place = Place::new("scrub");
    let store = place.open();
    push(&store, "a", "1", "x");
    let path = |content: &[u8]| {
        let digest = Digest::sha256_of(content);
        (place.root.join("blobs").join(&digest.hex()[..2]).join(digest.hex()), digest)
    };
    let (layer, layer_digest) = path(b"layer x");
    std::fs::write(layer, "layer y").unwrap();
    let (config, config_digest) = path(b"config x");
    std::fs::remove_file(config).unwrap();
    let repositories = vec!["a".to_owned()];
    let damage = store.scrub().unwrap().damage;
    assert!(
        damage.contains(&Damage::Corrupt {
            digest: layer_digest,
            repositories: repositories.clone()
        })
    );
    assert!(damage.contains(&Damage::Missing { digest: config_digest, repositories }));
    assert_eq!(damage.len(), 2);
}

#[test]
fn a_push_mends_what_is_damaged() {
    let place = Place::new("mend");
    let store = place.open();
    let manifest = push(&store, "a", "1", "x");
    let layer = Digest::sha256_of(b"layer x");
    let damage = |digest: &Digest| {
        let path = place.root.join("blobs").join(&digest.hex()[..2]).join(digest.hex());
        std::fs::write(path, "something else").unwrap();
    };
    damage(&layer);
    damage(&manifest);
    assert_eq!(store.scrub().unwrap().damage.len(), 2);
    // Clients are told to send it again, and nobody gets it by a mount.
    assert!(store.want_blob("a", &layer).is_err());
    assert!(store.mount(&layer, "a", "b").is_err());
    assert!(store.scrub().unwrap().damage.iter().all(|it| matches!(it, Damage::Missing { .. })));
    assert_eq!(push(&store, "a", "1", "x"), manifest);
    assert_eq!(store.scrub().unwrap().damage, []);
    // Also where nobody has looked yet.
    damage(&layer);
    damage(&manifest);
    push(&store, "b", "1", "x");
    assert_eq!(store.scrub().unwrap().damage, []);
    assert_eq!(std::fs::read_dir(place.root.join("damaged")).unwrap().count(), 2);
}

#[test]
fn immutable_tags_stay() {
    let place = Place::new("immutable");
    let store = place.open();
    let first = push(&store, "fixed", "v1", "1");
    push(&store, "fixed", "latest", "1");
    // The same content again changes nothing.
    push(&store, "fixed", "v1", "1");
    let config = blob(&store, "fixed", "other");
    let other = put(&store, "fixed", "v1", &manifest_of(&config, &[]));
    let immutable = |refused: StoreError| matches!(refused, StoreError::Refused(Refusal::TagImmutable(tag)) if tag == "v1");
    assert!(immutable(other.unwrap_err()));
    assert!(immutable(store.delete_tag("fixed", "v1").unwrap_err()));
    assert!(immutable(store.delete_manifest("fixed", &first).unwrap_err()));
    let rules = ["fixed,keep=0".parse().unwrap()];
    let gone = store.expire(&rules, false).unwrap();
    assert_eq!(gone.iter().map(|expired| expired.tag.as_str()).collect::<Vec<_>>(), ["latest"]);
}
