//! `docker context export` and `import`: a context with its keys as a tar, which both programs read.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use ferry_archive::{Entry, Kind, Limits, TarReader, TarWriter, read_zip};
use serde_json::Value;

use super::{
    create::default_host,
    store::{self, Context},
};
use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome, quote};

/// The file with everything but keys.
const META: &str = "meta.json";
/// The directory with keys; below it one for each endpoint.
const TLS: &str = "tls/";
/// An archive may be as large as this.
const LIMIT: u64 = 10 << 20;

pub(super) const EXPORT: Command = Command {
    name: "export",
    short: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    usage: "[OPTIONS] CONTEXT [FILE|-]",
    args: Args::Between(1, 2),
    run: export,
    ..Command::NEW
};

pub(super) const IMPORT: Command = Command {
    name: "import",
    short: "Import a context from a tar or zip file",
    usage: "CONTEXT FILE|-",
    args: Args::Exactly(2),
    run: import,
    ..Command::NEW
};

fn export(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    let context = match name {
        store::DEFAULT => {
            let mut context = Context::new(name);
            let host = cli.env("DOCKER_HOST").unwrap_or_else(|| default_host(cli));
            context.set_endpoint(&host, false);
            context
        }
        name => store::load(cli, name)?,
    };
    let archive = pack(cli, &context)?;
    let file = match matches.arg(1) {
        "" => format!("{name}.dockercontext"),
        file => file.to_owned(),
    };
    if file == "-" {
        if cli.stdout_is_terminal() {
            return Err(CliError::new(
                "cowardly refusing to export to a terminal, specify a file path",
            ));
        }
        let written = io::stdout().write_all(&archive).and_then(|()| io::stdout().flush());
        written.map_err(|error| CliError::new(format!("cannot write to stdout: {error}")))?;
        return Ok(0);
    }
    let failed = |error: io::Error| {
        CliError::new(format!("open {file}: {}", crate::run::options::go_words(&error)))
    };
    // There may be keys in it.
    let mut options = File::options();
    let target = options.write(true).create_new(true).mode(0o600).open(&file);
    target.and_then(|mut target| target.write_all(&archive)).map_err(failed)?;
    cli.warn(&format!("Written file {}", quote(&file)));
    Ok(0)
}

fn pack(cli: &Cli, context: &Context) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| CliError::new(format!("cannot write an archive: {error}"));
    let mut archive = TarWriter::new(Vec::new());
    let file = |path: String, mode: u32, bytes: &[u8]| {
        let size = bytes.len() as u64;
        Entry { path: path.into_bytes(), mode, size, stored: size, ..Entry::default() }
    };
    let directory = |path: String| Entry {
        path: path.into_bytes(),
        mode: 0o700,
        kind: Kind::Directory,
        ..Entry::default()
    };
    let meta = context.meta.to_string().into_bytes();
    archive.append_file(&file(META.to_owned(), 0o644, &meta), meta.as_slice()).map_err(failed)?;
    archive.append(&directory(TLS.trim_end_matches('/').to_owned())).map_err(failed)?;
    let keys = context.tls_files(cli);
    if !keys.is_empty() {
        archive.append(&directory(format!("{TLS}docker"))).map_err(failed)?;
    }
    for name in keys {
        let path = context.tls_dir(cli).join("docker").join(&name);
        let bytes = crate::config::read_limited(&path, LIMIT).map_err(failed)?;
        let entry = file(format!("{TLS}docker/{name}"), 0o600, &bytes);
        archive.append_file(&entry, bytes.as_slice()).map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

fn import(cli: &Cli, matches: &Matches) -> Outcome {
    let name = matches.arg(0);
    store::check_name(name)?;
    if store::exists(cli, name) {
        return Err(CliError::new(format!("context {} already exists", quote(name))));
    }
    let bytes = read(matches.arg(1))?;
    let Unpacked { mut meta, keys } = unpack(&bytes)?;
    meta["Name"] = Value::from(name);
    let context = Context { name: name.to_owned(), meta };
    for (file, bytes) in &keys {
        context.write_key(cli, file, bytes)?;
    }
    context.save(cli)?;
    cli.println(name)?;
    cli.warn(&format!("Successfully imported context {}", quote(name)));
    Ok(0)
}

fn read(path: &str) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| {
        CliError::new(format!("open {path}: {}", crate::run::options::go_words(&error)))
    };
    let mut bytes = Vec::new();
    match path {
        "-" => io::stdin().take(LIMIT + 1).read_to_end(&mut bytes),
        path => File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)),
    }
    .map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err(CliError::new("read exceeds the defined limit"));
    }
    Ok(bytes)
}

