//! Text to tokens: what is between the braces, with Go's trimming.

use crate::MAX_TEMPLATE;

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
    /// A string, and how it was written.
    String(String),
    Int(i64),
    Float(f64),
    LeftParen,
    RightParen,
    Pipe,
    Declare,
    Assign,
    /// Between two arguments: `.a .b` is not `.a.b`.
    Space,
    /// Anything else.
    Char(char),
    /// What follows cannot be read. The words are Go's; it is an error only for who gets so far.
    Error(String),
}

/// A token and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At {
    pub(crate) token: Token,
    pub(crate) offset: usize,
    pub(crate) end: usize,
}

pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<At>,
    depth: usize,
}

/// The tokens of a template, up to the first that cannot be read.
pub(crate) fn lex(text: &str) -> Vec<At> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), depth: 0 };
    let outcome = match text.len() {
        0..=MAX_TEMPLATE => lexer.run(),
        _ => Err("template is longer than 1 MiB".to_owned()),
    };
    if let Err(words) = outcome {
        let at = At { token: Token::Error(words), offset: lexer.at, end: lexer.at };
        lexer.tokens.push(at);
    }
    lexer.tokens
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn run(&mut self) -> Result<(), String> {
        let mut trim_next = false;
        loop {
            let rest = &self.text[self.at..];
            let open = rest.find("{{");
            let mut plain = &rest[..open.unwrap_or(rest.len())];
            let start = self.at;
            self.at += plain.len();
            let trims = open.is_some() && self.trims_left();
            if trim_next {
                plain = plain.trim_start_matches(BLANKS);
            }
            if trims {
                plain = plain.trim_end_matches(BLANKS);
            }
            if !plain.is_empty() {
                let token = Token::Text(plain.to_owned());
                self.tokens.push(At { token, offset: start, end: self.at });
            }
            if open.is_none() {
                return Ok(());
            }
            self.push(Token::Open, 2);
            if trims {
                self.at += 1;
            }
            trim_next = if self.comment_starts() { self.comment()? } else { self.action()? };
        }
    }

    /// `{{- `: the minus and a space behind it.
    fn trims_left(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at + 2..];
        rest.first() == Some(&b'-') && rest.get(1).is_some_and(u8::is_ascii_whitespace)
    }

    /// Blanks up to the minus of ` -}}`, if that is what comes.
    fn trims_right(&self) -> Option<usize> {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
        (blanks > 0 && rest[blanks..].starts_with("-}}")).then_some(blanks)
    }

    fn push(&mut self, token: Token, length: usize) {
        let (offset, end) = (self.at, self.at + length);
        self.tokens.push(At { token, offset, end });
        self.at = end;
    }

    fn comment_starts(&self) -> bool {
        self.rest().trim_start_matches(BLANKS).starts_with("/*")
    }

    fn comment(&mut self) -> Result<bool, String> {
        // A comment is an action of its own: no opening token is left of it.
        self.tokens.pop();
        let Some(end) = self.rest().find("*/") else {
            return Err("unclosed comment".to_owned());
        };
        self.at += end + 2;
        let trims = self.trims_right();
        self.at += trims.map_or(0, |blanks| blanks + 1);
        if !self.rest().starts_with("}}") {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.at += 2;
        Ok(trims.is_some())
    }

    /// Everything up to and with `}}`; answers whether the text behind it is trimmed.
    fn action(&mut self) -> Result<bool, String> {
        loop {
            let trims = self.trims_right();
            if trims.is_some() || self.rest().starts_with("}}") {
                self.at += trims.map_or(0, |blanks| blanks + 1);
                if self.depth > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.push(Token::Close, 2);
                return Ok(trims.is_some());
            }
            let Some(first) = self.rest().chars().next() else {
                return Err("unclosed action".to_owned());
            };
            self.token(first)?;
        }
    }

    fn token(&mut self, first: char) -> Result<(), String> {
        let rest = self.rest();
        match first {
            ' ' | '\t' | '\r' | '\n' => {
                let length = rest.len() - rest.trim_start_matches(BLANKS).len();
                self.push(Token::Space, length);
            }
            '"' => self.quoted()?,
            '`' => {
                let Some(end) = rest[1..].find('`') else {
                    return Err("unterminated raw quoted string".to_owned());
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
                    return Err("unexpected right paren".to_owned());
                }
                self.depth -= 1;
                self.push(Token::RightParen, 1);
            }
            '|' => self.push(Token::Pipe, 1),
            ':' if rest.starts_with(":=") => self.push(Token::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '=' => self.push(Token::Assign, 1),
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.field()?,
            '$' => {
                let length = 1 + word(&rest[1..]).len();
                let name = rest[..length].to_owned();
                self.terminated(length)?;
                self.push(Token::Variable(name), length);
            }
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            c if c.is_alphanumeric() || c == '_' => {
                let name = word(rest).to_owned();
                let length = name.len();
                self.terminated(length)?;
                self.push(Token::Word(name), length);
            }
            c if c.is_ascii_graphic() => self.push(Token::Char(c), 1),
            c => {
                return Err(format!("unrecognized character in action: {}", named(c)));
            }
        }
        Ok(())
    }

    fn field(&mut self) -> Result<(), String> {
        let name = word(&self.rest()[1..]).to_owned();
        if name.is_empty() {
            self.push(Token::Dot, 1);
            return Ok(());
        }
        let length = 1 + name.len();
        self.terminated(length)?;
        self.push(Token::Field(name), length);
        Ok(())
    }

    /// Names end where something else can begin.
    fn terminated(&self, length: usize) -> Result<(), String> {
        let behind = self.rest().get(length..).unwrap_or_default();
        match behind.chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if behind.starts_with("}}") => Ok(()),
            Some(c) => Err(format!("bad character {}", named(c))),
        }
    }

    fn quoted(&mut self) -> Result<(), String> {
        let rest = &self.rest()[1..];
        let invalid = || "invalid syntax".to_owned();
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
                        text.push(code.ok_or_else(invalid)?);
                    }
                    Some(c @ ('\\' | '"')) => text.push(c),
                    _ => return Err(invalid()),
                },
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".to_owned())
    }

    /// `'x'` is a number in Go.
    fn character(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| match c {
            _ if escaped => {
                escaped = false;
                false
            }
            '\\' => {
                escaped = true;
                false
            }
            c => matches!(c, '\'' | '\n'),
        });
        let Some((end, '\'')) = end else {
            return Err("unterminated character constant".to_owned());
        };
        let inner = &rest[1..end];
        let mut chars = inner.chars();
        let c = match (chars.next(), chars.next(), chars.next()) {
            (Some(c), None, None) if c != '\\' => c,
            (Some('\\'), Some(c), None) => match c {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '\\' | '\'' => c,
                _ => return Err("invalid syntax".to_owned()),
            },
            (None, _, _) => return Err("invalid syntax".to_owned()),
            _ => return Err(format!("malformed character constant: '{inner}'")),
        };
        self.push(Token::Int(i64::from(u32::from(c))), end + 1);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let (length, ends) = number_length(rest);
        let text = &rest[..length];
        if !ends {
            return Err(format!("bad number syntax: {}", crate::print::quoted(text)));
        }
        let token = match int(text) {
            Some(number) => Token::Int(number),
            None => match text.replace('_', "").parse::<f64>() {
                Ok(number) if number.is_finite() && text.contains(['.', 'e', 'E']) => {
                    Token::Float(number)
                }
                Ok(_) => return Err(format!("integer overflow: {}", crate::print::quoted(text))),
                Err(_) => {
                    return Err(format!("illegal number syntax: {}", crate::print::quoted(text)));
                }
            },
        };
        self.push(token, length);
        Ok(())
    }
}

