//! The query of a request.

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// More are not read.
const MAX_PAIRS: usize = 64;

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(MAX_PAIRS);
        Query(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Undoes percent encoding and `+`. What is not well encoded stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = |offset: usize| {
            bytes.get(at + offset).and_then(|digit| char::from(*digit).to_digit(16))
        };
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes all that means something in a query.
pub(crate) fn encode(text: &str) -> String {
    ferry_stdx::percent::encode(text, b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = Query::parse("digest=sha256%3aab&x=a+b&scope=1&scope=2&bad=%z&flag");
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.get("x"), Some("a b"));
        assert_eq!(query.all("scope").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("bad"), Some("%z"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(decode(&encode("a b&c/ü")), "a b&c/ü");
    }
}
