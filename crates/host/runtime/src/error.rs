//! What went wrong, in runc's words, and the exit code Docker gives for it.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_sys::Errno;

/// A failure inside the new process, told in words because it crosses a process border.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into() }
    }

    /// `what: no such file or directory`, as Go writes errnos.
    pub(crate) fn errno(what: impl AsRef<str>, errno: Errno) -> Failure {
        Failure::new(format!("{}: {}", what.as_ref(), words(errno)))
    }
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// An errno the way Go's syscall package words it: the C library's text, in lower case.
pub(crate) fn words(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        // "I/O error" keeps its capitals in neither; the rest only start with one.
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// What dockerd makes of a runtime's words: the exit code it records, and what it adds (daemon/errors.go). The docker
/// command line reads the same words again to choose its own exit code, so they have to be these.
pub(crate) fn as_docker(mut message: String) -> (u8, String) {
    let lower = message.to_lowercase();
    if lower.contains("permission denied") {
        return (126, message);
    }
    if lower.contains("is a directory") {
        message.push_str(": permission denied");
        return (126, message);
    }
    if lower.contains("not a directory") {
        message.push_str(": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type");
        return (127, message);
    }
    let not_found = ["executable file not found", "no such file or directory"];
    if not_found.iter().any(|words| lower.contains(words)) {
        return (127, message);
    }
    (128, message)
}

/// Making a container.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The configuration asks for something that does not exist or that Ferry does not do.
    #[error("{0}")]
    Config(String),
    /// A namespace to join, a cgroup, a file of the caller.
    #[error("unable to start container process: {what}")]
    Prepare {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: Errno,
    },
    /// A hook that runs before the container's file system is complete.
    #[error("unable to start container process: error during container init: {0}")]
    Init(String),
}

impl CreateError {
    /// What Docker records as the container's exit code.
    pub fn exit_code(&self) -> u8 {
        128
    }
}

impl Kinded for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            CreateError::Config(_) => ErrorKind::InvalidArgument,
            CreateError::Prepare { .. } | CreateError::Init(_) => ErrorKind::Internal,
        }
    }
}

/// Starting it: set-up failed, or the program could not be executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to start container process: error during container init: {message}")]
pub struct StartError {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl StartError {
    /// What Docker records as the container's exit code: 127 for a missing program (or file to mount), 126 for one that
    /// cannot be executed, 128 for everything else. (`docker run` itself exits with 125 instead of 128.)
    pub fn exit_code(&self) -> u8 {
        self.code
    }

    /// The reason alone, without "unable to start container process: error during container init: ".
    pub fn reason(&self) -> &str {
        &self.message
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> StartError {
        let (code, message) = as_docker(failure.message);
        StartError { code, message }
    }
}

impl Kinded for StartError {
    fn kind(&self) -> ErrorKind {
        kind_of(self.code)
    }
}

/// Running a further process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The configuration.
    #[error("{0}")]
    Config(String),
    /// Joining the container, or executing the program in it.
    #[error("unable to start container process: {message}")]
    Failed {
        /// 126, 127 or 128, as in [`StartError::exit_code`].
        code: u8,
        /// The reason.
        message: String,
    },
}

impl ExecError {
    /// What Docker records as the exit code of the exec.
    pub fn exit_code(&self) -> u8 {
        match self {
            ExecError::Config(_) => 128,
            ExecError::Failed { code, .. } => *code,
        }
    }
}

impl From<Failure> for ExecError {
    fn from(failure: Failure) -> ExecError {
        let (code, message) = as_docker(failure.message);
        ExecError::Failed { code, message }
    }
}

impl Kinded for ExecError {
    fn kind(&self) -> ErrorKind {
        match self {
            ExecError::Config(_) => ErrorKind::InvalidArgument,
            ExecError::Failed { code, .. } => kind_of(*code),
        }
    }
}

/// dockerd answers 400 when the program is at fault, 500 otherwise.
fn kind_of(code: u8) -> ErrorKind {
    if code == 128 { ErrorKind::Internal } else { ErrorKind::InvalidArgument }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed_and_counted_as_dockerd_does() {
        let is = |words: &str| as_docker(words.to_owned());
        assert_eq!(is(r#"exec: "/x": permission denied"#).0, 126);
        assert_eq!(
            is(r#"exec: "/etc": is a directory"#),
            (126, r#"exec: "/etc": is a directory: permission denied"#.to_owned())
        );
        assert_eq!(is(r#"exec: "foo": executable file not found in $PATH"#).0, 127);
        let (code, words) = is("mount: not a directory");
        assert_eq!(code, 127);
        assert!(words.ends_with("directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type"));
        assert_eq!(is("setsid: operation not permitted").0, 128);
    }

    #[test]
    fn errnos_read_as_in_go() {
        assert_eq!(words(Errno::NOENT), "no such file or directory");
        assert_eq!(words(Errno::ACCESS), "permission denied");
        assert_eq!(words(Errno::PERM), "operation not permitted");
        assert_eq!(words(Errno::NOTDIR), "not a directory");
        assert_eq!(words(Errno::NOEXEC), "exec format error");
    }
}
