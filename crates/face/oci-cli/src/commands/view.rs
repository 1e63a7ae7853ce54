//! `state`, `list` and `ps`.

use std::{os::unix::fs::MetadataExt, process::Command as Program};

use ferry_errkind::Failure;
use serde::Serialize;

use super::Command;
use crate::{
    Ended,
    arguments::{Arguments, Flag},
    options::Global,
    record::{Record, Status},
    report::{self, failed, invalid},
};

pub(super) const STATE: Command =
    Command { name: "state", usage: "<container-id>", flags: &[], run: state, failure_code: 1 };

pub(super) const LIST: Command = Command {
    name: "list",
    usage: "[command options]",
    flags: &[Flag::value("format").short('f'), Flag::switch("quiet").short('q')],
    run: list,
    failure_code: 1,
};

pub(super) const PS: Command = Command {
    name: "ps",
    usage: "[command options] <container-id> [ps options]",
    flags: &[Flag::value("format").short('f')],
    run: ps,
    failure_code: 1,
};

/// What is told of a container, with runc's additions to the specification.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    oci_version: String,
    id: String,
    pid: i32,
    status: &'static str,
    bundle: String,
    rootfs: String,
    created: String,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: std::collections::BTreeMap<String, String>,
    owner: String,
}

impl View {
    fn of(global: &Global, record: Record) -> View {
        let dir = global.root.join(&record.id);
        let status = record.status(&dir);
        let owner = match dir.metadata().map(|status| status.uid()) {
            Ok(0) => "root".to_owned(),
            Ok(uid) => format!("#{uid}"),
            Err(_) => String::new(),
        };
        View {
            oci_version: record.spec.oci_version,
            id: record.id,
            pid: if status == Status::Stopped { 0 } else { record.pid },
            status: status.name(),
            bundle: record.bundle.to_string_lossy().into_owned(),
            rootfs: record.rootfs.to_string_lossy().into_owned(),
            created: record.created,
            annotations: record.spec.annotations,
            owner,
        }
    }
}

fn state(global: &Global, arguments: &Arguments) -> Ended {
    let record = Record::load(global, arguments.only_id("state")?)?;
    report::json(&View::of(global, record), Some("  "))
}

fn list(global: &Global, arguments: &Arguments) -> Ended {
    if !arguments.rest.is_empty() {
        return Err(invalid("\"list\" requires exactly 0 argument(s)"));
    }
    let all = Record::all(global)?;
    let views: Vec<View> = all.into_iter().map(|record| View::of(global, record)).collect();
    if arguments.is_set("quiet") {
        let ids: String = views.iter().map(|view| format!("{}\n", view.id)).collect();
        return Ok(report::print(&ids));
    }
    match arguments.one("format").unwrap_or("table") {
        "json" => report::json(&views, None),
        "table" => {
            let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
            let rows = views.into_iter().map(|view| {
                [
                    view.id,
                    view.pid.to_string(),
                    view.status.to_owned(),
                    view.bundle,
                    view.created,
                    view.owner,
                ]
            });
            let rows: Vec<[String; 6]> = std::iter::once(head).chain(rows).collect();
            Ok(report::print(&table(&rows)))
        }
        _ => Err(invalid("invalid format option")),
    }
}

/// Columns at least twelve wide with three spaces between, as runc has them.
fn table(rows: &[[String; 6]]) -> String {
    let mut widths = [12; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let mut text = String::new();
    for row in rows {
        let (last, cells) = row.split_last().unwrap_or((&row[5], &[]));
        for (width, cell) in widths.iter().zip(cells) {
            text.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

fn ps(global: &Global, arguments: &Arguments) -> Ended {
    let Some((id, options)) = arguments.rest.split_first() else {
        return Err(invalid("\"ps\" requires a minimum of 1 argument"));
    };
    let record = Record::load(global, id)?;
    let pids = record.need_cgroup()?.pids().map_err(Failure::of)?;
    match arguments.one("format").unwrap_or("table") {
        "json" => return report::json(&pids, None),
        "table" => {}
        _ => return Err(invalid("invalid format option")),
    }
    let options = if options.is_empty() { vec!["-ef".to_owned()] } else { options.to_vec() };
    let output = Program::new("ps").args(&options).output().map_err(|error| failed("ps", error))?;
    if !output.status.success() {
        return Err(failed("ps", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let head = text.lines().next().unwrap_or_default();
    let column = head
        .split_whitespace()
        .position(|title| title == "PID")
        .ok_or_else(|| invalid("couldn't find PID field in ps output"))?;
    let own = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let lines = std::iter::once(head).chain(text.lines().skip(1).filter(own));
    Ok(report::print(&lines.map(|line| format!("{line}\n")).collect::<String>()))
}
