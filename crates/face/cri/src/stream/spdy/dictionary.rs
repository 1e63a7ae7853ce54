//! The dictionary of SPDY/3's header compression: words that headers are made of (section 2.6.10.1 of the draft).

/// Words with their lengths in front.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows them, without lengths.
const TAIL: &str = concat!(
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 ",
    "Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 ",
    "Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar",
    " Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/ht",
    "ml,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,pu",
    "blicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.",
);

/// The whole.
pub(super) fn dictionary() -> Vec<u8> {
    let mut whole = Vec::with_capacity(1423);
    for word in WORDS {
        whole.extend_from_slice(&u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
        whole.extend_from_slice(word.as_bytes());
    }
    whole.extend_from_slice(TAIL.as_bytes());
    whole
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_that_everybody_has() {
        let all = super::dictionary();
        // Its checksum is in the first bytes of every compressed header (the draft's 0xe3c6a7c2).
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &all {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!((all.len(), (b << 16) | a), (1423, 0xe3c6a7c2));
    }
}
