//! `--output`, `--load`, `--push`: where the result goes.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use ferry_client::Rest;

use crate::{
    framework::{CliError, Matches, write_fd},
    run::options::go_words,
};

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Into the image store; pushed, if so.
    Image { push: bool },
    /// Into the image store, and as an archive into a file.
    Archive(PathBuf),
    /// Its files into a directory.
    Local(PathBuf),
    /// Its files as a tar; `-` is standard output.
    Tar(PathBuf),
    /// Nowhere: only the cache has it.
    Nothing,
}

impl Output {
    /// Reads the flags.
    pub(super) fn of(matches: &Matches, names: &mut Vec<String>) -> Result<Output, CliError> {
        let given = matches.texts("output");
        let push = matches.flag("push");
        match given {
            [] => Ok(Output::Image { push }),
            [one] if push || matches.flag("load") => Err(CliError::new(format!(
                "push and load may not be set together with --output {one} yet"
            ))),
            [one] => Output::read(one, names),
            _ => Err(CliError::new("not supported yet: more than one --output")),
        }
    }

    fn read(text: &str, names: &mut Vec<String>) -> Result<Output, CliError> {
        if text == "-" {
            return Ok(Output::Tar(PathBuf::from("-")));
        }
        if !text.contains('=') {
            return Ok(Output::Local(PathBuf::from(text)));
        }
        let (mut kind, mut place, mut push) = ("", None, false);
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, "true"));
            match name {
                "type" => kind = value,
                "dest" => place = Some(PathBuf::from(value)),
                "push" => push = value == "true",
                "name" => names.push(value.to_owned()),
                "tar" if value == "true" => {}
                other => {
                    return Err(CliError::new(format!(
                        "not supported yet: --output {other}={value}"
                    )));
                }
            }
        }
        let needed = || CliError::new(format!("dest is required for {kind} output"));
        match (kind, place) {
            ("local", place) => place.map(Output::Local).ok_or_else(needed),
            ("tar", place) => Ok(Output::Tar(place.unwrap_or_else(|| PathBuf::from("-")))),
            ("docker", Some(place)) | ("oci", Some(place)) => Ok(Output::Archive(place)),
            ("oci", None) => Err(needed()),
            ("docker" | "image", None) => Ok(Output::Image { push }),
            ("registry", None) => Ok(Output::Image { push: true }),
            ("cacheonly", None) => Ok(Output::Nothing),
            ("", _) => Err(CliError::new("type is required for output")),
            (other, _) => Err(CliError::new(format!("invalid output type {other:?}"))),
        }
    }

    /// What the daemon is to do with the result.
    pub(super) fn result(&self) -> &'static str {
        match self {
            Output::Image { .. } | Output::Archive(_) => "",
            Output::Local(_) | Output::Tar(_) => "files",
            Output::Nothing => "nothing",
        }
    }

    /// Takes the files that follow.
    pub(super) async fn take(&self, mut files: Rest) -> Result<(), CliError> {
        match self {
            Output::Tar(path) if path == Path::new("-") => {
                while let Some(piece) = files.next().await? {
                    write_fd(rustix::stdio::stdout(), &piece)?;
                }
                Ok(())
            }
            Output::Tar(path) => {
                let wrong = |error: std::io::Error| {
                    CliError::new(format!("open {}: {}", path.display(), go_words(&error)))
                };
                let mut file = File::create(path).map_err(wrong)?;
                while let Some(piece) = files.next().await? {
                    file.write_all(&piece).map_err(wrong)?;
                }
                Ok(())
            }
            Output::Local(path) => unpack(path, files).await,
            _ => Ok(()),
        }
    }
}

/// Unpacks what comes into a directory, on a thread of its own.
async fn unpack(path: &Path, mut files: Rest) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| {
        CliError::new(format!("cannot write to {}: {}", path.display(), go_words(&error)))
    };
    std::fs::create_dir_all(path).map_err(wrong)?;
    let directory = File::open(path).map_err(wrong)?;
    let (reader, mut writer) = std::io::pipe().map_err(wrong)?;
    let work = std::thread::Builder::new().name("unpack".to_owned());
    let work = work.spawn(move || {
        let options = ferry_archive::Options {
            ids: None,
            limits: ferry_archive::Limits::default(),
            whiteouts: ferry_archive::Whiteouts::Literal,
            owner: match rustix::process::geteuid().is_root() {
                true => ferry_archive::Owner::Archived,
                false => ferry_archive::Owner::Unpacker,
            },
            keep_types: false,
            keep_root: true,
        };
        let mut tar = std::io::BufReader::with_capacity(256 << 10, reader);
        ferry_archive::unpack_renamed(
            &mut tar,
            std::os::fd::AsFd::as_fd(&directory),
            None,
            &options,
        )
        .map(drop)
        .map_err(|error| ferry_errkind::chain(&error))
    });
    let work = work.map_err(wrong)?;
    while let Some(piece) = files.next().await? {
        // An unpacker that stopped says why itself.
        if writer.write_all(&piece).is_err() {
            break;
        }
    }
    drop(writer);
    let unpacked = work.join().unwrap_or_else(|_| Err("the unpacker ended early".to_owned()));
    unpacked.map_err(|why| CliError::new(format!("cannot write to {}: {why}", path.display())))
}
