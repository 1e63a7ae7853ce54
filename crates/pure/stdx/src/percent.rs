//! Percent encoding, as RFC 3986 (section 2.1) has it.

/// Encodes every byte that is neither unreserved (section 2.3: letters, digits, `-`, `.`, `_`, `~`) nor in `also`. With an empty
/// `also` the result stands for `text` anywhere in a URL.
pub fn encode(text: &str, also: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || also.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_encoded() {
        assert_eq!(encode("repository:a/b:pull x&", b""), "repository%3Aa%2Fb%3Apull%20x%26");
        assert_eq!(encode("a b&c/ü", b"/"), "a%20b%26c/%C3%BC");
        assert_eq!(encode("1:2+b~x.y-z_0", b":"), "1:2%2Bb~x.y-z_0");
        assert_eq!(encode("../?#%", b""), "..%2F%3F%23%25");
    }
}
