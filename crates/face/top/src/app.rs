//! What is shown, and what keys do. No I/O: every key ends in a [`Wish`], which `feed.rs` grants.

use std::collections::{HashMap, VecDeque};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

pub(crate) use things::{Kind, Thing};

mod things;

/// Lines of a log that are kept.
const LINES: usize = 50_000;
/// Samples of what a container uses that are kept.
const SAMPLES: usize = 300;

/// A container, as the list shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    names: Vec<String>,
    pub(crate) image: String,
    pub(crate) state: String,
    pub(crate) status: String,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default, rename = "ImageID")]
    image_id: String,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    private_port: u16,
    #[serde(default)]
    public_port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    /// Of a volume; others have none.
    #[serde(default)]
    name: String,
}

impl Container {
    /// Its name; aliases of links have more than one slash.
    pub(crate) fn name(&self) -> &str {
        let own = self.names.iter().find(|name| name.matches('/').count() == 1);
        own.or(self.names.first()).map_or(self.id.as_str(), |name| name.trim_start_matches('/'))
    }

    /// Whether it has processes.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting")
    }

    /// Published ports, each once.
    pub(crate) fn ports(&self) -> String {
        let mut all: Vec<String> = self
            .ports
            .iter()
            .filter(|port| port.public_port > 0)
            .map(|port| format!("{}→{}", port.public_port, port.private_port))
            .collect();
        all.sort();
        all.dedup();
        all.join(" ")
    }
}

/// What a container used at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Use {
    pub(crate) cpu: f64,
    pub(crate) memory: u64,
    pub(crate) limit: u64,
    pub(crate) processes: u64,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) error: bool,
    pub(crate) text: String,
}

/// What fills the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    List,
    Log,
    Usage,
    Help,
    Why,
    Things(Kind),
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Pause,
    Unpause,
    Remove,
    RemoveImage,
    RemoveVolume,
    RemoveNetwork,
}

impl Verb {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Stop => "stop",
            Verb::Restart => "restart",
            Verb::Pause => "pause",
            Verb::Unpause => "unpause",
            Verb::Remove => "rm -f",
            Verb::RemoveImage => "rmi",
            Verb::RemoveVolume => "volume rm",
            Verb::RemoveNetwork => "network rm",
        }
    }
}

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    Quit,
    /// Id and name.
    Do(Verb, String, String),
    /// The log of this container, from now on.
    Log(String),
    CloseLog,
    /// Another list, from now on.
    Things(Kind),
    CloseThings,
    Shell(String),
    /// Why this container ended, or what is wrong with it.
    Why(String),
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) endpoint: String,
    pub(crate) view: View,
    all: Vec<Container>,
    /// The chosen container; it stays chosen when the list changes.
    chosen: String,
    pub(crate) filter: String,
    pub(crate) typing: bool,
    pub(crate) uses: HashMap<String, VecDeque<Use>>,
    pub(crate) log: VecDeque<Line>,
    /// Lines between the end of the log and the end of what is seen; 0 follows.
    pub(crate) back: usize,
    /// What the daemon says of why; nothing until it has answered.
    pub(crate) why: Vec<String>,
    things: Vec<Thing>,
    /// The place of the chosen one among those that are shown.
    pub(crate) thing: usize,
    /// What was done or went wrong.
    pub(crate) message: Option<(String, bool)>,
    /// Waits for a yes.
    pub(crate) asked: Option<(Verb, String, String)>,
}

impl App {
    pub(crate) fn new(endpoint: String) -> Self {
        App {
            endpoint,
            view: View::List,
            all: Vec::new(),
            chosen: String::new(),
            filter: String::new(),
            typing: false,
            uses: HashMap::new(),
            log: VecDeque::new(),
            back: 0,
            why: Vec::new(),
            things: Vec::new(),
            thing: 0,
            message: None,
            asked: None,
        }
    }

    /// The containers that the filter lets through.
    pub(crate) fn shown(&self) -> Vec<&Container> {
        let wanted = self.filter.to_lowercase();
        let fits = |container: &&Container| {
            let words = format!("{} {} {}", container.name(), container.image, container.status);
            self.view != View::List || words.to_lowercase().contains(&wanted)
        };
        self.all.iter().filter(fits).collect()
    }

    /// The lines of the log that the filter lets through.
    pub(crate) fn lines(&self) -> Vec<&Line> {
        let wanted = self.filter.to_lowercase();
        self.log.iter().filter(|line| line.text.to_lowercase().contains(&wanted)).collect()
    }

