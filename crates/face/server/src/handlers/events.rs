//! `/events`.

use std::time::Duration;

use bytes::Bytes;
use ferry_docker_api::Filters;
use ferry_engine::ops::system as ops;
use ferry_errkind::Failure;
use ferry_model::event::Event;
use ferry_stdx::time::Timestamp;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc,
};

use super::{logs, now};
use crate::{
    body::Body,
    convert::event,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// Events on their way to a slow client.
const BACKLOG: usize = 64;

pub(crate) async fn stream(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let (since, until) = (logs::time(query, "since")?, logs::time(query, "until")?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.get("since"),
            query.get("until")
        )));
    }
    let filters = query.filters(&event::FILTERS)?;
    // Whoever asks for the past up to some time wants it from the beginning, as `since=0` does.
    let from_start = query.get("since") == "0" || (since.is_none() && until.is_some());
    let since = since.or(from_start.then_some(Timestamp::from_nanos(0)));
    let (past, future) = ops::events(&request.engine, since);
    let (sender, pieces) = mpsc::channel(BACKLOG);
    tokio::spawn(send_events(past, future, until, filters, sender));
    Ok(reply::json_stream(Body::Pieces(pieces)))
}

async fn send_events(
    past: Vec<Event>,
    mut future: broadcast::Receiver<Event>,
    until: Option<Timestamp>,
    filters: Filters,
    sender: mpsc::Sender<Bytes>,
) {
    let wanted = |event: &Event| {
        until.is_none_or(|until| event.time <= until) && event::passes(event, &filters)
    };
    for event in past.iter().filter(|event| wanted(event)) {
        if sender.send(line(event)).await.is_err() {
            return;
        }
    }
    let end = async {
        match until {
            Some(until) => tokio::time::sleep(until.since(now()).max(Duration::ZERO)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        // In this order: what happened before `until` is told, however late we come to it.
        let event = tokio::select! {
            biased;
            () = sender.closed() => return,
            event = future.recv() => event,
            () = &mut end => return,
        };
        match event {
            Ok(event) if wanted(&event) => {
                if sender.send(line(&event)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            // The client is too slow; it goes on with what is left, as dockerd's do.
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a client misses events"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn line(event: &Event) -> Bytes {
    // Texts and numbers always have a JSON form.
    let mut text = serde_json::to_vec(&event::message(event)).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferry_model::event::Subject;

    use super::*;

    #[tokio::test]
    async fn what_came_before_the_end_is_told() {
        let (bus, future) = broadcast::channel(100);
        for second in 1..=50 {
            let (action, id, attributes) = ("start".to_owned(), "c".to_owned(), BTreeMap::new());
            let time = Timestamp::from_nanos(second);
            bus.send(Event { subject: Subject::Container, action, id, attributes, time })
                .expect("there is a receiver");
        }
        let (sender, mut pieces) = mpsc::channel(BACKLOG);
        let until = Some(Timestamp::from_nanos(40));
        send_events(Vec::new(), future, until, Filters::default(), sender).await;
        let mut told = 0;
        while pieces.recv().await.is_some() {
            told += 1;
        }
        assert_eq!(told, 40);
    }
}
