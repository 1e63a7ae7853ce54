//! The tree, executed with values.

use serde_json::Value;

use crate::{
    Missing, Options, Template,
    error::ExecError,
    print,
    tree::{Command, Kind, Node, Operand, Pipe},
    value::{Found, truth},
};

/// Templates may call themselves.
const MAX_DEPTH: usize = 100;

/// Nodes executed in all; loops in loops end here.
const MAX_STEPS: u64 = 1_000_000;

/// Longest output, in bytes.
const MAX_OUTPUT: usize = 64 << 20;

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// What is looked at, as Go remembers it for its errors: where it says that this is, and its text from, to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    position: usize,
    from: usize,
    to: usize,
}

impl Place {
    pub(crate) fn of(operand: &Operand) -> Self {
        Place { position: operand.position, from: operand.offset, to: operand.end }
    }

    /// A function or value without the fields behind it.
    pub(crate) fn command(command: &Command) -> Self {
        Place { position: command.offset, from: command.offset, to: command.end }
    }
}

pub(crate) struct Exec<'a> {
    pub(crate) template: &'a Template,
    pub(crate) options: &'a Options<'a>,
    out: &'a mut String,
    variables: Vec<(String, Found)>,
    name: String,
    pub(crate) at: Place,
    depth: usize,
    steps: u64,
}

pub(crate) fn execute(
    template: &Template,
    data: &Value,
    options: &Options<'_>,
    out: &mut String,
) -> Result<(), ExecError> {
    let root = Found { value: Some(data.clone()), key: None, root: true };
    let mut exec = Exec {
        template,
        options,
        out,
        variables: vec![("$".to_owned(), root.clone())],
        name: template.name.to_owned(),
        at: Place::default(),
        depth: 0,
        steps: 0,
    };
    exec.nodes(&template.main, &root).map(drop)
}

