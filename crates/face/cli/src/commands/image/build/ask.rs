//! What flags ask for beyond the classic builder: secrets, agents, named contexts.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use base64::Engine as _;
use ferry_docker_api::{
    handed::Handed,
    solve::{AskedContext, BuildAsk},
};

use super::ssh;
use crate::{
    config::read_limited,
    framework::{Cli, CliError, Matches},
    run::{download::Target, hand_over, options::go_words},
};

/// Longest secret, in bytes, as Docker has it.
const MAX_SECRET: u64 = 500 << 10;

/// When a reproducible build is done that does not say when: 1980, as zip archives know of no time before that.
const FIRST: i64 = 315_532_800;

/// The question, and the directories that must stay open until it is answered.
pub(super) struct Question {
    pub(super) ask: BuildAsk,
    pub(super) open: Vec<File>,
    /// Where the cache goes.
    pub(super) cache: Option<CacheTo>,
    /// Images that are only there for `--cache-from`.
    pub(super) loaded: Vec<String>,
    /// Agents that have keys for the build.
    _keys: Vec<ssh::Agent>,
}

/// Where the cache goes, beyond the image itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CacheTo {
    /// To a registry, under this name.
    Registry(String),
    /// Into a directory.
    Local(PathBuf),
}

/// The file of a cache in a directory.
const CACHE_FILE: &str = "ferry-cache.tar";

impl CacheTo {
    /// Sends it where it goes; the image that it is in the meantime goes.
    pub(super) fn send(&self, cli: &Cli, name: &str) -> Result<(), CliError> {
        match self {
            CacheTo::Registry(reference) => super::super::push::one(cli, reference, &[])?,
            CacheTo::Local(directory) => {
                std::fs::create_dir_all(directory).map_err(|error| {
                    CliError::new(format!("mkdir {}: {}", directory.display(), go_words(&error)))
                })?;
                let file = directory.join(CACHE_FILE);
                let target = Target::new(&file.to_string_lossy())?;
                let call = cli.client()?.get("/images/get").query("names", name);
                cli.wait(async { target.save(call.send().await?).await })?;
            }
        }
        forget(cli, name)
    }
}

/// Removes the name of an image that was only there for its cache.
pub(super) fn forget(cli: &Cli, name: &str) -> Result<(), CliError> {
    let call = cli.client()?.delete(super::super::path(name, ""));
    Ok(cli.wait(call.done())?)
}

fn cache_to(text: &str, ask: &mut BuildAsk) -> Result<Option<CacheTo>, CliError> {
    let fields = fields(text);
    let of = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    for (name, value) in &fields {
        let known = matches!(*name, "type" | "ref" | "dest")
            || (*name, *value) == ("mode", "max")
            || text == "inline";
        if !known {
            return Err(CliError::new(format!("not supported yet: --cache-to {name}={value}")));
        }
    }
    if ask.cache_image.is_some() {
        return Err(CliError::new("not supported yet: more than one --cache-to"));
    }
    let kind = if text.contains('=') { of("type").unwrap_or("registry") } else { text };
    match (kind, of("ref"), of("dest")) {
        ("inline", _, _) => {
            ask.inline_cache = true;
            Ok(None)
        }
        ("registry", Some(reference), _) => {
            ask.cache_image = Some(reference.to_owned());
            Ok(Some(CacheTo::Registry(reference.to_owned())))
        }
        ("registry", None, _) => Err(CliError::new("registry cache requires ref")),
        ("local", _, Some(directory)) => {
            ask.cache_image = Some(format!("ferry-build-cache:{}", std::process::id()));
            Ok(Some(CacheTo::Local(PathBuf::from(directory))))
        }
        ("local", _, None) => Err(CliError::new("dest is required for local cache exporter")),
        (other, ..) => Err(CliError::new(format!("not supported yet: --cache-to type={other}"))),
    }
}

impl Question {
    pub(super) fn of(cli: &Cli, matches: &Matches) -> Result<Question, CliError> {
        let mut ask = BuildAsk {
            no_cache_filter: matches.texts("no-cache-filter").to_vec(),
            entitlements: allowed(matches)?,
            ..BuildAsk::default()
        };
        let (mut open, mut loaded, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for text in matches.texts("secret") {
            let (id, bytes) = secret(cli, text)?;
            ask.secrets.insert(id, base64::engine::general_purpose::STANDARD.encode(bytes));
        }
        for text in matches.texts("ssh") {
            let (id, path) = ssh::agent(cli, text, &mut keys)?;
            ask.agents.insert(id, path);
        }
        for text in matches.texts("build-context") {
            let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                let words = format!("invalid context value: {text}, expected key=value");
                return Err(CliError::new(words));
            };
            ask.contexts.insert(name.to_owned(), context(value, &mut open)?);
        }
        // The daemon reads one that is an argument of the build.
        let arguments = super::classic::arguments(cli, matches);
        let given = arguments.get("SOURCE_DATE_EPOCH").is_some_and(Option::is_some);
        ask.epoch = Some(FIRST).filter(|_| matches.flag("reproducible") && !given);
        for text in matches.texts("cache-from") {
            cache_from(cli, text, &mut ask, &mut loaded)?;
        }
        let mut cache = None;
        for text in matches.texts("cache-to") {
            cache = cache_to(text, &mut ask)?.or(cache);
        }
        let inline = arguments.get("BUILDKIT_INLINE_CACHE");
        ask.inline_cache |= inline.and_then(Option::as_deref) == Some("1");
        Ok(Question { ask, open, cache, loaded, _keys: keys })
    }
}

