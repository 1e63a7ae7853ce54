//! Figures and lines as a terminal shows them.

/// A size in powers of 1024: `1.5MiB`, four digits at most.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1023.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.95 {
        format!("{value:.0}{}", units[unit])
    } else {
        format!("{value:.1}{}", units[unit])
    }
}

/// A line of a container without what would move the cursor, change colours or ring the bell of our terminal.
pub(crate) fn plain(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            '\t' => shown.push_str("    "),
            letter if letter.is_control() => {}
            letter => shown.push(letter),
        }
    }
    shown
}

fn skip_sequence(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match letters.next() {
        // CSI: up to a letter or one of `@[\]^_{|}~` and the backtick.
        Some('[') => while letters.next().is_some_and(|letter| !('@'..='~').contains(&letter)) {},
        // OSC: up to BEL or ESC \.
        Some(']') => {
            while let Some(letter) = letters.next() {
                if letter == '\u{7}' {
                    return;
                }
                if letter == '\u{1b}' {
                    letters.next_if_eq(&'\\');
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5KiB"),
            (104_857_600, "100MiB"),
            (1 << 40, "1.0TiB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn control_sequences_go() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\tx\r"), "red    x");
        assert_eq!(plain("a\u{1b}]0;title\u{7}b\u{1b}]8;;x\u{1b}\\c\u{7}"), "abc");
        assert_eq!(plain("cut \u{1b}[3"), "cut ");
    }
}