    /// How many run, of how many.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.all.iter().filter(|container| container.state == "running").count(), self.all.len())
    }

    /// The place of the chosen one among those that are shown.
    pub(crate) fn place(&self) -> usize {
        self.shown().iter().position(|container| container.id == self.chosen).unwrap_or(0)
    }

    /// The chosen container.
    pub(crate) fn current(&self) -> Option<Container> {
        self.shown().get(self.place()).map(|container| (*container).clone())
    }

    /// The last of what all containers use together.
    pub(crate) fn total(&self) -> Use {
        self.uses.values().filter_map(VecDeque::back).fold(Use::default(), |sum, one| Use {
            cpu: sum.cpu + one.cpu,
            memory: sum.memory + one.memory,
            limit: 0,
            processes: sum.processes + one.processes,
        })
    }

    pub(crate) fn set_containers(&mut self, mut all: Vec<Container>) {
        all.sort_by(|a, b| (!a.is_up(), a.name()).cmp(&(!b.is_up(), b.name())));
        self.all = all;
        if !self.all.iter().any(|container| container.id == self.chosen) {
            self.chosen =
                self.all.first().map(|container| container.id.clone()).unwrap_or_default();
        }
    }

    pub(crate) fn set_uses(&mut self, uses: HashMap<String, Use>) {
        self.uses.retain(|id, _| uses.contains_key(id));
        for (id, one) in uses {
            let samples = self.uses.entry(id).or_default();
            if samples.len() >= SAMPLES {
                samples.pop_front();
            }
            samples.push_back(one);
        }
    }

    pub(crate) fn add_lines(&mut self, lines: Vec<Line>) {
        let count = lines.len();
        self.log.extend(lines);
        if self.back > 0 {
            // What is looked at stays where it is.
            self.back += count;
        }
        while self.log.len() > LINES {
            self.log.pop_front();
        }
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.message = Some((text.to_owned(), true));
    }

    pub(crate) fn fail(&mut self, text: &str) {
        self.message = Some((text.to_owned(), false));
    }

    /// A key; `page` is how many lines are seen at once.
    pub(crate) fn key(&mut self, key: KeyEvent, page: usize) -> Wish {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Wish::Quit;
        }
        if let Some((verb, id, name)) = self.asked.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Wish::Do(verb, id, name),
                _ => Wish::Nothing,
            };
        }
        if self.typing {
            self.type_filter(key.code);
            return Wish::Nothing;
        }
        self.message = None;
        match self.view {
            View::List => self.list_key(key.code, page),
            View::Log => self.log_key(key.code, page),
            View::Usage | View::Help | View::Why => self.other_key(key.code),
            View::Things(kind) => self.thing_key(kind, key.code, page),
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }

    fn list_key(&mut self, code: KeyCode, page: usize) -> Wish {
        let last = self.shown().len().saturating_sub(1);
        let place = self.place();
        match code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Tab => return self.next_list(),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Up | KeyCode::Char('k') => self.choose(place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose((place + 1).min(last)),
            KeyCode::PageUp => self.choose(place.saturating_sub(page)),
            KeyCode::PageDown => self.choose((place + page).min(last)),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(last),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('?' | 'h') => self.go(View::Help),
            _ => return self.container_key(code),
        }
        Wish::Nothing
    }

    fn container_key(&mut self, code: KeyCode) -> Wish {
        let Some(container) = self.current() else { return Wish::Nothing };
        let (id, name) = (container.id.clone(), container.name().to_owned());
        match code {
            KeyCode::Enter | KeyCode::Char('l') => {
                self.go(View::Log);
                self.log.clear();
                self.back = 0;
                Wish::Log(id)
            }
            KeyCode::Char('u') => {
                self.go(View::Usage);
                Wish::Nothing
            }
            KeyCode::Char('w') => {
                self.go(View::Why);
                self.why.clear();
                Wish::Why(id)
            }
            KeyCode::Char('e') if container.state == "running" => Wish::Shell(name),
            KeyCode::Char('e') => {
                self.fail(&format!("{name} is not running"));
                Wish::Nothing
            }
            KeyCode::Char('s') if container.is_up() => Wish::Do(Verb::Stop, id, name),
            KeyCode::Char('s') => Wish::Do(Verb::Start, id, name),
            KeyCode::Char('r') => Wish::Do(Verb::Restart, id, name),
            KeyCode::Char('p') if container.state == "paused" => Wish::Do(Verb::Unpause, id, name),
            KeyCode::Char('p') => Wish::Do(Verb::Pause, id, name),
            KeyCode::Char('d') | KeyCode::Delete => {
                self.asked = Some((Verb::Remove, id, name));
                Wish::Nothing
            }
            _ => Wish::Nothing,
        }
    }

    fn log_key(&mut self, code: KeyCode, page: usize) -> Wish {
        let most = self.lines().len().saturating_sub(page);
        match code {
            KeyCode::Esc | KeyCode::Char('q') => {
                self.go(View::List);
                return Wish::CloseLog;
            }
            KeyCode::Up | KeyCode::Char('k') => self.back = (self.back + 1).min(most),
            KeyCode::Down | KeyCode::Char('j') => self.back = self.back.saturating_sub(1),
            KeyCode::PageUp => self.back = (self.back + page).min(most),
            KeyCode::PageDown => self.back = self.back.saturating_sub(page),
            KeyCode::Home | KeyCode::Char('g') => self.back = most,
            KeyCode::End | KeyCode::Char('G' | 'f') => self.back = 0,
            KeyCode::Char('/') => self.typing = true,
            _ => {}
        }
        Wish::Nothing
    }

    fn other_key(&mut self, code: KeyCode) -> Wish {
        if matches!(
            code,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'u' | 'w' | '?' | 'h')
        ) {
            self.go(View::List);
        }
        Wish::Nothing
    }

    fn go(&mut self, view: View) {
        // The chosen one is found without the filter, which is another one there.
        if let Some(current) = self.current() {
            self.chosen = current.id;
        }
        self.view = view;
        self.filter.clear();
    }

    fn choose(&mut self, place: usize) {
        if let Some(id) = self.shown().get(place).map(|container| container.id.clone()) {
            self.chosen = id;
        }
    }
}

#[cfg(test)]
mod tests;
