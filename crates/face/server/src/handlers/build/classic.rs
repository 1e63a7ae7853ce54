//! What a build tells, in the words of Docker's classic builder: step after step, though several are at work at the same time.

use std::collections::BTreeMap;

use ferry_docker_api::JsonMessage;
use ferry_engine::ops::build::{BuildProgress, Vertex, VertexKind};
use ferry_oci::{Digest, Reference};

use crate::convert::progress;

/// Turns events into messages. Steps are shown by their number; what a later one says waits.
#[derive(Debug, Default)]
pub(super) struct Classic {
    quiet: bool,
    tags: Vec<String>,
    steps: BTreeMap<usize, Shown>,
    numbers: BTreeMap<Digest, usize>,
    /// The step that is shown now.
    now: usize,
}

#[derive(Debug)]
struct Shown {
    vertex: Vertex,
    announced: bool,
    running: bool,
    /// Output that waits.
    output: Vec<u8>,
}

impl Classic {
    pub(super) fn new(quiet: bool, tags: Vec<String>) -> Classic {
        Classic { quiet, tags, now: 1, ..Classic::default() }
    }

    /// The messages that come of an event.
    pub(super) fn messages(&mut self, event: BuildProgress) -> Vec<JsonMessage> {
        let text = match event {
            BuildProgress::Vertex(vertex) => {
                let Some(step) = &vertex.step else { return Vec::new() };
                let number = step.number;
                self.numbers.insert(vertex.digest.clone(), number);
                match self.steps.get_mut(&number) {
                    Some(shown) => shown.vertex = vertex,
                    None => {
                        let fresh =
                            Shown { vertex, announced: false, running: false, output: Vec::new() };
                        self.steps.insert(number, fresh);
                    }
                }
                self.advance()
            }
            BuildProgress::Log(log) => {
                let number = self.numbers.get(&log.vertex).copied().unwrap_or_default();
                if let Some(shown) = self.steps.get_mut(&number) {
                    shown.output.extend_from_slice(&log.bytes);
                }
                self.advance()
            }
            BuildProgress::Status(_) if self.quiet => String::new(),
            BuildProgress::Status(status) => return vec![progress::pull_message(status.progress)],
            BuildProgress::Warning(warning) => format!("[Warning] {}\n", warning.short),
            BuildProgress::Image(id) => return self.done(&id),
        };
        self.said(text)
    }

    /// What a step that failed had said before others it waited for were done.
    pub(super) fn rest(&mut self) -> Vec<JsonMessage> {
        let failed = |shown: &&mut Shown| shown.vertex.error.is_some();
        let text = self.steps.values_mut().find(failed).map(|shown| {
            let mut text = String::new();
            shown.show(&mut text);
            text
        });
        self.said(text.unwrap_or_default())
    }

    fn said(&self, text: String) -> Vec<JsonMessage> {
        if text.is_empty() || self.quiet {
            return Vec::new();
        }
        vec![JsonMessage { stream: text, ..JsonMessage::default() }]
    }

    fn done(&self, id: &str) -> Vec<JsonMessage> {
        let aux = Some(serde_json::json!({ "ID": id }));
        let mut messages = vec![JsonMessage { aux, ..JsonMessage::default() }];
        let mut stream = |stream: String| {
            messages.push(JsonMessage { stream, ..JsonMessage::default() });
        };
        if self.quiet {
            stream(format!("{id}\n"));
            return messages;
        }
        let short = id.trim_start_matches("sha256:").get(..12).unwrap_or(id);
        stream(format!("Successfully built {short}\n"));
        let mut told = Vec::new();
        for tag in &self.tags {
            let Ok(name) = Reference::parse(tag) else { continue };
            let name = name.with_default_tag().familiar();
            if !told.contains(&name) {
                stream(format!("Successfully tagged {name}\n"));
                told.push(name);
            }
        }
        messages
    }

    /// What can be shown by now.
    fn advance(&mut self) -> String {
        let mut text = String::new();
        while let Some(shown) = self.steps.get_mut(&self.now) {
            if shown.vertex.started.is_none() {
                break;
            }
            shown.show(&mut text);
            if shown.vertex.completed.is_none() || shown.vertex.error.is_some() {
                break;
            }
            shown.end(&mut text);
            self.now += 1;
        }
        text
    }
}

impl Shown {
    fn show(&mut self, text: &mut String) {
        let Some(step) = self.vertex.step.as_ref().filter(|_| !self.announced) else {
            return self.show_output(text);
        };
        self.announced = true;
        text.push_str(&format!("Step {}/{} : {}\n", step.number, step.of, step.text));
        self.show_output(text);
    }

    fn show_output(&mut self, text: &mut String) {
        if let Some(id) = self.vertex.container.as_ref().filter(|_| !self.running) {
            self.running = true;
            text.push_str(&format!(" ---> Running in {}\n", short(id)));
        }
        let output = std::mem::take(&mut self.output);
        text.push_str(&String::from_utf8_lossy(&output));
    }

    fn end(&self, text: &mut String) {
        let vertex = &self.vertex;
        if vertex.cached && vertex.kind != VertexKind::Base {
            text.push_str(" ---> Using cache\n");
        }
        if let Some(id) = &vertex.container {
            text.push_str(&format!(" ---> Removed intermediate container {}\n", short(id)));
        }
        let result = vertex.result.as_ref().map(Digest::hex).unwrap_or_default();
        text.push_str(&format!(" ---> {}\n", short(&result)));
        match vertex.step.as_ref().map_or(0, |step| step.triggers) {
            0 => {}
            1 => text.push_str("# Executing 1 build trigger\n"),
            many => text.push_str(&format!("# Executing {many} build triggers\n")),
        }
    }
}

/// The first twelve characters of an id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
