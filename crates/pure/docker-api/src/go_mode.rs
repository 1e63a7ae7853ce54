//! Go's `os.FileMode` bits beside the nine permissions, as `PathStat` has them.

/// A directory.
pub const DIRECTORY: u32 = 1 << 31;
/// A symbolic link.
pub const SYMLINK: u32 = 1 << 27;
/// A device.
pub const DEVICE: u32 = 1 << 26;
/// A named pipe.
pub const FIFO: u32 = 1 << 25;
/// A socket.
pub const SOCKET: u32 = 1 << 24;
/// Set user id.
pub const SETUID: u32 = 1 << 23;
/// Set group id.
pub const SETGID: u32 = 1 << 22;
/// A character device, with `DEVICE`.
pub const CHARACTER: u32 = 1 << 21;
/// Sticky.
pub const STICKY: u32 = 1 << 20;
