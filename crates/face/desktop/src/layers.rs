//! What each layer of an image brought: out of the archive that `save` gives.
//!
//! The API tells only a layer's size. Its files, and what later layers waste of them, are in the tars inside the image's tar.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use ferry_archive::Kind;
use ferry_client::{Answer, path_segment};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    proxy::refused,
    reply::{Reply, failure, reply},
    server::Shared,
    tar::{Source, Tar, TarError},
};

/// Files that are remembered, of all layers together.
const FILES: usize = 1_000_000;
/// Files of a layer that are told, the largest first.
const TOLD: usize = 100;
/// A manifest is never larger.
const DOCUMENT: usize = 4 << 20;
/// What marks a name that a layer takes away.
const WHITEOUT: &str = ".wh.";

#[derive(Debug, Default, Serialize)]
struct Layer {
    digest: String,
    size: u64,
    files: usize,
    added: usize,
    changed: usize,
    deleted: usize,
    wasted: u64,
    largest: Vec<File>,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    size: u64,
    kind: &'static str,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// Names and sizes of one layer, in the tar's order.
type Names = Vec<(String, u64)>;

/// Answers `/files/layers`.
pub(crate) async fn serve(shared: &Arc<Shared>, image: &str) -> Reply {
    let path = format!("/images/{}/get", path_segment(image));
    let answer = match shared.client.get(path).send().await {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    match read(answer).await {
        Ok(Some(layers)) => match serde_json::to_vec(&serde_json::json!({ "layers": layers })) {
            Ok(body) => reply(StatusCode::OK, "application/json", body),
            Err(error) => failure(500, &error.to_string(), None),
        },
        Ok(None) => failure(502, "the image's archive has no layers that can be read", None),
        Err(error) => failure(502, &ferry_errkind::chain(&error), None),
    }
}

async fn read(answer: Answer) -> Result<Option<Vec<Layer>>, TarError> {
    let mut outer = Tar::new(answer);
    let mut blobs: HashMap<String, Names> = HashMap::new();
    let mut order: Option<Vec<String>> = None;
    let mut left = FILES;
    while let Some(entry) = outer.next().await? {
        if entry.kind != Kind::File || entry.size == 0 {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        let Some(first) = outer.payload().await? else { continue };
        if first.starts_with(b"{") || first.starts_with(b"[") {
            if path == "manifest.json" {
                order = manifest(&mut outer, first).await?;
            }
            continue;
        }
        // Compressed layers, and whatever else is there, are no tars.
        if let Ok(names) = names(&mut outer, first, &mut left).await {
            blobs.insert(path, names);
        }
    }
    Ok(order.map(|order| {
        let order = order.into_iter();
        compare(order.map(|path| (blobs.remove(&path).unwrap_or_default(), path)).collect())
    }))
}

async fn manifest(outer: &mut Tar<Answer>, first: Bytes) -> Result<Option<Vec<String>>, TarError> {
    let mut text = first.to_vec();
    while let Some(piece) = outer.payload().await? {
        if text.len() + piece.len() > DOCUMENT {
            return Ok(None);
        }
        text.extend_from_slice(&piece);
    }
    let manifests: Vec<Manifest> = serde_json::from_slice(&text).unwrap_or_default();
    Ok(manifests.into_iter().next().map(|manifest| manifest.layers))
}

/// A tar inside a tar.
struct Inner<'a> {
    outer: &'a mut Tar<Answer>,
    first: Option<Bytes>,
}

impl Source for Inner<'_> {
    fn piece(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, TarError>> + Send + '_>> {
        Box::pin(async {
            match self.first.take() {
                Some(first) => Ok(Some(first)),
                None => self.outer.payload().await,
            }
        })
    }
}

async fn names(outer: &mut Tar<Answer>, first: Bytes, left: &mut usize) -> Result<Names, TarError> {
    let mut inner = Tar::new(Inner { outer, first: Some(first) });
    let mut names = Vec::new();
    while let Some(entry) = inner.next().await? {
        if entry.kind == Kind::Directory || *left == 0 {
            continue;
        }
        *left -= 1;
        let path = String::from_utf8_lossy(&entry.path);
        let path = path.trim_start_matches("./").trim_start_matches('/').to_owned();
        names.push((path, entry.size));
    }
    Ok(names)
}

/// What each layer adds, changes and takes away of those below it.
fn compare(layers: Vec<(Names, String)>) -> Vec<Layer> {
    let mut below: BTreeMap<String, u64> = BTreeMap::new();
    let mut told = Vec::with_capacity(layers.len());
    for (names, path) in layers {
        let digest = path.trim_start_matches("blobs/sha256/").trim_end_matches("/layer.tar");
        let mut layer = Layer { digest: digest.to_owned(), files: names.len(), ..Layer::default() };
        for (name, size) in names {
            layer.size += size;
            let (folder, last) = name.rsplit_once('/').unwrap_or(("", &name));
            let kind = if let Some(gone) = last.strip_prefix(WHITEOUT) {
                let gone =
                    if folder.is_empty() { gone.to_owned() } else { format!("{folder}/{gone}") };
                layer.deleted += 1;
                layer.wasted += take_away(&mut below, &gone);
                layer.largest.push(File { path: gone, size: 0, kind: "deleted" });
                continue;
            } else if let Some(before) = below.insert(name.clone(), size) {
                layer.changed += 1;
                layer.wasted += before;
                "changed"
            } else {
                layer.added += 1;
                "added"
            };
            layer.largest.push(File { path: name, size, kind });
        }
        layer.largest.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        layer.largest.truncate(TOLD);
        told.push(layer);
    }
    told
}

/// Removes a name and everything below it; how large that was.
fn take_away(below: &mut BTreeMap<String, u64>, name: &str) -> u64 {
    let inside = format!("{name}/");
    let mut gone: Vec<String> = below
        .range(inside.clone()..)
        .map(|(path, _)| path)
        .take_while(|path| path.starts_with(&inside))
        .cloned()
        .collect();
    gone.push(name.to_owned());
    gone.iter().filter_map(|path| below.remove(path)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_waste_what_they_replace() {
        let names = |all: &[(&str, u64)]| {
            all.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect::<Names>()
        };
        let layers = compare(vec![
            (
                names(&[("a", 10), ("dir/b", 20), ("dir/c", 30), ("dir2", 1)]),
                "blobs/sha256/x".into(),
            ),
            (names(&[("a", 5), ("new", 7)]), "y/layer.tar".into()),
            (names(&[(".wh.dir", 0), (".wh.a", 0)]), "z".into()),
        ]);
        let figures: Vec<_> = layers
            .iter()
            .map(|layer| (layer.added, layer.changed, layer.deleted, layer.wasted))
            .collect();
        assert_eq!(figures, [(4, 0, 0, 0), (1, 1, 0, 10), (0, 0, 2, 55)]);
        assert_eq!((layers[0].digest.as_str(), layers[1].digest.as_str()), ("x", "y"));
        assert_eq!(layers[0].largest[0].path, "dir/c");
    }
}
