//! The files of a project as others get them: all beside each other, so that the names of files that a file has are others there.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use ferry_cli::face::CliError;
use ferry_oci::Digest;

use crate::{
    load::{absolute, is_remote, read_file},
    model::Project,
    remote::{ENV_TYPE, FILE_TYPE},
    yaml::{self, Node, Place, Yaml},
};

/// Files that extend each other.
const MAX_FILES: usize = 256;

/// A file of a published project.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) media_type: &'static str,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) bytes: Bytes,
}

impl File {
    /// A file whose name is in the annotation `note`.
    pub(crate) fn named(media_type: &'static str, note: &str, name: &str, text: String) -> File {
        let annotations = [(note.to_owned(), name.to_owned())].into();
        File { media_type, annotations, bytes: Bytes::from(text) }
    }
}

/// The names of other files in a file, with what stands there instead.
#[derive(Debug, Default)]
struct Names {
    /// Where, how much of the text, and what it is to be.
    edits: Vec<(usize, usize, String)>,
    extended: BTreeMap<PathBuf, String>,
    variables: BTreeMap<PathBuf, String>,
}

/// The files of a project: its own, those that they extend, and those with variables if they are wanted.
pub(crate) fn files(project: &Project, with_variables: bool) -> Result<Vec<File>, CliError> {
    let mut all = Vec::new();
    let (mut left, mut variables) = (BTreeMap::new(), BTreeMap::new());
    for path in &project.files {
        let (text, names) = file(path, &project.directory)?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        all.push(File::named(FILE_TYPE, "com.docker.compose.file", &name, text));
        left.extend(names.extended);
        variables.extend(names.variables);
    }
    let mut done: Vec<PathBuf> = Vec::new();
    while let Some((path, name)) = left.pop_first() {
        if done.contains(&path) {
            continue;
        }
        if done.len() > MAX_FILES {
            return Err(CliError::new(format!("more than {MAX_FILES} files are extended")));
        }
        let (text, names) = file(&path, path.parent().unwrap_or(Path::new("/")))?;
        let mut extended = File::named(FILE_TYPE, "com.docker.compose.file", &name, text);
        extended.annotations.insert("com.docker.compose.extends".to_owned(), "true".to_owned());
        all.push(extended);
        left.extend(names.extended);
        variables.extend(names.variables);
        done.push(path);
    }
    for (path, name) in variables.into_iter().filter(|_| with_variables) {
        // One that need not be there may be missing.
        if let Ok(text) = read_file(&path) {
            all.push(File::named(ENV_TYPE, "com.docker.compose.envfile", &name, text));
        }
    }
    Ok(all)
}

/// A file with other names in it.
fn file(path: &Path, directory: &Path) -> Result<(String, Names), CliError> {
    let wrong =
        |words: String| CliError::new(format!("cannot publish {}: {words}", path.display()));
    let text = read_file(path).map_err(|error| CliError::new(error.to_string()))?;
    let nodes = yaml::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let mut names = Names::default();
    for node in &nodes {
        if let Some(include) = get(node, "include") {
            let local = |node: &Node| matches!(&node.value, Yaml::Text(text) if !is_remote(text));
            let mut listed = list(include).iter().flat_map(|one| match get(one, "path") {
                Some(paths) => list(paths),
                None => std::slice::from_ref(one),
            });
            if listed.any(local) {
                return Err(CliError::new("cannot publish compose file with local includes"));
            }
        }
        let services = get(node, "services").and_then(Node::map).unwrap_or_default();
        for (_, _, service) in services {
            for one in get(service, "env_file").map(list).unwrap_or_default() {
                let name = get(one, "path").unwrap_or(one);
                if let Some(path) = names.replace(&text, name, directory, "env").map_err(wrong)? {
                    names.variables.insert(path.0, path.1);
                }
            }
            let Some(name) = get(service, "extends").and_then(|extends| get(extends, "file"))
            else {
                continue;
            };
            if let Some(path) = names.replace(&text, name, directory, "yaml").map_err(wrong)? {
                names.extended.insert(path.0, path.1);
            }
        }
    }
    let mut new = text;
    names.edits.sort_unstable();
    for (at, length, name) in names.edits.iter().rev() {
        new.replace_range(*at..at + length, name);
    }
    Ok((new, names))
}

