//! Paths by spelling, as Go's `filepath` and Docker's archive package take them: a slash or `/.` at the end means something.

/// Without empty, `.` and `..` components; a relative path keeps the `..` at its start, and an empty one is `.`.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The last component; `.` for nothing, `/` for the root.
pub(super) fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    match path.trim_end_matches('/') {
        "" => "/",
        path => path.rsplit('/').next().unwrap_or(path),
    }
}

/// All but the last component, clean.
pub(super) fn directory(path: &str) -> String {
    match path.rfind('/') {
        Some(slash) => clean(&path[..=slash]),
        None => ".".to_owned(),
    }
}

pub(super) fn join(directory: &str, path: &str) -> String {
    clean(&format!("{directory}/{path}"))
}

/// Absolute, with its ending kept.
pub(super) fn absolute(path: &str) -> std::io::Result<String> {
    let full = if path.starts_with('/') {
        clean(path)
    } else {
        join(&std::env::current_dir()?.to_string_lossy(), path)
    };
    Ok(keep_ending(full, path))
}

/// Gives a cleaned path back the `/` or `/.` that it had.
fn keep_ending(mut clean: String, original: &str) -> String {
    if base(&clean) != "." && is_current(original) {
        if !clean.ends_with('/') {
            clean.push('/');
        }
        clean.push('.');
    }
    if !clean.ends_with('/') && original.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// Whether the last component is `.`: the content of a directory is meant.
fn is_current(path: &str) -> bool {
    base(path) == "."
}

/// Whether the path says itself that it is a directory.
pub(super) fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || is_current(path)
}

/// Directory and last component; a last `.` stays one.
pub(super) fn split_entry(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if is_current(path) {
        cleaned.push_str("/.");
    }
    (directory(&cleaned), base(&cleaned).to_owned())
}

/// A link's target with the ending of the link's path, and the name that it was asked for by, if that is another.
pub(super) fn rebase_name(path: &str, mut resolved: String) -> (String, String) {
    if is_current(path) && !is_current(&resolved) {
        resolved.push_str("/.");
    }
    if path.ends_with('/') && !resolved.ends_with('/') {
        resolved.push('/');
    }
    let (asked, found) = (base(path), base(&resolved));
    let name = if asked == found { String::new() } else { asked.to_owned() };
    (resolved, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_as_go_takes_them() {
        assert_eq!(clean("/a//b/../c/."), "/a/c");
        assert_eq!(clean("../../a/.."), "../..");
        assert_eq!((clean(""), clean("/..")), (".".to_owned(), "/".to_owned()));
        assert_eq!((base("/a/b/"), base("/"), base(""), base("/a/.")), ("b", "/", ".", "."));
        assert_eq!((directory("/a/b"), directory("b")), ("/a".to_owned(), ".".to_owned()));
        let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        assert_eq!(split_entry("/a/b/"), pair("/a", "b"));
        assert_eq!(split_entry("/a/b/."), pair("/a/b", "."));
        assert_eq!(split_entry("/"), pair("/", "/"));
        assert_eq!(keep_ending("/a".to_owned(), "a/."), "/a/.");
        assert_eq!(keep_ending("/a".to_owned(), "a/"), "/a/");
        assert_eq!(keep_ending("/".to_owned(), "/."), "/.");
        assert_eq!(rebase_name("/x/link/", "/x/dir".to_owned()), pair("/x/dir/", "link"));
        assert_eq!(rebase_name("/x/a", "/y/a".to_owned()), pair("/y/a", ""));
    }
}
