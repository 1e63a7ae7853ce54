//! What a word that is unknown may have been meant to be.

/// Letters by which a word may be off.
const FAR: usize = 3;

/// The nearest of `options`, for the end of a message: empty where none is near. Case does not matter, and is that of `word`.
pub fn suggestion(word: &str, options: &[&str]) -> String {
    let lower = word.to_lowercase();
    let mut nearest = (FAR, "");
    for option in options {
        let far = distance(&lower, &option.to_lowercase());
        if far == 0 {
            return String::new();
        }
        if far < nearest.0 {
            nearest = (far, option);
        }
    }
    match nearest.1 {
        "" => String::new(),
        option if word == lower => format!(" (did you mean {}?)", option.to_lowercase()),
        option if word == word.to_uppercase() => {
            format!(" (did you mean {}?)", option.to_uppercase())
        }
        option => format!(" (did you mean {option}?)"),
    }
}

/// How many letters have to be changed, put in or taken out. Long words have nothing near them.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().abs_diff(other.len()) >= FAR || one.len() > 200 {
        return FAR;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, char) in one.iter().enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for (column, wanted) in other.iter().enumerate() {
            let changed = before + usize::from(char != wanted);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        let known = ["FROM", "RUN", "COPY", "ENTRYPOINT"];
        for (word, said) in [
            ("FOO", " (did you mean FROM?)"),
            ("frm", " (did you mean from?)"),
            ("ENTRYPOIN", " (did you mean ENTRYPOINT?)"),
            ("Cpy", " (did you mean COPY?)"),
            ("COPY", ""),
            ("SOMETHING", ""),
            ("", ""),
        ] {
            assert_eq!(suggestion(word, &known), said, "{word}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("abc", "acb"), 2);
    }
}
