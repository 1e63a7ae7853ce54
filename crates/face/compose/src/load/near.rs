//! Words that somebody may have meant.

/// The name that differs least, if it does not differ much.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (distance(known, name), known)).min_by_key(|(far, _)| *far)?;
    (near.0 <= 2.min(name.chars().count() / 2)).then_some(near.1)
}

/// What is asked of whoever wrote another.
pub(super) fn hint(near: &str) -> String {
    format!("did you mean {near:?}?")
}

/// How many letters must change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let new = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = new;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_named() {
        let near = |name| nearest(name, ["always", "no", "on-failure"].into_iter());
        assert_eq!(near("allways"), Some("always"));
        assert_eq!(near("on_failure"), Some("on-failure"));
        assert_eq!((near("never"), near("x")), (None, None));
    }
}
