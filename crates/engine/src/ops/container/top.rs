//! `top`: the processes of a container, as ps(1) shows them.

use std::collections::BTreeSet;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::ProcessTable;

use crate::Engine;

/// Runs the machine's `ps` with `arguments` (`-ef` when empty) and keeps the rows of the container's processes, as Docker does.
///
/// # Errors
/// It does not run, the arguments hide the pid column, or there is no `ps`.
pub async fn top(engine: &Engine, name: &str, arguments: &str) -> Result<ProcessTable, Failure> {
    let container = engine.shared.containers.find(name)?.container();
    if !container.state.phase.is_running() {
        let words = format!("container {} is not running", container.id);
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let pids = engine.shared.cgroup(&container)?.pids()?;
    let pids: BTreeSet<String> = pids.iter().map(ToString::to_string).collect();
    let words: Vec<&str> = match arguments.split_whitespace().collect::<Vec<_>>() {
        words if words.is_empty() => vec!["-ef"],
        words => words,
    };
    if words.iter().any(|word| word.contains("-o") && !word.contains("pid"))
        && !arguments.contains("pid")
    {
        let words = "ps: Couldn't find PID field in ps output".to_owned();
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let output =
        tokio::process::Command::new("ps").args(&words).output().await.map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("cannot run ps on the host: {error}"))
                .with_hint("install ps (Debian: apt-get install procps)")
        })?;
    if !output.status.success() {
        let words = format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim());
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let table = parse(&String::from_utf8_lossy(&output.stdout), &pids)?;
    engine.shared.events.container(&container, "top", &[], engine.shared.now());
    Ok(table)
}

fn parse(text: &str, pids: &BTreeSet<String>) -> Result<ProcessTable, Failure> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or("").split_whitespace().map(str::to_owned).collect();
    let pid_column = titles.iter().position(|title| title == "PID").ok_or_else(|| {
        Failure::new(ErrorKind::InvalidArgument, "Couldn't find PID field in ps output")
    })?;
    let mut rows = Vec::new();
    for line in lines {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        if fields.len() < titles.len() || !pids.contains(&fields[pid_column]) {
            continue;
        }
        // The last column may have spaces in it.
        let command = fields.split_off(titles.len() - 1).join(" ");
        fields.push(command);
        rows.push(fields);
    }
    Ok(ProcessTable { titles, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_rows_and_the_command_whole() {
        let text = "UID PID PPID CMD\nroot 1 0 init\nroot 42 1 sleep 100 more\n";
        let table = parse(text, &["42".to_owned()].into()).unwrap();
        assert_eq!(table.rows, [["root", "42", "1", "sleep 100 more"]]);
        assert!(parse("UID CMD\n", &BTreeSet::new()).is_err());
    }
}
