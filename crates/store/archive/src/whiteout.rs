//! The two spellings of "gone": `.wh.` names in archives, devices and attributes in overlayfs.

use rustix::fs::{FileType, Stat};

use crate::path::{join, split};

/// In front of the name that a layer removes.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// Says that a directory hides all that lies below it.
pub(crate) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// The same for overlayfs.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// The value that overlayfs looks for.
pub(crate) const OPAQUE_VALUE: &[u8] = b"y";

/// What a clean path means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// An ordinary path.
    None,
    /// Its directory is opaque.
    Opaque,
    /// This path is gone.
    Whiteout(Vec<u8>),
    /// Left behind by aufs; means nothing to anyone else.
    Internal,
    /// A whiteout of nothing, of `.` or of `..`.
    Invalid,
}

/// Reads a clean path.
pub(crate) fn marker(path: &[u8]) -> Marker {
    let (parent, name) = split(path);
    // aufs kept its own files in directories such as `.wh..wh.plnk` at the top.
    let top = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    if top != OPAQUE_NAME && top.starts_with(b".wh..wh.") {
        return Marker::Internal;
    }
    let Some(target) = name.strip_prefix(PREFIX) else { return Marker::None };
    if name == OPAQUE_NAME {
        return Marker::Opaque;
    }
    match target {
        b"" | b"." | b".." => Marker::Invalid,
        target if target.starts_with(PREFIX) => Marker::Internal,
        target => Marker::Whiteout(join(parent, target)),
    }
}

/// Overlayfs' whiteout: character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whiteout_never_names_its_own_directory_or_the_one_above() {
        assert_eq!(marker(b"a/.wh.b"), Marker::Whiteout(b"a/b".to_vec()));
        assert_eq!(marker(b"a/.wh..wh..opq"), Marker::Opaque);
        assert_eq!(marker(b".wh..wh..opq"), Marker::Opaque);
        assert_eq!(marker(b".wh..wh.plnk/1"), Marker::Internal);
        assert_eq!(marker(b"a/.wh..wh.aufs"), Marker::Internal);
        assert_eq!(marker(b"a/.wh.."), Marker::Invalid);
        assert_eq!(marker(b"a/.wh..."), Marker::Invalid);
        assert_eq!(marker(b".wh."), Marker::Invalid);
        assert_eq!(marker(b"a/b"), Marker::None);
        assert_eq!(marker(b".wh.x/y"), Marker::None);
    }
}
