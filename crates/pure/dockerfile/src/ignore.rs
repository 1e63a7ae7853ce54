//! `.dockerignore`: which paths of a context stay at home.

use ferry_errkind::{ErrorKind, Kinded};

/// Longest file that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Most patterns in it.
const MAX_PATTERNS: usize = 10_000;

/// The patterns of a `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

/// Why a `.dockerignore` does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreError {
    /// It is too long.
    #[error("the ignore file has more than {MAX_FILE} bytes or {MAX_PATTERNS} patterns")]
    TooLong,
    /// An exclamation mark alone.
    #[error("illegal exclusion pattern: \"!\"")]
    Lonely,
    /// A bracket is not closed, or a backslash ends a pattern.
    #[error("syntax error in pattern {0:?}")]
    Pattern(String),
}

impl Kinded for IgnoreError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

#[derive(Debug, Clone)]
struct Pattern {
    exception: bool,
    tokens: Vec<Token>,
    /// What every path that matches starts with.
    start: String,
    /// What every path that matches has in it: nearly all others are told apart by that.
    part: String,
}

#[derive(Debug, Clone)]
enum Token {
    /// `**/`: nothing, or directories.
    Directories,
    /// `**` at the end.
    All,
    /// `*`.
    Any,
    /// `?`.
    One,
    Is(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl IgnoreFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A pattern that is none, or too much of it.
    pub fn parse(text: &str) -> Result<IgnoreFile, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_FILE {
            return Err(IgnoreError::TooLong);
        }
        let mut patterns = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            patterns.push(Pattern::parse(line)?);
            if patterns.len() > MAX_PATTERNS {
                return Err(IgnoreError::TooLong);
            }
        }
        Ok(IgnoreFile { patterns })
    }

    /// Patterns from a list, such as those of `COPY --exclude`.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn of(patterns: &[String]) -> Result<IgnoreFile, IgnoreError> {
        let patterns = patterns.iter().map(|pattern| Pattern::parse(pattern.trim()));
        Ok(IgnoreFile { patterns: patterns.collect::<Result<_, _>>()? })
    }

    /// Whether a path, relative and with slashes, is left out: the last pattern that matches it, or a directory that it is in,
    /// decides.
    pub fn ignores(&self, path: &str) -> bool {
        let mut chars: Vec<char> = Vec::new();
        let mut ignored = false;
        for pattern in &self.patterns {
            // What has nothing to change need not be looked at.
            if pattern.exception != ignored || !pattern.may_match(path) {
                continue;
            }
            if chars.is_empty() {
                chars = path.chars().collect();
            }
            if pattern.matches_it_or_parent(&chars) {
                ignored = !pattern.exception;
            }
        }
        ignored
    }

    /// Whether something below a directory that is left out may still be let in.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Pattern, IgnoreError> {
        let (exception, text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err(IgnoreError::Lonely);
        }
        let clean = clean(text);
        let tokens = tokens(&clean.chars().collect::<Vec<_>>());
        let tokens = tokens.ok_or_else(|| IgnoreError::Pattern(text.to_owned()))?;
        let (start, part) = literals(&tokens);
        Ok(Pattern { exception, tokens, start, part })
    }

    fn may_match(&self, path: &str) -> bool {
        path.starts_with(&self.start) && path.contains(&self.part)
    }

    /// One pass over the path tells about all its parents, too.
    fn matches_it_or_parent(&self, path: &[char]) -> bool {
        let mut row = vec![false; path.len() + 1];
        row[0] = true;
        for token in &self.tokens {
            let mut next = vec![false; path.len() + 1];
            let mut seen = false;
            for at in 0..=path.len() {
                let before = at.checked_sub(1).and_then(|before| path.get(before)).copied();
                next[at] = match token {
                    Token::Directories => {
                        seen |= row[at];
                        row[at] || seen && before == Some('/')
                    }
                    Token::All => {
                        seen |= row[at];
                        seen
                    }
                    Token::Any => {
                        seen = row[at] || seen && before != Some('/');
                        seen
                    }
                    one => before.is_some_and(|char| row[at - 1] && one.fits(char)),
                };
            }
            row = next;
        }
        (0..=path.len()).any(|at| row[at] && at > 0 && (at == path.len() || path[at] == '/'))
    }
}

