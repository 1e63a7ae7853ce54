//! The store beside a model of it: whatever is done in whatever order, what is there is what the model says, and a collection takes
//! exactly what the model says that nobody needs.

use std::collections::{BTreeMap, BTreeSet};

use ferry_oci::{Digest, media};

use crate::{
    GcOptions, PutManifest, Refusal, Store, StoreError, Target,
    tests::{Place, blob, manifest_of},
};

const REPOSITORIES: [&str; 3] = ["a", "b", "b/c"];
const TAGS: [&str; 3] = ["1", "2", "3"];
const CONTENTS: usize = 5;
const STEPS: usize = 120;
const RUNS: u64 = 16;

/// A repository, as it should be.
#[derive(Default)]
struct Expected {
    links: BTreeSet<Digest>,
    /// What each manifest needs, and what it is about.
    manifests: BTreeMap<Digest, (Vec<Digest>, Option<Digest>)>,
    tags: BTreeMap<&'static str, Digest>,
}

struct Model {
    store: Store,
    expected: BTreeMap<&'static str, Expected>,
    /// Every digest that there ever was.
    known: BTreeSet<Digest>,
    random: u64,
}

impl Model {
    /// One of so many, the same each time (xorshift).
    fn pick(&mut self, many: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % many as u64).unwrap()
    }

    fn repository(&mut self) -> &'static str {
        REPOSITORIES[self.pick(REPOSITORIES.len())]
    }

    fn content(&mut self) -> (String, Digest) {
        let text = format!("content {}", self.pick(CONTENTS));
        let digest = Digest::sha256_of(text.as_bytes());
        (text, digest)
    }

    fn step(&mut self) {
        match self.pick(10) {
            0..3 => self.push_blob(),
            3 => self.mount(),
            4..7 => self.put(),
            7 => self.delete_tag(),
            8 => self.delete_something(),
            _ => self.collect(),
        }
    }

    fn push_blob(&mut self) {
        let (repository, (text, digest)) = (self.repository(), self.content());
        blob(&self.store, repository, &text);
        self.known.insert(digest.clone());
        self.expected.get_mut(repository).unwrap().links.insert(digest);
    }

    fn mount(&mut self) {
        let (from, to, (_, digest)) = (self.repository(), self.repository(), self.content());
        let done = self.store.mount(&digest, from, to);
        let expected = self.expected[from].links.contains(&digest);
        assert_eq!(done.is_ok(), expected, "a mount of {digest} from {from}");
        if expected {
            self.expected.get_mut(to).unwrap().links.insert(digest);
        }
    }

    fn put(&mut self) {
        let repository = self.repository();
        let ((_, config), (_, layer)) = (self.content(), self.content());
        let mut text = manifest_of(&config, std::slice::from_ref(&layer));
        // Some are about another one, which need not be there.
        let all: Vec<Digest> = self.expected[repository].manifests.keys().cloned().collect();
        let subject = match self.pick(3) {
            0 if !all.is_empty() => Some(all[self.pick(all.len())].clone()),
            _ => None,
        };
        if let Some(subject) = &subject {
            let about = format!(
                "{{\"subject\":{{\"mediaType\":\"m\",\"digest\":\"{subject}\",\"size\":1}},"
            );
            text = text.replacen('{', &about, 1);
        }
        let digest = Digest::sha256_of(text.as_bytes());
        let tag = match self.pick(3) {
            0 => None,
            _ => Some(TAGS[self.pick(TAGS.len())]),
        };
        let target = match tag {
            Some(tag) => Target::Tag(tag.to_owned()),
            None => Target::Digest(digest.clone()),
        };
        let put = self.store.put_manifest(&PutManifest {
            repository,
            target: &target,
            media_type: media::OCI_MANIFEST,
            bytes: text.as_bytes(),
            cached: false,
        });
        self.known.insert(digest.clone());
        let expected = self.expected.get_mut(repository).unwrap();
        let whole = [&config, &layer].into_iter().all(|needed| expected.links.contains(needed));
        match put {
            Ok(_) => assert!(whole, "a manifest of what is not there was taken"),
            Err(StoreError::Refused(Refusal::ManifestBlobUnknown(_))) => assert!(!whole),
            Err(error) => panic!("{error}"),
        }
        if whole {
            expected.links.insert(digest.clone());
            expected.manifests.insert(digest.clone(), (vec![config, layer], subject));
            if let Some(tag) = tag {
                expected.tags.insert(tag, digest);
            }
        }
    }

    fn delete_tag(&mut self) {
        let (repository, tag) = (self.repository(), TAGS[self.pick(TAGS.len())]);
        let done = self.store.delete_tag(repository, tag);
        let expected = self.expected.get_mut(repository).unwrap();
        assert_eq!(done.is_ok(), expected.tags.remove(tag).is_some());
    }

    /// A manifest with its tags, or a blob that none needs.
    fn delete_something(&mut self) {
        let repository = self.repository();
        let all: Vec<Digest> = self.known.iter().cloned().collect();
        if all.is_empty() {
            return;
        }
        let digest = all[self.pick(all.len())].clone();
        let as_blob = self.pick(2) == 0;
        let expected = self.expected.get_mut(repository).unwrap();
        if as_blob {
            let needed = expected
                .manifests
                .iter()
                .any(|(own, (needs, _))| *own == digest || needs.contains(&digest));
            let may = expected.links.contains(&digest) && !needed;
            assert_eq!(self.store.delete_blob(repository, &digest).is_ok(), may);
            if may {
                expected.links.remove(&digest);
            }
        } else {
            let there = expected.manifests.remove(&digest).is_some();
            assert_eq!(self.store.delete_manifest(repository, &digest).is_ok(), there);
            expected.tags.retain(|_, of| *of != digest);
        }
    }

    fn collect(&mut self) {
        let untagged = (self.pick(2) == 0).then_some(0);
        let options = GcOptions { grace: 0, untagged, uploads: 0, dry: false };
        self.store.collect(&options).unwrap();
        for expected in self.expected.values_mut() {
            if untagged.is_some() {
                let mut kept: BTreeSet<Digest> = expected.tags.values().cloned().collect();
                loop {
                    let before = kept.len();
                    for (digest, (_, subject)) in &expected.manifests {
                        if subject.as_ref().is_some_and(|subject| kept.contains(subject)) {
                            kept.insert(digest.clone());
                        }
                    }
                    if kept.len() == before {
                        break;
                    }
                }
                expected.manifests.retain(|digest, _| kept.contains(digest));
            }
            let needs = expected.manifests.values().flat_map(|(needs, _)| needs);
            let needed: BTreeSet<Digest> =
                needs.chain(expected.manifests.keys()).cloned().collect();
            expected.links.retain(|digest| needed.contains(digest));
        }
        // Every file that is left is somebody's, and everybody has what they need.
        let held: BTreeSet<&Digest> =
            self.expected.values().flat_map(|expected| &expected.links).collect();
        let scrubbed = self.store.scrub().unwrap();
        assert_eq!(scrubbed.damage, []);
        assert_eq!(scrubbed.blobs, held.len() as u64);
    }

    /// Lists that are kept in memory, whole and in pages.
    fn compare_lists(&self, repository: &str, expected: &Expected) {
        // A repository that nothing was pushed to, or nothing is left in, has no list.
        let known = self.store.tags(repository, "", 1).is_ok();
        for (after, limit) in [("", 5000), ("1", 5000), ("", 1), ("1", 1), ("", 0), ("4", 2)] {
            let behind: Vec<&str> =
                expected.tags.keys().copied().filter(|tag| *tag > after).collect();
            let some = &behind[..limit.min(behind.len())];
            let last = some.last().filter(|_| some.len() < behind.len());
            match self.store.tag_page(repository, after, limit) {
                Ok(page) => {
                    let tags: Vec<String> =
                        serde_json::from_str(&format!("[{}]", page.json)).unwrap();
                    assert_eq!(tags, some, "{limit} tags of {repository} behind {after:?}");
                    assert_eq!(page.last.as_deref(), last.copied());
                }
                Err(error) => assert!(!known && behind.is_empty(), "{error}"),
            }
        }
    }

    fn compare(&self) {
        for (repository, expected) in &self.expected {
            for digest in &self.known {
                let there = self.store.blob(repository, digest).is_ok();
                assert_eq!(there, expected.links.contains(digest), "{digest} in {repository}");
                let target = Target::Digest(digest.clone());
                let manifest = self.store.manifest(repository, &target).is_ok();
                assert_eq!(manifest, expected.manifests.contains_key(digest));
            }
            for tag in TAGS {
                let found = self.store.tag(repository, tag).unwrap().map(|tag| tag.digest);
                assert_eq!(found.as_ref(), expected.tags.get(tag), "{repository}:{tag}");
            }
            self.compare_lists(repository, expected);
        }
    }
}

#[test]
fn whatever_is_done_it_is_as_the_model_says() {
    for run in 1..=RUNS {
        let place = Place::new(&format!("model-{run}"));
        let mut model = Model {
            store: place.open(),
            expected: REPOSITORIES.into_iter().map(|name| (name, Expected::default())).collect(),
            known: BTreeSet::new(),
            random: run.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        for _ in 0..STEPS {
            model.step();
            model.compare();
        }
    }
}
