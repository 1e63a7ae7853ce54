//! JSON as the daemon wrote it, with other white space: numbers, escapes and order stay as they are.

/// Indents by four spaces, as Go's `json.Indent`.
pub(crate) fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut pieces = Pieces(json.as_bytes(), json).peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            "{" | "[" => {
                out.push_str(piece);
                let closes = matches!(pieces.peek(), Some(&("}" | "]")));
                if !closes {
                    depth += 1;
                    line(&mut out, depth);
                } else if let Some(close) = pieces.next() {
                    out.push_str(close);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push_str(piece);
            }
            "," => {
                out.push(',');
                line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            other => out.push_str(other),
        }
    }
    out
}

/// Leaves white space out, as Go's `json.Compact`.
pub(crate) fn compact(json: &str) -> String {
    Pieces(json.as_bytes(), json).collect()
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

/// Brackets, commas, colons, strings, and everything else as it stands between them.
struct Pieces<'j>(&'j [u8], &'j str);

impl<'j> Iterator for Pieces<'j> {
    type Item = &'j str;

    fn next(&mut self) -> Option<&'j str> {
        let blanks = self.0.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.skip(blanks);
        let length = match self.0.first()? {
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            b'"' => string_length(self.0),
            _ => self.0.iter().take_while(|byte| !b"{}[],:\" \t\r\n".contains(byte)).count(),
        };
        let piece = self.1.get(..length)?;
        self.skip(length);
        Some(piece)
    }
}

impl Pieces<'_> {
    fn skip(&mut self, length: usize) {
        // Pieces end at ASCII characters only, which are boundaries of UTF-8.
        self.0 = self.0.get(length..).unwrap_or_default();
        self.1 = self.1.get(length..).unwrap_or_default();
    }
}

fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_changes_and_nothing_else() {
        let json = " {\"a\" : [1.50, {}, [ ] ,\"x\\\"{ \\u003c\"],\n \"b\":{\"c\":null}}\n";
        assert_eq!(
            indent(json),
            "{\n    \"a\": [\n        1.50,\n        {},\n        [],\n        \"x\\\"{ \\u003c\"\n    ],\n    \"b\": {\n        \"c\": null\n    }\n}"
        );
        assert_eq!(compact(json), "{\"a\":[1.50,{},[],\"x\\\"{ \\u003c\"],\"b\":{\"c\":null}}");
        for odd in ["", "[", "\"a", "}}}", "é[é", "\"é\\"] {
            indent(odd);
            compact(odd);
        }
    }
}
