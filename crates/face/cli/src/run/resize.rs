//! The container's terminal is as large as ours.

use std::time::Duration;

use ferry_client::{Client, path_segment};
use tokio::signal::unix::{SignalKind, signal};

use crate::framework::{window_size, write_fd};

/// What has a terminal.
#[derive(Debug, Clone)]
pub(crate) enum Terminal {
    /// A container.
    Container(String),
    /// A process in one.
    Exec(String),
}

impl Terminal {
    async fn resize(&self, client: &Client, rows: u16, columns: u16) -> bool {
        if rows == 0 && columns == 0 {
            return true;
        }
        let path = match self {
            Terminal::Container(id) => format!("/containers/{}/resize", path_segment(id)),
            Terminal::Exec(id) => format!("/exec/{}/resize", path_segment(id)),
        };
        client.post(path).query("h", rows).query("w", columns).done().await.is_ok()
    }

    /// The present size.
    async fn fit(&self, client: &Client) -> bool {
        match window_size(rustix::stdio::stdout()) {
            Some(size) => self.resize(client, size.rows, size.columns).await,
            None => true,
        }
    }
}

/// Sets the size now and whenever ours changes, for as long as the runtime runs.
pub(crate) fn follow(client: &Client, terminal: Terminal) {
    let (client, changes) = (client.clone(), signal(SignalKind::window_change()));
    tokio::spawn(async move {
        let mut fits = terminal.fit(&client).await;
        // A process that has only just started may not have its terminal yet.
        for retry in 1..=10 {
            if fits {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10 * retry)).await;
            fits = terminal.fit(&client).await;
        }
        if !fits {
            let words = b"failed to resize tty, using default size\n";
            drop(write_fd(rustix::stdio::stderr(), words));
        }
        let Ok(mut changes) = changes else { return };
        while changes.recv().await.is_some() {
            terminal.fit(&client).await;
        }
    });
}

/// Makes a program draw itself again for somebody who has just attached: programs do so when the size changes.
pub(crate) async fn redraw(client: &Client, terminal: &Terminal) {
    if let Some(size) = window_size(rustix::stdio::stdout()) {
        let (rows, columns) = (size.rows.saturating_add(1), size.columns.saturating_add(1));
        terminal.resize(client, rows, columns).await;
    }
}