/// How much of a text is a number, and whether it ends there.
fn number_length(text: &str) -> (usize, bool) {
    let bytes = text.as_bytes();
    let is = |at: usize, set: &[u8]| bytes.get(at).is_some_and(|byte| set.contains(byte));
    let run = |mut at: usize, set: &[u8]| {
        while is(at, set) {
            at += 1;
        }
        at
    };
    let mut at = usize::from(is(0, b"+-"));
    let mut digits: &[u8] = b"0123456789_";
    if is(at, b"0") {
        at += 1;
        if is(at, b"xX") {
            (at, digits) = (at + 1, b"0123456789abcdefABCDEF_");
        } else if is(at, b"oO") {
            (at, digits) = (at + 1, b"01234567_");
        } else if is(at, b"bB") {
            (at, digits) = (at + 1, b"01_");
        }
    }
    at = run(at, digits);
    if is(at, b".") {
        at = run(at + 1, digits);
    }
    if digits.len() == 11 && is(at, b"eE") {
        at += 1;
        at += usize::from(is(at, b"+-"));
        at = run(at, digits);
    }
    match text[at..].chars().next() {
        Some(c) if c.is_alphanumeric() || c == '_' => (at + c.len_utf8(), false),
        _ => (at, true),
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

/// `U+0023 '#'`.
fn named(c: char) -> String {
    format!("U+{:04X} '{c}'", u32::from(c))
}
