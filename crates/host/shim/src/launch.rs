//! What a shim is given to run, and what it leaves behind.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use ferry_oci::runtime::Spec;
use serde::{Deserialize, Serialize};

/// Largest launch request and exit record that are read.
pub(crate) const MAX_LAUNCH: usize = 16 << 20;

/// One container to run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// Version of the protocol.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// Where its socket and records are: exists, and is the shim's alone.
    pub run_dir: PathBuf,
    /// The OCI specification, without the seccomp section when `filter` is there.
    pub spec: Spec,
    /// The root file system.
    pub rootfs: RootfsSpec,
    /// Compiled system call filter, base64.
    pub filter: Option<String>,
    /// Run a small init as process 1.
    pub init: bool,
    /// Keep stdin open for clients.
    pub open_stdin: bool,
    /// Close stdin with the first client that leaves.
    pub stdin_once: bool,
    /// Where output is kept.
    pub log: LogSpec,
    /// Who starts it.
    pub runtime: OciRuntime,
}

/// The root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootfsSpec {
    /// Layers, top first, under a writable one.
    Overlay {
        /// Read-only layers, top first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// Overlayfs's scratch directory.
        work: PathBuf,
    },
    /// A directory.
    Directory(PathBuf),
}

/// Where output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSpec {
    /// Nowhere.
    None,
    /// In Docker's json-file format.
    JsonFile(LogFile),
    /// In the format of Kubernetes' runtime interface, in this file.
    Cri(PathBuf),
    /// With somebody else, and in a file, too, so that it can be read here.
    Remote {
        /// With whom.
        to: RemoteLog,
        /// The file.
        cache: Option<LogFile>,
    },
}

/// Somebody who keeps logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteLog {
    /// A syslog server.
    Syslog(SyslogLog),
    /// systemd's journal.
    Journald(JournaldLog),
}

/// A syslog server and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyslogLog {
    /// `udp://host:port`, `tcp://…`, `unix:///path`; empty is the machine's own.
    pub address: String,
    /// 0 (kern) to 23 (local7).
    pub facility: u8,
    /// Form of messages.
    pub format: SyslogFormat,
    /// What messages are marked with.
    pub tag: String,
    /// Do not wait for the server: a buffer of so many bytes, and what does not fit is lost.
    pub non_blocking: Option<u64>,
}

/// Form of syslog messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogFormat {
    /// As programs write to the machine's own.
    Unix,
    /// RFC 3164, in local time.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}

/// systemd's journal and what each record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournaldLog {
    /// Its socket.
    pub socket: PathBuf,
    /// Fields of every record.
    pub fields: Vec<(String, String)>,
    /// Do not wait for the journal: what it does not take is lost.
    pub non_blocking: bool,
}

/// A json-file log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// The newest file; older ones have `.1`, `.2`, … behind it.
    pub path: PathBuf,
    /// Bytes after which a new file is begun; 0 is never.
    pub max_size: u64,
    /// Files to keep, the newest included.
    pub max_files: u32,
    /// Older files are packed with gzip, and have `.gz` at their end.
    #[serde(default)]
    pub compress: bool,
    /// Written into every record.
    pub attributes: BTreeMap<String, String>,
}

/// Who turns the specification into a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OciRuntime {
    /// Ferry itself.
    Own,
    /// A program with runc's command line.
    External {
        /// Its path.
        path: PathBuf,
        /// Arguments before its own.
        args: Vec<String>,
    },
}

/// How a container ended: `exit.json` in its run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// 128+n for signal n.
    pub exit_code: i32,
    /// The memory limit killed something in it.
    pub oom_killed: bool,
    /// Nanoseconds since 1970.
    pub finished_at: i64,
    /// Whether the process ever ran.
    pub started: bool,
    /// Most bytes of memory that it had at once; 0 when nobody counted.
    #[serde(default)]
    pub memory_peak: u64,
}

impl ExitRecord {
    fn path(run_dir: &Path) -> PathBuf {
        run_dir.join("exit.json")
    }

    /// Replaces the record in `run_dir` at once.
    pub(crate) fn write(&self, run_dir: &Path) -> io::Result<()> {
        let scratch = run_dir.join("exit.json.new");
        fs::write(&scratch, serde_json::to_vec(self)?)?;
        fs::rename(scratch, Self::path(run_dir))
    }

    /// The record in `run_dir`, if there is one that reads.
    ///
    /// # Errors
    /// When the file is there and cannot be read or is none.
    pub fn read(run_dir: &Path) -> io::Result<Option<ExitRecord>> {
        match fs::read(Self::path(run_dir)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
