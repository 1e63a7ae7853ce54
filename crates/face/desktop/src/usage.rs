//! What all running containers use, for the overview: one sampler, however many pages look, and none when nobody does.
//!
//! A stream of `stats` for each container would have the daemon send fifty documents a second. One sample each, every few seconds, is
//! enough for a graph; the rates are the differences.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ferry_client::Client;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Samples that a page gets when it opens.
const HISTORY: usize = 120;
/// Containers that are asked for at a time.
const AT_ONCE: usize = 4;
/// Containers that are looked at, of more.
const MOST: usize = 500;
/// Containers that are asked for in a second, on average.
const EACH_SECOND: u64 = 5;

/// One sampler for all pages.
#[derive(Debug, Default)]
pub(crate) struct Usage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sender: Option<broadcast::Sender<String>>,
    history: VecDeque<String>,
    last: HashMap<String, Counters>,
}

/// What counts up, at a moment.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Instant,
    cpu: u64,
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
}

#[derive(Deserialize)]
struct Running {
    #[serde(rename = "Id")]
    id: String,
}

impl Usage {
    /// The samples so far, and those to come. The sampler runs for as long as somebody holds a receiver.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        client: &Client,
    ) -> (Vec<String>, broadcast::Receiver<String>) {
        let mut state = self.state();
        let history = state.history.iter().cloned().collect();
        if let Some(sender) = &state.sender {
            return (history, sender.subscribe());
        }
        let (sender, receiver) = broadcast::channel(8);
        state.sender = Some(sender.clone());
        let (usage, client) = (Arc::clone(self), client.clone());
        tokio::spawn(async move { usage.run(&client, &sender).await });
        (history, receiver)
    }

    async fn run(&self, client: &Client, sender: &broadcast::Sender<String>) {
        loop {
            let started = Instant::now();
            let count = match self.sample(client).await {
                Some((count, sample)) => {
                    let mut state = self.state();
                    if state.history.len() >= HISTORY {
                        state.history.pop_front();
                    }
                    state.history.push_back(sample.clone());
                    drop(state);
                    // Nobody listens: seen below.
                    drop(sender.send(sample));
                    count
                }
                None => 0,
            };
            let pause = pause(count);
            tokio::time::sleep(pause.saturating_sub(started.elapsed())).await;
            let mut state = self.state();
            if sender.receiver_count() == 0 {
                *state = State::default();
                return;
            }
        }
    }

    async fn sample(&self, client: &Client) -> Option<(usize, String)> {
        let filters = "{\"status\":[\"running\"]}";
        let running: Vec<Running> =
            client.get("/containers/json").query("filters", filters).json().await.ok()?;
        let mut waiting = running.iter().take(MOST);
        let mut under = FuturesUnordered::new();
        let mut rows = Vec::with_capacity(running.len());
        let mut now = HashMap::with_capacity(running.len());
        loop {
            while under.len() < AT_ONCE
                && let Some(container) = waiting.next()
            {
                under.push(stats(client, &container.id));
            }
            let Some(answer) = under.next().await else { break };
            // It ended meanwhile.
            let Some((id, document)) = answer else { continue };
            let counters = counters(&document);
            let before = self.state().last.get(id).copied();
            rows.push(row(id, &document, &counters, before.as_ref()));
            now.insert(id.to_owned(), counters);
        }
        self.state().last = now;
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
        let sample = json!({ "time": u64::try_from(time.as_millis()).ok()?, "rows": rows });
        Some((running.len(), format!("{sample}\n")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From sample to sample: the more containers, the longer, so that a page costs the daemon about the same.
fn pause(count: usize) -> Duration {
    Duration::from_secs((count as u64 / EACH_SECOND).clamp(2, 20))
}

async fn stats<'a>(client: &Client, id: &'a str) -> Option<(&'a str, Value)> {
    let path = format!("/containers/{id}/stats?stream=0&one-shot=1");
    Some((id, client.get(path).json().await.ok()?))
}

fn number(of: &Value, pointer: &str) -> u64 {
    of.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn counters(document: &Value) -> Counters {
    let networks = document["networks"].as_object();
    let sum = |name: &str| {
        networks.into_iter().flatten().map(|(_, link)| link[name].as_u64().unwrap_or(0)).sum()
    };
    let blocks =
        document.pointer("/blkio_stats/io_service_bytes_recursive").and_then(Value::as_array);
    let moved = |operation: &str| {
        let rows = blocks.into_iter().flatten();
        rows.filter(|row| row["op"].as_str().is_some_and(|op| op.eq_ignore_ascii_case(operation)))
            .map(|row| row["value"].as_u64().unwrap_or(0))
            .sum()
    };
    Counters {
        at: Instant::now(),
        cpu: number(document, "/cpu_stats/cpu_usage/total_usage"),
        received: sum("rx_bytes"),
        sent: sum("tx_bytes"),
        read: moved("read"),
        written: moved("write"),
    }
}

/// Id, share of one processor in per cent, memory, its limit, bytes a second received, sent, read and written, processes.
fn row(id: &str, document: &Value, now: &Counters, before: Option<&Counters>) -> Value {
    // The command line's figure: without the page cache that nobody uses.
    let cache = number(document, "/memory_stats/stats/total_inactive_file")
        .max(number(document, "/memory_stats/stats/inactive_file"));
    let memory = number(document, "/memory_stats/usage").saturating_sub(cache);
    let rate = |figure: fn(&Counters) -> u64| {
        let Some(before) = before else { return 0.0 };
        let seconds = (now.at - before.at).as_secs_f64().max(0.001);
        figure(now).saturating_sub(figure(before)) as f64 / seconds
    };
    json!([
        id,
        (rate(|counters| counters.cpu) / 1e5).round() / 100.0,
        memory,
        number(document, "/memory_stats/limit"),
        rate(|counters| counters.received).round(),
        rate(|counters| counters.sent).round(),
        rate(|counters| counters.read).round(),
        rate(|counters| counters.written).round(),
        number(document, "/pids_stats/current"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences() {
        let document = |cpu: u64, bytes: u64| {
            json!({
                "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
                "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"inactive_file": 400}},
                "networks": {"eth0": {"rx_bytes": bytes, "tx_bytes": 0}, "eth1": {"rx_bytes": 0, "tx_bytes": bytes}},
                "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": bytes}, {"op": "write", "value": bytes}]},
                "pids_stats": {"current": 3},
            })
        };
        let mut before = counters(&document(0, 0));
        let mut now = counters(&document(500_000_000, 2000));
        now.at = before.at + Duration::from_secs(1);
        let figures = row("x", &document(0, 0), &now, Some(&before));
        assert_eq!(figures, json!(["x", 50.0, 600, 5000, 2000.0, 2000.0, 2000.0, 2000.0, 3]));
        before.cpu = 900_000_000;
        assert_eq!(row("x", &document(0, 0), &now, Some(&before))[1], 0.0, "it was started again");
        assert_eq!(row("x", &document(0, 0), &now, None)[1], 0.0, "the first sample has no rate");
        assert_eq!([0, 7, 50, 500].map(|count| pause(count).as_secs()), [2, 2, 10, 20]);
    }
}
