//! What comes from the daemon, and what is asked of it.

use std::{collections::HashMap, time::Duration};

use crossterm::event::{Event, KeyEventKind};
use ferry_cli::face::CliError;
use ferry_client::{Client, ClientError, path_segment};
use ferry_docker_api::{
    StatsResponse, WhyFinding,
    stream::{Demultiplexer, StreamKind},
};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    app::{App, Container, Kind, Line, Thing, Use, Verb, Wish},
    draw,
    screen::Screen,
    text::plain,
};

/// Between two samples of what is used.
const SAMPLE: Duration = Duration::from_secs(2);
/// Before a daemon that is gone is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// The list is asked for at least so often.
const REFRESH: Duration = Duration::from_secs(30);
/// Frames a second at most.
const FRAME: Duration = Duration::from_millis(50);
/// Lines of a log that are fetched when it is opened.
const TAIL: u32 = 2000;
/// A line is cut here: nobody reads it to its end on a terminal.
const LINE: usize = 4096;

/// News.
enum News {
    Containers(Vec<Container>),
    Uses(HashMap<String, Use>),
    Lines(Vec<Line>),
    Things(Kind, Vec<Thing>),
    Why(Vec<String>),
    Done(String),
    Failed(String),
}

type Sender = mpsc::Sender<News>;

/// Shows and steers until a key wants out.
pub(crate) async fn session(
    client: &Client,
    app: &mut App,
    screen: &mut Screen,
) -> Result<Wish, CliError> {
    let (sender, mut news) = mpsc::channel(64);
    let tasks = [
        tokio::spawn(lists(client.clone(), sender.clone())),
        tokio::spawn(samples(client.clone(), sender.clone())),
    ];
    let wrong = |error: std::io::Error| CliError::new(format!("cannot wait: {error}"));
    let mut hangup = signal(SignalKind::hangup()).map_err(wrong)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(wrong)?;
    let mut log: Option<JoinHandle<()>> = None;
    let mut other: Option<JoinHandle<()>> = None;
    let wish = loop {
        let mut page = 1;
        screen.draw(|frame| page = draw::draw(frame, app))?;
        // Many pieces of news are one frame.
        let wish = tokio::select! {
            event = screen.event() => match event {
                None => Wish::Quit,
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => app.key(key, page),
                Some(_) => Wish::Nothing,
            },
            // The terminal is left as it was found, whoever ends us.
            _ = hangup.recv() => Wish::Quit,
            _ = terminate.recv() => Wish::Quit,
            Some(one) = news.recv() => {
                take(app, one);
                while let Ok(more) = news.try_recv() {
                    take(app, more);
                }
                tokio::time::sleep(FRAME).await;
                Wish::Nothing
            }
        };
        match wish {
            Wish::Nothing => {}
            Wish::Quit | Wish::Shell(_) => break wish,
            Wish::Do(verb, id, name) => {
                app.say(&format!("ferry {} {name} …", verb.word()));
                tokio::spawn(act(client.clone(), sender.clone(), verb, id, name));
            }
            Wish::Why(id) => drop(tokio::spawn(why(client.clone(), sender.clone(), id))),
            Wish::Log(id) => {
                let opened = tokio::spawn(follow(client.clone(), sender.clone(), id));
                if let Some(before) = log.replace(opened) {
                    before.abort();
                }
            }
            Wish::Things(kind) => {
                let opened = tokio::spawn(things(client.clone(), sender.clone(), kind));
                if let Some(before) = other.replace(opened) {
                    before.abort();
                }
            }
            Wish::CloseThings => {
                if let Some(open) = other.take() {
                    open.abort();
                }
            }
            Wish::CloseLog => {
                if let Some(open) = log.take() {
                    open.abort();
                }
            }
        }
    };
    for task in tasks.into_iter().chain(log).chain(other) {
        task.abort();
    }
    Ok(wish)
}

