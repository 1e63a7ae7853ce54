//! Tokens to a tree.

use std::collections::BTreeMap;

use crate::{
    Template,
    error::ParseError,
    funcs,
    lex::{self, At, Token, line_of},
};

/// How deep actions and parentheses may nest.
const MAX_DEPTH: usize = 100;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If { pipe: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    With { pipe: Pipe, then: Vec<Node>, otherwise: Vec<Node> },
    Range { pipe: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    Template { name: String, pipe: Option<Pipe>, offset: usize, end: usize },
    Break,
    Continue,
}

/// `$a, $b := cmd | cmd`
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pipe {
    pub(crate) variables: Vec<String>,
    pub(crate) declares: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or value with arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) operands: Vec<Operand>,
    pub(crate) offset: usize,
    pub(crate) end: usize,
}

/// A value in the text, from `offset` to `end`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    pub(crate) kind: Kind,
    /// Fields behind it: `.a.b` is dot with two.
    pub(crate) fields: Vec<String>,
    pub(crate) offset: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Dot,
    Nil,
    Variable(String),
    Function(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Paren(Box<Pipe>),
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<At>,
    at: usize,
    depth: usize,
    loops: usize,
    variables: Vec<String>,
    named: BTreeMap<String, Vec<Node>>,
}

/// What ended a list of nodes.
#[derive(Debug, Clone, PartialEq)]
enum End {
    OfText,
    /// `{{end}}`.
    Keyword,
    /// `{{else}}`; what follows it (`if`, `with`) is not read yet.
    Else,
}

pub(crate) fn parse(name: &'static str, text: &str) -> Result<Template, ParseError> {
    tree(name, text).map_err(|error| ParseError { name, ..error })
}

fn tree(name: &'static str, text: &str) -> Result<Template, ParseError> {
    let tokens = lex::lex(text)?;
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        depth: 0,
        loops: 0,
        variables: vec!["$".to_owned()],
        named: BTreeMap::new(),
    };
    let (main, end) = parser.nodes()?;
    match end {
        End::OfText => Ok(Template { main, named: parser.named, text: text.to_owned(), name }),
        End::Keyword => Err(parser.wrong("unexpected {{end}}")),
        End::Else => Err(parser.wrong("unexpected {{else}}")),
    }
}

