//! Names in archives, made into paths below a root by spelling alone. The kernel (openat2) guards the rest.

/// Cleans a name as Go's `filepath.Join(root, name)` does: no empty, `.` or `..` components, no slash at either
/// end; empty for the root itself. A relative name that climbs above the root is refused.
pub fn clean(name: &[u8]) -> Result<Vec<u8>, PathError> {
    if is_clean(name) {
        return Ok(name.to_vec());
    }
    let rooted = name.starts_with(b"/");
    let mut clean = Vec::with_capacity(name.len());
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if clean.is_empty() && rooted => {}
            b".." if clean.is_empty() => return Err(PathError::Escapes),
            b".." => clean.truncate(split(&clean).0.len()),
            component if component.contains(&0) => return Err(PathError::Nul),
            component => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(component);
            }
        }
    }
    Ok(clean)
}

/// The usual case, recognised in one pass: nothing to clean.
fn is_clean(name: &[u8]) -> bool {
    let mut component_starts = true;
    for (at, byte) in name.iter().enumerate() {
        match byte {
            0 => return false,
            b'/' if component_starts => return false,
            b'/' => component_starts = true,
            b'.' if component_starts && dots(&name[at..]) => return false,
            _ => component_starts = false,
        }
    }
    !component_starts
}

/// Whether the component that starts here is `.` or `..`.
fn dots(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    matches!(&rest[..end], b"." | b"..")
}

/// Splits a clean path into its parent (empty: the root) and its last component.
pub(crate) fn split(clean: &[u8]) -> (&[u8], &[u8]) {
    match clean.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&clean[..slash], &clean[slash + 1..]),
        None => (&[], clean),
    }
}

/// Joins a clean parent and a component.
pub(crate) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// A path for messages: quoted, control characters escaped, lossy where it is not UTF-8.
pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Why a name is not a path below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// More `..` than directories.
    #[error("climbs out of the archive's root")]
    Escapes,
    /// A NUL byte.
    #[error("holds a NUL byte")]
    Nul,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, want: &str) {
        assert_eq!(clean(name.as_bytes()), Ok(want.as_bytes().to_vec()), "{name:?}");
    }

    #[test]
    fn names_are_cleaned_as_go_joins_them() {
        check("a/b", "a/b");
        check("./a//b/", "a/b");
        check("/a/./b", "a/b");
        check("a/../b", "b");
        check("a/b/../../c", "c");
        check("/../etc", "etc");
        check("", "");
        check("./", "");
        check("/", "");
        check("..a/.b", "..a/.b");
        check("a...", "a...");
    }

    #[test]
    fn a_name_that_climbs_out_is_refused() {
        for name in ["..", "../a", "a/../../b", "./../x"] {
            assert_eq!(clean(name.as_bytes()), Err(PathError::Escapes), "{name}");
        }
        assert_eq!(clean(b"a\0b"), Err(PathError::Nul));
    }
}
