//! How much a registry still gives.

use http::HeaderMap;

/// How much a registry still gives, as Docker Hub says it with manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Manifests in all.
    pub limit: u64,
    /// Manifests that are left.
    pub remaining: u64,
    /// For so many seconds, if it says that.
    pub window: Option<u64>,
}

impl Quota {
    /// `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`.
    pub(super) fn of(headers: &HeaderMap) -> Option<Quota> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number =
            |text: &str| text.split(';').next().and_then(|first| first.trim().parse().ok());
        let limit = text("ratelimit-limit")?;
        let window = limit.split(';').find_map(|part| part.trim().strip_prefix("w="));
        Some(Quota {
            limit: number(limit)?,
            remaining: number(text("ratelimit-remaining")?)?,
            window: window.and_then(|window| window.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let of = |limit: &'static str, remaining: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-limit", http::HeaderValue::from_static(limit));
            headers.insert("ratelimit-remaining", http::HeaderValue::from_static(remaining));
            Quota::of(&headers)
        };
        let hub = Quota { limit: 100, remaining: 76, window: Some(21600) };
        assert_eq!(of("100;w=21600", "76;w=21600"), Some(hub));
        assert_eq!(of("5", "5"), Some(Quota { limit: 5, remaining: 5, window: None }));
        assert_eq!(of("many", "5"), None);
        assert_eq!(Quota::of(&HeaderMap::new()), None);
    }
}
