//! Variables in words: `$v`, `${v}`, and what can be done to their values; quotes are taken away on the way.

use crate::{
    ExpandError,
    glob::{shell_prefixes, shell_suffixes},
};

/// Longest value that comes of variables, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// Longest value that is compared with patterns, in characters: that takes time by the square of it.
const MAX_MATCHED: usize = 4096;

/// Deepest nesting of `${a:-${b:-…}}`.
const MAX_DEPTH: usize = 32;

/// A word with its variables replaced and its quotes taken away.
///
/// # Errors
/// A quote or brace is not closed, a modifier is not known, `${v:?}` has no value, or it grows too long.
pub fn expand(
    word: &str,
    escape: char,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut reader = Reader { chars: word.chars().collect(), at: 0, escape, value_of, depth: 0 };
    reader.until(None)
}

/// As [`expand`], then split at white space.
///
/// # Errors
/// As for [`expand`].
pub fn expand_words(
    word: &str,
    escape: char,
    value_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, ExpandError> {
    Ok(expand(word, escape, value_of)?.split_whitespace().map(str::to_owned).collect())
}

struct Reader<'a> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    value_of: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    /// Reads up to an unquoted `stop`, which is taken; to the end without one.
    fn until(&mut self, stop: Option<char>) -> Result<String, ExpandError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::Syntax("substitutions are nested too deeply"));
        }
        let mut text = String::new();
        while let Some(char) = self.next() {
            if Some(char) == stop {
                self.depth -= 1;
                return Ok(text);
            }
            match char {
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '$' => text.push_str(&self.dollar()?),
                char if char == self.escape => text.extend(self.next()),
                char => text.push(char),
            }
            if text.len() > MAX_VALUE {
                return Err(ExpandError::TooLong { limit: MAX_VALUE });
            }
        }
        self.depth -= 1;
        match stop {
            Some(_) => Err(ExpandError::Syntax("missing '}'")),
            None => Ok(text),
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.next() {
                None => return Err(ExpandError::Quote("single")),
                Some('\'') => return Ok(()),
                Some(char) => text.push(char),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.next() {
                None => return Err(ExpandError::Quote("double")),
                Some('"') => return Ok(()),
                Some('$') => text.push_str(&self.dollar()?),
                Some(char) if char == self.escape => match self.next() {
                    None => return Err(ExpandError::Quote("double")),
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        text.push(next);
                    }
                    Some(next) => text.extend([char, next]),
                },
                Some(char) => text.push(char),
            }
            if text.len() > MAX_VALUE {
                return Err(ExpandError::TooLong { limit: MAX_VALUE });
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.is_empty() {
                true => "$".to_owned(),
                false => (self.value_of)(&name).unwrap_or_default(),
            });
        }
        self.at += 1;
        let name = self.name();
        if name.is_empty() {
            return Err(ExpandError::Syntax("bad substitution"));
        }
        let value = (self.value_of)(&name);
        match self.next() {
            None => Err(ExpandError::Syntax("missing '}'")),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let filled = value.filter(|value| !value.is_empty());
                let Some(modifier) = self.next() else {
                    return Err(ExpandError::Syntax("missing ':' in substitution"));
                };
                match self.default(&name, filled, modifier, true)? {
                    Some(text) => Ok(text),
                    None => Err(ExpandError::Modifier(format!(":{modifier}"))),
                }
            }
            Some(modifier @ ('#' | '%')) => self.cut(value.unwrap_or_default(), modifier),
            Some('/') => self.replace(value.unwrap_or_default()),
            Some(modifier) => match self.default(&name, value, modifier, false)? {
                Some(text) => Ok(text),
                None => Err(ExpandError::Modifier(modifier.to_string())),
            },
        }
    }

    /// `-`, `+`, `?` and the word after them; `None` for anything else.
    fn default(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: char,
        empty_counts: bool,
    ) -> Result<Option<String>, ExpandError> {
        if !matches!(modifier, '-' | '+' | '?') {
            return Ok(None);
        }
        let word = self.until(Some('}'))?;
        Ok(Some(match (modifier, value) {
            ('-', value) => value.unwrap_or(word),
            ('+', Some(_)) => word,
            ('+', None) => String::new(),
            (_, Some(value)) => value,
            (_, None) => {
                let why = match (word.is_empty(), empty_counts) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be empty".to_owned(),
                    (true, false) => "is not allowed to be unset".to_owned(),
                };
                return Err(ExpandError::Required { name: name.to_owned(), why });
            }
        }))
    }

    /// A pattern: up to `stop`, its backslashes kept.
    fn pattern(&mut self, stops: &[char]) -> Result<(Vec<char>, char), ExpandError> {
        let mut pattern = Vec::new();
        while let Some(char) = self.next() {
            if stops.contains(&char) {
                return Ok((pattern, char));
            }
            match char {
                '$' => pattern.extend(self.dollar()?.chars()),
                char if char == self.escape => {
                    pattern.push('\\');
                    pattern.extend(self.next());
                }
                char => pattern.push(char),
            }
        }
        Err(ExpandError::Syntax("missing '}'"))
    }

    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`.
    fn cut(&mut self, value: String, modifier: char) -> Result<String, ExpandError> {
        let greedy = self.peek() == Some(modifier);
        self.at += usize::from(greedy);
        let (pattern, _) = self.pattern(&['}'])?;
        let text = matched(&value)?;
        let fits = match modifier {
            '#' => shell_prefixes(&pattern, &text),
            _ => shell_suffixes(&pattern, &text),
        };
        let length = match greedy {
            true => fits.iter().rposition(|fits| *fits),
            false => fits.iter().position(|fits| *fits),
        };
        let length = length.unwrap_or(0);
        Ok(match modifier {
            '#' => text[length..].iter().collect(),
            _ => text[..text.len() - length].iter().collect(),
        })
    }

    /// `${v/p/r}`, `${v//p/r}`.
    fn replace(&mut self, value: String) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let (pattern, stop) = self.pattern(&['/', '}'])?;
        let replacement = if stop == '/' { self.until(Some('}'))? } else { String::new() };
        let text = matched(&value)?;
        let (mut out, mut at, mut done) = (String::new(), 0, pattern.is_empty());
        while at < text.len() {
            let longest = match done {
                true => None,
                false => shell_prefixes(&pattern, &text[at..]).iter().rposition(|fits| *fits),
            };
            match longest {
                Some(length) if length > 0 => {
                    out.push_str(&replacement);
                    at += length;
                    done = !all;
                }
                _ => {
                    out.push(text[at]);
                    at += 1;
                }
            }
            if out.len() > MAX_VALUE {
                return Err(ExpandError::TooLong { limit: MAX_VALUE });
            }
        }
        Ok(out)
    }

    /// Letters, digits and underscores; a digit or a special character alone is a name, too.
    fn name(&mut self) -> String {
        match self.peek() {
            Some(char) if char.is_ascii_digit() => {
                let start = self.at;
                while self.peek().is_some_and(|char| char.is_ascii_digit()) {
                    self.at += 1;
                }
                self.chars[start..self.at].iter().collect()
            }
            Some(char @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.at += 1;
                char.to_string()
            }
            _ => {
                let start = self.at;
                while self.peek().is_some_and(|char| char == '_' || char.is_ascii_alphanumeric()) {
                    self.at += 1;
                }
                self.chars[start..self.at].iter().collect()
            }
        }
    }
}

fn matched(value: &str) -> Result<Vec<char>, ExpandError> {
    let chars: Vec<char> = value.chars().collect();
    match chars.len() > MAX_MATCHED {
        true => Err(ExpandError::TooLong { limit: MAX_MATCHED }),
        false => Ok(chars),
    }
}
