//! `--chmod`: an octal number, or `u=rwX,go-w` as chmod(1) reads it.

/// A change of modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMode {
    /// The mode itself.
    Octal(u32),
    /// Changes, one after the other.
    Symbolic(Vec<Clause>),
}

/// One change: for whom, how, what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// Bits of those it is for.
    who: u32,
    /// `+`, `-` or `=`.
    how: char,
    /// Bits, for everybody.
    bits: u32,
    /// `X`: may be executed if it is a directory or somebody may already.
    conditional: bool,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o1007;

impl FileMode {
    /// Reads a mode.
    pub fn parse(text: &str) -> Option<FileMode> {
        if text.starts_with(|char: char| char.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(FileMode::Octal);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            clause(part, &mut clauses)?;
        }
        Some(FileMode::Symbolic(clauses))
    }

    /// The mode of something that had `mode`.
    pub fn apply(&self, mode: u32, directory: bool) -> u32 {
        let clauses = match self {
            FileMode::Octal(mode) => return *mode,
            FileMode::Symbolic(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let mut bits = clause.bits;
            if clause.conditional && (directory || mode & 0o111 != 0) {
                bits |= 0o111;
            }
            let bits = bits & clause.who;
            match clause.how {
                '+' => mode | bits,
                '-' => mode & !bits,
                // A directory's set-id bits stay unless they are named, as chmod(1) has it.
                _ => {
                    mode & !(clause.who & 0o777
                        | clause.who & 0o7000 & !if directory { 0o6000 } else { 0 })
                        | bits
                }
            }
        })
    }
}

fn clause(part: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let at = part.find(['+', '-', '='])?;
    let (whom, mut rest) = part.split_at(at);
    let mut who = 0;
    for char in whom.chars() {
        who |= match char {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => USER | GROUP | OTHER,
            _ => return None,
        };
    }
    if whom.is_empty() {
        who = USER | GROUP | OTHER;
    }
    while !rest.is_empty() {
        let how = rest.chars().next().filter(|char| "+-=".contains(*char))?;
        rest = &rest[1..];
        let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
        let (mut bits, mut conditional) = (0, false);
        for char in rest[..end].chars() {
            match char {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                's' => bits |= 0o6000,
                't' => bits |= 0o1000,
                'X' => conditional = true,
                _ => return None,
            }
        }
        clauses.push(Clause { who, how, bits, conditional });
        rest = &rest[end..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_applied() {
        for (text, mode, directory, outcome) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, true, 0o644),
            ("u+x", 0o644, false, 0o744),
            ("a=rX", 0o644, false, 0o444),
            ("a=rX", 0o744, false, 0o555),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("go-w,+t", 0o777, false, 0o1755),
            ("+x", 0o600, false, 0o711),
            ("u+s", 0o755, false, 0o4755),
        ] {
            let read = FileMode::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.apply(mode, directory), outcome, "{text} {mode:o}");
        }
        for bad in ["", "u", "99", "77777", "z+x", "u+q", "u=rw,,"] {
            assert_eq!(FileMode::parse(bad), None, "{bad}");
        }
    }
}
