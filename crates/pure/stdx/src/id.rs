//! Ids: 64 hexadecimal digits, shown as twelve.

/// 32 bytes (from a random source that is the caller's) as an id. An id that is all digits in its short form would be taken
/// for a number by tools, so such bytes must be drawn again: then this is `None`.
pub fn hex64(bytes: [u8; 32]) -> Option<String> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(64);
    for byte in bytes {
        text.push(char::from(HEX[usize::from(byte >> 4)]));
        text.push(char::from(HEX[usize::from(byte & 15)]));
    }
    if text[..12].bytes().all(|digit| digit.is_ascii_digit()) { None } else { Some(text) }
}

/// The first twelve characters, without an algorithm before a colon (docker/pkg `TruncateID`).
pub fn short(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short() {
        let id = hex64([0xab; 32]).unwrap();
        assert_eq!(id.len(), 64);
        assert_eq!(short(&id), "abababababab");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short("abc"), "abc");
        assert_eq!(hex64([0x12; 32]), None);
    }
}
