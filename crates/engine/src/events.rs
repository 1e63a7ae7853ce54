//! What happened: a short memory for `events --since`, and a channel for those who listen.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use ferry_model::{
    container::Container,
    event::{Event, Subject},
};
use ferry_stdx::time::Timestamp;
use tokio::sync::broadcast;

/// Events kept for `--since`; Docker keeps 256.
const MEMORY: usize = 256;

/// A listener that is this many events behind loses the oldest, and is told so by its channel.
const BACKLOG: usize = 4096;

/// How many events there were since the engine came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// All of them.
    pub all: u64,
    /// Those of containers by action.
    pub container_actions: BTreeMap<String, u64>,
}

/// The engine's events.
#[derive(Debug)]
pub struct EventBus {
    counts: Mutex<EventCounts>,
    recent: Mutex<VecDeque<Event>>,
    sender: broadcast::Sender<Event>,
    pods: broadcast::Sender<PodEvent>,
}

/// Something happened to a sandbox or a container of a pod. Docker's clients are not told.
#[derive(Debug, Clone)]
pub struct PodEvent {
    /// The record as it was then.
    pub container: Arc<Container>,
    /// Docker's word for it: `create`, `start`, `die`, `destroy`, …
    pub action: String,
    /// When.
    pub time: Timestamp,
}

impl EventBus {
    pub(crate) fn new() -> Self {
        EventBus {
            counts: Mutex::default(),
            recent: Mutex::default(),
            sender: broadcast::channel(BACKLOG).0,
            pods: broadcast::channel(BACKLOG).0,
        }
    }

    /// The remembered events not before `since` (none without it), and a receiver of everything after them.
    pub fn subscribe(&self, since: Option<Timestamp>) -> (Vec<Event>, broadcast::Receiver<Event>) {
        // Under the lock of `publish`, so that no event is in both or in neither.
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let past = match since {
            Some(since) => recent.iter().filter(|event| event.time >= since).cloned().collect(),
            None => Vec::new(),
        };
        (past, self.sender.subscribe())
    }

    pub(crate) fn subscribe_pods(&self) -> broadcast::Receiver<PodEvent> {
        self.pods.subscribe()
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// How many there were.
    pub fn counts(&self) -> EventCounts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, event: &Event) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all += 1;
        if event.subject == Subject::Container {
            // `exec_start: sh` is an `exec_start`: there are as many as Docker has words.
            let action = event.action.split(':').next().unwrap_or_default();
            *counts.container_actions.entry(action.to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn publish(&self, event: Event) {
        self.publish_of(event, || ());
    }

    /// Publishes the event of what `show` makes visible. Whoever is told of it finds it, and whoever found it and asks finds the
    /// event: `subscribe` waits until both are there.
    fn publish_of(&self, event: Event, show: impl FnOnce()) {
        self.count(&event);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        show();
        if recent.len() == MEMORY {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        // An error means that nobody listens.
        self.sender.send(event).ok();
    }

    /// A container's event with Docker's attributes: its labels, image and name, and `more`.
    pub(crate) fn container(
        &self,
        container: &Container,
        action: &str,
        more: &[(&str, String)],
        time: Timestamp,
    ) {
        self.container_of(container, action, more, time, || ());
    }

    /// As [`EventBus::container`], of what `show` makes visible: nobody knows of one without the other.
    pub(crate) fn container_of(
        &self,
        container: &Container,
        action: &str,
        more: &[(&str, String)],
        time: Timestamp,
        show: impl FnOnce(),
    ) {
        if container.spec.pod.is_some() {
            show();
            let container = Arc::new(container.clone());
            // An error means that nobody listens.
            self.pods.send(PodEvent { container, action: action.to_owned(), time }).ok();
            return;
        }
        let mut attributes = container.spec.labels.clone();
        attributes.insert("image".to_owned(), container.spec.image.clone());
        attributes.insert("name".to_owned(), container.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let event = Event {
            subject: Subject::Container,
            action: action.to_owned(),
            id: container.id.clone(),
            attributes,
            time,
        };
        self.publish_of(event, show);
    }

    /// A prune is over.
    pub(crate) fn pruned(&self, subject: Subject, reclaimed: u64, time: Timestamp) {
        self.plain(subject, "prune", "", &[("reclaimed", reclaimed.to_string())], time);
    }

    /// An event about something that has no labels of its own here.
    pub(crate) fn plain(
        &self,
        subject: Subject,
        action: &str,
        id: &str,
        attributes: &[(&str, String)],
        time: Timestamp,
    ) {
        let attributes: BTreeMap<_, _> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        self.publish(Event {
            subject,
            action: action.to_owned(),
            id: id.to_owned(),
            attributes,
            time,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_what_is_not_there() {
        let bus = EventBus::new();
        let (_, mut told) = bus.subscribe(None);
        let (action, id, attributes) = ("die".to_owned(), "c".to_owned(), BTreeMap::new());
        let time = Timestamp::from_nanos(1);
        let event = Event { subject: Subject::Container, action, id, attributes, time };
        bus.publish_of(event.clone(), || assert!(told.try_recv().is_err()));
        assert_eq!(told.try_recv(), Ok(event.clone()));
        assert_eq!(bus.subscribe(Some(time)).0, [event]);
    }
}