impl Token {
    fn fits(&self, char: char) -> bool {
        match self {
            Token::One => char != '/',
            Token::Is(wanted) => *wanted == char,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
            }
            Token::Directories | Token::All | Token::Any => false,
        }
    }
}

/// Without `.`, double slashes, a slash at either end, and as much of `..` as goes away.
fn clean(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if text.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

fn tokens(pattern: &[char]) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(char) = pattern.get(at) {
        at += 1;
        tokens.push(match char {
            '*' if pattern.get(at) == Some(&'*') => {
                at += 1;
                at += usize::from(pattern.get(at) == Some(&'/'));
                if at >= pattern.len() { Token::All } else { Token::Directories }
            }
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => {
                at += 1;
                Token::Is(*pattern.get(at - 1)?)
            }
            '[' => {
                let length = pattern[at..].iter().position(|char| *char == ']')?;
                let inside = &pattern[at..at + length];
                at += length + 1;
                class(inside)?
            }
            other => Token::Is(*other),
        });
    }
    Some(tokens)
}

/// The characters that a pattern begins with, and the longest run of them in it.
fn literals(tokens: &[Token]) -> (String, String) {
    let runs = tokens.split(|token| !matches!(token, Token::Is(_))).map(|run| {
        let chars = run.iter().filter_map(|token| match token {
            Token::Is(char) => Some(*char),
            _ => None,
        });
        chars.collect::<String>()
    });
    let runs: Vec<String> = runs.collect();
    let start = runs.first().cloned().unwrap_or_default();
    (start, runs.into_iter().max_by_key(String::len).unwrap_or_default())
}

fn class(inside: &[char]) -> Option<Token> {
    let negated = inside.first() == Some(&'^');
    let inside = &inside[usize::from(negated)..];
    let (mut ranges, mut at) = (Vec::new(), 0);
    while let Some(low) = inside.get(at) {
        let high = match inside.get(at + 1) {
            Some('-') => {
                at += 2;
                inside.get(at)?
            }
            _ => low,
        };
        ranges.push((*low, *high));
        at += 1;
    }
    (!ranges.is_empty()).then_some(Token::Class { negated, ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_decides() {
        let file =
            "# comment\n*.md\n!README*.md\nREADME-secret.md\n/build\n**/*.o\ntemp?\na/**/z\n";
        let file = IgnoreFile::parse(file).unwrap();
        for (path, ignored) in [
            ("x.md", true),
            ("d/x.md", false),
            ("README.md", false),
            ("README-secret.md", true),
            ("build", true),
            ("build/deep/file", true),
            ("src/build", false),
            ("a.o", true),
            ("a/b/c.o", true),
            ("tempa", true),
            ("temp", false),
            ("a/z", true),
            ("a/b/c/z/y", true),
            ("a/zz", false),
        ] {
            assert_eq!(file.ignores(path), ignored, "{path}");
        }
        assert!(file.has_exceptions());
    }

    #[test]
    fn everything_but() {
        let file = IgnoreFile::parse("*\n!src\n!package.json\nsrc/**/*.log\n").unwrap();
        assert!(file.ignores("x") && file.ignores("x/y"));
        assert!(!file.ignores("src") && !file.ignores("src/a.js") && !file.ignores("package.json"));
        assert!(file.ignores("src/d/a.log"));
        assert!(IgnoreFile::parse("**\n!a").unwrap().ignores("b/c"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(IgnoreFile::parse("!").unwrap_err(), IgnoreError::Lonely);
        assert!(IgnoreFile::parse("[a").is_err());
        assert!(IgnoreFile::parse("a\\").is_err());
    }
}