impl Names {
    /// Notes that a name of a file is to be another one; the file, and that name.
    fn replace(
        &mut self,
        text: &str,
        node: &Node,
        directory: &Path,
        end: &str,
    ) -> Result<Option<(PathBuf, String)>, String> {
        let Yaml::Text(name) = &node.value else { return Ok(None) };
        if name.contains('$') {
            return Err(format!("the name of a file has a variable: {name}"));
        }
        if is_remote(name) {
            return Ok(None);
        }
        let path = absolute(directory, name);
        let digest = Digest::sha256_of(path.as_os_str().as_encoded_bytes()).to_string();
        let other = format!("{}.{end}", digest.trim_start_matches("sha256:"));
        let place = offset(text, node.at).and_then(|at| Some((at, written(&text[at..], name)?)));
        let (at, length) = place.ok_or_else(|| {
            format!("line {}: the name of file {name} cannot be replaced", node.at.line)
        })?;
        self.edits.push((at, length, other.clone()));
        Ok(Some((path, other)))
    }
}

fn get<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.map()?.iter().find(|(key, _, _)| key == name).map(|(_, _, value)| value)
}

/// The items of a list, or the one thing that it is.
fn list(node: &Node) -> &[Node] {
    match &node.value {
        Yaml::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

/// Where a place is in its text.
fn offset(text: &str, at: Place) -> Option<usize> {
    let line: usize = text.split_inclusive('\n').take(at.line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(line..)?;
    let column = rest.char_indices().nth(at.column.checked_sub(1)?).map(|(column, _)| column)?;
    Some(line + column)
}

/// How much of a text a scalar takes at its beginning.
fn written(text: &str, value: &str) -> Option<usize> {
    if text.starts_with(value) {
        return Some(value.len());
    }
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text[1..].split(quote).next()?;
    (inner == value).then(|| inner.len() + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_others() {
        let root = std::env::temp_dir().join(format!("ferry-bundle-{}", std::process::id()));
        std::fs::create_dir_all(root.join("deep")).unwrap();
        let text = "services:\n  ä: {image: x, env_file: [\"a.env\", {path: b.env, required: false}]}\n  b:\n    env_file: ./a.env # here\n    extends: {file: deep/base.yaml, service: s}\n";
        std::fs::write(root.join("compose.yaml"), text).unwrap();
        std::fs::write(
            root.join("deep/base.yaml"),
            "services: {s: {image: x, env_file: own.env}}\n",
        )
        .unwrap();
        for name in ["a.env", "deep/own.env"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let project = Project {
            directory: root.clone(),
            files: vec![root.join("compose.yaml")],
            ..Project::default()
        };
        let count = |with: bool| files(&project, with).unwrap().len();
        assert_eq!((count(false), count(true)), (2, 4), "b.env is not there");
        let hash = |name: &str| {
            let path = root.join(name);
            Digest::sha256_of(path.as_os_str().as_encoded_bytes()).to_string()[7..].to_owned()
        };
        let all = files(&project, false).unwrap();
        let said = |at: usize| String::from_utf8_lossy(&all[at].bytes).into_owned();
        let (a, b, base, own) =
            (hash("a.env"), hash("b.env"), hash("deep/base.yaml"), hash("deep/own.env"));
        let want = format!(
            "services:\n  ä: {{image: x, env_file: [{a}.env, {{path: {b}.env, required: false}}]}}\n  b:\n    env_file: {a}.env # here\n    extends: {{file: {base}.yaml, service: s}}\n"
        );
        assert_eq!(said(0), want);
        assert_eq!(said(1), format!("services: {{s: {{image: x, env_file: {own}.env}}}}\n"));
        assert_eq!(all[1].annotations["com.docker.compose.file"], format!("{base}.yaml"));
        std::fs::write(root.join("compose.yaml"), "include: [other.yaml]\n").unwrap();
        assert!(files(&project, false).unwrap_err().message().contains("local includes"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
