//! What comes from elsewhere: files at URLs, git repositories.

use std::path::{Path, PathBuf};

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Hasher};
use ferry_stdx::time::Timestamp;
use tokio::{io::AsyncWriteExt, process::Command};

use super::tree::invalid;
use crate::{Engine, records::failed};

/// Longest file that is fetched, in bytes.
const MAX_FILE: u64 = 64 << 30;

/// Something that was fetched.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// Where it is.
    pub(super) directory: PathBuf,
    /// What a file is called there.
    pub(super) name: String,
    /// Many files: a repository.
    pub(super) tree: bool,
    /// When it was changed, in seconds.
    pub(super) modified: Option<i64>,
    /// What the server says that it is.
    pub(super) content_type: String,
}

/// Whether a source of `ADD` is not in the context.
pub(super) fn is_remote(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://") || Git::read(text).is_some()
}

/// Fetches what `text` names into `directory`.
pub(super) async fn fetch(
    engine: &Engine,
    text: &str,
    checksum: Option<&str>,
    keep_git: bool,
    directory: &Path,
) -> Result<Remote, Failure> {
    tokio::fs::create_dir_all(directory)
        .await
        .map_err(|source| failed("make directory", directory, source))?;
    match Git::read(text) {
        Some(git) => git.fetch(checksum, keep_git, directory).await,
        None => file(engine, text, checksum, directory).await,
    }
}

async fn file(
    engine: &Engine,
    url: &str,
    checksum: Option<&str>,
    directory: &Path,
) -> Result<Remote, Failure> {
    let expected = checksum
        .map(|text| text.parse::<Digest>().map_err(|error| invalid(error.to_string())))
        .transpose()?;
    let mut fetched = engine.shared.live().registries.fetch(url).await.map_err(Failure::from)?;
    let name = match &fetched.name {
        Some(name) => name.clone(),
        None => name_of(url)?,
    };
    let path = directory.join(&name);
    let unwritten = |source| failed("write", &path, source);
    let mut out = tokio::fs::File::create(&path).await.map_err(unwritten)?;
    let (mut hasher, mut length) = (Hasher::new(), 0);
    while let Some(piece) = fetched.next().await.map_err(Failure::from)? {
        length += piece.len() as u64;
        if length > MAX_FILE {
            return Err(invalid(format!("{url} is longer than {MAX_FILE} bytes")));
        }
        hasher.update(&piece);
        out.write_all(&piece).await.map_err(unwritten)?;
    }
    out.flush().await.map_err(unwritten)?;
    let found = hasher.finish();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(invalid(format!("digest mismatch {found}: {expected}")));
    }
    let modified = fetched.modified.as_deref().and_then(http_date);
    let content_type = fetched.content_type.clone();
    Ok(Remote { directory: directory.to_owned(), name, tree: false, modified, content_type })
}

/// The last part of a URL's path.
fn name_of(url: &str) -> Result<String, Failure> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let behind = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = behind.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
    match name {
        None | Some("" | "." | "..") => Ok("download".to_owned()),
        Some(name) => Ok(name.to_owned()),
    }
}

/// `Tue, 15 Nov 1994 12:45:26 GMT` in seconds.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|known| known == month)? + 1;
    let (day, year) = (day.parse::<u32>().ok()?, year.parse::<u32>().ok()?);
    let stamp = format!("{year:04}-{month:02}-{day:02}T{time}Z");
    Some(Timestamp::parse_rfc3339(&stamp)?.seconds())
}

/// A repository, what of it, and which directory in that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Git {
    remote: String,
    reference: String,
    subdirectory: String,
}