impl Parser<'_> {
    fn wrong(&self, words: impl Into<String>) -> ParseError {
        let offset = self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |at| at.offset);
        ParseError { name: "", line: line_of(self.text, offset), words: words.into() }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|at| &at.token)
    }

    fn offset(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |at| at.offset)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).map(|at| at.token.clone());
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn enter(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.wrong("template nests too deep")) } else { Ok(()) }
    }

    fn nodes(&mut self) -> Result<(Vec<Node>, End), ParseError> {
        self.enter()?;
        let mut nodes = Vec::new();
        loop {
            let Some(token) = self.next() else {
                self.depth -= 1;
                return Ok((nodes, End::OfText));
            };
            if let Token::Text(text) = token {
                nodes.push(Node::Text(text));
                continue;
            }
            self.skip_space();
            let keyword = match self.peek() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => {
                    self.at += 1;
                    self.close("end")?;
                    self.depth -= 1;
                    return Ok((nodes, End::Keyword));
                }
                "else" => {
                    self.at += 1;
                    self.depth -= 1;
                    return Ok((nodes, End::Else));
                }
                "if" | "with" | "range" => {
                    self.at += 1;
                    nodes.push(self.control(&keyword)?);
                }
                "define" | "block" => {
                    self.at += 1;
                    nodes.extend(self.define(&keyword)?);
                }
                "template" => {
                    let offset = self.offset();
                    self.at += 1;
                    nodes.push(self.template(offset)?);
                }
                "break" | "continue" => {
                    if self.loops == 0 {
                        return Err(self.wrong(format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
                    }
                    self.at += 1;
                    self.close(&keyword)?;
                    nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                }
                _ => {
                    let pipe = self.pipe("command", &Token::Close)?;
                    nodes.push(Node::Action(pipe));
                }
            }
        }
    }

    fn close(&mut self, context: &str) -> Result<(), ParseError> {
        self.skip_space();
        match self.next() {
            Some(Token::Close) => Ok(()),
            other => {
                self.at -= 1;
                Err(self.wrong(format!("unexpected {} in {context}", show(other.as_ref()))))
            }
        }
    }

    fn control(&mut self, keyword: &str) -> Result<Node, ParseError> {
        let scope = self.variables.len();
        let pipe = self.pipe(keyword, &Token::Close)?;
        if keyword == "range" {
            self.loops += 1;
        }
        let (then, end) = self.nodes()?;
        if keyword == "range" {
            self.loops -= 1;
        }
        let otherwise = self.otherwise(keyword, end)?;
        self.variables.truncate(scope);
        Ok(match keyword {
            "if" => Node::If { pipe, then, otherwise },
            "with" => Node::With { pipe, then, otherwise },
            _ => Node::Range { pipe, body: then, otherwise },
        })
    }

    fn otherwise(&mut self, keyword: &str, end: End) -> Result<Vec<Node>, ParseError> {
        match end {
            End::Keyword => return Ok(Vec::new()),
            End::OfText => return Err(self.wrong("unexpected EOF")),
            End::Else => {}
        }
        self.skip_space();
        if let Some(Token::Word(word)) = self.peek()
            && *word == keyword
            && keyword != "range"
        {
            // `{{else if}}` is an if in the else that shares its end.
            self.at += 1;
            let keyword = keyword.to_owned();
            self.enter()?;
            let node = self.control(&keyword)?;
            self.depth -= 1;
            return Ok(vec![node]);
        }
        self.close("else")?;
        match self.nodes()? {
            (nodes, End::Keyword) => Ok(nodes),
            (_, End::Else) => Err(self.wrong("expected end; found {{else}}")),
            (_, End::OfText) => Err(self.wrong("unexpected EOF")),
        }
    }

    fn define(&mut self, keyword: &str) -> Result<Option<Node>, ParseError> {
        self.skip_space();
        let offset = self.offset();
        let Some(Token::String(name)) = self.next() else {
            return Err(self.wrong(format!("unexpected token in {keyword} clause")));
        };
        let pipe = match keyword {
            "block" => Some(self.pipe("block clause", &Token::Close)?),
            _ => {
                self.close("define clause")?;
                None
            }
        };
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (nodes, end) = self.nodes()?;
        self.variables = outer;
        if end != End::Keyword {
            return Err(self.wrong(format!("unexpected EOF in {keyword} clause")));
        }
        self.named.insert(name.clone(), nodes);
        Ok(pipe.map(|pipe| Node::Template { name, pipe: Some(pipe), offset, end: offset }))
    }

    fn template(&mut self, offset: usize) -> Result<Node, ParseError> {
        self.skip_space();
        let Some(Token::String(name)) = self.next() else {
            return Err(self.wrong("unexpected token in template clause"));
        };
        self.skip_space();
        let end = self.offset();
        let pipe = match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                None
            }
            _ => Some(self.pipe("template clause", &Token::Close)?),
        };
        Ok(Node::Template { name, pipe, offset, end })
    }

    /// Reads a pipeline up to and with `close`.
    fn pipe(&mut self, context: &str, close: &Token) -> Result<Pipe, ParseError> {
        let mut pipe = Pipe::default();
        self.skip_space();
        self.declaration(context, &mut pipe)?;
        loop {
            self.skip_space();
            match self.peek() {
                Some(token) if token == close => {
                    self.at += 1;
                    if pipe.commands.is_empty() {
                        return Err(self.back().wrong(format!("missing value for {context}")));
                    }
                    if pipe.declares {
                        self.variables.extend(pipe.variables.iter().cloned());
                    }
                    return Ok(pipe);
                }
                Some(_) => {
                    let command = self.command(context)?;
                    pipe.commands.push(command);
                }
                None => return Err(self.wrong("unclosed action")),
            }
        }
    }

    fn back(&mut self) -> &Self {
        self.at -= 1;
        self
    }

    /// `$a :=`, `$a =`, and in a range `$a, $b :=`.
    fn declaration(&mut self, context: &str, pipe: &mut Pipe) -> Result<(), ParseError> {
        let start = self.at;
        let mut variables = Vec::new();
        while let Some(Token::Variable(name)) = self.peek() {
            variables.push(name.clone());
            self.at += 1;
            self.skip_space();
            match self.peek() {
                Some(Token::Comma) if context == "range" && variables.len() < 2 => {
                    self.at += 1;
                    self.skip_space();
                }
                Some(token @ (Token::Declare | Token::Assign)) => {
                    pipe.declares = *token == Token::Declare;
                    self.at += 1;
                    pipe.variables = variables;
                    return Ok(());
                }
                _ => break,
            }
        }
        self.at = start;
        Ok(())
    }

    fn command(&mut self, context: &str) -> Result<Command, ParseError> {
        let offset = self.offset();
        let mut operands = Vec::new();
        let mut end = offset;
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(self.wrong("unclosed action")),
                Some(Token::Close | Token::RightParen) => break,
                Some(Token::Pipe) => {
                    if operands.is_empty() {
                        return Err(self.wrong("missing value for command"));
                    }
                    self.at += 1;
                    self.skip_space();
                    if matches!(self.peek(), Some(Token::Close | Token::RightParen) | None) {
                        return Err(self.wrong("missing value for command"));
                    }
                    return Ok(Command { operands, offset, end });
                }
                Some(_) => {
                    let operand = self.operand(context)?;
                    end = operand.end;
                    operands.push(operand);
                }
            }
        }
        if operands.is_empty() {
            let token = self.peek().cloned();
            return Err(self.wrong(format!("unexpected {} in {context}", show(token.as_ref()))));
        }
        Ok(Command { operands, offset, end })
    }

    fn operand(&mut self, context: &str) -> Result<Operand, ParseError> {
        let offset = self.offset();
        let mut fields = Vec::new();
        let kind = match self.next() {
            Some(Token::Dot) => Kind::Dot,
            Some(Token::Field(name)) => {
                fields.push(name);
                Kind::Dot
            }
            Some(Token::Variable(name)) => {
                if !self.variables.contains(&name) {
                    return Err(self.back().wrong(format!("undefined variable {name:?}")));
                }
                Kind::Variable(name)
            }
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "nil" => Kind::Nil,
                _ if funcs::exists(&word) => Kind::Function(word),
                _ => return Err(self.back().wrong(format!("function {word:?} not defined"))),
            },
            Some(Token::Int(number)) => Kind::Int(number),
            Some(Token::Float(number)) => Kind::Float(number),
            Some(Token::String(text)) => Kind::String(text),
            Some(Token::LeftParen) => {
                self.enter()?;
                let pipe = self.pipe("parenthesized pipeline", &Token::RightParen)?;
                self.depth -= 1;
                Kind::Paren(Box::new(pipe))
            }
            other => {
                let words = format!("unexpected {} in {context}", show(other.as_ref()));
                return Err(self.back().wrong(words));
            }
        };
        while let Some(Token::Field(name)) = self.peek() {
            fields.push(name.clone());
            self.at += 1;
        }
        Ok(Operand { kind, fields, offset, end: self.offset() })
    }
}

