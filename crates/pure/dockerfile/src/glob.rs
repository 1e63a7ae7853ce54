//! Shell patterns: those of `${v#pattern}`, and Go's `filepath.Match` for `COPY *.txt`.

/// Which beginnings of a text a shell pattern (`*`, `?`, a backslash before a character) matches, by their length.
pub(crate) fn shell_prefixes(pattern: &[char], text: &[char]) -> Vec<bool> {
    prefixes(&shell_tokens(pattern), text)
}

/// Which ends of a text a shell pattern matches, by their length.
pub(crate) fn shell_suffixes(pattern: &[char], text: &[char]) -> Vec<bool> {
    let mut tokens = shell_tokens(pattern);
    tokens.reverse();
    let reversed: Vec<char> = text.iter().rev().copied().collect();
    prefixes(&tokens, &reversed)
}

fn prefixes(tokens: &[Token], text: &[char]) -> Vec<bool> {
    // One row of a table: whether the tokens so far match the first n characters.
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        if *token == Token::Any {
            let mut seen = false;
            for (at, reached) in row.iter().enumerate() {
                seen |= reached;
                next[at] = seen;
            }
        } else {
            for (at, char) in text.iter().enumerate() {
                next[at + 1] = row[at] && (*token == Token::One || *token == Token::Is(*char));
            }
        }
        row = next;
    }
    row
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Any,
    One,
    Is(char),
}

fn shell_tokens(pattern: &[char]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut chars = pattern.iter();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Is(*chars.next().unwrap_or(&'\\')),
            other => Token::Is(*other),
        });
    }
    tokens
}

/// Go's `filepath.Match`: `*` and `?` within one path component, `[a-z]`, `[^a]`, and a backslash before a character. A pattern
/// that is not one is `None`.
pub fn path_matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let tokens = path_tokens(&pattern)?;
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for token in &tokens {
        let mut next = vec![false; text.len() + 1];
        if let PathToken::Any = token {
            let mut seen = false;
            for at in 0..=text.len() {
                // A star that began before a slash does not go over it.
                seen = row[at] || seen && text.get(at.wrapping_sub(1)) != Some(&'/');
                next[at] = seen;
            }
        } else {
            for (at, char) in text.iter().enumerate() {
                next[at + 1] = row[at] && token.fits(*char);
            }
        }
        row = next;
    }
    Some(row.last().copied().unwrap_or(false))
}

enum PathToken {
    Any,
    One,
    Is(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl PathToken {
    fn fits(&self, char: char) -> bool {
        match self {
            PathToken::Any => false,
            PathToken::One => char != '/',
            PathToken::Is(wanted) => *wanted == char,
            PathToken::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&char));
                inside != *negated && char != '/'
            }
        }
    }
}

fn path_tokens(pattern: &[char]) -> Option<Vec<PathToken>> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut at = 0;
    while let Some(char) = pattern.get(at) {
        at += 1;
        tokens.push(match char {
            '*' => PathToken::Any,
            '?' => PathToken::One,
            '\\' => {
                at += 1;
                PathToken::Is(*pattern.get(at - 1)?)
            }
            '[' => class(pattern, &mut at)?,
            other => PathToken::Is(*other),
        });
    }
    Some(tokens)
}

fn class(pattern: &[char], at: &mut usize) -> Option<PathToken> {
    let negated = pattern.get(*at) == Some(&'^');
    *at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if pattern.get(*at) == Some(&']') && !ranges.is_empty() {
            *at += 1;
            return Some(PathToken::Class { negated, ranges });
        }
        let low = class_char(pattern, at)?;
        let high = match pattern.get(*at) {
            Some('-') => {
                *at += 1;
                class_char(pattern, at)?
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

fn class_char(pattern: &[char], at: &mut usize) -> Option<char> {
    let char = *pattern.get(*at)?;
    *at += 1;
    match char {
        '-' | ']' => None,
        '\\' => {
            *at += 1;
            pattern.get(*at - 1).copied()
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_gos() {
        for (pattern, text, wanted) in [
            ("*.txt", "a.txt", Some(true)),
            ("*.txt", "d/a.txt", Some(false)),
            ("a*b*c", "axxbyyc", Some(true)),
            ("h?t", "hot", Some(true)),
            ("h?t", "h/t", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("\\*", "*", Some(true)),
            ("[", "a", None),
            ("[]", "a", None),
            ("a\\", "a", None),
            ("*/b", "a/b", Some(true)),
            ("*", "", Some(true)),
        ] {
            assert_eq!(path_matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn shell_patterns_do_not_care_for_slashes() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(shell_prefixes(&chars("*/"), &chars("a/b/")), [false, false, true, false, true]);
        assert_eq!(shell_suffixes(&chars(".?"), &chars("a.b")), [false, false, true, false]);
        assert_eq!(shell_prefixes(&chars("\\*"), &chars("*")), [false, true]);
    }
}
