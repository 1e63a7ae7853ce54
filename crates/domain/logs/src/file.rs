//! One file of a log, packed or not.

use std::{
    fs::File,
    io::{self, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ferry_shim::log_files::{identity, numbered, packed_identity};
use flate2::bufread::GzDecoder;
use rustix::fs::{Mode, OFlags, open};

/// What is read at a time.
const PIECE: usize = 256 * 1024;

/// A log file that is being read, and the incomplete line at its present end.
#[derive(Debug)]
pub(crate) struct LogReader {
    content: BufReader<File>,
    /// Not unpacked yet: who wants the last lines does not want all of a long log unpacked.
    packed: bool,
    /// The same before and after it was packed.
    pub(crate) identity: String,
    pub(crate) torn: Vec<u8>,
    /// Where there is room to unpack it.
    directory: PathBuf,
}

impl LogReader {
    /// The file that was written so many files before the newest.
    pub(crate) fn open(path: &Path, number: u32) -> io::Result<Option<LogReader>> {
        if number == 0 {
            return LogReader::plain(path);
        }
        // While a file is packed it is there as it was, and then for a moment as both.
        if let Some(file) = LogReader::plain(&numbered(path, number, false))? {
            return Ok(Some(file));
        }
        let Some(file) = found(File::open(numbered(path, number, true)))? else {
            return Ok(None);
        };
        let identity = packed_identity(&file)?;
        Ok(Some(LogReader::new(path, file, identity, true)))
    }

    /// Which file is the newest now.
    pub(crate) fn newest_identity(path: &Path) -> io::Result<Option<String>> {
        found(File::open(path))?.map(|file| identity(&file)).transpose()
    }

    fn plain(path: &Path) -> io::Result<Option<LogReader>> {
        let Some(file) = found(File::open(path))? else { return Ok(None) };
        let identity = identity(&file)?;
        Ok(Some(LogReader::new(path, file, identity, false)))
    }

    fn new(path: &Path, file: File, identity: String, packed: bool) -> LogReader {
        let content = BufReader::with_capacity(PIECE, file);
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        LogReader { content, packed, identity, torn: Vec::new(), directory }
    }

    /// Its lines, unpacked.
    pub(crate) fn content(&mut self) -> io::Result<&mut BufReader<File>> {
        if self.packed {
            let mut unpacked = nameless(&self.directory)?;
            self.content.get_mut().seek(SeekFrom::Start(0))?;
            let packed = BufReader::with_capacity(PIECE, self.content.get_ref());
            io::copy(&mut GzDecoder::new(packed), &mut unpacked)?;
            unpacked.seek(SeekFrom::Start(0))?;
            self.content = BufReader::with_capacity(PIECE, unpacked);
            self.packed = false;
        }
        Ok(&mut self.content)
    }
}

/// A file that goes with its last descriptor.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(open(directory, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn found(opened: io::Result<File>) -> io::Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
