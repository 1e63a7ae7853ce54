//! The page's own files, built from `desktop/` and checked in compressed: a Rust toolchain alone builds this crate.
//!
//! `cargo xtask desktop` builds them; the test below says when they are older than their sources.

use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use ring::digest::{Context, SHA256};

use crate::{
    guard::random,
    reply::{Reply, failure, reply, set},
};

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    /// gzip.
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            path: concat!("/", $name),
            kind: $kind,
            bytes: include_bytes!(concat!("../assets/", $name, ".gz")),
        }
    };
}

const ASSETS: [Asset; 7] = [
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("views.js", "text/javascript; charset=utf-8"),
    asset!("korean.js", "text/javascript; charset=utf-8"),
    asset!("terminal.js", "text/javascript; charset=utf-8"),
    asset!("terminal.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
];

/// The page, with `__NONCE__` where styles of the terminal are let in.
const PAGE: &str = include_str!("../assets/index.html");

/// The page's file at a path.
pub(crate) fn serve(path: &str, headers: &HeaderMap) -> Reply {
    if path == "/" {
        return page(headers);
    }
    let named = path.strip_prefix(contents());
    let plain = named.unwrap_or(path);
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == plain) else {
        return failure(404, "page not found", None);
    };
    let tag = format!("\"{}\"", &contents()[1..]);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let mut answer = if known {
        reply(StatusCode::NOT_MODIFIED, asset.kind, Bytes::new())
    } else {
        reply(StatusCode::OK, asset.kind, Bytes::from_static(asset.bytes))
    };
    // Every browser that can show the page takes gzip.
    set(&mut answer, header::CONTENT_ENCODING, "gzip");
    set(&mut answer, header::ETAG, &tag);
    // An address that names the contents holds for ever; another is asked about each time.
    let kept = "private, max-age=31536000, immutable";
    set(&mut answer, header::CACHE_CONTROL, if named.is_some() { kept } else { "no-cache" });
    answer
}

fn page(headers: &HeaderMap) -> Reply {
    let Ok(nonce) = random() else { return failure(500, "cannot get random bytes", None) };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let text = versioned().replace("__NONCE__", &nonce);
    let mut answer = reply(StatusCode::OK, "text/html; charset=utf-8", text);
    set(&mut answer, header::CONTENT_SECURITY_POLICY, &policy(host, &nonce));
    answer
}

/// The page with addresses of its files that name what they contain, so that a browser that has been here asks for none of them. It
/// is a folder, because files name each other by their place beside it.
fn versioned() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| PAGE.replace("\"./", &format!("\"{}/", contents())))
}

/// Scripts and styles of our own only, connections to ourselves only, and no text ever becomes HTML. The nonce is for the style
/// elements that xterm.js makes.
fn policy(host: &str, nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; \
         connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// `/` and the digest of all files.
fn contents() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let mut all = Context::new(&SHA256);
        ASSETS.iter().for_each(|asset| all.update(asset.bytes));
        format!("/{}", URL_SAFE_NO_PAD.encode(all.finish()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::digest::digest;
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// What the assets are made of, in the order that `desktop/build.mjs` reads it.
    fn sources(root: &Path) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            ["build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json"]
                .iter()
                .map(|name| root.join(name))
                .collect();
        let mut folders = vec![root.join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        // As JavaScript sorts: by the text, not by the parts of the path.
        found.sort_by_key(|path| path.to_string_lossy().into_owned());
        found
    }

    #[test]
    fn the_assets_are_those_of_the_sources() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.join("../../../desktop").canonicalize().unwrap();
        let mut text = String::new();
        for path in sources(&root) {
            let hash = digest(&SHA256, &fs::read(&path).unwrap());
            let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{hex}  {}\n", path.strip_prefix(&root).unwrap().display());
        }
        let built = fs::read_to_string(own.join("assets/sources.sha256")).unwrap();
        assert_eq!(built, text, "the assets are older than desktop/: run `cargo xtask desktop`");
    }

    #[test]
    fn what_is_named_by_its_contents_is_kept() {
        let page = versioned();
        let end = page.find("/app.js\"").unwrap();
        let folder = page[..end].rsplit('"').next().unwrap();
        let answer = |path: &str| serve(path, &HeaderMap::new());
        let kept =
            |path: &str| answer(path).headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned();
        // What the script loads later lies beside it.
        for name in ["/app.js", "/views.js", "/terminal.css"] {
            assert!(kept(&format!("{folder}{name}")).contains("immutable"));
            assert_eq!(kept(name), "no-cache");
        }
        assert_eq!(answer("/of-another-build/app.js").status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_page_is_small() {
        let terminal = |asset: &&Asset| !asset.path.starts_with("/terminal");
        let size: usize = ASSETS.iter().filter(terminal).map(|asset| asset.bytes.len()).sum();
        assert!(size + PAGE.len() <= 300 << 10, "{size} bytes");
    }

    #[test]
    fn nothing_of_the_page_is_inline_or_elsewhere() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://"), "{PAGE}");
        assert!(!PAGE.contains("<style") && !PAGE.contains("javascript:"), "{PAGE}");
        assert!(PAGE.contains("__NONCE__"));
    }
}
