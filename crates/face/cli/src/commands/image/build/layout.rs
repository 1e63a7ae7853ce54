//! `--output type=oci,tar=false`: an image as a directory, which may have other images already.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use ferry_archive::{Limits, TarReader};
use ferry_client::Call;
use ferry_oci::{Digest, Hasher};
use rustix::fs::FlockOperation;
use serde_json::{Value, json};

use crate::{
    config::read_limited,
    framework::{Cli, CliError},
    run::options::go_words,
};

/// What `index.json` calls an image that has no name, as BuildKit has it.
const UNNAMED: &str = "latest";
const TAG: &str = "org.opencontainers.image.ref.name";
const NAME: &str = "io.containerd.image.name";
/// Largest `index.json`.
const MAX_INDEX: u64 = 16 << 20;

/// Refuses what is no directory, before anything is built.
pub(super) fn check(kind: &str, directory: &Path) -> Result<(), CliError> {
    if directory == Path::new("-") {
        return Err(CliError::new(format!("dest cannot be stdout for {kind} exporter")));
    }
    match fs::metadata(directory) {
        Ok(found) if !found.is_dir() => {
            Err(CliError::new(format!("destination directory {} is a file", directory.display())))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::new(format!(
            "invalid destination directory: {}: stat: {}",
            directory.display(),
            go_words(&error)
        ))),
        _ => Ok(()),
    }
}

/// Puts the image that a call answers as an archive into a directory.
pub(super) fn save(cli: &Cli, directory: &Path, call: Call) -> Result<(), CliError> {
    let wrong = |why: String| {
        CliError::new(format!("cannot write the image to {}: {why}", directory.display()))
    };
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|error| wrong(go_words(&error)))?;
    let (reader, mut writer) = io::pipe().map_err(|error| wrong(go_words(&error)))?;
    let own = directory.to_owned();
    let work = std::thread::Builder::new().name("layout".to_owned());
    let work: JoinHandle<Result<(), String>> =
        work.spawn(move || unpack(&own, reader)).map_err(|error| wrong(go_words(&error)))?;
    let sent = cli.wait(async {
        let mut answer = call.send().await?;
        while let Some(piece) = answer.chunk().await? {
            // An unpacker that stopped says why itself.
            if writer.write_all(&piece).is_err() {
                break;
            }
        }
        drop(writer);
        Ok::<_, CliError>(())
    });
    let done = work.join().unwrap_or_else(|_| Err("the unpacker ended early".to_owned()));
    sent?;
    done.map_err(wrong)
}

/// Takes blobs as they come. The list of images, which is what makes them an image, is changed at the end.
fn unpack(directory: &Path, input: impl Read) -> Result<(), String> {
    let words = |error: io::Error| go_words(&error);
    let mut tar = TarReader::new(BufReader::with_capacity(256 << 10, input), Limits::default());
    let mut index = None;
    while let Some(mut member) = tar.next_member().map_err(|error| ferry_errkind::chain(&error))? {
        let path = String::from_utf8_lossy(&member.entry.path).into_owned();
        if path == "index.json" {
            let mut text = Vec::new();
            member.by_ref().take(MAX_INDEX).read_to_end(&mut text).map_err(words)?;
            index = Some(text);
        } else if let Some(hex) = path.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) {
            let digest = format!("sha256:{hex}").parse::<Digest>();
            let digest = digest.map_err(|error| error.to_string())?;
            let place = directory.join("blobs/sha256").join(digest.hex());
            let size = member.entry.size;
            // One of another size is what is left of something.
            if !fs::metadata(&place).is_ok_and(|there| there.is_file() && there.len() == size) {
                written(&place, |file| blob(&digest, &mut member, file)).map_err(words)?;
            }
        }
    }
    let index = index.ok_or("the archive has no index.json")?;
    let new: Value = serde_json::from_slice(&index).map_err(|error| error.to_string())?;
    let place = directory.join("index.json");
    // Until the list is written: others may build into this layout, too.
    let _locked = lock(directory).map_err(words)?;
    let before = match read_limited(&place, MAX_INDEX) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| format!("{} does not read: {error}", place.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(words(error)),
    };
    let text = merged(before, new).to_string();
    written(&place, |file| file.write_all(text.as_bytes())).map_err(words)
}

/// Has nobody else change the list meanwhile: `image cp` locks the same file. It is never replaced, or it would be another's lock.
fn lock(directory: &Path) -> io::Result<File> {
    let path = directory.join("oci-layout");
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    if file.metadata()?.len() == 0 {
        file.write_all(br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    }
    Ok(file)
}

/// Copies a blob, if it is that of its name.
fn blob(digest: &Digest, from: &mut impl Read, to: &mut File) -> io::Result<()> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(read);
        to.write_all(read)?;
    }
    let found = hasher.finish();
    if found == *digest {
        return Ok(());
    }
    let words = format!("the archive has something else as blob {digest}: {found}");
    Err(io::Error::new(io::ErrorKind::InvalidData, words))
}

