//! Tokens to a tree.

use std::collections::BTreeMap;

use crate::{
    Template,
    error::ParseError,
    funcs,
    lex::{self, At, Token, line_of},
    print::quoted,
    tree::{Command, Kind, Node, Operand, Pipe},
};

/// How deep actions and parentheses may nest.
const MAX_DEPTH: usize = 100;

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
    let tokens = lex::lex(text);
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
            if let Token::Error(words) = token {
                self.at -= 1;
                return Err(self.wrong(words));
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
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected(context)),
        }
    }

    /// The token that comes is not what should come.
    fn unexpected(&self, context: &str) -> ParseError {
        match self.tokens.get(self.at) {
            Some(At { token: Token::Error(words), .. }) => self.wrong(words),
            Some(at) => self.wrong(format!("unexpected {} in {context}", self.show(at))),
            None => self.wrong("unexpected EOF"),
        }
    }

    /// A token in Go's words: keywords in angle brackets, everything else quoted and cut.
    fn show(&self, at: &At) -> String {
        const KEYWORDS: [&str; 12] = [
            "block", "break", "continue", "define", "else", "end", "if", "range", "nil",
            "template", "with", ".",
        ];
        let text = self.text.get(at.offset..at.end).unwrap_or_default();
        if KEYWORDS.contains(&text) {
            return format!("<{text}>");
        }
        match text.char_indices().nth(10) {
            Some((cut, _)) => format!("{}...", quoted(&text[..cut])),
            None => quoted(text),
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
        let offset = self.offset();
        let context = format!("{keyword} clause");
        let (name, at) = self.template_name(&context)?;
        let pipe = match keyword {
            "block" => Some(self.pipe(&context, &Token::Close)?),
            _ => {
                self.close(&context)?;
                None
            }
        };
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (nodes, end) = self.nodes()?;
        self.variables = outer;
        match end {
            End::Keyword => {}
            End::Else => return Err(self.wrong(format!("unexpected {{{{else}}}} in {context}"))),
            End::OfText => return Err(self.wrong("unexpected EOF")),
        }
        self.named.insert(name.clone(), nodes);
        Ok(pipe.map(|pipe| Node::Template { name, pipe: Some(pipe), offset, end: at }))
    }

    /// The name, and where it stands.
    fn template_name(&mut self, context: &str) -> Result<(String, usize), ParseError> {
        self.skip_space();
        let at = self.offset();
        match self.peek() {
            Some(Token::String(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok((name, at))
            }
            _ => Err(self.unexpected(context)),
        }
    }

    /// A call; `offset` is where its braces begin.
    fn template(&mut self, offset: usize) -> Result<Node, ParseError> {
        let (name, at) = self.template_name("template clause")?;
        self.skip_space();
        let pipe = match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                None
            }
            _ => Some(self.pipe("template clause", &Token::Close)?),
        };
        Ok(Node::Template { name, pipe, offset, end: at })
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
                    self.check(&pipe, context)?;
                    self.at += 1;
                    return Ok(pipe);
                }
                Some(
                    Token::Dot
                    | Token::Field(_)
                    | Token::Variable(_)
                    | Token::Int(_)
                    | Token::Float(_)
                    | Token::String(_)
                    | Token::LeftParen,
                ) => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                Some(Token::Word(word)) if !is_keyword(word) => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return Err(self.unexpected(context)),
            }
        }
    }

    /// Only functions and fields can take what comes through a pipe.
    fn check(&self, pipe: &Pipe, context: &str) -> Result<(), ParseError> {
        if pipe.commands.is_empty() {
            return Err(self.wrong(format!("missing value for {context}")));
        }
        for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
            let first = command.operands.first();
            if let Some(Operand { kind, fields, .. }) = first
                && (matches!(kind, Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Nil)
                    || matches!(kind, Kind::String(_))
                    || *kind == Kind::Dot && fields.is_empty())
            {
                let stage = stage + 1;
                return Err(self.wrong(format!("non executable command in pipeline stage {stage}")));
            }
        }
        Ok(())
    }

    /// `$a :=`, `$a =`, and in a range `$a, $b :=`.
    fn declaration(&mut self, context: &str, pipe: &mut Pipe) -> Result<(), ParseError> {
        while let Some(Token::Variable(name)) = self.peek() {
            let (name, start) = (name.clone(), self.at);
            self.at += 1;
            self.skip_space();
            match self.peek() {
                Some(token @ (Token::Declare | Token::Assign)) => {
                    pipe.declares = *token == Token::Declare;
                    self.at += 1;
                    self.variables.push(name.clone());
                    pipe.variables.push(name);
                    return Ok(());
                }
                Some(Token::Char(',')) => {
                    self.at += 1;
                    self.variables.push(name.clone());
                    pipe.variables.push(name);
                    if context != "range" || pipe.variables.len() > 1 {
                        return Err(self.wrong(format!("too many declarations in {context}")));
                    }
                    self.skip_space();
                    let goes_on = matches!(
                        self.peek(),
                        Some(Token::Variable(_) | Token::Close | Token::RightParen)
                    );
                    if !goes_on {
                        return Err(self.wrong("range can only initialize variables"));
                    }
                }
                _ => {
                    self.at = start;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, ParseError> {
        self.skip_space();
        let offset = self.offset();
        let mut operands = Vec::new();
        let mut end = offset;
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                end = operand.end;
                operands.push(operand);
            }
            match self.peek() {
                Some(Token::Space) => {}
                Some(Token::Close | Token::RightParen) => break,
                Some(Token::Pipe) => {
                    self.at += 1;
                    break;
                }
                _ => return Err(self.unexpected("operand")),
            }
        }
        if operands.is_empty() {
            return Err(self.wrong("empty command"));
        }
        Ok(Command { operands, offset, end })
    }

    /// A value; none where something else comes.
    fn operand(&mut self) -> Result<Option<Operand>, ParseError> {
        let offset = self.offset();
        let mut fields = Vec::new();
        let Some(token) = self.peek().cloned() else { return Ok(None) };
        let kind = match token {
            Token::Dot => Kind::Dot,
            Token::Field(name) => {
                fields.push(name);
                Kind::Dot
            }
            Token::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err(self.wrong(format!("undefined variable {}", quoted(&name))));
                }
                Kind::Variable(name)
            }
            Token::Word(word) => match word.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "nil" => Kind::Nil,
                _ if is_keyword(&word) => return Ok(None),
                _ if funcs::exists(&word) => Kind::Function(word),
                _ => {
                    return Err(self.wrong(format!("function {} not defined", quoted(&word))));
                }
            },
            Token::Int(number) => Kind::Int(number),
            Token::Float(number) => Kind::Float(number),
            Token::String(text) => Kind::String(text),
            Token::LeftParen => {
                self.enter()?;
                self.at += 1;
                let pipe = self.pipe("parenthesized pipeline", &Token::RightParen)?;
                self.depth -= 1;
                // The token behind the parentheses is the next one already.
                self.at -= 1;
                Kind::Paren(Box::new(pipe))
            }
            _ => return Ok(None),
        };
        self.at += 1;
        let end_of_first = self.tokens.get(self.at - 1).map_or(offset, |at| at.end);
        self.fields(Operand { kind, fields, offset, end: end_of_first, position: offset }).map(Some)
    }

    /// Fields that stick to a value.
    fn fields(&mut self, mut operand: Operand) -> Result<Operand, ParseError> {
        let bare = operand.fields.is_empty();
        let mut first = true;
        while let Some(At { token: Token::Field(name), offset, end }) = self.tokens.get(self.at) {
            if bare
                && matches!(
                    operand.kind,
                    Kind::Bool(_)
                        | Kind::Int(_)
                        | Kind::Float(_)
                        | Kind::String(_)
                        | Kind::Nil
                        | Kind::Dot
                )
            {
                let text = self.text.get(operand.offset..operand.end).unwrap_or_default();
                return Err(self.wrong(format!("unexpected . after term {}", quoted(text))));
            }
            if first {
                operand.position = *offset;
                first = false;
            }
            operand.fields.push(name.clone());
            operand.end = *end;
            self.at += 1;
        }
        Ok(operand)
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "block"
            | "break"
            | "continue"
            | "define"
            | "else"
            | "end"
            | "if"
            | "range"
            | "template"
            | "with"
    )
}
