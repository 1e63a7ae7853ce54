//! `--output`, `--load`, `--push`: where the result goes.

use std::{
    fs::File,
    io::{PipeWriter, Write},
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use ferry_client::Rest;
use ferry_docker_api::solve::AskedLayout;

use super::layout;
use crate::{
    framework::{CliError, Matches, write_fd},
    run::options::go_words,
};

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Into the image store; pushed, if so.
    Image { push: bool, layers: Layers },
    /// Into the image store, and as an archive into a file.
    Archive(PathBuf, Layers),
    /// Into the image store, and as an OCI layout into a directory.
    Layout(PathBuf, Layers),
    /// Its files into a directory.
    Local(PathBuf),
    /// Its files as a tar; `-` is standard output.
    Tar(PathBuf),
    /// Nowhere: only the cache has it.
    Nothing,
}

/// How the layers of an image are compressed on their way: as queries of ours say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layers {
    /// `gzip`, `zstd` or `uncompressed`; empty is as ever.
    pub(super) compression: String,
    /// `compression-level`; empty is the usual one.
    pub(super) level: String,
    /// `force-compression`: also those that the registry has in another form.
    pub(super) force: bool,
    /// `oci-mediatypes`: in OCI's words, also where Docker has its own.
    pub(super) oci: bool,
}

impl Layers {
    /// What our own daemon is asked beyond Docker's words.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let said = |is: bool| if is { "true" } else { "" };
        let all = [
            ("compression", self.compression.as_str()),
            ("compression-level", self.level.as_str()),
            ("force-compression", said(self.force)),
            ("oci-mediatypes", said(self.oci)),
        ];
        let given = all.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name, value.to_owned())).collect()
    }
}

/// All places that the result goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outputs {
    pub(super) all: Vec<Output>,
    /// How files are laid out.
    pub(super) layout: AskedLayout,
}

impl Outputs {
    /// Reads the flags.
    pub(super) fn of(matches: &Matches, names: &mut Vec<String>) -> Result<Outputs, CliError> {
        let (mut all, mut layout) = (Vec::new(), None);
        for text in matches.texts("output") {
            let (output, own) = Output::read(text, names)?;
            if matches!(output, Output::Local(_) | Output::Tar(_)) {
                if layout.as_ref().is_some_and(|layout| *layout != own) {
                    return Err(CliError::new(
                        "all outputs of files must have the same platform-split and attestation-prefix",
                    ));
                }
                layout = Some(own);
            }
            all.push(output);
        }
        let pushes = matches.flag("push");
        let wanted = all.is_empty() || pushes || matches.flag("load");
        let image = all.iter().position(|output| matches!(output, Output::Image { .. }));
        match image.and_then(|at| all.get_mut(at)) {
            Some(Output::Image { push, .. }) => *push |= pushes,
            _ if wanted => all.push(Output::Image { push: pushes, layers: Layers::default() }),
            _ => {}
        }
        let out = |output: &&Output| output.takes_standard_output();
        if all.iter().filter(out).count() > 1 {
            return Err(CliError::new("only one output can go to standard output"));
        }
        Ok(Outputs { all, layout: layout.unwrap_or_default() })
    }

    /// What the daemon is to do with the result.
    pub(super) fn result(&self) -> &'static str {
        let any = |wanted: fn(&Output) -> bool| self.all.iter().any(wanted);
        let image = any(|output| {
            matches!(output, Output::Image { .. } | Output::Archive(..) | Output::Layout(..))
        });
        let files = any(|output| matches!(output, Output::Local(_) | Output::Tar(_)));
        match (image, files) {
            (true, false) => "",
            (true, true) => "image and files",
            (false, true) => "files",
            (false, false) => "nothing",
        }
    }

    /// Takes the files that follow, to all places that want them.
    pub(super) async fn take(&self, mut files: Rest) -> Result<(), CliError> {
        let mut sinks = self.all.iter().filter_map(Sink::of).collect::<Result<Vec<_>, _>>()?;
        while let Some(piece) = files.next().await? {
            sinks.iter_mut().try_for_each(|sink| sink.write(&piece))?;
        }
        sinks.into_iter().try_for_each(Sink::finish)
    }
}

impl Output {
    fn takes_standard_output(&self) -> bool {
        matches!(self, Output::Tar(path) | Output::Archive(path, _) if path == Path::new("-"))
    }