fn take(app: &mut App, news: News) {
    match news {
        News::Containers(all) => app.set_containers(all),
        News::Uses(uses) => app.set_uses(uses),
        News::Lines(lines) => app.add_lines(lines),
        News::Things(kind, things) => app.set_things(kind, things),
        News::Why(lines) => app.why = lines,
        News::Done(text) => app.say(&text),
        News::Failed(text) => app.fail(&text),
    }
}

fn words(error: &ClientError) -> String {
    plain(&error.to_string())
}

/// The list, again after every event.
async fn lists(client: Client, sender: Sender) {
    loop {
        if let Err(error) = follow_events(&client, &sender).await
            && sender.send(News::Failed(words(&error))).await.is_err()
        {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn follow_events(client: &Client, sender: &Sender) -> Result<(), ClientError> {
    let filters = "{\"type\":[\"container\"]}";
    let mut events = client.get("/events").query("filters", filters).lines::<Value>().await?;
    loop {
        let all = client.get("/containers/json").query("all", 1).json().await?;
        if sender.send(News::Containers(all)).await.is_err() {
            return Ok(());
        }
        // Health checks run all the time; they change nothing that is listed.
        loop {
            // "Up 3 minutes" becomes four without an event.
            let Ok(event) = tokio::time::timeout(REFRESH, events.next()).await else { break };
            let Some(event) = event? else { return Ok(()) };
            if !event["Action"].as_str().unwrap_or_default().starts_with("exec_") {
                break;
            }
        }
        tokio::time::sleep(FRAME * 2).await;
    }
}

/// What each running container uses, every few seconds.
async fn samples(client: Client, sender: Sender) {
    let mut before: HashMap<String, (u64, u64)> = HashMap::new();
    loop {
        let running: Vec<Container> =
            client.get("/containers/json").json().await.unwrap_or_default();
        let mut uses = HashMap::new();
        let mut now = HashMap::new();
        for container in running.iter().filter(|container| container.is_up()) {
            let path = format!("/containers/{}/stats?stream=0&one-shot=1", container.id);
            // It ended meanwhile.
            let Ok(sample) = client.get(path).json::<StatsResponse>().await else { continue };
            let own = sample.cpu_stats.cpu_usage.total_usage;
            let machine = sample.cpu_stats.system_cpu_usage;
            uses.insert(container.id.clone(), used(&sample, before.get(&container.id).copied()));
            now.insert(container.id.clone(), (own, machine));
        }
        before = now;
        if sender.send(News::Uses(uses)).await.is_err() {
            return;
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

fn used(sample: &StatsResponse, before: Option<(u64, u64)>) -> Use {
    let (own, machine) =
        (sample.cpu_stats.cpu_usage.total_usage, sample.cpu_stats.system_cpu_usage);
    let cpu = match before {
        Some((own_before, machine_before)) if machine > machine_before => {
            let share = own.saturating_sub(own_before) as f64 / (machine - machine_before) as f64;
            share * f64::from(sample.cpu_stats.online_cpus.max(1)) * 100.0
        }
        _ => 0.0,
    };
    let memory = &sample.memory_stats;
    // Page cache that nobody uses does not count, as in `stats`.
    let idle = ["total_inactive_file", "inactive_file"];
    let idle = idle.iter().find_map(|name| memory.stats.get(*name)).copied().unwrap_or(0);
    Use {
        cpu,
        memory: memory.usage.saturating_sub(idle),
        limit: memory.limit,
        processes: sample.pids_stats.current,
    }
}

async fn act(client: Client, sender: Sender, verb: Verb, id: String, name: String) {
    let call = match verb {
        Verb::Start => client.post(format!("/containers/{id}/start")),
        Verb::Stop => client.post(format!("/containers/{id}/stop")),
        Verb::Restart => client.post(format!("/containers/{id}/restart")),
        Verb::Pause => client.post(format!("/containers/{id}/pause")),
        Verb::Unpause => client.post(format!("/containers/{id}/unpause")),
        Verb::Remove => client.delete(format!("/containers/{id}")).query("force", 1),
        Verb::RemoveImage => client.delete(format!("/images/{}", path_segment(&id))),
        Verb::RemoveVolume => client.delete(format!("/volumes/{}", path_segment(&id))),
        Verb::RemoveNetwork => client.delete(format!("/networks/{}", path_segment(&id))),
    };
    let news = match call.done().await {
        Ok(()) => News::Done(format!("ferry {} {name}", verb.word())),
        Err(error) => News::Failed(words(&error)),
    };
    drop(sender.send(news).await);
}

/// Another list, again and again for as long as somebody looks.
async fn things(client: Client, sender: Sender, kind: Kind) {
    loop {
        let news = match client.get(kind.path()).json::<Value>().await {
            Ok(answer) => News::Things(kind, kind.read(&answer)),
            Err(error) => News::Failed(words(&error)),
        };
        if sender.send(news).await.is_err() {
            return;
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

/// Why a container ended. Docker's daemon knows the code only.
async fn why(client: Client, sender: Sender, id: String) {
    let found = client.get(format!("/containers/{id}/why")).json::<Vec<WhyFinding>>().await;
    let lines = match found {
        Ok(found) => found
            .iter()
            .flat_map(|one| [one.what.clone(), format!("hint: {}", one.hint)])
            .filter(|line| line != "hint: ")
            .map(|line| plain(&line))
            .collect(),
        Err(error) => vec![format!("this engine does not tell why: {}", words(&error))],
    };
    drop(sender.send(News::Why(lines)).await);
}

/// The log of a container, as long as somebody looks.
async fn follow(client: Client, sender: Sender, id: String) {
    if let Err(error) = stream(&client, &sender, &id).await {
        drop(sender.send(News::Failed(words(&error))).await);
    }
}

async fn stream(client: &Client, sender: &Sender, id: &str) -> Result<(), ClientError> {
    let detail: Value = client.get(format!("/containers/{id}/json")).json().await?;
    let tty = detail["Config"]["Tty"] == true;
    let call = client.get(format!("/containers/{id}/logs"));
    let call = call.query("stdout", 1).query("stderr", 1).query("follow", 1).query("tail", TAIL);
    let mut answer = call.send().await?;
    let mut demultiplexer = Demultiplexer::default();
    let mut begun = [Vec::new(), Vec::new()];
    while let Some(piece) = answer.chunk().await? {
        let mut lines = Vec::new();
        if tty {
            split(&piece, &mut begun[0], false, &mut lines);
        } else {
            let mut rest: &[u8] = &piece;
            while let Ok(Some((kind, part))) = demultiplexer.next(&mut rest) {
                let error = kind == StreamKind::Stderr;
                split(part, &mut begun[usize::from(error)], error, &mut lines);
            }
        }
        if !lines.is_empty() && sender.send(News::Lines(lines)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Whole lines; what is behind the last waits for its end.
fn split(bytes: &[u8], begun: &mut Vec<u8>, error: bool, lines: &mut Vec<Line>) {
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        let room = LINE.saturating_sub(begun.len());
        begun.extend_from_slice(&part[..part.len().min(room)]);
        if part.ends_with(b"\n") {
            lines.push(Line { error, text: plain(&String::from_utf8_lossy(begun)) });
            begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cut() {
        let (mut begun, mut lines) = (Vec::new(), Vec::new());
        split(b"one\ntw", &mut begun, false, &mut lines);
        split(b"o\r\n", &mut begun, true, &mut lines);
        split(&[b'x'; 9000], &mut begun, false, &mut lines);
        split(b"y\n", &mut begun, false, &mut lines);
        let texts: Vec<(&str, bool)> =
            lines.iter().map(|line| (line.text.as_str(), line.error)).collect();
        assert_eq!(texts[..2], [("one", false), ("two", true)]);
        assert_eq!((texts.len(), texts[2].0.len()), (3, LINE));
    }
}
