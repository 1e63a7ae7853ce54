//! Detach keys: the sequence that leaves a container running.

/// Ctrl-p, Ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// Reads `ctrl-p,ctrl-q` or `a,b`; the error is docker's.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] => Ok(*byte),
            [b'c', b't', b'r', b'l', b'-', byte] => match byte {
                b'a'..=b'z' => Ok(byte - b'a' + 1),
                b'@' => Ok(0),
                b'[' => Ok(27),
                b'\\' => Ok(28),
                b']' => Ok(29),
                b'^' => Ok(30),
                b'_' => Ok(31),
                _ => Err(format!("Unknown character: '{key}'")),
            },
            _ => Err(format!("Unknown character: '{key}'")),
        })
        .collect()
}

/// Watches what is typed. Every byte goes to the daemon as well, which holds the keys back from the container and detaches on its
/// side; here it is only noticed that it will.
#[derive(Debug)]
pub(crate) struct Watcher {
    keys: Vec<u8>,
    matched: usize,
}

impl Watcher {
    /// For the sequence `text`; the default for an empty one, or for one that cannot be read.
    pub(crate) fn new(text: &str) -> Self {
        let keys = match parse(text) {
            Ok(keys) if !text.is_empty() => keys,
            _ => DEFAULT.to_vec(),
        };
        Watcher { keys, matched: 0 }
    }

    /// True when the sequence was completed.
    pub(crate) fn typed(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(*byte == self.keys[0]);
            }
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        assert_eq!(parse("ctrl-p,ctrl-q").unwrap(), [16, 17]);
        assert_eq!(parse("a,ctrl-@,ctrl-_").unwrap(), [b'a', 0, 31]);
        assert_eq!(parse("ctrl-A").unwrap_err(), "Unknown character: 'ctrl-A'");
    }

    #[test]
    fn only_the_whole_sequence_detaches() {
        let mut keys = Watcher::new("");
        assert!(!keys.typed(&[16, 16]));
        assert!(keys.typed(&[17]));
        assert!(!keys.typed(&[16, b'x', 17]));
        assert!(Watcher::new("q").typed(b"hello q"));
    }
}
