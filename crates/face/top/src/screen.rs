//! The terminal while it is ours: raw, on its other screen; left as it was found, whatever happens.

use std::{
    io::{self, Stdout, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossterm::{
    cursor, event, execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ferry_cli::face::CliError;
use ratatui::{Terminal, backend::CrosstermBackend};
use rustix::event::{PollFd, PollFlags};
use tokio::sync::mpsc;

/// How soon the reader of keys sees that it is to end, or that the terminal has another size.
const LOOK_NANOSECONDS: i64 = 50_000_000;

/// How long it may take to end. One that does not is stuck on a terminal that has gone; it ends with the program.
const PATIENCE: Duration = Duration::from_millis(500);

/// The terminal, until this is dropped.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    ended: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    keys: mpsc::Receiver<event::Event>,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn enter() -> Result<Self, CliError> {
        let wrong = |error: io::Error| CliError::new(format!("cannot use the terminal: {error}"));
        enable_raw_mode().map_err(wrong)?;
        let entered = execute!(stdout(), EnterAlternateScreen, cursor::Hide);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        let terminal = terminal.map_err(|error| {
            leave();
            wrong(error)
        })?;
        let ended = Arc::new(AtomicBool::new(false));
        let (sender, keys) = mpsc::channel(64);
        let reader = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || read(&ended, &sender)
        });
        Ok(Screen { terminal, ended, reader: Some(reader), keys })
    }

    /// The next key, or another size; `None` when the terminal has gone.
    pub(crate) async fn event(&mut self) -> Option<event::Event> {
        self.keys.recv().await
    }

    /// Draws a frame.
    pub(crate) fn draw(
        &mut self,
        draw: impl FnOnce(&mut ratatui::Frame<'_>),
    ) -> Result<(), CliError> {
        let drawn = self.terminal.draw(draw);
        drawn.map(drop).map_err(|error| CliError::new(format!("cannot draw: {error}")))
    }
}

fn read(ended: &AtomicBool, sender: &mpsc::Sender<event::Event>) {
    while !ended.load(Ordering::Relaxed) && !gone() {
        let event = match event::poll(Duration::ZERO) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let Ok(event) = event else { return };
        if sender.blocking_send(event).is_err() {
            return;
        }
    }
}

/// Waits a while for a key, and tells whether the terminal was closed instead: crossterm, waiting itself, would read the end
/// of a closed one again and again, and never come back.
fn gone() -> bool {
    let stdin = rustix::stdio::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    let look = rustix::event::Timespec { tv_sec: 0, tv_nsec: LOOK_NANOSECONDS };
    let told = rustix::event::poll(&mut asked, Some(&look)).is_ok();
    told && asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

fn leave() {
    // There is nobody to tell when the terminal has gone.
    drop(execute!(stdout(), LeaveAlternateScreen, cursor::Show));
    drop(disable_raw_mode());
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // A full channel must not hold the reader.
        self.keys.close();
        if let Some(reader) = self.reader.take() {
            let end = Instant::now() + PATIENCE;
            while !reader.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        leave();
    }
}