impl Exec<'_> {
    /// An error at what was looked at last.
    pub(crate) fn wrong(&self, words: impl Into<String>) -> ExecError {
        let text = &self.template.text;
        let offset = self.at.position.min(text.len());
        let line_start = text.get(..offset).and_then(|before| before.rfind('\n'));
        let column = line_start.map_or(offset, |start| offset - start);
        ExecError {
            file: self.template.name,
            line: crate::lex::line_of(text, offset),
            column,
            name: self.name.clone(),
            at: text.get(self.at.from..self.at.to).unwrap_or_default().trim().to_owned(),
            words: words.into(),
        }
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Found) -> Result<Flow, ExecError> {
        let scope = self.variables.len();
        let mut flow = Flow::Next;
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
                return Err(self.wrong("the template does not come to an end"));
            }
            flow = self.node(node, dot)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Found) -> Result<Flow, ExecError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipe) => {
                let found = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.print(&found);
                }
            }
            Node::If { pipe, then, otherwise } | Node::With { pipe, then, otherwise } => {
                let scope = self.variables.len();
                let found = self.pipe(pipe, dot)?;
                let is_with = matches!(node, Node::With { .. });
                let flow = match truth(found.value.as_ref()) {
                    true if is_with => self.nodes(then, &found)?,
                    true => self.nodes(then, dot)?,
                    false => self.nodes(otherwise, dot)?,
                };
                self.variables.truncate(scope);
                return Ok(flow);
            }
            Node::Range { pipe, body, otherwise } => return self.range(pipe, body, otherwise, dot),
            Node::Template { name, pipe, offset, end } => {
                self.call_template(name, pipe.as_ref(), (*offset, *end), dot)?;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, found: &Found) {
        let key = found.key.as_deref().unwrap_or_default();
        match &found.value {
            None => self.out.push_str("<no value>"),
            Some(Value::Null) => {
                match self.options.shown.and_then(|shown| shown(key, &Value::Null)) {
                    Some(words) => self.out.push_str(&words),
                    None => self.out.push_str("<no value>"),
                }
            }
            Some(value) => {
                let printer =
                    print::Printer { structures: !self.is_plain(), shown: self.options.shown };
                printer.value(key, value, self.out);
            }
        }
    }

    /// JSON alone, without a Go structure around it: it has maps only.
    pub(crate) fn is_plain(&self) -> bool {
        self.options.is_plain()
    }

    fn call_template(
        &mut self,
        name: &str,
        pipe: Option<&Pipe>,
        (offset, position): (usize, usize),
        dot: &Found,
    ) -> Result<(), ExecError> {
        let template = self.template;
        let text = &template.text;
        let from = text.get(..offset).and_then(|before| before.rfind("{{")).unwrap_or(offset);
        let close = text.get(position..).and_then(|rest| rest.find("}}"));
        self.at = Place { position, from, to: close.map_or(position, |at| position + at + 2) };
        let Some(nodes) = template.named.get(name) else {
            return Err(self.wrong(format!("template {name:?} not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong("exceeded maximum template depth (100)"));
        }
        let dot = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Found::default(),
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let outer = std::mem::replace(&mut self.name, name.to_owned());
        self.depth += 1;
        self.nodes(nodes, &dot)?;
        self.depth -= 1;
        self.name = outer;
        self.variables = variables;
        Ok(())
    }

    fn range(
        &mut self,
        pipe: &Pipe,
        body: &[Node],
        otherwise: &[Node],
        dot: &Found,
    ) -> Result<Flow, ExecError> {
        let scope = self.variables.len();
        // The variables of a range are its index and element, not the pipeline's value.
        let (variables, declares) = (&pipe.variables, pipe.declares);
        let found = self.commands(pipe, dot)?;
        let items = found.items().map_err(|words| self.wrong(words))?;
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (index, item) in items {
            match variables.as_slice() {
                [] => {}
                [element] => self.set(element, item.clone(), declares)?,
                [key, element, ..] => {
                    self.set(key, Found::of(index), declares)?;
                    self.set(element, item.clone(), declares)?;
                }
            }
            let flow = self.nodes(body, &item)?;
            if declares {
                self.variables.truncate(scope);
            }
            if flow == Flow::Break {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, value: Found, declares: bool) -> Result<(), ExecError> {
        if declares {
            self.variables.push((name.to_owned(), value));
            return Ok(());
        }
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, known)) => {
                *known = value;
                Ok(())
            }
            None => Err(self.wrong(format!("undefined variable: {name}"))),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Found) -> Result<Found, ExecError> {
        let found = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(name, found.clone(), pipe.declares)?;
        }
        Ok(found)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Found) -> Result<Found, ExecError> {
        let mut last: Option<Found> = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &Command,
        last: Option<Found>,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Found::default());
        };
        self.at = Place::of(first);
        if let Kind::Function(name) = &first.kind {
            let found = self.function(name, command, last, dot)?;
            return self.fields(found, &first.fields);
        }
        if rest.is_empty() && last.is_none() {
            if first.kind == Kind::Nil {
                return Err(self.wrong("nil is not a command"));
            }
            return self.operand(first, dot);
        }
        match (&first.kind, first.fields.split_last()) {
            (Kind::Dot | Kind::Variable(_) | Kind::Paren(_), Some((method, before))) => {
                self.method_call(first, (method, before), rest, last, dot)
            }
            _ => {
                let text = self.template.text.get(first.offset..first.end).unwrap_or_default();
                Err(self.wrong(format!("can't give argument to non-function {}", text.trim())))
            }
        }
    }

    pub(crate) fn operand(&mut self, operand: &Operand, dot: &Found) -> Result<Found, ExecError> {
        let found = match &operand.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil => Found::default(),
            Kind::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                match known {
                    Some((_, found)) => found.clone(),
                    None => return Err(self.wrong(format!("undefined variable: {name}"))),
                }
            }
            Kind::Bool(value) => Found::of(Value::Bool(*value)),
            Kind::Int(number) => Found::of(Value::from(*number)),
            Kind::Float(number) => Found::of(Value::from(*number)),
            Kind::String(text) => Found::of(Value::String(text.clone())),
            Kind::Paren(pipe) => self.pipe(pipe, dot)?,
            Kind::Function(name) => {
                let bare = Operand { fields: Vec::new(), ..operand.clone() };
                let (offset, end) = (operand.offset, operand.end);
                let command = Command { operands: vec![bare], offset, end };
                self.function(name, &command, None, dot)?
            }
        };
        self.fields(found, &operand.fields)
    }

    fn fields(&mut self, mut found: Found, fields: &[String]) -> Result<Found, ExecError> {
        for name in fields {
            found = self.field(found, name)?;
        }
        Ok(found)
    }

    pub(crate) fn field(&mut self, found: Found, name: &str) -> Result<Found, ExecError> {
        if found.root
            && let Some(answer) = self.options.method.and_then(|method| method(name, &[]))
        {
            return answer.map(Found::of).map_err(|words| self.wrong(words));
        }
        let options = self.options;
        let strict = match (options.missing, found.root) {
            (Missing::Strict(kind), true) => Some(kind),
            _ => None,
        };
        match found.value {
            Some(Value::Object(mut members)) => {
                let key = found.key.as_deref().unwrap_or_default();
                // What is left of the object is thrown away: its order does not matter.
                let value = members
                    .swap_remove(options.json_name(name))
                    .map(Some)
                    .or_else(|| options.absent.and_then(|absent| absent(&members, key, name)));
                if let Some(value) = value {
                    return Ok(Found { value, key: Some(name.to_owned()), root: false });
                }
                match strict.or_else(|| options.types.and_then(|types| types(key))) {
                    Some(kind) => {
                        Err(self.wrong(format!("can't evaluate field {name} in type {kind}")))
                    }
                    None if options.missing == Missing::Error => {
                        Err(self.wrong(format!("map has no entry for key {name:?}")))
                    }
                    None => Ok(Found::default()),
                }
            }
            Some(Value::Null) if self.is_plain() => {
                Err(self.wrong(format!("nil data; no entry for key {name:?}")))
            }
            Some(Value::Null) => {
                Err(self.wrong(format!("nil pointer evaluating interface {{}}.{name}")))
            }
            None if self.is_plain() => {
                Err(self.wrong(format!("nil data; no entry for key {name:?}")))
            }
            None => Ok(Found::default()),
            Some(Value::String(_)) if matches!(options.missing, Missing::Strict(_)) => {
                Err(self.wrong(format!("can't evaluate field {name} in type string")))
            }
            Some(_) => {
                Err(self.wrong(format!("can't evaluate field {name} in type interface {{}}")))
            }
        }
    }
}
