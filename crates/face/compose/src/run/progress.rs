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
/// Rows that are kept; what is painted of them while they change is what the terminal has room for.
const MAX_ROWS: usize = 1000;

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

    /// What was being done has failed, or was given up because something else has: no row looks as if it went on.
    pub(crate) fn broken_off(&self) {
        let Progress::Table(table, _) = self else { return };
        let mut table = lock(table);
        for row in table.rows.iter_mut().filter(|row| row.ended.is_none()) {
            // Not "Error": what has failed may have no row, and is told below.
            "Interrupted".clone_into(&mut row.status);
            row.ended = Some(row.began.elapsed());
        }
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
            let size = window_size(place());
            let size = size.map(|size| (usize::from(size.columns), usize::from(size.rows)));
            let (width, height) = match size {
                Some((width, height)) if width > 0 && height > 0 => (width, height),
                _ => (80, 24),
            };
            let text = table.text(width, height);
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

    /// The rows that fit, those first that are not over; at the end all of them, which may scroll then.
    fn fitting(&self, height: usize) -> Vec<&Row> {
        // One for the head, one for the rest, one for the cursor.
        let room = height.saturating_sub(3).max(1);
        if self.over || self.rows.len() <= room {
            return self.rows.iter().collect();
        }
        let (mut over, at_work): (Vec<&Row>, Vec<&Row>) =
            self.rows.iter().partition(|row| row.ended.is_some());
        let left = room.saturating_sub(at_work.len());
        let over = over.split_off(over.len().saturating_sub(left));
        at_work.into_iter().take(room).chain(over).collect()
    }

    fn text(&mut self, width: usize, height: usize) -> String {
        self.frame += 1;
        let mut out = String::new();
        if self.painted > 0 {
            out.push_str(&format!("\x1b[{}A", self.painted));
        }
        let done = self.rows.iter().filter(|row| row.ended.is_some()).count();
        out.push_str(&format!("\x1b[2K[+] Running {done}/{}\n", self.rows.len()));
        let longest = self.rows.iter().map(|row| row.id.chars().count()).max().unwrap_or(0);
        let rows = self.fitting(height);
        for row in &rows {
            let (mark, colour) = match (row.status.as_str(), row.ended) {
                ("Error" | "Interrupted", _) => ("✘", 31),
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
        let (shown, more) = (rows.len(), self.rows.len() - rows.len());
        if more > 0 {
            out.push_str(&format!("\x1b[2K … and {more} more\n"));
        }
        // There may have been more lines the last time.
        out.push_str("\x1b[J");
        self.painted = shown + 1 + usize::from(more > 0);
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
        let text = table.text(60, 24);
        assert!(text.contains("Running 1/2") && text.contains("✔ Container bb  Created"), "{text}");
        table.set("Container a", "Started");
        let text = table.text(60, 24);
        assert!(text.starts_with("\x1b[3A") && text.contains("Running 2/2"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 80));
    }

    #[test]
    fn a_small_terminal_sees_what_is_at_work_and_does_not_scroll() {
        let mut table = Table::default();
        for number in 0..50 {
            table.set(
                &format!("Container {number}"),
                if number == 3 { "Starting" } else { "Started" },
            );
        }
        let text = table.text(60, 10);
        assert_eq!(
            text.lines().filter(|line| !line.is_empty()).count(),
            10,
            "with the end: {text}"
        );
        assert!(text.contains("Container 3  ") && text.contains("and 43 more"), "{text}");
        assert!(table.text(60, 10).starts_with("\x1b[9A"));
        table.over = true;
        assert_eq!(table.text(60, 10).matches("Container").count(), 50);
    }
}
