//! `Range` of a request for a blob, and `Content-Range` of a piece of an upload.

/// What part of a blob is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: there was no range, or one that need not be honoured.
    All,
    /// From here, so many bytes.
    Part(u64, u64),
    /// None of it is there.
    Beyond,
}

/// Reads `Range: bytes=…` for content of `size` bytes. Several ranges at once are not honoured, which RFC 9110 allows.
pub(crate) fn wanted(text: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = text.and_then(|text| text.trim().strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.split_once('-').filter(|_| !spec.contains(',')) else {
        return Wanted::All;
    };
    match (number(first), number(last)) {
        (Some(first), _) if first >= size => Wanted::Beyond,
        (Some(first), Some(last)) if last < first => Wanted::All,
        (Some(first), Some(last)) => Wanted::Part(first, last.min(size - 1) - first + 1),
        (Some(first), None) if last.trim().is_empty() => Wanted::Part(first, size - first),
        (None, Some(0)) if first.trim().is_empty() => Wanted::Beyond,
        (None, Some(_)) if first.trim().is_empty() && size == 0 => Wanted::Beyond,
        (None, Some(count)) if first.trim().is_empty() => {
            let count = count.min(size);
            Wanted::Part(size - count, count)
        }
        _ => Wanted::All,
    }
}

/// Reads `Content-Range: <first>-<last>` of the distribution API, or `bytes <first>-<last>/…`; first and last.
pub(crate) fn piece(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let text = text.strip_prefix("bytes ").or_else(|| text.strip_prefix("bytes=")).unwrap_or(text);
    let (first, last) = text.split('/').next()?.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_blobs() {
        for (text, expected) in [
            ("bytes=0-3", Wanted::Part(0, 4)),
            ("bytes=3-", Wanted::Part(3, 7)),
            ("bytes=-3", Wanted::Part(7, 3)),
            ("bytes=-30", Wanted::Part(0, 10)),
            ("bytes=5-50", Wanted::Part(5, 5)),
            ("bytes=9-9", Wanted::Part(9, 1)),
            ("bytes=10-", Wanted::Beyond),
            ("bytes=-0", Wanted::Beyond),
            ("bytes=3-2", Wanted::All),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=x-1", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
        ] {
            assert_eq!(wanted(Some(text), 10), expected, "{text}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
        assert_eq!(wanted(Some("bytes=-1"), 0), Wanted::Beyond);
        assert_eq!(wanted(None, 10), Wanted::All);
    }

    #[test]
    fn ranges_of_pieces() {
        assert_eq!(piece("0-9"), Some((0, 9)));
        assert_eq!(piece("bytes 5-9/10"), Some((5, 9)));
        for bad in ["", "-", "9-0", "a-b", "5", "0x1-2", "-1-2"] {
            assert_eq!(piece(bad), None, "{bad}");
        }
    }
}
