//! HTML: text is escaped unless it is said to be HTML.

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn new() -> Text {
        Text::default()
    }

    /// Adds HTML of our own.
    pub(super) fn raw(&mut self, html: &'static str) -> &mut Text {
        self.0.push_str(html);
        self
    }

    /// Adds text, whoever wrote it; also between the quotes of an attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Text {
        for c in text.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(c),
            }
        }
        self
    }
}

const STYLE: &str = "
:root{color-scheme:light dark;--line:light-dark(#d5dae1,#3a414c);--soft:light-dark(#f4f6f9,#1d2127);--ink:light-dark(#1b2430,#e4e8ee);--link:light-dark(#0a56b8,#7db4ff);--page:light-dark(#fff,#14171b)}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1.5rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
a{color:var(--link)}a:focus-visible,button:focus-visible,input:focus-visible{outline:3px solid var(--link);outline-offset:2px}
nav{font-size:.9rem}h1{font-size:1.5rem;margin:.3rem 0 1.2rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.8rem 0 .5rem}
table{width:100%;border-collapse:collapse}th,td{text-align:left;padding:.45rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere}td.size,th.size{text-align:right}td.size,td.id,td.when{white-space:nowrap}code,pre{font:.88rem/1.45 ui-monospace,monospace}
pre{background:var(--soft);border:1px solid var(--line);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;user-select:all}
ul.list{list-style:none;padding:0}ul.list li{border-bottom:1px solid var(--line);padding:.5rem 0}
input,button{font:inherit;padding:.35rem .6rem;border:1px solid var(--line);border-radius:6px;background:var(--soft);color:inherit}
label{display:inline-flex;align-items:center;gap:.6rem}
@media(max-width:40rem){body{padding:1rem}th,td{padding:.4rem .3rem}td code{font-size:.8rem}td.when{white-space:normal}}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{opacity:.75}dd{margin:0;overflow-wrap:anywhere}
";

/// A whole page; `path` leads to it.
pub(super) fn document(title: &str, path: &[(&str, &str)], body: &Text) -> String {
    let mut page = Text::new();
    page.raw("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>");
    page.text(title)
        .raw(" – Ferry registry</title><style>")
        .raw(STYLE)
        .raw("</style><nav aria-label=Path>");
    for (name, at) in path {
        page.raw("<a href=\"").text(at).raw("\">").text(name).raw("</a> / ");
    }
    page.raw("</nav><main><h1>").text(title).raw("</h1>");
    page.0.push_str(&body.0);
    page.raw("</main></html>");
    page.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_only_text() {
        let mut text = Text::new();
        text.text("<script>alert(\"'&\")</script>");
        assert_eq!(text.0, "&lt;script&gt;alert(&quot;&#39;&amp;&quot;)&lt;/script&gt;");
    }
}
