//! Reading a log: the last lines, a span of time, everything from now on.

use std::{
    fs::File,
    io::{self, BufRead, Read, Seek, SeekFrom},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_stdx::time::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
};

use crate::{
    decode::{Record, decode},
    file::LogReader,
};

/// Records are handed on in pieces of about this size.
const PIECE: usize = 128 * 1024;

/// Block size when looking for the last lines.
const BLOCK: u64 = 64 * 1024;

/// Most rotated files that are looked for.
const MAX_FILES: u32 = 1000;

/// How records are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As they are: for terminals.
    Raw,
    /// With Docker's eight-byte heads.
    Multiplexed,
}

/// Which records, and how.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only so many of the last; `None` is all.
    pub tail: Option<u64>,
    /// The time before each.
    pub timestamps: bool,
    /// Attributes before each.
    pub details: bool,
    /// How.
    pub framing: Framing,
}

/// Goes on when the end is reached, until the other end of this pipe is closed.
#[derive(Debug)]
pub struct Follow {
    /// Readable (at its end) when there will be no more.
    pub until_closed: OwnedFd,
}

/// A log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read log {}", path.display())]
pub struct ReadError {
    path: PathBuf,
    source: io::Error,
}

impl Kinded for ReadError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// A log whose files are open: what was written so far can be read even if its container is removed now.
#[derive(Debug)]
pub struct OpenLog {
    path: PathBuf,
    files: Vec<LogReader>,
    watch: Option<(Watch, Follow)>,
}

impl OpenLog {
    /// Opens the log at `path` and its rotated predecessors. With `follow`, reading goes on until that says so.
    ///
    /// # Errors
    /// When a file cannot be opened, or there is no directory to follow. A log that is not there is an empty one.
    pub fn open(path: &Path, follow: Option<Follow>) -> Result<OpenLog, ReadError> {
        let failed = |source| ReadError { path: path.to_owned(), source };
        // The watch comes first: what is written between reading and watching would be missed otherwise.
        let watch = match follow {
            Some(follow) => Some((Watch::new(path).map_err(failed)?, follow)),
            None => None,
        };
        let files = open_files(path).map_err(failed)?;
        Ok(OpenLog { path: path.to_owned(), files, watch })
    }

    /// Hands the records to `sink`, in order, until the end. Blocks: needs a thread of its own. `sink` answers false when it
    /// wants no more.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(
        self,
        options: &ReadOptions,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<(), ReadError> {
        let OpenLog { path, files, watch } = self;
        let mut out = Out { options, piece: Vec::new(), sink, open: true };
        read_files(&path, files, watch, &mut out).map_err(|source| ReadError { path, source })
    }
}

fn read_files(
    path: &Path,
    mut files: Vec<LogReader>,
    watch: Option<(Watch, Follow)>,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let skip = match out.options.tail {
        Some(tail) => start_of_tail(&mut files, tail)?,
        None => 0,
    };
    let mut last = None;
    for mut file in files.into_iter().skip(skip) {
        read_to_end(&mut file, out)?;
        last = Some(file);
        if !out.open {
            return Ok(());
        }
    }
    out.flush();
    let Some((watch, follow)) = watch else {
        if let Some(file) = &mut last {
            finish_torn(file, out);
            out.flush();
        }
        return Ok(());
    };
    follow_on(path, last, &watch, &follow, out)
}

fn follow_on(
    path: &Path,
    mut current: Option<LogReader>,
    watch: &Watch,
    follow: &Follow,
    out: &mut Out<'_>,
) -> io::Result<()> {
    while out.open {
        let more = watch.wait(follow)?;
        if let Some(file) = &mut current {
            read_to_end(file, out)?;
        }
        // Rotated meanwhile, perhaps more than once: everything that is younger than what was read.
        let newer = newer_files(path, current.as_ref())?;
        for mut file in newer {
            read_to_end(&mut file, out)?;
            current = Some(file);
        }
        out.flush();
        if !more {
            return Ok(());
        }
    }
    Ok(())
}

/// All files of the log, oldest first. A rotation in the middle of this shows as the same file twice, which is opened once.
fn open_files(path: &Path) -> io::Result<Vec<LogReader>> {
    let mut files: Vec<LogReader> = Vec::new();
    for number in 0..MAX_FILES {
        match LogReader::open(path, number)? {
            Some(file) if files.iter().any(|known| known.identity == file.identity) => {}
            Some(file) => files.push(file),
            None if number == 0 => {}
            None => break,
        }
    }
    files.reverse();
    Ok(files)
}

/// Files that are younger than `current`, oldest first.
fn newer_files(path: &Path, current: Option<&LogReader>) -> io::Result<Vec<LogReader>> {
    // Nearly always: something was written, nothing rotated.
    if let Some(current) = current
        && LogReader::newest_identity(path)?.as_ref() == Some(&current.identity)
    {
        return Ok(Vec::new());
    }
    let mut files = open_files(path)?;
    if let Some(current) = current
        && let Some(at) = files.iter().position(|file| file.identity == current.identity)
    {
        files.drain(..=at);
    }
    Ok(files)
}