    fn read(text: &str, names: &mut Vec<String>) -> Result<(Output, AskedLayout), CliError> {
        let (mut layers, mut layout) = (Layers::default(), AskedLayout::default());
        if text == "-" {
            return Ok((Output::Tar(PathBuf::from("-")), layout));
        }
        if !text.contains('=') {
            return Ok((Output::Local(PathBuf::from(text)), layout));
        }
        let (mut kind, mut place, mut push, mut packed) = ("", None, false, true);
        let mut given = Vec::new();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').unwrap_or((part, "true"));
            match name {
                "type" => kind = value,
                "dest" => place = Some(PathBuf::from(value)),
                "push" => push = truth(name, value)?,
                "name" => names.push(value.to_owned()),
                "tar" => packed = truth(name, value)?,
                "platform-split" => layout.split = Some(truth(name, value)?),
                "attestation-prefix" => value.clone_into(&mut layout.prefix),
                "compression" if matches!(value, "uncompressed" | "gzip" | "zstd") => {
                    value.clone_into(&mut layers.compression);
                }
                "compression-level" => value.clone_into(&mut layers.level),
                "force-compression" => layers.force = truth(name, value)?,
                "oci-mediatypes" => layers.oci = truth(name, value)?,
                // An epoch is always one for files, too; without one this means nothing in BuildKit, either.
                "rewrite-timestamp" if value == "true" => {}
                other => {
                    return Err(CliError::new(format!(
                        "not supported yet: --output {other}={value}"
                    )));
                }
            }
            given.push(name);
        }
        let files = matches!(kind, "local" | "tar");
        let archive = matches!(kind, "oci" | "docker");
        let misplaced = given.into_iter().find(|name| match *name {
            "platform-split" | "attestation-prefix" => !files,
            "tar" => !archive,
            "compression" | "compression-level" | "force-compression" | "oci-mediatypes" => files,
            _ => false,
        });
        if let Some(name) = misplaced {
            return Err(CliError::new(format!("--output {name} means nothing for type={kind}")));
        }
        let needed = || CliError::new(format!("dest is required for {kind} output"));
        let output = match (kind, place) {
            ("local", place) => place.map(Output::Local).ok_or_else(needed)?,
            ("tar", place) => Output::Tar(place.unwrap_or_else(|| PathBuf::from("-"))),
            ("docker" | "oci", Some(place)) if !packed => {
                layout::check(kind, &place)?;
                Output::Layout(place, layers)
            }
            ("docker" | "oci", None) if !packed => {
                return Err(CliError::new(format!("dest is required for {kind} exporter")));
            }
            ("docker" | "oci", Some(place)) => Output::Archive(place, layers),
            ("oci", None) => return Err(needed()),
            ("docker" | "image", None) => Output::Image { push, layers },
            ("registry", None) => Output::Image { push: true, layers },
            ("cacheonly", None) => Output::Nothing,
            ("", _) => return Err(CliError::new("type is required for output")),
            (other, _) => return Err(CliError::new(format!("invalid output type {other:?}"))),
        };
        Ok((output, layout))
    }
}

fn truth(name: &str, value: &str) -> Result<bool, CliError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(CliError::new(format!("non-bool value specified for {name}: {other:?}"))),
    }
}

/// A place that the files of the result go to, as a tar or out of it.
enum Sink {
    Standard,
    File(PathBuf, File),
    /// A thread unpacks what comes.
    Directory(PathBuf, PipeWriter, JoinHandle<Result<(), String>>),
}

impl Sink {
    fn of(output: &Output) -> Option<Result<Sink, CliError>> {
        match output {
            Output::Tar(path) if path == Path::new("-") => Some(Ok(Sink::Standard)),
            Output::Tar(path) => {
                let file = File::create(path).map_err(|error| wrong(path, &error));
                Some(file.map(|file| Sink::File(path.clone(), file)))
            }
            Output::Local(path) => Some(Sink::unpack(path)),
            _ => None,
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), CliError> {
        match self {
            Sink::Standard => Ok(write_fd(rustix::stdio::stdout(), piece)?),
            Sink::File(path, file) => file.write_all(piece).map_err(|error| wrong(path, &error)),
            Sink::Directory(_, pipe, _) => {
                // An unpacker that stopped says why itself.
                pipe.write_all(piece).ok();
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(), CliError> {
        let Sink::Directory(path, pipe, work) = self else { return Ok(()) };
        drop(pipe);
        let unpacked = work.join().unwrap_or_else(|_| Err("the unpacker ended early".to_owned()));
        unpacked.map_err(|why| CliError::new(format!("cannot write to {}: {why}", path.display())))
    }

    /// Unpacks what comes into a directory, on a thread of its own.
    fn unpack(path: &Path) -> Result<Sink, CliError> {
        let wrong = |error: std::io::Error| {
            CliError::new(format!("cannot write to {}: {}", path.display(), go_words(&error)))
        };
        std::fs::create_dir_all(path).map_err(wrong)?;
        let directory = File::open(path).map_err(wrong)?;
        let (reader, writer) = std::io::pipe().map_err(wrong)?;
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
                clones: None,
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
        Ok(Sink::Directory(path.to_owned(), writer, work.map_err(wrong)?))
    }
}

fn wrong(path: &Path, error: &std::io::Error) -> CliError {
    CliError::new(format!("open {}: {}", path.display(), go_words(error)))
}
