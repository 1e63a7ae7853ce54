//! `-v` and `--tmpfs`.

use std::collections::BTreeMap;

use ferry_docker_api::Nothing;

/// What `-v` says: binds, and paths of anonymous volumes.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) binds: Vec<String>,
    pub(super) anonymous: BTreeMap<String, Nothing>,
}

/// Reads all `-v`; errors in docker's words.
pub(super) fn parse(specs: &[String]) -> Result<Volumes, String> {
    let mut volumes = Volumes::default();
    for spec in specs {
        match source(spec)? {
            None => {
                volumes.anonymous.insert(spec.clone(), Nothing);
            }
            Some(_) if volumes.binds.contains(spec) => {}
            Some(source) if source.starts_with('.') => {
                let (_, rest) = spec.split_once(':').unwrap_or((spec, ""));
                volumes.binds.push(format!("{}:{rest}", absolute(&source)));
            }
            Some(_) => volumes.binds.push(spec.clone()),
        }
    }
    Ok(volumes)
}

/// The source in `source:target[:options]`; `None` for a target alone.
fn source(spec: &str) -> Result<Option<String>, String> {
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if spec.chars().count() <= 2 {
        return Ok(None);
    }
    let sections = sections(spec);
    let wrong = |why: &str| Err(format!("invalid spec: {spec}: {why}"));
    for (index, section) in sections.iter().enumerate() {
        if section.is_empty() {
            return wrong("empty section between colons");
        }
        if index >= 2 && index + 1 < sections.len() {
            return wrong("too many colons");
        }
    }
    Ok(if sections.len() > 1 { sections.into_iter().next() } else { None })
}

/// What stands between colons; a colon behind a single letter is a drive's.
fn sections(spec: &str) -> Vec<String> {
    let mut sections = vec![String::new()];
    for character in spec.chars() {
        let Some(last) = sections.last_mut() else { break };
        let mut letters = last.chars();
        let drive = letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none();
        if character == ':' && !drive {
            sections.push(String::new());
        } else {
            last.push(character);
        }
    }
    sections
}

/// Go's `filepath.Abs`: without `.` and `..`, links as they are.
pub(super) fn absolute(path: &str) -> String {
    let current = std::env::current_dir().unwrap_or_else(|_| "/".into());
    clean(&format!("{}/{path}", current.display()))
}

/// Go's `path.Clean`.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                _ => {
                    parts.pop();
                }
            },
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// `--tmpfs path[:options]`.
pub(super) fn tmpfs(specs: &[String]) -> BTreeMap<String, String> {
    let split = |spec: &String| {
        let (path, options) = spec.split_once(':').unwrap_or((spec, ""));
        (path.to_owned(), options.to_owned())
    };
    specs.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let parse = |spec: &str| {
            parse(&[spec.to_owned()])
                .map(|volumes| (volumes.binds, volumes.anonymous.into_keys().collect::<Vec<_>>()))
        };
        let none = Vec::<String>::new();
        assert_eq!(parse("/data").unwrap(), (none.clone(), vec!["/data".to_owned()]));
        assert_eq!(
            parse("name:/data:ro").unwrap(),
            (vec!["name:/data:ro".to_owned()], none.clone())
        );
        assert_eq!(parse("/a/../b:/data").unwrap().0, ["/a/../b:/data"]);
        let here = std::env::current_dir().unwrap();
        assert_eq!(parse("./x:/data:rw").unwrap().0, [format!("{}/x:/data:rw", here.display())]);
        assert_eq!(
            parse("ab::/c").unwrap_err(),
            "invalid spec: ab::/c: empty section between colons"
        );
        assert_eq!(parse("/a:/b:ro:x").unwrap_err(), "invalid spec: /a:/b:ro:x: too many colons");
        assert_eq!(parse("").unwrap_err(), "invalid empty volume spec");
    }

    #[test]
    fn paths() {
        for (path, cleaned) in
            [("/a/./b//c/..", "/a/b"), ("/..", "/"), ("a/../..", ".."), ("", "."), ("./a", "a")]
        {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
