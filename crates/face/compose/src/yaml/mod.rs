//! YAML as a tree with places, within limits.
//!
//! Aliases are expanded here, by our own count: a file of a few lines can name more nodes than a machine has memory for.

mod scalar;
mod write;

use std::collections::HashMap;

use ferry_errkind::{ErrorKind, Kinded};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::Value;

pub(crate) use write::to_yaml;

/// The longest file that is read.
pub(crate) const MAX_BYTES: u64 = 8 << 20;
/// Nodes of a file with its aliases expanded.
const MAX_NODES: usize = 200_000;
/// How deep lists and mappings nest.
const MAX_DEPTH: usize = 64;

/// Where something stands in its file, both counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Yaml,
    pub(crate) at: Place,
    pub(crate) order: Order,
}

/// What a tag says about merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// As the rules have it.
    #[default]
    Merge,
    /// `!reset`: what earlier files say is gone, and so is this.
    Reset,
    /// `!override`: what earlier files say is gone.
    Override,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Yaml {
    /// A scalar that is no text, or null.
    Plain(Value),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the file's order; keys occur once.
    Map(Vec<(String, Place, Node)>),
}

/// A file is no YAML that is understood here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum YamlError {
    /// The scanner's or the parser's complaint.
    #[error("yaml: line {}: {words}", .at.line)]
    Syntax { at: Place, words: String },
    /// A key twice.
    #[error("yaml: line {}: mapping key {key:?} already defined at line {first}", .at.line)]
    Twice { at: Place, key: String, first: usize },
    /// A key that is no scalar.
    #[error("yaml: line {}: a key must be a string", .at.line)]
    Key { at: Place },
    /// `<<` with something that is no mapping.
    #[error("yaml: line {}: map merge requires map or sequence of maps as the value", .at.line)]
    MergeValue { at: Place },
    /// Too much.
    #[error("yaml: line {}: {what}", .at.line)]
    Limit { at: Place, what: &'static str },
}

impl YamlError {
    /// Where.
    pub(crate) fn at(&self) -> Place {
        match self {
            YamlError::Syntax { at, .. }
            | YamlError::Twice { at, .. }
            | YamlError::Key { at }
            | YamlError::MergeValue { at }
            | YamlError::Limit { at, .. } => *at,
        }
    }
}

impl Kinded for YamlError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Node {
    /// What it is when a mapping.
    pub(crate) fn map(&self) -> Option<&[(String, Place, Node)]> {
        match &self.value {
            Yaml::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value at a key of a mapping.
    #[cfg(test)]
    fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(known, _, _)| known == key).map(|(_, _, node)| node)
    }

    /// As JSON; places are gone.
    pub(crate) fn to_value(&self) -> Value {
        match &self.value {
            Yaml::Plain(value) => value.clone(),
            Yaml::Text(text) => Value::String(text.clone()),
            Yaml::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Yaml::Map(entries) => Value::Object(
                entries.iter().map(|(key, _, node)| (key.clone(), node.to_value())).collect(),
            ),
        }
    }
}

/// Reads every document of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, _) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(_) => {
                let (event, span) = reader.next()?;
                documents.push(reader.node(event, span, 0)?);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

fn order_of(tag: Option<&Tag>) -> Order {
    match tag.map(|tag| (tag.handle.as_str(), tag.suffix.as_str())) {
        Some(("!", "reset")) => Order::Reset,
        Some(("!", "override")) => Order::Override,
        _ => Order::Merge,
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                Err(YamlError::Syntax { at: place(error.marker()), words: error.info().to_owned() })
            }
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 0, 0)))),
        }
    }

    /// Counts nodes, so that aliases of aliases end.
    fn count(&mut self, nodes: usize, at: Place) -> Result<(), YamlError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(YamlError::Limit {
                at,
                what: "document contains excessive aliasing or too many values",
            });
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let at = place(&span.start);
        if depth > MAX_DEPTH {
            return Err(YamlError::Limit { at, what: "exceeded max depth" });
        }
        self.count(1, at)?;
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    let words = "an anchor contains itself".to_owned();
                    return Err(YamlError::Syntax { at, words });
                };
                self.count(size, at)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref();
                let value = scalar::resolve(&text, plain, tag);
                (anchor, Node { value, at, order: order_of(tag) })
            }
            Event::SequenceStart(anchor, tag) => {
                let order = order_of(tag.as_deref());
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                (anchor, Node { value: Yaml::List(items), at, order })
            }
            Event::MappingStart(anchor, tag) => {
                let order = order_of(tag.as_deref());
                let entries = self.mapping(depth)?;
                (anchor, Node { value: Yaml::Map(entries), at, order })
            }
            _ => (0, Node { value: Yaml::Plain(Value::Null), at, order: Order::Merge }),
        };
        if anchor > 0 {
            // The copy counts, too: anchors inside anchors would keep many.
            let size = self.nodes - before + 1;
            self.count(size, at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(String, Place, Node)>, YamlError> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            let name = match key.value {
                Yaml::Text(text) => text,
                Yaml::Plain(Value::Null) => "null".to_owned(),
                Yaml::Plain(value) => value.to_string(),
                Yaml::List(_) | Yaml::Map(_) => return Err(YamlError::Key { at: key.at }),
            };
            if name == "<<" {
                merged.push(node);
                continue;
            }
            if let Some(first) = known.insert(name.clone(), key.at.line) {
                return Err(YamlError::Twice { at: key.at, key: name, first });
            }
            entries.push((name, key.at, node));
        }
        for node in merged {
            merge_into(&mut entries, &mut known, node)?;
        }
        Ok(entries)
    }
}

/// `<<`: keys that are not there yet come from the mapping, or from the first of the mappings that has them.
fn merge_into(
    entries: &mut Vec<(String, Place, Node)>,
    known: &mut HashMap<String, usize>,
    node: Node,
) -> Result<(), YamlError> {
    let at = node.at;
    match node.value {
        Yaml::Map(others) => {
            for (key, place, value) in others {
                if !known.contains_key(&key) {
                    known.insert(key.clone(), place.line);
                    entries.push((key, place, value));
                }
            }
            Ok(())
        }
        Yaml::List(items) if items.iter().all(|item| item.map().is_some()) => {
            items.into_iter().try_for_each(|item| merge_into(entries, known, item))
        }
        _ => Err(YamlError::MergeValue { at }),
    }
}

#[cfg(test)]
mod tests;