/// Whether a node asks for a field of this name, or for everything.
pub(crate) fn node_mentions(node: &Node, name: &str) -> bool {
    let any = |nodes: &[Node]| nodes.iter().any(|node| node_mentions(node, name));
    match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Action(pipe) => pipe_mentions(pipe, name),
        Node::If { pipe, then, otherwise }
        | Node::With { pipe, then, otherwise }
        | Node::Range { pipe, body: then, otherwise } => {
            pipe_mentions(pipe, name) || any(then) || any(otherwise)
        }
        Node::Template { pipe, .. } => pipe.as_ref().is_some_and(|pipe| pipe_mentions(pipe, name)),
    }
}

fn pipe_mentions(pipe: &Pipe, name: &str) -> bool {
    let operands = pipe.commands.iter().flat_map(|command| &command.operands);
    operands.into_iter().any(|operand| {
        let all = operand.kind == Kind::Dot && operand.fields.is_empty();
        let inside = matches!(&operand.kind, Kind::Paren(pipe) if pipe_mentions(pipe, name));
        all || inside || operand.fields.iter().any(|field| field == name)
    })
}

/// A token in Go's words.
fn show(token: Option<&Token>) -> String {
    match token {
        None => "EOF".to_owned(),
        Some(Token::Close) => "\"}}\"".to_owned(),
        Some(Token::Open) => "\"{{\"".to_owned(),
        Some(Token::Pipe) => "\"|\"".to_owned(),
        Some(Token::Comma) => "\",\"".to_owned(),
        Some(Token::Declare) => "\":=\"".to_owned(),
        Some(Token::Assign) => "\"=\"".to_owned(),
        Some(Token::RightParen) => "\")\"".to_owned(),
        Some(Token::LeftParen) => "\"(\"".to_owned(),
        Some(Token::Dot) => "<.>".to_owned(),
        Some(Token::Field(name)) => format!("<.{name}>"),
        Some(Token::Variable(name)) => format!("{name:?}"),
        Some(Token::Word(name)) => format!("<{name}>"),
        Some(Token::String(text)) => format!("{text:?}"),
        Some(Token::Int(number)) => format!("\"{number}\""),
        Some(Token::Float(number)) => format!("\"{number}\""),
        Some(Token::Space) => "<space>".to_owned(),
        Some(Token::Text(text)) => format!("{text:?}"),
    }
}
