//! Finding the program as Go's `os/exec` does, whose words Docker's users know.

use ferry_sys::Errno;
use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};

use crate::error::{Failure, Outcome, words};

/// The path to execute for `name`.
pub(crate) fn find(name: &str, path_variable: Option<&str>) -> Outcome<String> {
    if name.contains('/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Refusal::Stat(errno)) => {
                let why = words(errno);
                Err(Failure::new(format!("exec: {name:?}: stat {name}: {why}")))
            }
            Err(Refusal::Directory) => Err(Failure::new(format!("exec: {name:?}: is a directory"))),
            Err(Refusal::Access(errno)) => {
                Err(Failure::new(format!("exec: {name:?}: {}", words(errno))))
            }
        };
    }
    let not_found = || Failure::new(format!("exec: {name:?}: executable file not found in $PATH"));
    if name.is_empty() {
        return Err(not_found());
    }
    for dir in path_variable.unwrap_or("").split(':') {
        let candidate = match dir {
            "" => format!("./{name}"),
            dir => format!("{}/{name}", dir.trim_end_matches('/')),
        };
        if check(&candidate).is_ok() {
            if candidate.starts_with('/') {
                return Ok(candidate);
            }
            let words = "cannot run executable found relative to current directory";
            return Err(Failure::new(format!("exec: {name:?}: {words}")));
        }
    }
    Err(not_found())
}

enum Refusal {
    Stat(Errno),
    Directory,
    Access(Errno),
}

fn check(path: &str) -> Result<(), Refusal> {
    let stat = stat(path).map_err(Refusal::Stat)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Refusal::Directory);
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        // faccessat2 is from Linux 5.8, and older seccomp profiles refuse it.
        Err(Errno::NOSYS | Errno::PERM) if stat.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(Refusal::Access(Errno::ACCESS)),
        Err(errno) => Err(Refusal::Access(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, path: Option<&str>) -> String {
        find(name, path).unwrap_err().message
    }

    #[test]
    fn programs_are_found_along_the_path() {
        assert_eq!(find("sh", Some("/nowhere:/bin/:/usr/bin")).unwrap(), "/bin/sh");
        assert_eq!(find("/bin/sh", None).unwrap(), "/bin/sh");
    }

    #[test]
    fn what_cannot_be_executed_is_told_in_runcs_words() {
        assert_eq!(
            message("foo", Some("/bin")),
            r#"exec: "foo": executable file not found in $PATH"#
        );
        assert_eq!(message("foo", None), r#"exec: "foo": executable file not found in $PATH"#);
        assert_eq!(
            message("/no/foo", None),
            r#"exec: "/no/foo": stat /no/foo: no such file or directory"#
        );
        assert_eq!(message("/etc/passwd", None), r#"exec: "/etc/passwd": permission denied"#);
        assert_eq!(message("/etc", None), r#"exec: "/etc": is a directory"#);
        assert_eq!(
            message("/etc/passwd/x", None),
            r#"exec: "/etc/passwd/x": stat /etc/passwd/x: not a directory"#
        );
    }
}
