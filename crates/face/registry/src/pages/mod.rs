//! Pages for a browser: repositories, tags, images. Plain HTML, no script.

mod html;
mod image;

use ferry_access::Action;
use ferry_oci::Reference;
use ferry_registry_store::now;
use ferry_stdx::{size::format_decimal, time::Timestamp};
use http::{HeaderValue, Method, Response, StatusCode, header};

use self::html::{Text, document};
use crate::{
    access::Identity,
    body::Body,
    commands::accounts::granted,
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    query::encode,
    rules::state,
};

/// Whether a path is a page's.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/" || path == "/login" || path == "/accounts" || path.starts_with("/r/")
}

/// Entries of one page.
const PAGE: usize = 100;

/// Answers a page. Browsers know basic authentication only.
pub(crate) async fn page(call: &mut Call) -> Answer {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Fault::new(Code::Unsupported, "the operation is unsupported"));
    }
    let state = std::sync::Arc::clone(&call.state);
    let identity = match state.access.identify(&call.headers, call.peer).await {
        Ok(identity) => identity,
        Err(fault) if fault.is_unauthorized() => return Ok(who_are_you()),
        Err(fault) => return Err(fault),
    };
    let nobody = identity.is_nobody();
    if nobody && (call.path == "/login" || !identity.has_anonymous()) {
        return Ok(who_are_you());
    }
    call.identity = Some(identity);
    let path = call.path.clone();
    let text = match path.strip_prefix("/r/") {
        None if path == "/login" => return Ok(redirect("/")),
        None if path == "/accounts" => accounts(call),
        None => repositories(call).await?,
        Some(name) if !Reference::is_repository(name) || !call.may(Action::Pull, name) => {
            return Ok(nothing());
        }
        Some(name) => match call.query.get("ref") {
            None => tags(call, name).await,
            Some(reference) => image::page(call, name, reference).await,
        }
        .or_else(|fault| if fault.is_not_found() { Ok(None) } else { Err(fault) })?,
    };
    Ok(text.map_or_else(nothing, |text| answer(StatusCode::OK, text)))
}

async fn repositories(call: &Call) -> Result<Option<String>, Fault> {
    let wanted = call.query.get("q").unwrap_or_default().trim().to_lowercase();
    let mut after = call.query.get("last").unwrap_or_default().to_owned();
    let mut names: Vec<String> = Vec::new();
    while names.len() <= PAGE {
        let from = after.clone();
        let found = call.store(move |store| store.repositories(&from, 1000)).await?;
        let Some(end) = found.last() else { break };
        after.clone_from(end);
        names.extend(found.into_iter().filter(|name| name.contains(&wanted) && call.sees(name)));
    }
    let more = names.len() > PAGE;
    names.truncate(PAGE);
    let mut text = Text::new();
    text.raw("<form role=search><label>Search <input name=q type=search autofocus value=\"")
        .text(&wanted)
        .raw("\"></label> <button>Go</button></form>");
    if call.identity.as_ref().and_then(Identity::administered).is_some() {
        text.raw("<p><a href=\"/accounts\">Users and robots</a></p>");
    }
    if call.identity.as_ref().is_some_and(Identity::is_nobody) {
        text.raw("<p><a href=\"/login\">Log in</a></p>");
    }
    upstreams(call, &mut text);
    rules(call, &mut text);
    if names.is_empty() {
        text.raw("<p>There is no repository here that you may see.</p>");
    }
    text.raw("<ul class=list>");
    for name in &names {
        text.raw("<li><a href=\"/r/").text(name).raw("\">").text(name).raw("</a></li>");
    }
    text.raw("</ul>");
    if let Some(last) = names.last().filter(|_| more) {
        let query = format!("?q={}&last={}", encode(&wanted), encode(last));
        text.raw("<p><a rel=next href=\"/").text(&query).raw("\">Further repositories</a></p>");
    }
    Ok(Some(document("Repositories", &[], &text)))
}

/// Users and robots, for whoever looks after them. `None` for everybody else.
fn accounts(call: &Call) -> Option<String> {
    let accounts = call.identity.as_ref()?.administered()?;
    let mut text = Text::new();
    text.raw("<table><thead><tr><th>Name<th>Kind<th>Valid until<th>May</tr></thead><tbody>");
    for (name, account) in &accounts {
        let until = match account.expires {
            None => "for ever".to_owned(),
            Some(at) if at <= now() => format!("{} (expired)", time(at)),
            Some(at) => time(at),
        };
        text.raw("<tr><td>").text(name).raw("<td>");
        text.raw(if account.robot { "robot" } else { "user" }).raw("<td>").text(&until);
        text.raw("<td><code>").text(&granted(account)).raw("</code></tr>");
    }
    text.raw("</tbody></table><p>They are added and removed on the registry's machine, with <code>ferry registry user</code> and <code>ferry registry token</code>.</p>");
    Some(document("Users and robots", &[("Repositories", "/")], &text))
}

