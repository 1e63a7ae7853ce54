//! A plugin that runs: what it reads, what it prints, its end. One thread waits for all of it, so that the end is known when it comes.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// Most that is read or written at a time.
const CHUNK: usize = 16 << 10;

/// What a plugin did.
#[derive(Debug)]
pub(crate) struct Said {
    /// What it printed, with one byte more than the limit at most.
    pub(crate) output: Vec<u8>,
    /// The same of its standard error.
    pub(crate) complaint: Vec<u8>,
    /// How it ended; `None` when its time was over, and it was killed.
    pub(crate) status: Option<ExitStatus>,
}

/// Gives a child `input` and takes what it prints until it ends, or until `limit` is over. Of its output and of its complaints no more than
/// `most` is kept. Afterwards it is gone; what it started goes with it only if it had to be killed.
///
/// # Errors
/// The kernel does not say when it ends.
pub(crate) fn with(
    child: &mut Child,
    input: &[u8],
    most: [usize; 2],
    limit: Duration,
) -> io::Result<Said> {
    let mut pipes = Pipes {
        input: child.stdin.take().map(|pipe| (pipe, input)),
        output: Drain { pipe: child.stdout.take(), kept: Vec::new(), most: most[0] },
        complaint: Drain { pipe: child.stderr.take(), kept: Vec::new(), most: most[1] },
    };
    let ended = pipes.carry(child, Instant::now() + limit);
    if !matches!(ended, Ok(true)) {
        // As a group: plugins start further plugins.
        kill_process_group(Pid::from_child(child), Signal::KILL).ok();
    }
    let status = child.wait()?;
    let status = ended?.then_some(status);
    if status.is_some() {
        pipes.output.take_rest();
        pipes.complaint.take_rest();
    }
    Ok(Said { output: pipes.output.kept, complaint: pipes.complaint.kept, status })
}

/// This side of a plugin's standard streams. Each may stay open when it has ended: something that it started may have it.
struct Pipes<'a, I, O, E> {
    input: Option<(I, &'a [u8])>,
    output: Drain<O>,
    complaint: Drain<E>,
}

impl<I: Write + AsFd, O: Read + AsFd, E: Read + AsFd> Pipes<'_, I, O, E> {
    /// Moves bytes until the child has ended: then it answers true, and false when the deadline has passed.
    fn carry(&mut self, child: &Child, deadline: Instant) -> io::Result<bool> {
        let end = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        if let Some((pipe, _)) = &self.input {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        self.output.begin()?;
        self.complaint.begin()?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut wanted = vec![PollFd::new(&end, PollFlags::IN)];
            wanted.extend(self.output.pipe.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
            wanted.extend(self.complaint.pipe.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
            wanted.extend(self.input.as_ref().map(|(it, _)| PollFd::new(it, PollFlags::OUT)));
            match poll(&mut wanted, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !wanted[0].revents().is_empty() {
                return Ok(true);
            }
            // None of them blocks: those that have nothing say so.
            self.feed();
            self.output.take();
            self.complaint.take();
        }
    }

    /// Writes what there is room for. A plugin that does not read says so by its exit code, if it matters.
    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.input else { return };
        while !rest.is_empty() {
            match pipe.write(&rest[..rest.len().min(CHUNK)]) {
                Ok(count) => *rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // It sees the end of its input.
        self.input = None;
    }
}

/// A stream that is read to its end, of which not everything is kept.
struct Drain<P> {
    /// Until it is over.
    pipe: Option<P>,
    kept: Vec<u8>,
    most: usize,
}

impl<P: Read + AsFd> Drain<P> {
    fn begin(&self) -> Result<(), Errno> {
        self.pipe.as_ref().map_or(Ok(()), |pipe| rustix::io::ioctl_fionbio(pipe, true))
    }

    /// Reads once; false when there is nothing, or nothing more.
    fn take(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut chunk = [0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(count @ 1..) => {
                let room = (self.most + 1).saturating_sub(self.kept.len()).min(count);
                self.kept.extend_from_slice(&chunk[..room]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(0) | Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    /// What was written before the end is there now; what something else goes on to write is read no further than the limit.
    fn take_rest(&mut self) {
        while self.kept.len() <= self.most && self.take() {}
    }
}