impl Git {
    /// Reads `https://…/x.git#ref:dir`, `git@host:x`, `git://…`, `ssh://…`, `github.com/a/b`; other texts are none.
    pub(super) fn read(text: &str) -> Option<Git> {
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (place, query) = place.split_once('?').unwrap_or((place, ""));
        let http = place.starts_with("http://") || place.starts_with("https://");
        let other = ["git://", "ssh://", "git+ssh://", "git@"];
        let remote = if http && place.ends_with(".git")
            || other.iter().any(|start| place.starts_with(start)) && !place.ends_with("git@")
        {
            place.to_owned()
        } else if place.starts_with("github.com/") && place.split('/').count() >= 3 {
            format!("https://{place}")
        } else {
            return None;
        };
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut git =
            Git { remote, reference: reference.to_owned(), subdirectory: subdirectory.to_owned() };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "ref" | "branch" | "tag" | "commit" => git.reference = value.to_owned(),
                "subdir" => git.subdirectory = value.to_owned(),
                _ => return None,
            }
        }
        Some(git)
    }

    async fn fetch(
        &self,
        checksum: Option<&str>,
        keep_git: bool,
        directory: &Path,
    ) -> Result<Remote, Failure> {
        let reference = if self.reference.is_empty() { "HEAD" } else { self.reference.as_str() };
        if reference.starts_with('-') || self.remote.starts_with('-') {
            return Err(invalid(format!("invalid git reference {reference:?}")));
        }
        let tree = directory.join("tree");
        let place = tree.to_string_lossy().into_owned();
        run(directory, &["init", "--quiet", "--", &place]).await?;
        run(&tree, &["remote", "add", "origin", "--", &self.remote]).await?;
        let shallow = ["fetch", "--quiet", "--depth", "1", "--no-tags", "origin", reference];
        if run(&tree, &shallow).await.is_err() {
            // Some servers give no single commit: then all of them.
            run(&tree, &["fetch", "--quiet", "--tags", "origin"]).await?;
            let found = run(
                &tree,
                &["rev-parse", "--verify", "--quiet", &format!("{reference}^{{commit}}")],
            )
            .await;
            let branch = format!("refs/remotes/origin/{reference}");
            let wanted = if found.is_ok() { reference } else { branch.as_str() };
            run(&tree, &["checkout", "--quiet", "--detach", wanted]).await?;
        } else {
            run(&tree, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]).await?;
        }
        let commit = run(&tree, &["rev-parse", "HEAD"]).await?;
        if let Some(expected) = checksum.filter(|expected| !commit.starts_with(expected)) {
            return Err(invalid(format!(
                "expected checksum to match {expected}, got {}",
                commit.trim()
            )));
        }
        if tree.join(".gitmodules").exists() {
            run(
                &tree,
                &["submodule", "update", "--quiet", "--init", "--recursive", "--depth", "1"],
            )
            .await?;
        }
        if !keep_git {
            let git = tree.join(".git");
            tokio::fs::remove_dir_all(&git)
                .await
                .map_err(|source| failed("remove", &git, source))?;
        }
        let root = ferry_sys::root::InRoot::open(&tree)
            .map_err(|errno| failed("open", &tree, errno.into()))?;
        let inside = Path::new("/").join(&self.subdirectory);
        let found = root
            .resolve(&inside)
            .and_then(|found| root.real_path(std::os::fd::AsFd::as_fd(&found)));
        let real = found.map_err(|_| {
            invalid(format!("no directory {:?} in {}", self.subdirectory, self.remote))
        })?;
        let directory = tree.join(real.strip_prefix("/").unwrap_or(&real));
        Ok(Remote {
            directory,
            name: String::new(),
            tree: true,
            modified: None,
            content_type: String::new(),
        })
    }
}

/// Runs git and answers what it prints. It asks nobody for a password.
async fn run(directory: &Path, args: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(args)
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", "http:https:git:ssh")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(
            ErrorKind::Unavailable,
            "git repositories need the program git, which is not there",
        )
        .with_hint("install git on the machine of the daemon"),
        _ => Failure::new(ErrorKind::Internal, format!("cannot run git: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(invalid(format!("git {}: {said}", args.first().unwrap_or(&""))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        let git = |remote: &str, reference: &str, subdirectory: &str| {
            Some(Git {
                remote: remote.to_owned(),
                reference: reference.to_owned(),
                subdirectory: subdirectory.to_owned(),
            })
        };
        for (text, expected) in [
            ("https://x.org/a.git", git("https://x.org/a.git", "", "")),
            ("https://x.org/a.git#v1:sub/dir", git("https://x.org/a.git", "v1", "sub/dir")),
            ("https://x.org/a.git?ref=v1&subdir=s", git("https://x.org/a.git", "v1", "s")),
            ("git@x.org:a/b.git#:d", git("git@x.org:a/b.git", "", "d")),
            ("github.com/a/b#main", git("https://github.com/a/b", "main", "")),
            ("https://x.org/a.tar.gz", None),
            ("a.git", None),
        ] {
            assert_eq!(Git::read(text), expected, "{text}");
        }
        assert_eq!(name_of("https://x.org/a/b.txt?x#y").unwrap(), "b.txt");
        assert_eq!(name_of("https://x.org").unwrap(), "download");
    }
}
