//! The query string, read as Go's `url.ParseQuery` and Docker's `httputils` read it.

use ferry_docker_api::Filters;
use ferry_errkind::{ErrorKind, Failure};

/// Parameters in the order in which they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string; `None` is empty.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let read = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name, true), percent_decode(value, true))
        };
        Query(pairs.map(read).collect())
    }

    /// The first value; empty when it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }

    /// The first value when it is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.find(name).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// All values.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// Docker's idea of a flag: anything but empty, `0`, `no`, `false` and `none` is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.get(name).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// As [`Query::flag`], but `default` when the parameter is not there at all.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.find(name).is_some() { self.flag(name) } else { default }
    }

    /// An integer; `None` when it is not there.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let words = format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
            Failure::new(ErrorKind::InvalidArgument, words)
        })
    }

    /// The `filters` parameter, refused when a name is not among `accepted`.
    pub(crate) fn filters(&self, accepted: &[&str]) -> Result<Filters, Failure> {
        let invalid = |words: String| Failure::new(ErrorKind::InvalidArgument, words);
        let filters =
            Filters::parse(self.get("filters")).map_err(|error| invalid(error.to_string()))?;
        match filters.0.keys().find(|name| !accepted.contains(&name.as_str())) {
            Some(unknown) => Err(invalid(format!("invalid filter '{unknown}'"))),
            None => Ok(filters),
        }
    }

    /// Sets a parameter, in place of what it was.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Removes a parameter.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Decodes `%41`, and `+` as a space in queries. What does not decode stays as it is.
pub(crate) fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| hex_pair(bytes.get(at + 1..at + 3)?)).flatten();
        match escaped {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into())
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let [high, low] = pair else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_dockers() {
        let query = Query::parse(Some("a=1&b=true&c=0&d=None&e=&f&g=yes&h=%20No%20"));
        let on: Vec<&str> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"]
            .into_iter()
            .filter(|name| query.flag(name))
            .collect();
        assert_eq!(on, ["a", "b", "g"]);
        assert!(query.flag_or("zz", true));
        assert!(!query.flag_or("c", true));
    }

    #[test]
    fn values_decode() {
        let query = Query::parse(Some("n=a%2Fb+c&n=%zz%4&x=%c3%a9"));
        assert_eq!(query.all("n"), ["a/b c", "%zz%4"]);
        assert_eq!(query.get("x"), "é");
        assert_eq!(percent_decode("a+b%", false), "a+b%");
    }

    #[test]
    fn unknown_filters_are_refused() {
        let query = Query::parse(Some("filters=%7B%22foo%22%3A%5B%22x%22%5D%7D"));
        let failure = query.filters(&["id"]).expect_err("unknown");
        assert_eq!(failure.message(), "invalid filter 'foo'");
        assert_eq!(
            Query::parse(Some("filters=xx")).filters(&[]).expect_err("no JSON").message(),
            "invalid filter"
        );
    }
}
