//! Files from elsewhere: `oci://…` is an artifact of a registry, and a URL of git a repository. What was fetched once lies in a cache
//! under its digest or commit; what a name leads to is asked for each time.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{LoadError, files};
use crate::remote::{ENV_TYPE, FILE_TYPE, Published, Registries};

const OCI: &str = "oci://";

/// Whether this is a name of something elsewhere.
pub(crate) fn is_remote(text: &str) -> bool {
    text.starts_with(OCI) || Git::parse(text).is_some()
}

/// The Compose file on this machine that a name stands for.
pub(super) fn fetch(text: &str, registries: &Registries<'_>) -> Result<PathBuf, LoadError> {
    let failed = |why: String| LoadError::Remote { what: text.to_owned(), why };
    if let Some(name) = text.strip_prefix(OCI) {
        let published = registries.pull(name).map_err(|e| failed(ferry_errkind::chain(&e)))?;
        return unpacked(&published).map_err(failed);
    }
    let git = Git::parse(text).ok_or_else(|| failed("it is no URL".to_owned()))?;
    git.checked_out().map_err(failed)
}

/// Where fetched files lie: where Docker Compose keeps them, so that a project has the same paths for both programs.
fn cache() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    let directory = base.ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("docker-compose");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    Ok(directory)
}

/// A directory that comes to its name only when it is whole.
struct Draft {
    partial: PathBuf,
    whole: PathBuf,
}

impl Draft {
    fn new(cache: &Path, name: &str) -> Result<Draft, String> {
        let partial = cache.join(format!(".{name}.{}", std::process::id()));
        drop(fs::remove_dir_all(&partial));
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700).create(&partial).map_err(|e| format!("{}: {e}", partial.display()))?;
        Ok(Draft { partial, whole: cache.join(name) })
    }

    fn keep(self) -> Result<(), String> {
        match fs::rename(&self.partial, &self.whole) {
            // Somebody else has fetched the same meanwhile.
            Err(_) if self.whole.is_dir() => Ok(()),
            other => other.map_err(|e| format!("{}: {e}", self.whole.display())),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.partial));
    }
}

/// Writes the files of a project. The path of the one that is its Compose file.
fn unpacked(published: &Published) -> Result<PathBuf, String> {
    let cache = cache()?;
    let name = published.digest.hex();
    let directory = cache.join(&name);
    if !directory.is_dir() {
        let draft = Draft::new(&cache, &name)?;
        for (file, bytes) in contents(published)? {
            let path = draft.partial.join(&file);
            fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        draft.keep()?;
    }
    Ok(directory.join("compose.yaml"))
}

/// The files by name: several Compose files are documents of one, in their order.
fn contents(published: &Published) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (descriptor, bytes) in &published.files {
        let note = |name: &str| descriptor.annotations.get(name).cloned();
        let named = match descriptor.media_type.as_str() {
            FILE_TYPE if note("com.docker.compose.extends").is_some() => {
                note("com.docker.compose.file")
            }
            FILE_TYPE => Some("compose.yaml".to_owned()),
            ENV_TYPE => note("com.docker.compose.envfile"),
            _ => continue,
        };
        let named = named.filter(|name| is_file_name(name));
        let name = named.ok_or("invalid OCI artifact: a file has no name that can be used")?;
        let file = files.entry(name).or_default();
        if !file.is_empty() {
            file.extend_from_slice(b"\n---\n");
        }
        file.extend_from_slice(bytes);
    }
    if files.contains_key("compose.yaml") {
        Ok(files)
    } else {
        Err("it has no Compose file".to_owned())
    }
}

/// All files lie beside each other.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// `https://host/path.git#ref:directory` and the like.
#[derive(Debug, PartialEq, Eq)]
struct Git {
    remote: String,
    reference: String,
    below: String,
}

