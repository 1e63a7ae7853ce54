//! What happens to pods, as it happens (evented PLEG).

use std::pin::Pin;

use ferry_engine::{PodEvent, ops::pod};
use futures_util::Stream;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::Status;

use super::{Runtime, container};
use crate::{
    api,
    convert::status,
    record::{Member, Sandbox},
};

/// Messages on their way to a slow client.
const BACKLOG: usize = 256;

/// A stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream of what a channel brings.
pub(super) fn stream_of<T: Send + 'static>(
    channel: mpsc::Receiver<Result<T, Status>>,
) -> Answers<T> {
    Box::pin(futures_util::stream::unfold(channel, |mut channel| async move {
        channel.recv().await.map(|item| (item, channel))
    }))
}

/// A stream of what is there already, in messages of at most so many.
pub(crate) fn stream_in_parts<T, M>(
    all: Vec<T>,
    most: usize,
    message: fn(Vec<T>) -> M,
) -> Answers<M>
where
    T: Send + 'static,
    M: Send + 'static,
{
    let parts = futures_util::stream::unfold(all.into_iter(), move |mut rest| async move {
        let part: Vec<T> = rest.by_ref().take(most).collect();
        (!part.is_empty()).then(|| (Ok(message(part)), rest))
    });
    Box::pin(parts)
}

pub(super) fn stream(runtime: &Runtime) -> Answers<api::ContainerEventResponse> {
    let mut events = pod::events(&runtime.engine);
    let engine = runtime.engine.clone();
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = sender.closed() => return,
            };
            let answer = match event {
                Ok(event) => message(&engine, &event).await.map(Ok),
                Err(RecvError::Lagged(count)) => {
                    let words = format!("{count} events were lost: list and subscribe again");
                    Some(Err(Status::data_loss(words)))
                }
                Err(RecvError::Closed) => return,
            };
            if let Some(answer) = answer
                && sender.send(answer).await.is_err()
            {
                return;
            }
        }
    });
    stream_of(receiver)
}

async fn message(
    engine: &ferry_engine::Engine,
    event: &PodEvent,
) -> Option<api::ContainerEventResponse> {
    let kind = match event.action.as_str() {
        "create" => api::ContainerEventType::ContainerCreatedEvent,
        "start" => api::ContainerEventType::ContainerStartedEvent,
        "die" => api::ContainerEventType::ContainerStoppedEvent,
        "destroy" => api::ContainerEventType::ContainerDeletedEvent,
        _ => return None,
    };
    let it = &event.container;
    let sandbox = Member::of(it).map_or(it.id.as_str(), |member| member.sandbox);
    let pod = pod::find(engine, sandbox).ok();
    Some(api::ContainerEventResponse {
        container_id: it.id.clone(),
        container_event_type: kind.into(),
        created_at: event.time.nanos(),
        pod_sandbox_status: pod
            .as_deref()
            .and_then(Sandbox::of)
            .map(|sandbox| status::sandbox_status(&sandbox)),
        containers_statuses: container::statuses(engine, sandbox).await,
    })
}
