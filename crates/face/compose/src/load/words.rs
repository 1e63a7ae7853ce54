//! Command lines that are written as one string: split as a POSIX shell splits words, without expansion.

/// Splits; `Err` says what is not closed.
pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("EOF found when expecting closing quote"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => {
                                word.push('\\');
                                word.push(c);
                            }
                            None => return Err("EOF found when expecting closing quote"),
                        },
                        Some(c) => word.push(c),
                        None => return Err("EOF found when expecting closing quote"),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("EOF found after escape character"),
            },
            '#' if word.is_none() => while chars.next().is_some_and(|c| c != '\n') {},
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_a_shells() {
        assert_eq!(
            split("sh -c 'echo \"a b\"; x' \"c \\\" d\" e\\ f ''").unwrap(),
            ["sh", "-c", "echo \"a b\"; x", "c \" d", "e f", ""]
        );
        assert!(split("a 'b").is_err());
        assert!(split("").unwrap().is_empty());
    }
}
