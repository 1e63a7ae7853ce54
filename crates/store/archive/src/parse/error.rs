//! Why a block is not part of a tar archive.

/// Why a block is not part of a tar archive that we unpack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Header bytes do not sum up: not a tar, or damaged.
    #[error("header checksum does not match")]
    Checksum,
    /// A number field holds something else, or too large a number.
    #[error("invalid {field} in a header")]
    Number {
        /// Which field.
        field: &'static str,
    },
    /// An entry type outside POSIX and GNU's sparse files.
    #[error("unhandled tar header type {flag:?}")]
    UnknownType {
        /// The type as written.
        flag: char,
    },
    /// A zero block that no second one follows.
    #[error("a lone zero block inside the archive")]
    LoneZeroBlock,
    /// A PAX or long name header at the end of the archive, with no entry behind it.
    #[error("an extension header without its entry")]
    DanglingExtension,
    /// An extension header longer than the limit.
    #[error("extension header of {size} bytes is longer than {limit}")]
    ExtensionTooLong {
        /// Announced size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A name longer than the limit.
    #[error("name of {length} bytes is longer than {limit}")]
    NameTooLong {
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// More entries than the limit.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// A PAX record that is not `length key=value\n`.
    #[error("malformed PAX record")]
    PaxRecord,
    /// A PAX value of the wrong form.
    #[error("invalid PAX value of {key:?}")]
    PaxValue {
        /// Which key.
        key: &'static str,
    },
    /// A sparse map that does not fit its file.
    #[error("invalid sparse map")]
    SparseMap,
    /// A sparse format that does not exist.
    #[error("unknown sparse format version")]
    SparseVersion,
    /// More segments than the limit.
    #[error("more than {limit} segments in a sparse file")]
    TooManySegments {
        /// The limit.
        limit: usize,
    },
}