struct Unpacked {
    meta: Value,
    keys: Vec<(String, Vec<u8>)>,
}

fn unpack(bytes: &[u8]) -> Result<Unpacked, CliError> {
    let files = if bytes.starts_with(b"PK\x03\x04") { unzip(bytes)? } else { untar(bytes)? };
    let (mut meta, mut keys) = (None, Vec::new());
    for (path, content) in files {
        if path == META {
            let read: serde_json::Result<Value> = serde_json::from_slice(&content);
            meta = Some(read.map_err(|error| CliError::new(error.to_string()))?);
            continue;
        }
        let Some(key) = path.strip_prefix(TLS) else {
            return Err(CliError::new(format!("{path}: unexpected context file")));
        };
        match key.split_once('/') {
            Some(("docker", file)) if is_name(file) => keys.push((file.to_owned(), content)),
            _ => return Err(CliError::new("archive format is invalid")),
        }
    }
    match meta {
        Some(meta @ Value::Object(_)) => Ok(Unpacked { meta, keys }),
        _ => Err(CliError::new("invalid context: no metadata found")),
    }
}

/// Files by their paths.
type Files = Vec<(String, Vec<u8>)>;

fn unzip(bytes: &[u8]) -> Result<Files, CliError> {
    let members = read_zip(bytes, LIMIT).map_err(|error| CliError::new(error.to_string()))?;
    Ok(members.into_iter().map(|member| (member.path, member.content)).collect())
}

fn untar(bytes: &[u8]) -> Result<Files, CliError> {
    let broken = |error: &dyn std::fmt::Display| CliError::new(error.to_string());
    let mut archive = TarReader::new(BufReader::new(bytes), Limits::default());
    let mut files = Vec::new();
    while let Some(mut member) = archive.next_member().map_err(|error| broken(&error))? {
        if member.entry.kind == Kind::File {
            let path = String::from_utf8_lossy(&member.entry.path).into_owned();
            let mut content = Vec::new();
            member.read_to_end(&mut content).map_err(|error| broken(&error))?;
            files.push((path, content));
        }
    }
    Ok(files)
}

/// Whether that is one step of a path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = TarWriter::new(Vec::new());
        for (path, text) in files {
            let size = text.len() as u64;
            let entry =
                Entry { path: path.as_bytes().to_vec(), size, stored: size, ..Entry::default() };
            archive.append_file(&entry, text.as_bytes()).unwrap();
        }
        archive.finish().unwrap()
    }

    #[test]
    fn what_belongs_to_a_context() {
        let words = |files: &[(&str, &str)]| {
            unpack(&tar(files)).map_err(|error| error.message().to_owned()).err()
        };
        let meta = ("meta.json", "{\"Name\":\"x\"}");
        let unpacked = unpack(&tar(&[meta, ("tls/docker/ca.pem", "key")])).ok().unwrap();
        assert_eq!(unpacked.keys, [("ca.pem".to_owned(), b"key".to_vec())]);
        assert_eq!(words(&[("junk", "")]).unwrap(), "junk: unexpected context file");
        assert_eq!(words(&[]).unwrap(), "invalid context: no metadata found");
        for path in ["tls/x", "tls/docker/../../x", "tls/docker/", "tls/../docker/x", "tls/other/x"]
        {
            assert_eq!(words(&[meta, (path, "x")]).unwrap(), "archive format is invalid", "{path}");
        }
    }
}
