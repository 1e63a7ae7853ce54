//! Images to serve.

use std::{collections::HashMap, io::Write};

use bytes::Bytes;
use ferry_oci::{Digest, media};
use serde_json::{Value, json};

use super::{Reply, Seen};

/// Blobs and manifests of one repository.
#[derive(Debug, Clone, Default)]
pub struct Image {
    pub blobs: HashMap<Digest, Bytes>,
    /// By tag and by digest: media type and bytes.
    pub manifests: HashMap<String, (String, Bytes)>,
    /// Blob and diff id of each layer.
    pub layers: Vec<(Digest, Digest)>,
    pub config: Option<Digest>,
    pub manifest: Option<Digest>,
}

/// A layer to build.
pub struct Layer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: &'static str,
}

impl Layer {
    pub fn gzip(tar: Vec<u8>) -> Layer {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        Layer { tar, blob: encoder.finish().unwrap(), media_type: media::OCI_LAYER_GZIP }
    }

    pub fn zstd(tar: Vec<u8>) -> Layer {
        let blob = zstd::encode_all(tar.as_slice(), 1).unwrap();
        Layer { tar, blob, media_type: media::OCI_LAYER_ZSTD }
    }

    pub fn plain(tar: Vec<u8>) -> Layer {
        Layer { blob: tar.clone(), tar, media_type: media::OCI_LAYER }
    }
}

impl Image {
    /// An OCI image with these layers, tagged `latest`.
    pub fn of(layers: &[Layer]) -> Image {
        let diff_ids = layers.iter().map(|layer| Digest::sha256_of(&layer.tar)).collect();
        Image::with_diff_ids(layers, diff_ids)
    }

    pub fn with_diff_ids(layers: &[Layer], diff_ids: Vec<Digest>) -> Image {
        let mut image = Image::default();
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = Bytes::from(config.to_string());
        let mut listed = Vec::new();
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let digest = image.add(layer.blob.clone());
            listed.push(
                json!({"mediaType": layer.media_type, "digest": digest, "size": layer.blob.len()}),
            );
            image.layers.push((digest, diff_id));
        }
        let (size, digest) = (config.len(), image.add(config));
        image.config = Some(digest.clone());
        let manifest = json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": {"mediaType": media::OCI_CONFIG, "digest": digest, "size": size}, "layers": listed});
        image.manifest = Some(image.tag("latest", media::OCI_MANIFEST, &manifest));
        image
    }

    pub fn add(&mut self, blob: impl Into<Bytes>) -> Digest {
        let blob = blob.into();
        let digest = Digest::sha256_of(&blob);
        self.blobs.insert(digest.clone(), blob);
        digest
    }

    pub fn tag(&mut self, tag: &str, media_type: &str, document: &Value) -> Digest {
        let bytes = Bytes::from(document.to_string());
        let digest = Digest::sha256_of(&bytes);
        for name in [tag.to_owned(), digest.to_string()] {
            self.manifests.insert(name, (media_type.to_owned(), bytes.clone()));
        }
        digest
    }

    /// What an honest registry answers.
    pub fn reply(&self, seen: &Seen) -> Reply {
        if let Some((_, name)) = seen.path.split_once("/manifests/") {
            return match self.manifests.get(name) {
                Some((kind, bytes)) => Reply::new(200, bytes.clone()).with("content-type", kind),
                None => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        if let Some((_, digest)) = seen.path.split_once("/blobs/") {
            let Some(blob) = self.blobs.get(&digest.parse().unwrap()) else {
                return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
            };
            return match seen.range() {
                None => Reply::new(200, blob.clone()),
                Some(start) => Reply::new(206, blob.slice(start..)).with(
                    "content-range",
                    format!("bytes {start}-{}/{}", blob.len() - 1, blob.len()),
                ),
            };
        }
        Reply::new(if seen.path == "/v2/" { 200 } else { 404 }, "{}")
    }
}

/// A tar with one file.
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[136..147].copy_from_slice(b"14000000000");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