fn cache_from(
    cli: &Cli,
    text: &str,
    ask: &mut BuildAsk,
    loaded: &mut Vec<String>,
) -> Result<(), CliError> {
    let fields = fields(text);
    let of = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    match (of("type"), text.contains('=')) {
        (None, false) => ask.cache_from.push(text.to_owned()),
        (Some("registry"), _) => {
            let reference =
                of("ref").ok_or_else(|| CliError::new("registry cache requires ref"))?;
            ask.cache_from.push(reference.to_owned());
        }
        (Some("local"), _) => {
            let source = of("src").ok_or_else(|| CliError::new("local cache requires src"))?;
            let file = Path::new(source).join(CACHE_FILE);
            // As in docker, a cache that is not there yet is none.
            let Ok(open) = File::open(&file) else { return Ok(()) };
            let call = cli.client()?.post("/images/load").query("quiet", 1);
            let input = tokio::fs::File::from_std(open);
            let call = call.upload("application/x-tar", input, None);
            let said = cli.wait(async {
                let mut lines = call.lines::<ferry_docker_api::JsonMessage>().await?;
                let mut said = String::new();
                while let Some(message) = lines.next().await? {
                    said.push_str(&message.stream);
                }
                Ok::<_, CliError>(said)
            })?;
            for name in said.lines().filter_map(|line| line.strip_prefix("Loaded image: ")) {
                ask.cache_from.push(name.to_owned());
                loaded.push(name.to_owned());
            }
        }
        _ => return Err(CliError::new(format!("not supported yet: --cache-from {text}"))),
    }
    Ok(())
}

fn allowed(matches: &Matches) -> Result<Vec<String>, CliError> {
    let mut allowed = matches.texts("allow").to_vec();
    for name in &allowed {
        if !matches!(name.as_str(), "network.host" | "security.insecure") {
            return Err(CliError::new(format!("invalid entitlement: {name}: unknown entitlement")));
        }
    }
    // Who asks for it for all steps allows it.
    if matches.text("network") == "host" {
        allowed.push("network.host".to_owned());
    }
    Ok(allowed)
}

/// `a=b,c=d`.
fn fields(text: &str) -> Vec<(&str, &str)> {
    text.split(',').map(|part| part.split_once('=').unwrap_or((part, ""))).collect()
}

/// `id=x,src=path` or `id=x,env=NAME`.
fn secret(cli: &Cli, text: &str) -> Result<(String, Vec<u8>), CliError> {
    let (mut id, mut source, mut variable, mut kind) = ("", "", "", "");
    for (name, value) in fields(text) {
        match name {
            "id" => id = value,
            "source" | "src" => source = value,
            "env" => variable = value,
            "type" if matches!(value, "file" | "env") => kind = value,
            "type" => return Err(CliError::new(format!("unsupported secret type {value:?}"))),
            other => return Err(CliError::new(format!("unexpected key '{other}' in '{text}'"))),
        }
    }
    if id.is_empty() {
        return Err(CliError::new("secret missing ID"));
    }
    if kind == "env" && variable.is_empty() {
        variable = if source.is_empty() { id } else { source };
        source = "";
    }
    if source.is_empty() && variable.is_empty() {
        // The variable of that name, or the file.
        match cli.env(id) {
            Some(_) => variable = id,
            None => source = id,
        }
    }
    if !variable.is_empty() {
        let value = cli.env(variable).unwrap_or_default();
        return Ok((id.to_owned(), value.into_bytes()));
    }
    let bytes = read_limited(Path::new(source), MAX_SECRET).map_err(|error| {
        CliError::new(format!("failed to stat {source}: stat {source}: {}", go_words(&error)))
    })?;
    Ok((id.to_owned(), bytes))
}

/// What a name means.
fn context(value: &str, open: &mut Vec<File>) -> Result<AskedContext, CliError> {
    if let Some(image) = value.strip_prefix("docker-image://") {
        return Ok(AskedContext::Image(image.to_owned()));
    }
    if super::context::is_remote(value) {
        return Ok(AskedContext::Remote(value.to_owned()));
    }
    if value.contains("://") {
        return Err(CliError::new(format!("not supported yet: a build context at {value}")));
    }
    let (file, handed) = hand_over(Path::new(value))?;
    open.push(file);
    Ok(AskedContext::Directory(handed))
}

/// Opens a directory so that the daemon can take it.
pub(super) fn hand_over(path: &Path) -> Result<(File, Handed), CliError> {
    let wrong = |error: std::io::Error| {
        CliError::new(format!(
            "failed to get build context path {{{}}}: {}",
            path.display(),
            go_words(&error)
        ))
    };
    let (file, found, handed) = hand_over::open(path).map_err(wrong)?;
    if !found.is_dir() {
        return Err(CliError::new(format!("build context {} is no directory", path.display())));
    }
    Ok((file, handed))
}
