//! Words of programs, and of this engine, that give a cause away.

use ferry_model::container::{Health, HealthStatus};

use super::{Facts, Finding, finding, program};

/// Why the last start failed.
pub(super) fn failed_start(facts: &Facts<'_>) -> Finding {
    let error = facts.container.state.error.as_str();
    let has = |words: &str| error.contains(words);
    if (has("exec:")
        || has("no such file or directory")
        || has("exec format error")
        || has("permission denied"))
        && !has("mount")
        && let Some(found) = program::explain(facts)
    {
        return found;
    }
    let what = format!("it could not be started: {error}");
    if has("port is already allocated") || has("address already in use") {
        let owner = match &facts.port_owner {
            Some(owner) => format!("a port that it publishes is taken by {owner}"),
            None => "a port that it publishes is taken".to_owned(),
        };
        return finding(
            "port-taken",
            format!("{owner}: {error}"),
            "publish another port, or stop who has it",
        );
    }
    let table: [(&str, &'static str, &str); 11] = [
        (
            "unable to find user",
            "no-user",
            "the user of --user or USER must be in the image's /etc/passwd; a number always works",
        ),
        (
            "unable to find group",
            "no-user",
            "the group must be in the image's /etc/group; a number always works",
        ),
        (
            "bind source path does not exist",
            "missing-mount",
            "make the directory on the host first, or use -v, which makes it",
        ),
        (
            "not a directory",
            "mount-kind",
            "a file was mounted on a directory, or the other way round: the source may be missing on the host",
        ),
        ("error mounting", "mount", "see what the mount needs: its source, its type, its options"),
        (
            "non running container",
            "joined-container",
            "start the container first whose namespace it joins",
        ),
        ("network", "network", "see docker network ls; docker network connect gives it another"),
        (
            "unresolvable CDI devices",
            "device",
            "no file in the CDI directories names that device: see docker info",
        ),
        ("gathering device information", "device", "the device is not on this machine"),
        (
            "exec format error",
            "wrong-architecture",
            "the program is for another machine: pull or build the image for this one",
        ),
        (
            "logging driver",
            "log-driver",
            "the log's server cannot be reached, or an option is wrong",
        ),
    ];
    match table.iter().find(|(words, ..)| has(words)) {
        Some((_, cause, hint)) => finding(cause, what, *hint),
        None => finding("start", what, ""),
    }
}

/// The engine ended it, because its probes failed.
pub(super) fn by_health(facts: &Facts<'_>) -> Option<Finding> {
    let health = facts.container.state.health.as_ref()?;
    let turned = facts.actions.iter().any(|(action, _)| action == "health_status: unhealthy");
    let ended = facts.actions.iter().any(|(action, _)| action == "kill");
    let wanted = facts.container.spec.labels.contains_key(ferry_model::container::ON_FAILURE_LABEL);
    (turned && ended && wanted).then(|| {
        let mut found = unhealthy(health);
        found.what = format!("--health-on-failure ended it: {}", found.what);
        found
    })
}

pub(super) fn unhealthy(health: &Health) -> Finding {
    let last = health.log.last();
    let said = last.map_or("", |probe| probe.output.trim());
    let code = last.map_or(0, |probe| probe.exit_code);
    let said =
        if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {said}") };
    let state = if health.status == HealthStatus::Unhealthy { "unhealthy" } else { "not healthy" };
    finding(
        "health-check",
        format!(
            "it is {state}: its health check failed {} times in a row, last with exit code {code}; {said}",
            health.failing_streak
        ),
        "run the check by hand with docker exec",
    )
}

/// What the last lines of a program give away.
pub(super) fn in_log(facts: &Facts<'_>) -> Option<Finding> {
    let table: [(&str, &'static str, &str, &str); 12] = [
        (
            "error while loading shared libraries",
            "missing-library",
            "a library that it needs is not in the image",
            "install the package with that library",
        ),
        (
            "Error loading shared library",
            "missing-library",
            "a library that it needs is not in the image",
            "install the package with that library",
        ),
        (
            "Read-only file system",
            "read-only",
            "it wanted to write where it may not",
            "mount a volume or --tmpfs there, or leave --read-only away",
        ),
        (
            "No space left on device",
            "disk-full",
            "the disk, or a tmpfs of its own, is full",
            "docker system df shows what takes the room",
        ),
        (
            "Resource temporarily unavailable",
            "too-many-processes",
            "it may not make more processes or threads",
            "a higher --pids-limit, or --ulimit nproc",
        ),
        (
            "Address already in use",
            "port-in-container",
            "another process in its network has the port already",
            "two programs in one network namespace listen on the same port",
        ),
        (
            "Address in use",
            "port-in-container",
            "another process in its network has the port already",
            "two programs in one network namespace listen on the same port",
        ),
        (
            "Operation not permitted",
            "not-permitted",
            "it lacks a capability, or the system call filter forbids what it did",
            "give the one capability that it needs: --cap-add",
        ),
        (
            "Permission denied",
            "permission",
            "it may not read, write or run a file",
            "look at owner and mode of what is mounted, and at --user",
        ),
        (
            "Connection refused",
            "dependency",
            "what it wanted to connect to does not listen",
            "is that container up, and ready? depends_on with a health check waits for it",
        ),
        (
            "bad address",
            "name",
            "a host name is not known in its network",
            "containers know each other's names only on a network of your own, not on the default bridge",
        ),
        (
            "not found",
            "not-found-by-shell",
            "a program or file that it names is not there",
            "install it, or mend the path",
        ),
    ];
    let lines = facts.log.iter().rev().take(10);
    for line in lines {
        if let Some((_, cause, what, hint)) = table.iter().find(|(words, ..)| line.contains(words))
        {
            let code = facts.container.state.exit_code;
            return Some(finding(
                cause,
                format!("{what} (exit code {code}): {}", line.trim()),
                *hint,
            ));
        }
    }
    None
}
