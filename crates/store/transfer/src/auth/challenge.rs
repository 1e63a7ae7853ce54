//! `WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants to see.

/// Longest header that is read.
const MAX_HEADER: usize = 16 << 10;
/// Most challenges in a header, and parameters in a challenge.
const MAX_ITEMS: usize = 32;

/// One way to prove who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `bearer`, `basic`, …; lower case.
    pub scheme: String,
    /// Its parameters; names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a header. What does not read is left out: a registry that sends nonsense gets an anonymous request, never a
/// crash. Headers without the commas that the standard wants are read all the same.
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    if header.len() > MAX_HEADER {
        return challenges;
    }
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            // Neither a scheme nor a parameter: step over one character.
            let mut characters = rest.chars();
            if characters.next().is_none() {
                return challenges;
            }
            rest = characters.as_str();
            continue;
        }
        rest = after;
        let Some(value) = after.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            if challenges.len() == MAX_ITEMS {
                return challenges;
            }
            challenges
                .push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            continue;
        };
        let (value, after) = parameter_value(value.trim_start_matches([' ', '\t']));
        rest = after;
        if let Some(challenge) = challenges.last_mut()
            && challenge.parameters.len() < MAX_ITEMS
        {
            challenge.parameters.push((word.to_ascii_lowercase(), value));
        }
    }
}

/// A token and what follows it.
fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A quoted string or a bare word. A bare word may hold more than a token may: registries send URLs without quotes.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Challenge { scheme: scheme.into(), parameters: parameters.iter().map(owned).collect() }
    }

    #[test]
    fn what_registries_send() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                vec![challenge(
                    "bearer",
                    &[
                        ("realm", "https://auth.docker.io/token"),
                        ("service", "registry.docker.io"),
                        ("scope", "repository:a/b:pull,push"),
                    ],
                )],
            ),
            ("Basic", vec![challenge("basic", &[])]),
            (
                r#"Negotiate, BASIC Realm="a \"b\"" , Bearer realm=https://h/t"#,
                vec![
                    challenge("negotiate", &[]),
                    challenge("basic", &[("realm", "a \"b\"")]),
                    challenge("bearer", &[("realm", "https://h/t")]),
                ],
            ),
            (r#"Bearer realm="open"#, vec![challenge("bearer", &[("realm", "open")])]),
        ] {
            assert_eq!(parse_challenges(header), expected, "{header}");
        }
    }

    #[test]
    fn nonsense_is_harmless() {
        for header in
            ["", ",,,", "=", "=x", "\"", "é=\"\\", "a=", "Bearer realm=\"\\", "\u{0}\u{fe}"]
        {
            parse_challenges(header);
        }
        assert!(parse_challenges(&"x ".repeat(100)).len() <= MAX_ITEMS);
        assert!(parse_challenges(&"x".repeat(MAX_HEADER + 1)).is_empty());
    }
}
