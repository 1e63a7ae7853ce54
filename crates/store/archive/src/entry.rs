//! What one member of an archive says, whichever dialect of tar said it.

/// One member of a tar archive with every extension header already applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name as written, neither cleaned nor trusted.
    pub path: Vec<u8>,
    /// Target of a symbolic or hard link, as written.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission and set-id bits (`0o7777` and nothing else).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes (`SCHILY.xattr.*`), each name once, sorted.
    pub xattrs: Vec<Xattr>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Length of the file once unpacked.
    pub size: u64,
    /// Payload bytes that follow in the archive (without padding); less than `size` for a sparse file.
    pub stored: u64,
    /// Where the payload goes in a sparse file; `None` for an ordinary one.
    pub sparse: Option<Vec<Segment>>,
}

/// Kinds of members that a layer may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Regular file.
    #[default]
    File,
    /// Another name of a file unpacked before.
    HardLink,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

/// Seconds since the epoch (before it: negative) and nanoseconds after that second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mtime {
    /// Whole seconds, rounded towards the past.
    pub seconds: i64,
    /// 0 to 999 999 999, always forward in time.
    pub nanos: u32,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xattr {
    /// Full name with its namespace, such as `security.capability`.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Where it starts in the unpacked file.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}