fn read_to_end(file: &mut LogReader, out: &mut Out<'_>) -> io::Result<()> {
    let mut line = std::mem::take(&mut file.torn);
    loop {
        if file.content()?.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
            file.torn = line;
            return Ok(());
        }
        line.pop();
        out.line(&line);
        line.clear();
        if !out.open {
            return Ok(());
        }
    }
}

/// A last line without newline that reads is one that the writer did not end: nothing is lost by showing it.
fn finish_torn(file: &mut LogReader, out: &mut Out<'_>) {
    let torn = std::mem::take(&mut file.torn);
    if !torn.is_empty() {
        out.line(&torn);
    }
}

/// Moves the files to where the last `tail` lines begin. Returns how many files come before that.
fn start_of_tail(files: &mut [LogReader], tail: u64) -> io::Result<usize> {
    let mut wanted = tail;
    let count = files.len();
    for (index, file) in files.iter_mut().enumerate().rev() {
        if wanted == 0 {
            // Only what is written from now on counts, and that is in the newest.
            if index + 1 == count {
                file.content()?.seek(SeekFrom::End(0))?;
            }
            continue;
        }
        let content = file.content()?;
        let end = content.seek(SeekFrom::End(0))?;
        match back(content.get_mut(), end, wanted)? {
            Ok(start) => {
                content.seek(SeekFrom::Start(start))?;
                return Ok(index);
            }
            Err(found) => {
                content.seek(SeekFrom::Start(0))?;
                wanted -= found;
            }
        }
    }
    Ok(if tail == 0 { files.len().saturating_sub(1) } else { 0 })
}

/// Where the last `wanted` lines before `end` begin, or how many there are if there are not so many.
fn back(file: &mut File, end: u64, wanted: u64) -> io::Result<Result<u64, u64>> {
    let mut found = 0;
    let mut position = end;
    let mut buffer = vec![0; BLOCK as usize];
    while position > 0 {
        let size = BLOCK.min(position);
        position -= size;
        file.seek(SeekFrom::Start(position))?;
        let block = &mut buffer[..size as usize];
        file.read_exact(block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next = position + at as u64 + 1;
            if next == end {
                continue;
            }
            found += 1;
            if found == wanted {
                return Ok(Ok(next));
            }
        }
    }
    Ok(if end == 0 {
        Err(0)
    } else if found + 1 == wanted {
        Ok(0)
    } else {
        Err(found + 1)
    })
}

/// Where records go.
struct Out<'a> {
    options: &'a ReadOptions,
    piece: Vec<u8>,
    sink: &'a mut dyn FnMut(Vec<u8>) -> bool,
    open: bool,
}

impl Out<'_> {
    fn line(&mut self, line: &[u8]) {
        let Some(record) = decode(line) else { return };
        let options = self.options;
        if !(if record.stderr { options.stderr } else { options.stdout }) {
            return;
        }
        if options.since.is_some() || options.until.is_some() {
            let time = record.timestamp();
            if options.since.is_some_and(|since| time < since) {
                return;
            }
            if options.until.is_some_and(|until| time > until) {
                // Times never go back: nothing that fits comes behind this.
                self.flush();
                self.open = false;
                return;
            }
        }
        self.record(&record);
        if self.piece.len() >= PIECE {
            self.flush();
        }
    }

    fn record(&mut self, record: &Record) {
        let mut head = Vec::new();
        if self.options.timestamps {
            let time = record.timestamp().format_fixed();
            head.extend_from_slice(time.as_bytes());
            head.push(b' ');
        }
        if self.options.details {
            let pairs: Vec<String> =
                record.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            head.extend_from_slice(pairs.join(",").as_bytes());
            head.push(b' ');
        }
        if self.options.framing == Framing::Multiplexed {
            let length = u32::try_from(head.len() + record.text.len()).unwrap_or(u32::MAX);
            self.piece.extend_from_slice(&[if record.stderr { 2 } else { 1 }, 0, 0, 0]);
            self.piece.extend_from_slice(&length.to_be_bytes());
        }
        self.piece.extend_from_slice(&head);
        self.piece.extend_from_slice(&record.text);
    }

    fn flush(&mut self) {
        if !self.piece.is_empty() && self.open {
            let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE + PIECE / 4));
            self.open = (self.sink)(piece);
        }
    }
}

/// Tells when something is written to a log or it is rotated.
#[derive(Debug)]
struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    fn new(path: &Path) -> io::Result<Watch> {
        let inotify =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // The directory, not the file: rotation replaces the file.
        let directory = path.parent().unwrap_or(Path::new("/"));
        let flags = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, directory, flags)?;
        Ok(Watch { inotify })
    }

    /// Waits for news. False when there will be no more.
    fn wait(&self, follow: &Follow) -> io::Result<bool> {
        let mut fds = [
            PollFd::from_borrowed_fd(self.inotify.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(follow.until_closed.as_fd(), PollFlags::IN),
        ];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // What the events say does not matter: the file tells.
        let mut events = [0; 4096];
        while rustix::io::read(&self.inotify, &mut events[..])
            .is_ok_and(|count| count == events.len())
        {}
        Ok(fds[1].revents().is_empty())
    }
}
