//! What is shown of the work: lines that come one after another in a pipe, a table that is painted again on a terminal, JSON, or nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ferry_cli::face::{window_size, write_fd};
use rustix::{
    fd::BorrowedFd,
    stdio::{stderr, stdout},
};
use serde_json::json;

use crate::load::is_on;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const EVERY: Duration = Duration::from_millis(100);
/// Rows that are painted; there are terminals with fewer, which show the last.
const MAX_ROWS: usize = 200;

/// Where progress goes.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A line for each thing that happens.
    Plain,
    /// The same as JSON.
    Json,
    /// Nothing.
    Quiet,
    /// A table on a terminal.
    Table(Arc<Mutex<Table>>, Mutex<Option<JoinHandle<()>>>),
}

/// What is painted.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    /// Lines on the terminal from the last time.
    painted: usize,
    frame: usize,
    over: bool,
}

#[derive(Debug)]
struct Row {
    id: String,
    status: String,
    began: Instant,
    ended: Option<Duration>,
}

impl Progress {
    /// By its name; `dynamic` is whether a terminal is there to be painted on.
    pub(crate) fn new(name: &str, dynamic: bool) -> Option<Progress> {
        Some(match name {
            "" | "auto" if dynamic => Progress::table(),
            "" | "auto" | "plain" => Progress::Plain,
            "tty" => Progress::table(),
            "json" => Progress::Json,
            "quiet" => Progress::Quiet,
            _ => return None,
        })
    }

    fn table() -> Progress {
        Progress::Table(Arc::default(), Mutex::new(None))
    }

    /// Something has happened to `id`.
    pub(crate) fn say(&self, id: &str, status: &str) {
        let text = match self {
            Progress::Quiet => return,
            Progress::Plain => format!(" {id}  {status}\n"),
            Progress::Json => format!("{}\n", json!({"id": id, "status": status})),
            Progress::Table(table, painter) => {
                lock(table).set(id, status);
                let mut painter = lock(painter);
                if painter.is_none() {
                    let table = Arc::clone(table);
                    // A thread, because what works may be waiting inside a call that does not yield.
                    *painter = std::thread::Builder::new().spawn(move || paint(&table)).ok();
                }
                return;
            }
        };
        // That nobody reads it is no reason to stop.
        drop(write_fd(place(), text.as_bytes()));
    }

    /// Paints a last time; what comes next has the terminal for itself.
    pub(crate) fn finish(&self) {
        let Progress::Table(table, painter) = self else { return };
        let Some(painter) = lock(painter).take() else { return };
        lock(table).over = true;
        drop(painter.join());
        *lock(table) = Table::default();
    }
}

/// Whether `COMPOSE_STATUS_STDOUT` wants progress on standard output.
pub(crate) fn is_on_stdout() -> bool {
    std::env::var("COMPOSE_STATUS_STDOUT").is_ok_and(|text| is_on(&text))
}

fn place() -> BorrowedFd<'static> {
    if is_on_stdout() { stdout() } else { stderr() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn paint(table: &Mutex<Table>) {
    loop {
        let over = {
            let mut table = lock(table);
            let text =
                table.text(window_size(place()).map_or(80, |size| usize::from(size.columns)));
            drop(write_fd(place(), text.as_bytes()));
            table.over
        };
        if over {
            return;
        }
        std::thread::sleep(EVERY);
    }
}

/// Whether nothing more is awaited after this word.
fn is_end(status: &str) -> bool {
    !status.ends_with("ing") || status == "Running"
}

impl Table {
    fn set(&mut self, id: &str, status: &str) {
        let at = match self.rows.iter().position(|row| row.id == id) {
            Some(at) => at,
            None if self.rows.len() >= MAX_ROWS => return,
            None => {
                self.rows.push(Row {
                    id: id.to_owned(),
                    status: String::new(),
                    began: Instant::now(),
                    ended: None,
                });
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[at];
        status.clone_into(&mut row.status);
        row.ended = is_end(status).then(|| row.began.elapsed());
    }

    fn text(&mut self, width: usize) -> String {
        self.frame += 1;
        let mut out = String::new();
        if self.painted > 0 {
            out.push_str(&format!("\x1b[{}A", self.painted));
        }
        let done = self.rows.iter().filter(|row| row.ended.is_some()).count();
        out.push_str(&format!("\x1b[2K[+] Running {done}/{}\n", self.rows.len()));
        let longest = self.rows.iter().map(|row| row.id.chars().count()).max().unwrap_or(0);
        for row in &self.rows {
            let (mark, colour) = match (row.status.as_str(), row.ended) {
                ("Error", _) => ("✘", 31),
                (_, Some(_)) => ("✔", 32),
                (_, None) => (FRAMES[self.frame % FRAMES.len()], 33),
            };
            let time = row.ended.unwrap_or_else(|| row.began.elapsed()).as_secs_f64();
            let left = format!(" {mark} {:longest$}  {}", row.id, row.status);
            let right = format!("{time:.1}s");
            let room = width.saturating_sub(right.len() + 2);
            let left: String = left.chars().take(room).collect();
            let gap = room.saturating_sub(left.chars().count()) + 1;
            out.push_str(&format!(
                "\x1b[2K\x1b[{colour}m{left}\x1b[0m{}{right}\n",
                " ".repeat(gap)
            ));
        }
        self.painted = self.rows.len() + 1;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_for_each_thing_and_knows_what_is_over() {
        let mut table = Table::default();
        table.set("Container a", "Creating");
        table.set("Container bb", "Created");
        let text = table.text(60);
        assert!(text.contains("Running 1/2") && text.contains("✔ Container bb  Created"), "{text}");
        table.set("Container a", "Started");
        let text = table.text(60);
        assert!(text.starts_with("\x1b[3A") && text.contains("Running 2/2"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 80));
    }
}