/// A list of images with those of another, which take the place of what had their names.
fn merged(before: Value, new: Value) -> Value {
    let of = |index: &Value| index["manifests"].as_array().cloned().unwrap_or_default();
    let mut added = of(&new);
    for image in &mut added {
        if image["annotations"][TAG].as_str().is_none_or(str::is_empty) {
            image["annotations"] = json!({ TAG: UNNAMED });
        }
    }
    let name = |image: &Value| {
        let said = &image["annotations"];
        (said[NAME].as_str().map(str::to_owned), said[TAG].as_str().map(str::to_owned))
    };
    let mut all = of(&before);
    all.retain(|old| added.iter().all(|new| name(old) != name(new)));
    all.extend(added);
    // Whatever else is said of the list stays.
    let mut index = if before.is_object() { before } else { json!({}) };
    index["schemaVersion"] = json!(2);
    index["mediaType"] = json!(ferry_oci::media::OCI_INDEX);
    index["manifests"] = Value::Array(all);
    index
}

/// A file that appears when it is whole.
fn written(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let done = File::create(&temporary)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| fs::rename(&temporary, path));
    if done.is_err() {
        // Half of it is of no use.
        fs::remove_file(&temporary).ok();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digest: &str, tag: &str) -> Value {
        json!({ "digest": digest, "annotations": { NAME: format!("x/y:{tag}"), TAG: tag } })
    }

    #[test]
    fn an_image_takes_the_place_of_what_had_its_name() {
        let index = |images: &[Value]| json!({ "manifests": images });
        let before = index(&[image("a", "1"), image("b", "2")]);
        let after = merged(before, index(&[image("c", "2"), json!({ "digest": "d" })]));
        let unnamed = json!({ "digest": "d", "annotations": { TAG: UNNAMED } });
        assert_eq!(after["manifests"], json!([image("a", "1"), image("c", "2"), unnamed]));
        let again = merged(after, index(&[json!({ "digest": "e" })]));
        assert_eq!(again["manifests"][2]["digest"], "e");
        assert_eq!(again["manifests"].as_array().map(Vec::len), Some(3));
        assert_eq!(merged(Value::Null, index(&[]))["schemaVersion"], 2);
        let noted = json!({ "manifests": [], "annotations": { "by": "hand" } });
        assert_eq!(merged(noted, index(&[]))["annotations"]["by"], "hand");
    }

    /// An archive with one blob and an index that lists it.
    fn archive(content: &str, tag: &str, digest: &Digest) -> Vec<u8> {
        let mut tar = ferry_archive::TarWriter::new(Vec::new());
        let index = json!({ "manifests": [image(&digest.to_string(), tag)] }).to_string();
        let blob = format!("blobs/sha256/{}", digest.hex());
        for (path, text) in [(blob.as_str(), content), ("index.json", &index)] {
            let entry = ferry_archive::Entry {
                path: path.as_bytes().to_vec(),
                size: text.len() as u64,
                stored: text.len() as u64,
                mode: 0o644,
                ..ferry_archive::Entry::default()
            };
            tar.append_file(&entry, text.as_bytes()).unwrap();
        }
        tar.finish().unwrap()
    }

    #[test]
    fn those_who_build_into_one_layout_at_once_lose_nothing() {
        let name = format!("ferry-layout-at-once-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::remove_dir_all(&directory).ok();
        fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let digests: Vec<Digest> =
            (0..8).map(|number| Digest::sha256_of(format!("{number}").as_bytes())).collect();
        // What is left of a blob is none.
        fs::write(directory.join("blobs/sha256").join(digests[3].hex()), "").unwrap();
        std::thread::scope(|scope| {
            for (number, digest) in digests.iter().enumerate() {
                let bytes = archive(&number.to_string(), &format!("v{number}"), digest);
                let directory = &directory;
                scope.spawn(move || unpack(directory, bytes.as_slice()).unwrap());
            }
        });
        let index: Value =
            serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(8), "{index}");
        let there = fs::read_to_string(directory.join("blobs/sha256").join(digests[3].hex()));
        assert_eq!(there.unwrap(), "3");
        let wrong = archive("something", "w", &Digest::sha256_of(b"else"));
        let said = unpack(&directory, wrong.as_slice()).unwrap_err();
        assert!(said.contains("something else as blob"), "{said}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