/// Whose copies are kept here, and what they still give.
fn upstreams(call: &Call, text: &mut Text) {
    let mut all = call.state.upstreams.iter().peekable();
    if all.peek().is_none() {
        return;
    }
    text.raw("<table><thead><tr><th>Copies of<th>Below<th>Quota<th>State</tr></thead><tbody>");
    for upstream in all {
        text.raw("<tr><td>").text(&upstream.url).raw("<td><code>").text(&upstream.prefix);
        text.raw("</code><td>");
        if let Some(quota) = upstream.quota() {
            text.text(&format!("{} of {} left", quota.remaining, quota.limit));
            if let Some(window) = quota.window {
                text.text(&format!(" (in {} minutes)", window.div_ceil(60)));
            }
        }
        text.raw("<td>").raw(if upstream.is_away() { "away" } else { "" }).raw("</tr>");
    }
    text.raw("</tbody></table>");
}

/// What comes from other registries and goes to them on its own.
fn rules(call: &Call, text: &mut Text) {
    let reports = call.state.rules.reports();
    if reports.is_empty() {
        return;
    }
    text.raw(
        "<table><thead><tr><th>Rule<th>Images<th>Waiting<th>Good<th>State</tr></thead><tbody>",
    );
    for report in reports {
        text.raw("<tr><td>").text(&report.kind).raw(" <code>").text(&report.rule);
        text.raw("</code><td>").text(&report.done.to_string()).raw("<td>");
        text.text(&report.waiting.to_string()).raw("<td>");
        text.text(&report.good.map_or("never".to_owned(), time)).raw("<td>");
        text.text(&state(&report)).raw("</tr>");
    }
    text.raw("</tbody></table>");
}

async fn tags(call: &Call, name: &str) -> Result<Option<String>, Fault> {
    let repository = name.to_owned();
    let after = call.query.get("last").unwrap_or_default().to_owned();
    let rows = call
        .store(move |store| {
            let tags = store.tag_records(&repository, &after, PAGE + 1)?;
            let rows = tags.into_iter().map(|(tag, record)| {
                let target = ferry_registry_store::Target::Digest(record.digest.clone());
                let size = store
                    .manifest(&repository, &target)
                    .map_or(0, |manifest| manifest.record.content_size);
                (tag, record, size)
            });
            Ok(rows.collect::<Vec<_>>())
        })
        .await?;
    let mut text = Text::new();
    text.raw(
        "<table><thead><tr><th>Tag<th>Digest<th class=size>Size<th>Pushed</tr></thead><tbody>",
    );
    for (tag, record, size) in rows.iter().take(PAGE) {
        let digest = record.digest.to_string();
        text.raw("<tr><td><a href=\"?ref=")
            .text(tag)
            .raw("\">")
            .text(tag)
            .raw("</a><td class=id><code>");
        text.text(digest.get(..19).unwrap_or(&digest)).raw("</code><td class=size>");
        text.text(&if *size == 0 { String::new() } else { format_decimal(*size) });
        text.raw("<td class=when>").text(&time(record.at)).raw("</tr>");
    }
    text.raw("</tbody></table>");
    if let Some((last, ..)) = rows.get(PAGE - 1).filter(|_| rows.len() > PAGE) {
        text.raw("<p><a rel=next href=\"?last=").text(&encode(last)).raw("\">Further tags</a></p>");
    }
    Ok(Some(document(name, &[("Repositories", "/")], &text)))
}

/// A moment as people read it.
fn time(seconds: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let text = Timestamp::from_system(at).format_rfc3339_nano();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

fn answer(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Nothing but the page's own style: what images say of themselves is only ever text.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn nothing() -> Response<Body> {
    let mut text = Text::new();
    text.raw("<p>There is no such page, or you may not see it. <a href=\"/login\">Log in</a>?</p>");
    answer(StatusCode::NOT_FOUND, document("Not found", &[("Repositories", "/")], &text))
}

fn who_are_you() -> Response<Body> {
    let mut text = Text::new();
    text.raw("<p>Name and password are needed here.</p>");
    let mut response = answer(StatusCode::UNAUTHORIZED, document("Who are you?", &[], &text));
    let challenge = HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

fn redirect(to: &'static str) -> Response<Body> {
    let mut response = answer(StatusCode::SEE_OTHER, String::new());
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    response
}
