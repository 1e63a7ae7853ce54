//! Detach keys: the sequence (`ctrl-p,ctrl-q` unless changed) with which somebody at a terminal leaves without ending anything.

use ferry_errkind::{ErrorKind, Failure};

/// `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [16, 17];

/// Watches what is typed for the detach keys.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What to do after a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    /// Pass on these bytes: all of the input, or what is left of it without a sequence that may still become the keys.
    Pass(std::borrow::Cow<'a, [u8]>),
    /// Pass on these bytes, then leave.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// Reads Docker's notation; empty is the default.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if text.is_empty() {
            return Ok(DetachKeys { keys: DEFAULT.to_vec(), matched: 0 });
        }
        let keys = text.split(',').map(key_code).collect::<Option<Vec<u8>>>().ok_or_else(|| {
            let words = format!("Invalid escape keys ({text}) provided");
            Failure::new(ErrorKind::InvalidArgument, words)
        })?;
        Ok(DetachKeys { keys, matched: 0 })
    }

    /// Takes a piece of input. A beginning of the sequence is held back until it is clear what it is, as Docker does.
    pub(crate) fn typed<'a>(&mut self, input: &'a [u8]) -> Typed<'a> {
        if self.matched == 0 && !input.contains(&self.keys[0]) {
            return Typed::Pass(input.into());
        }
        let mut pass = Vec::with_capacity(input.len() + self.keys.len());
        for &byte in input {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return Typed::Detach(pass);
                }
                continue;
            }
            // Docker does not look whether this byte begins the sequence anew.
            pass.extend_from_slice(&self.keys[..self.matched]);
            pass.push(byte);
            self.matched = 0;
        }
        Typed::Pass(pass.into())
    }
}

/// `a`, `ctrl-a`, `ctrl-@`, `DEL`.
fn key_code(key: &str) -> Option<u8> {
    match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
        ([byte], _) => Some(*byte),
        (_, Some(&[letter @ b'a'..=b'z'])) => Some(letter - b'a' + 1),
        (_, Some(&[b'@'])) => Some(0),
        (_, Some(&[sign @ (b'[' | b'\\' | b']' | b'^' | b'_')])) => Some(sign - b'@'),
        (b"DEL", _) => Some(127),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types the pieces one after another; `!` at the end is a detach.
    fn check(keys: &str, pieces: &[&str], expected: &str) {
        let mut keys = DetachKeys::parse(keys).expect("valid keys");
        let mut seen = Vec::new();
        for piece in pieces {
            match keys.typed(piece.as_bytes()) {
                Typed::Pass(bytes) => seen.extend_from_slice(&bytes),
                Typed::Detach(bytes) => {
                    seen.extend_from_slice(&bytes);
                    seen.push(b'!');
                    break;
                }
            }
        }
        assert_eq!(String::from_utf8_lossy(&seen), expected, "{pieces:?}");
    }

    #[test]
    fn the_sequence_detaches_wherever_it_is_cut() {
        check("", &["ab\x10\x11c"], "ab!");
        check("", &["ab\x10", "\x11c"], "ab!");
        check("", &["ab\x10", "c"], "ab\x10c");
        check("", &["\x11\x10x\x10", "\x10\x11"], "\x11\x10x\x10\x10\x11");
        check("ctrl-a", &["x\x01y"], "x!");
        check("a,b,c", &["aab", "c"], "aabc");
        check("a,b,c", &["xab", "c"], "x!");
    }

    #[test]
    fn keys_are_spelled_as_in_docker() {
        let codes = |text| DetachKeys::parse(text).map(|keys| keys.keys);
        assert_eq!(
            codes("ctrl-@,ctrl-a,ctrl-z,ctrl-[,ctrl-_,DEL,q"),
            Ok(vec![0, 1, 26, 27, 31, 127, b'q'])
        );
        let failure = codes("ctrl-,x").expect_err("no key");
        assert_eq!(failure.message(), "Invalid escape keys (ctrl-,x) provided");
        assert!(codes("ctrl-aa").is_err() && codes(",").is_err());
    }
}