impl Git {
    fn parse(text: &str) -> Option<Git> {
        let (remote, rest) = text.split_once('#').unwrap_or((text, ""));
        let by_web = ["https://", "http://"].iter().any(|kind| remote.starts_with(kind));
        let git = ["git://", "ssh://", "git@"].iter().any(|kind| remote.starts_with(kind))
            || (by_web && remote.trim_end_matches('/').ends_with(".git"));
        let remote = match remote.strip_prefix("github.com/") {
            Some(path) => format!("https://github.com/{path}"),
            None if git => remote.to_owned(),
            None => return None,
        };
        let (reference, below) = rest.split_once(':').unwrap_or((rest, ""));
        let reference = if reference.is_empty() { "HEAD" } else { reference };
        Some(Git { remote, reference: reference.to_owned(), below: below.to_owned() })
    }

    /// The Compose file in the repository at that commit.
    fn checked_out(&self) -> Result<PathBuf, String> {
        let commit = self.commit()?;
        let cache = cache()?;
        let name = &commit;
        let directory = cache.join(name);
        if !directory.is_dir() {
            let draft = Draft::new(&cache, name)?;
            let place = Some(draft.partial.as_path());
            git(place, &["init", "--quiet"])?;
            git(place, &["fetch", "--quiet", "--depth=1", "--", &self.remote, &commit])?;
            git(place, &["checkout", "--quiet", &commit, "--"])?;
            draft.keep()?;
        }
        self.file(&directory)
    }

    /// What the name of a branch or a tag leads to now.
    fn commit(&self) -> Result<String, String> {
        let is_commit =
            |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit(&self.reference) {
            return Ok(self.reference.clone());
        }
        let said = git(None, &["ls-remote", "--exit-code", "--", &self.remote, &self.reference])?;
        let commit = said.split_whitespace().next().unwrap_or_default();
        if is_commit(commit) {
            Ok(commit.to_owned())
        } else {
            Err(format!("git names no commit of {}", self.reference))
        }
    }

    fn file(&self, directory: &Path) -> Result<PathBuf, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.below);
        let root = fs::canonicalize(directory).map_err(fail)?;
        // Neither dots nor links lead out of what was fetched.
        let inside = |path: &Path| {
            let real = fs::canonicalize(path).map_err(fail)?;
            if real.starts_with(&root) {
                Ok(real)
            } else {
                Err("it leads out of the repository".to_owned())
            }
        };
        let path = inside(&root.join(&self.below))?;
        if !path.is_dir() {
            return Ok(path);
        }
        let known = files::NAMES.iter().map(|name| path.join(name)).find(|path| path.is_file());
        inside(&known.ok_or("it has no Compose file")?)
    }
}

/// Runs git, which must not ask anybody anything; what it says.
fn git(directory: Option<&Path>, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.args(words).stdin(Stdio::null()).env("GIT_TERMINAL_PROMPT", "0");
    if std::env::var_os("GIT_SSH").is_none() && std::env::var_os("GIT_SSH_COMMAND").is_none() {
        command.env("GIT_SSH_COMMAND", "ssh -o ControlMaster=no -o BatchMode=yes");
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let said = command.output().map_err(|error| format!("cannot run git: {error}"))?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    let words = format!("git {}", words.first().unwrap_or(&""));
    Err(format!("{words}: {}: {}", said.status, String::from_utf8_lossy(&said.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        let shown = |text: &str| {
            Git::parse(text).map(|git| format!("{} {} {}", git.remote, git.reference, git.below))
        };
        for (text, want) in [
            ("https://x.org/a.git", Some("https://x.org/a.git HEAD ")),
            ("https://x.org/a.git#main:deep/x.yaml", Some("https://x.org/a.git main deep/x.yaml")),
            ("git@x.org:a/b.git#:sub", Some("git@x.org:a/b.git HEAD sub")),
            ("github.com/a/b", Some("https://github.com/a/b HEAD ")),
            ("https://x.org/compose.yaml", None),
            ("./github.com/a/b", None),
            ("ext::sh -c x", None),
        ] {
            assert_eq!(shown(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn names_of_files_lead_nowhere() {
        assert!(is_file_name("0f.yaml"));
        for name in ["", "..", "../x", "/etc/x", ".hidden", "a\\b"] {
            assert!(!is_file_name(name), "{name}");
        }
    }
}
