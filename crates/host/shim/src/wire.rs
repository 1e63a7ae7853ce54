//! What is said on a shim's socket: frames of a length (u32, little endian) and JSON.
//!
//! A client's first frame is a [`Request`]; it decides what the connection is. A control connection goes on with [`Command`]s
//! to the shim and [`Event`]s from it. An attach or exec connection becomes a byte stream after the shim's first frame.

use std::io::{self, Read, Write};

use ferry_oci::runtime::{Process, User};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of this protocol. A shim keeps speaking the one that it was started with.
pub const VERSION: u32 = 1;

/// Largest frame.
pub const MAX_FRAME: usize = 16 << 20;

/// A client's first frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Commands and events.
    Control {
        /// The client's version.
        version: u32,
        /// The client launched the container: until it is started, it goes away with this connection.
        owner: bool,
    },
    /// Output and input of the container or of one exec.
    Attach(Attach),
    /// A further process, and its output and input on this connection.
    Exec(Box<Exec>),
}

/// Which streams a connection carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// What the client sends is input.
    pub stdin: bool,
    /// It gets standard output.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
    /// Say when the stream began: whoever reads the log, too, reads that until then. Answered by `AttachedAt`.
    #[serde(default)]
    pub dated: bool,
}

/// A further process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Exec {
    /// Names it in later commands and events.
    pub id: String,
    /// What to run.
    pub process: Process,
    /// A pseudo terminal.
    pub tty: bool,
    /// Its height and width.
    pub size: Option<(u16, u16)>,
    /// Streams on this connection.
    pub attach: Attach,
    /// Nobody listens: the connection closes after the answer.
    pub detached: bool,
    /// Loads the container's system call filter.
    pub filtered: bool,
    /// It is killed when this connection closes: nobody else would ever end it.
    #[serde(default)]
    pub tied: bool,
}

/// On a control connection, to the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Run the program; answered by `Started` or `StartFailed`.
    Start,
    /// Send a signal to the container's process.
    Kill {
        /// Its number.
        signal: i32,
    },
    /// Change the size of a terminal.
    Resize {
        /// Of this exec, else of the container.
        exec: Option<String>,
        /// Height.
        rows: u16,
        /// Width.
        cols: u16,
    },
    /// Open the log's file anew: somebody renamed it. Answered by `LogReopened`.
    ReopenLog,
}

/// From the shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Answer to a control request: how things stand.
    State {
        /// The container's process, once it is made.
        pid: Option<i32>,
        /// Whether the program runs.
        started: bool,
        /// Who the program was started as, by the ids of its user namespace.
        #[serde(default)]
        user: Option<User>,
        /// Running execs.
        execs: Vec<String>,
    },
    /// The namespaces are there.
    Created {
        /// The container's process.
        pid: i32,
        /// What could not be done as asked.
        warnings: Vec<String>,
    },
    /// The program runs.
    Started {
        /// The container's process.
        pid: i32,
        /// What could not be done as asked.
        warnings: Vec<String>,
        /// See `State`.
        #[serde(default)]
        user: Option<User>,
    },
    /// It does not, and the container is gone.
    StartFailed {
        /// 125, 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// It ended; the shim does so next.
    Exited {
        /// 128+n for signal n.
        exit_code: i32,
        /// The memory limit killed something in it.
        oom_killed: bool,
        /// Nanoseconds since 1970.
        finished_at: i64,
    },
    /// The log goes into a new file.
    LogReopened {
        /// Why it does not; then it goes on in the old one.
        error: Option<String>,
    },
    /// First frame on an attach connection: the stream follows.
    Attached,
    /// The same for one that wants to know when: the stream follows, beginning with what is of lines that are not in the log yet.
    AttachedAt {
        /// Nanoseconds since 1970. The log's records that are not newer are not in the stream.
        moment: i64,
    },
    /// First frame on an exec connection: the stream follows.
    ExecStarted {
        /// The process.
        pid: i32,
    },
    /// First and last frame on an exec connection.
    ExecFailed {
        /// 125, 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// An exec ended; on control connections.
    ExecExited {
        /// Its id.
        id: String,
        /// 128+n for signal n.
        exit_code: i32,
    },
}

/// A frame for `value`.
///
/// # Errors
/// When it is larger than [`MAX_FRAME`].
pub fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, value)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        let words = format!("message of {length} bytes is larger than the limit of {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    frame[..4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
    Ok(frame)
}

/// The first value in `buffer` and how many bytes it took; `None` while it is not whole.
///
/// # Errors
/// When it is too large or not what was expected.
pub fn decode<T: DeserializeOwned>(buffer: &[u8]) -> io::Result<Option<(T, usize)>> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_FRAME {
        let words = format!("message of {length} bytes is larger than the limit of {MAX_FRAME}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, words));
    }
    match rest.get(..length) {
        Some(body) => Ok(Some((serde_json::from_slice(body)?, 4 + length))),
        None => Ok(None),
    }
}

/// Writes a frame, blocking.
///
/// # Errors
/// When the value is too large or the other side is gone.
pub fn send<T: Serialize>(to: &mut impl Write, value: &T) -> io::Result<()> {
    to.write_all(&encode(value)?)
}

/// Reads a frame, blocking.
///
/// # Errors
/// When the other side is gone, or what it says is too large or not what was expected.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = length.to_vec();
    let size = u32::from_le_bytes(length) as usize;
    if size > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message is larger than the limit"));
    }
    frame.resize(4 + size, 0);
    from.read_exact(&mut frame[4..])?;
    match decode(&frame)? {
        Some((value, _)) => Ok(value),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_both_ways() {
        let mut bytes = encode(&Command::Kill { signal: 9 }).unwrap();
        bytes.extend(encode(&Command::Start).unwrap());
        let (first, used) = decode::<Command>(&bytes).unwrap().unwrap();
        assert_eq!(first, Command::Kill { signal: 9 });
        assert_eq!(receive::<Command>(&mut &bytes[used..]).unwrap(), Command::Start);
        for cut in 0..used {
            assert!(decode::<Command>(&bytes[..cut]).unwrap().is_none(), "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame() {
        assert!(decode::<Command>(&[255; 8]).is_err(), "too large");
        assert!(decode::<Command>(b"\x02\0\0\0{}").is_err(), "not a command");
        assert!(receive::<Command>(&mut &b"\x09\0\0\0{}"[..]).is_err(), "cut");
    }
}
