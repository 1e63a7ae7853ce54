//! Text to tokens: what is between the braces, with Go's trimming.

use crate::{MAX_TEMPLATE, error::ParseError};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Outside of the braces.
    Text(String),
    /// `{{` and `}}`.
    Open,
    Close,
    /// `.a`
    Field(String),
    /// `$a` or `$`
    Variable(String),
    /// `.`
    Dot,
    Word(String),
    String(String),
    Int(i64),
    Float(f64),
    LeftParen,
    RightParen,
    Pipe,
    Comma,
    Declare,
    Assign,
    /// Between two arguments: `.a .b` is not `.a.b`.
    Space,
}

/// A token and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At {
    pub(crate) token: Token,
    pub(crate) offset: usize,
}

pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<At>,
    depth: usize,
}

pub(crate) fn lex(text: &str) -> Result<Vec<At>, ParseError> {
    if text.len() > MAX_TEMPLATE {
        return Err(ParseError {
            name: "",
            line: 1,
            words: "template is longer than 1 MiB".to_owned(),
        });
    }
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), depth: 0 };
    lexer.run()?;
    Ok(lexer.tokens)
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), ParseError> {
        let mut trim_next = false;
        loop {
            let rest = &self.text[self.at..];
            let open = rest.find("{{");
            let mut plain = &rest[..open.unwrap_or(rest.len())];
            let start = self.at;
            self.at += plain.len();
            let trims = open.is_some() && self.trims_left();
            if trim_next {
                plain = plain.trim_start_matches([' ', '\t', '\r', '\n']);
            }
            if trims {
                plain = plain.trim_end_matches([' ', '\t', '\r', '\n']);
            }
            if !plain.is_empty() {
                self.tokens.push(At { token: Token::Text(plain.to_owned()), offset: start });
            }
            if open.is_none() {
                return Ok(());
            }
            self.push(Token::Open, 2);
            if trims {
                self.at += 1;
            }
            if self.comment_starts() {
                trim_next = self.comment()?;
                continue;
            }
            trim_next = self.action()?;
        }
    }

    /// `{{- `: the minus and a space behind it.
    fn trims_left(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at + 2..];
        rest.first() == Some(&b'-') && rest.get(1).is_some_and(u8::is_ascii_whitespace)
    }

    /// ` -}}`
    fn trims_right(&self) -> bool {
        self.text[self.at..].trim_start().starts_with("-}}")
            && self.text[self.at..].starts_with(|c: char| c.is_ascii_whitespace())
    }

    fn push(&mut self, token: Token, length: usize) {
        self.tokens.push(At { token, offset: self.at });
        self.at += length;
    }

    fn comment_starts(&self) -> bool {
        self.text[self.at..].trim_start().starts_with("/*")
    }

    fn comment(&mut self) -> Result<bool, ParseError> {
        // A comment is an action of its own: no opening token is left of it.
        self.tokens.pop();
        let Some(end) = self.text[self.at..].find("*/") else {
            return Err(self.wrong("unclosed comment"));
        };
        self.at += end + 2;
        let trims = self.trims_right();
        let rest = &self.text[self.at..];
        let close = if trims { rest.find("-}}").map(|at| at + 1) } else { Some(0) };
        let close = close.unwrap_or(0);
        if !rest[close..].starts_with("}}") {
            return Err(self.wrong("comment ends before closing delimiter"));
        }
        self.at += close + 2;
        Ok(trims)
    }

    /// Everything up to and with `}}`; answers whether the text behind it is trimmed.
    fn action(&mut self) -> Result<bool, ParseError> {
        loop {
            if self.trims_right() {
                let rest = &self.text[self.at..];
                self.at += rest.len() - rest.trim_start().len() + 1;
                self.close()?;
                return Ok(true);
            }
            let rest = &self.text[self.at..];
            if rest.starts_with("}}") {
                self.close()?;
                return Ok(false);
            }
            let Some(first) = rest.chars().next() else {
                return Err(self.wrong("unclosed action"));
            };
            self.token(first)?;
        }
    }

    fn close(&mut self) -> Result<(), ParseError> {
        if self.depth > 0 {
            return Err(self.wrong("unclosed left paren"));
        }
        self.push(Token::Close, 2);
        Ok(())
    }

    fn token(&mut self, first: char) -> Result<(), ParseError> {
        let rest = &self.text[self.at..];
        match first {
            ' ' | '\t' | '\r' | '\n' => {
                let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
                // Spaces in front of ` -}}` belong to it.
                if !rest[length..].starts_with("-}}") {
                    self.push(Token::Space, length);
                } else {
                    self.at += length - 1;
                }
            }
            '"' => self.quoted()?,
            '`' => {
                let Some(end) = rest[1..].find('`') else {
                    return Err(self.wrong("unterminated raw quoted string"));
                };
                let text = rest[1..=end].to_owned();
                self.push(Token::String(text), end + 2);
            }
            '\'' => self.character()?,
            '(' => {
                self.depth += 1;
                self.push(Token::LeftParen, 1);
            }
            ')' => {
                if self.depth == 0 {
                    return Err(self.wrong("unexpected right paren"));
                }
                self.depth -= 1;
                self.push(Token::RightParen, 1);
            }
            '|' => self.push(Token::Pipe, 1),
            ',' => self.push(Token::Comma, 1),
            ':' if rest.starts_with(":=") => self.push(Token::Declare, 2),
            '=' => self.push(Token::Assign, 1),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let name = word(&rest[1..]);
                let token =
                    if name.is_empty() { Token::Dot } else { Token::Field(name.to_owned()) };
                let length = 1 + name.len();
                self.push(token, length);
            }
            '$' => {
                let length = 1 + word(&rest[1..]).len();
                let name = rest[..length].to_owned();
                self.push(Token::Variable(name), length);
            }
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            c if c.is_alphabetic() || c == '_' => {
                let name = word(rest).to_owned();
                let length = name.len();
                self.push(Token::Word(name), length);
            }
            c => {
                return Err(self.wrong(
                    &format!("unexpected bad character U+{:04X} '{c}'", u32::from(c))
                        .replace("unexpected ", ""),
                ));
            }
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), ParseError> {
        let rest = &self.text[self.at + 1..];
        let mut text = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.push(Token::String(text), at + 2);
                    return Ok(());
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('a') => text.push('\u{7}'),
                    Some('b') => text.push('\u{8}'),
                    Some('f') => text.push('\u{c}'),
                    Some('v') => text.push('\u{b}'),
                    Some(kind @ ('x' | 'u' | 'U')) => {
                        let digits = match kind {
                            'x' => 2,
                            'u' => 4,
                            _ => 8,
                        };
                        let hex: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or_else(|| self.wrong("invalid syntax"))?);
                    }
                    Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                    _ => return Err(self.wrong("invalid syntax")),
                },
                c => text.push(c),
            }
        }
        Err(self.wrong("unterminated quoted string"))
    }

    /// `'x'` is a number in Go.
    fn character(&mut self) -> Result<(), ParseError> {
        let rest = &self.text[self.at + 1..];
        let mut chars = rest.chars();
        let (Some(c), Some('\'')) = (chars.next().filter(|c| *c != '\\'), chars.next()) else {
            return Err(self.wrong("unterminated character constant"));
        };
        self.push(Token::Int(i64::from(u32::from(c))), c.len_utf8() + 2);
        Ok(())
    }

    fn number(&mut self) -> Result<(), ParseError> {
        let rest = &self.text[self.at..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-')))
            .unwrap_or(rest.len());
        let text = &rest[..length];
        let token = match int(text) {
            Some(number) => Token::Int(number),
            None => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Token::Float(number),
                _ => return Err(self.wrong(&format!("bad number syntax: {text:?}"))),
            },
        };
        self.push(token, length);
        Ok(())
    }

    fn wrong(&self, words: &str) -> ParseError {
        ParseError { name: "", line: line_of(self.text, self.at), words: words.to_owned() }
    }
}

/// A number as Go reads literals: `0x`, `0o`, `0b` and underscores, too.
fn int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let clean = digits.replace('_', "").to_ascii_lowercase();
    let (radix, clean) = match clean.get(..2) {
        Some("0x") => (16, &clean[2..]),
        Some("0o") => (8, &clean[2..]),
        Some("0b") => (2, &clean[2..]),
        _ => (10, clean.as_str()),
    };
    i64::from_str_radix(clean, radix).ok().and_then(|number| number.checked_mul(sign))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}
