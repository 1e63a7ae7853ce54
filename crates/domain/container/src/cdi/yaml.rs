//! YAML as JSON, within limits. JSON is YAML, so this reads both.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

/// Most nodes of a file.
const MAX_NODES: usize = 200_000;
/// How deep lists and mappings nest.
const MAX_DEPTH: usize = 32;

/// Reads the first document.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), nodes: 0 };
    loop {
        match reader.next()? {
            Event::StreamEnd => return Ok(Value::Null),
            Event::DocumentStart(_) => {
                let event = reader.next()?;
                return reader.node(event, 0);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > MAX_NODES || depth > MAX_DEPTH {
            return Err("too many nodes".to_owned());
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(match style {
                ScalarStyle::Plain => plain(&text),
                _ => Value::String(text.into_owned()),
            }),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Value::Array(items)),
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.mapping(depth),
            Event::Alias(_) => Err("aliases are not supported".to_owned()),
            _ => Err("it ends too early".to_owned()),
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err("a key must be a string".to_owned()),
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            // A key without a value says nothing.
            if !value.is_null() && map.insert(key.clone(), value).is_some() {
                return Err(format!("key {key:?} twice"));
            }
        }
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// Decimal, and octal as modes are written. What has a dot is a version here, not a fraction.
fn number(text: &str) -> Option<Number> {
    let octal =
        text.strip_prefix("0o").or_else(|| text.strip_prefix('0').filter(|rest| !rest.is_empty()));
    match octal {
        Some(digits) => u32::from_str_radix(digits, 8).ok().map(Number::from),
        None => text.parse::<i64>().ok().map(Number::from),
    }
}
