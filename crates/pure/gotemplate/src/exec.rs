//! The tree, executed with values.

use serde_json::Value;

use crate::{
    Missing, Options, Template,
    error::ExecError,
    funcs,
    parse::{Command, Kind, Node, Operand, Pipe},
    print,
};

/// Templates may call themselves.
const MAX_DEPTH: usize = 100;

/// Nodes executed in all; loops in loops end here.
const MAX_STEPS: u64 = 1_000_000;

/// Longest output, in bytes.
const MAX_OUTPUT: usize = 64 << 20;

/// A value, or the lack of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) value: Option<Value>,
    /// The key that it was found below, for the way a null prints.
    pub(crate) key: Option<String>,
    /// It is the root itself, which has methods and may be strict.
    pub(crate) root: bool,
}

impl Found {
    pub(crate) fn of(value: Value) -> Self {
        Found { value: Some(value), key: None, root: false }
    }
}

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Where in the text something is wrong: from, to.
type Span = (usize, usize);

struct Exec<'a> {
    template: &'a Template,
    options: &'a Options<'a>,
    out: &'a mut String,
    variables: Vec<(String, Found)>,
    name: String,
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
        depth: 0,
        steps: 0,
    };
    exec.nodes(&template.main, &root).map(drop)
}

impl Exec<'_> {
    fn wrong(&self, span: Span, words: impl Into<String>) -> ExecError {
        let text = &self.template.text;
        let offset = span.0.min(text.len());
        let line_start = text[..offset].rfind('\n').map(|at| at + 1);
        let column = match line_start {
            Some(start) => offset - start + 1,
            None => offset,
        };
        // Go shortens what it quotes to twenty characters.
        let at = text.get(offset..span.1.max(offset)).unwrap_or_default().trim_end();
        let at = match at.char_indices().nth(20) {
            Some((end, _)) => format!("{}...", &at[..end]),
            None => at.to_owned(),
        };
        ExecError {
            file: self.template.name,
            line: crate::lex::line_of(text, offset),
            column,
            name: self.name.clone(),
            at,
            words: words.into(),
        }
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Found) -> Result<Flow, ExecError> {
        let scope = self.variables.len();
        let mut flow = Flow::Next;
        for node in nodes {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
                return Err(self.wrong((0, 0), "the template does not come to an end"));
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
                // JSON alone, without a Go structure around it, has maps only.
                let structures =
                    self.options.absent.is_some() || self.options.missing != Missing::Error;
                print::Printer { structures, shown: self.options.shown }
                    .value(key, value, self.out);
            }
        }
    }

    fn call_template(
        &mut self,
        name: &str,
        pipe: Option<&Pipe>,
        (offset, _): Span,
        dot: &Found,
    ) -> Result<(), ExecError> {
        let template = self.template;
        let Some(nodes) = template.named.get(name) else {
            let rest = template.text.get(offset..).unwrap_or_default();
            let end = offset + rest.find("}}").unwrap_or(rest.len());
            return Err(self.wrong((offset, end), format!("template {name:?} not defined")));
        };
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong((offset, offset), "exceeded maximum template depth (100)"));
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
        let span = pipe.commands.first().map_or((0, 0), |command| (command.offset, command.end));
        let key = found.key.map(|key| key + "[]");
        let item_found = |item| Found { value: Some(item), key: key.clone(), root: false };
        let items: Vec<(Value, Value)> = match found.value {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (Value::from(index), item))
                .collect(),
            Some(Value::Object(members)) => {
                // Go goes through maps by sorted keys.
                let mut members: Vec<_> = members.into_iter().collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                members.into_iter().map(|(key, value)| (Value::from(key), value)).collect()
            }
            Some(Value::Number(count)) if count.as_i64().is_some() => {
                let count = count.as_i64().unwrap_or(0).clamp(0, 1_000_000);
                (0..count).map(|number| (Value::from(number), Value::from(number))).collect()
            }
            Some(other) => {
                let mut text = String::new();
                print::plain(&other, &mut text);
                return Err(self.wrong(span, format!("range can't iterate over {text}")));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (index, item) in items {
            let values = match variables.as_slice() {
                [] => vec![],
                [element] => vec![(element, item_found(item.clone()))],
                [key, element, ..] => {
                    vec![(key, Found::of(index)), (element, item_found(item.clone()))]
                }
            };
            for (name, value) in values {
                self.set(name, value, declares);
            }
            let flow = self.nodes(body, &item_found(item))?;
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

    fn set(&mut self, name: &str, value: Found, declares: bool) {
        if !declares
            && let Some((_, known)) =
                self.variables.iter_mut().rev().find(|(known, _)| known == name)
        {
            *known = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Found) -> Result<Found, ExecError> {
        let found = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(name, found.clone(), pipe.declares);
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
        let span = (command.offset, command.end);
        if let Kind::Function(name) = &first.kind {
            return self.function(name, first, rest, last, span, dot);
        }
        if rest.is_empty() && last.is_none() {
            return self.operand(first, dot);
        }
        // A method takes arguments; a value does not.
        if let (Kind::Dot, [method], true) = (&first.kind, first.fields.as_slice(), dot.root)
            && self.options.method.is_some()
        {
            let mut args = self.arguments(rest, dot)?;
            args.extend(last.map(|found| found.value.unwrap_or_default()));
            if let Some(answer) = self.method(method, &args, (first.offset, first.end)) {
                return answer;
            }
        }
        let text = self.template.text.get(first.offset..first.end).unwrap_or_default().trim();
        let words = match &first.kind {
            Kind::Dot | Kind::Variable(_) if !first.fields.is_empty() => {
                let name = first.fields.last().map_or("", String::as_str);
                format!("{name} has arguments but cannot be invoked as function")
            }
            Kind::Nil => "nil is not a command".to_owned(),
            _ => format!("can't give argument to non-function {text}"),
        };
        Err(self.wrong((first.offset, first.end), words))
    }

    fn method(&self, name: &str, args: &[Value], span: Span) -> Option<Result<Found, ExecError>> {
        let answer = (self.options.method?)(name, args)?;
        Some(match answer {
            Ok(value) => Ok(Found::of(value)),
            Err(words) => Err(self.wrong(span, words)),
        })
    }

    fn arguments(&mut self, operands: &[Operand], dot: &Found) -> Result<Vec<Value>, ExecError> {
        let mut values = Vec::with_capacity(operands.len());
        for operand in operands {
            values.push(self.operand(operand, dot)?.value.unwrap_or_default());
        }
        Ok(values)
    }

    fn function(
        &mut self,
        name: &str,
        first: &Operand,
        rest: &[Operand],
        last: Option<Found>,
        span: Span,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        if let "and" | "or" = name {
            return self.short_circuit(name == "or", rest, last, span, dot);
        }
        let mut args = self.arguments(rest, dot)?;
        args.extend(last.map(|found| found.value.unwrap_or_default()));
        let value = match funcs::call(name, &args, self.options) {
            Ok(value) => value,
            Err(funcs::Failed::Count(words)) => {
                return Err(self.wrong((first.offset, first.end), words));
            }
            Err(funcs::Failed::Call(words)) => {
                return Err(self.wrong(span, format!("error calling {name}: {words}")));
            }
        };
        let found = Found::of(value);
        self.fields(found, &first.fields, first, (first.offset, first.end))
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        until: bool,
        operands: &[Operand],
        last: Option<Found>,
        span: Span,
        dot: &Found,
    ) -> Result<Found, ExecError> {
        let mut found = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if truth(value.value.as_ref()) == until {
                return Ok(value);
            }
            found = Some(value);
        }
        let name = if until { "or" } else { "and" };
        last.or(found).ok_or_else(|| {
            self.wrong(span, format!("wrong number of args for {name}: want at least 1 got 0"))
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Found) -> Result<Found, ExecError> {
        let span = (operand.offset, operand.end);
        let found = match &operand.kind {
            Kind::Dot => dot.clone(),
            Kind::Nil => Found::default(),
            Kind::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map(|(_, found)| found.clone()).unwrap_or_default()
            }
            Kind::Bool(value) => Found::of(Value::Bool(*value)),
            Kind::Int(number) => Found::of(Value::from(*number)),
            Kind::Float(number) => Found::of(Value::from(*number)),
            Kind::String(text) => Found::of(Value::String(text.clone())),
            Kind::Paren(pipe) => self.pipe(pipe, dot)?,
            Kind::Function(name) => return self.function(name, operand, &[], None, span, dot),
        };
        self.fields(found, &operand.fields, operand, span)
    }

    fn fields(
        &mut self,
        mut found: Found,
        fields: &[String],
        operand: &Operand,
        span: Span,
    ) -> Result<Found, ExecError> {
        // Where the field in question stands, as Go points at it.
        let mut at = operand.offset;
        for name in fields {
            let text = self.template.text.get(at..operand.end).unwrap_or_default();
            at += text.find(&format!(".{name}")).unwrap_or(0);
            let here = (at, span.1);
            found = self.field(found, name, here, operand.offset)?;
            at += 1;
        }
        Ok(found)
    }

    fn field(
        &mut self,
        found: Found,
        name: &str,
        (at, end): Span,
        start: usize,
    ) -> Result<Found, ExecError> {
        if found.root
            && let Some(answer) = self.method(name, &[], (start, end))
        {
            return answer;
        }
        // Go quotes the whole chain and points at the field that fails.
        let wrong = |exec: &Self, words: String| {
            let mut error = exec.wrong((start, end), words);
            error.column += at - start;
            error
        };
        match found.value {
            Some(Value::Object(mut members)) => {
                let key = found.key.as_deref().unwrap_or_default();
                // A row's JSON keeps its order: what is left of the object is thrown away.
                let json = self.json_name(name);
                let value = members
                    .swap_remove(json)
                    .map(Some)
                    .or_else(|| self.options.absent.and_then(|absent| absent(&members, key, name)));
                if let Some(value) = value {
                    return Ok(Found { value, key: Some(name.to_owned()), root: false });
                }
                if let Some(kind) = self.options.types.and_then(|types| types(key)) {
                    return Err(wrong(self, format!("can't evaluate field {name} in type {kind}")));
                }
                match self.options.missing {
                    Missing::Strict(kind) if found.root => {
                        Err(wrong(self, format!("can't evaluate field {name} in type {kind}")))
                    }
                    Missing::Error => {
                        Err(wrong(self, format!("map has no entry for key {name:?}")))
                    }
                    _ => Ok(Found::default()),
                }
            }
            Some(Value::Null) => {
                Err(wrong(self, format!("nil pointer evaluating interface {{}}.{name}")))
            }
            None if self.options.missing == Missing::Error => {
                Err(wrong(self, format!("nil data; no entry for key {name:?}")))
            }
            None => Ok(Found::default()),
            Some(other) => {
                let kind = match (self.options.missing, &other) {
                    (Missing::Strict(_), Value::String(_)) => "string",
                    _ => "interface {}",
                };
                Err(wrong(self, format!("can't evaluate field {name} in type {kind}")))
            }
        }
    }
}

impl<'a> Exec<'a> {
    /// What JSON calls a field that Go calls `name`; nothing if only JSON calls it so.
    fn json_name<'n>(&self, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        match self.options.names.iter().find(|(json, go)| *go == name || *json == name) {
            Some((json, go)) if *go == name => json,
            Some(_) => "",
            None => name,
        }
    }
}

/// Go's truth: not the zero of its type.
pub(crate) fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
    }
}
