//! Lists: repositories, tags, what is about a manifest.

use ferry_oci::{Digest, media};
use ferry_registry_store::Referrer;
use http::{HeaderValue, Response, header};
use serde_json::json;

use crate::{
    body::Body,
    dispatch::{Answer, Call, answer_json},
    fault::{Code, Fault},
    handlers::set,
    query::encode,
};

/// Without `n`, and at most.
const REPOSITORIES: usize = 1000;
const TAGS: usize = 100_000;
const REFERRERS: usize = 1000;
/// Of what is about a manifest, as JSON.
const MOST_BYTES: usize = 2 << 20;
/// Results of a search that does not say, and the most of one answer.
const SEARCH: usize = 25;
const MOST_FOUND: usize = 100;

pub(crate) async fn catalog(call: &Call) -> Answer {
    let (count, last) = page(call, REPOSITORIES)?;
    let mut names: Vec<String> = Vec::new();
    let mut after = last;
    // Those that the client may not see are passed over, so a page may take several looks.
    while names.len() <= count {
        let from = after.clone();
        // Not one by one: most may be others'.
        let found = call.store(move |store| store.repositories(&from, REPOSITORIES)).await?;
        let Some(end) = found.last() else { break };
        after.clone_from(end);
        names.extend(found.into_iter().filter(|name| call.sees(name)));
    }
    Ok(catalog_answer(names, count))
}

/// A page of the catalogue, of which one name more is known if there is one.
fn catalog_answer(mut names: Vec<String>, count: usize) -> Response<Body> {
    let more = names.len() > count;
    names.truncate(count);
    let mut response = answer_json(json!({ "repositories": names }).to_string());
    if more {
        link(&mut response, "/v2/_catalog", names.last(), count);
    }
    response
}

/// The page that is asked for, of all names in their order.
pub(crate) fn catalog_page(call: &Call, names: Vec<String>) -> Answer {
    let (count, last) = page(call, REPOSITORIES)?;
    let names = names.into_iter().filter(|name| *name > last).take(count.saturating_add(1));
    Ok(catalog_answer(names.collect(), count))
}

/// Repositories whose names have a word in them, in the form of Docker Hub's answers. What is there says nothing of itself, and
/// nobody gives it stars.
pub(crate) async fn search(call: &Call) -> Answer {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let from = after.clone();
        let names = call.store(move |store| store.repositories(&from, REPOSITORIES)).await?;
        let Some(end) = names.last() else { break };
        after.clone_from(end);
        all.extend(names.into_iter().filter(|name| call.sees(name)));
    }
    found(call, all)
}

/// What a search finds among all names that the client may see.
pub(crate) fn found(call: &Call, names: Vec<String>) -> Answer {
    let word = call.query.get("q").unwrap_or_default().trim().to_lowercase();
    let number = |name: &str| call.query.get(name).and_then(|text| text.parse::<usize>().ok());
    let size = number("n").or(number("page_size")).unwrap_or(SEARCH).clamp(1, MOST_FOUND);
    let page = number("page").unwrap_or(1).max(1);
    let found: Vec<String> = names.into_iter().filter(|name| name.contains(&word)).collect();
    let results = found.iter().skip((page - 1).saturating_mul(size)).take(size);
    let results: Vec<_> = results
        .map(|name| {
            json!({
                "name": name,
                "description": "",
                "star_count": 0,
                "is_official": false,
                "is_automated": false,
            })
        })
        .collect();
    Ok(answer_json(
        json!({
            "query": word,
            "num_results": found.len(),
            "num_pages": found.len().div_ceil(size),
            "page": page,
            "page_size": size,
            "results": results,
        })
        .to_string(),
    ))
}

pub(crate) async fn tags(call: &Call, name: String) -> Answer {
    let (count, last) = page(call, TAGS)?;
    let page = match call.kept()?.kept_tag_page(&name, &last, count) {
        Some(page) => page,
        None => {
            let repository = name.clone();
            call.store(move |store| store.tag_page(&repository, &last, count)).await?
        }
    };
    Ok(tags_answer(&name, &page.json, page.last.as_ref(), count))
}

/// The answer with these tags, of which `last` is the last if there are more.
fn tags_answer(name: &str, tags: &str, last: Option<&String>, count: usize) -> Response<Body> {
    let mut response = answer_json(format!("{{\"name\":{},\"tags\":[{tags}]}}", json!(name)));
    link(&mut response, &format!("/v2/{name}/tags/list"), last, count);
    response
}

/// The page that is asked for, of all tags in their order.
pub(crate) fn tags_page(call: &Call, name: &str, tags: Vec<String>) -> Answer {
    let (count, last) = page(call, TAGS)?;
    let mut tags: Vec<_> = tags.into_iter().filter(|tag| *tag > last).collect();
    let more = tags.len() > count;
    tags.truncate(count);
    let text: Vec<_> = tags.iter().map(|tag| json!(tag).to_string()).collect();
    Ok(tags_answer(name, &text.join(","), tags.last().filter(|_| more), count))
}

pub(crate) async fn referrers(call: &Call, name: String, subject: Digest) -> Answer {
    let (count, last) = page(call, REFERRERS)?;
    let (repository, about) = (name.clone(), subject.clone());
    let found = call.store(move |store| {
        let after = last.trim_start_matches("sha256:");
        store.referrers(&repository, &about, after, count.saturating_add(1))
    });
    Ok(index_of(call, &name, &subject, found.await?, count))
}

/// The page that is asked for, of all that is about a manifest.
pub(crate) fn referrers_page(
    call: &Call,
    name: &str,
    subject: &Digest,
    mut all: Vec<Referrer>,
) -> Answer {
    let (count, last) = page(call, REFERRERS)?;
    all.sort_by_key(|referrer| referrer.digest.to_string());
    all.retain(|referrer| referrer.digest.to_string() > last);
    all.truncate(count.saturating_add(1));
    Ok(index_of(call, name, subject, all, count))
}

/// What is about a manifest, as an index: at most `count`, of which one more is known if there is one.
fn index_of(
    call: &Call,
    name: &str,
    subject: &Digest,
    mut found: Vec<Referrer>,
    count: usize,
) -> Response<Body> {
    let wanted = call.query.get("artifactType");
    let all = found.len();
    // Clients read no more than of a manifest, and annotations may be long.
    let mut room = MOST_BYTES;
    let fits = found.iter().take(count).enumerate().take_while(|(at, referrer)| {
        let size = serde_json::to_string(referrer).map_or(0, |text| text.len());
        let fits = *at == 0 || size <= room;
        room = room.saturating_sub(size);
        fits
    });
    let fits = fits.count();
    found.truncate(fits);
    let more = found.len() < all;
    let last = found.last().map(|referrer| referrer.digest.to_string());
    if let Some(wanted) = wanted {
        found.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found });
    let mut response = answer_json(index.to_string());
    let kind = HeaderValue::from_static(media::OCI_INDEX);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if wanted.is_some() {
        set(&mut response, "oci-filters-applied", "artifactType");
    }
    if let Some(last) = last.filter(|_| more) {
        let filter = wanted.map(|kind| format!("&artifactType={}", encode(kind)));
        let path = format!("/v2/{name}/referrers/{subject}");
        let query = format!("last={}&n={count}{}", encode(&last), filter.unwrap_or_default());
        set(&mut response, "link", format!("<{path}?{query}>; rel=\"next\""));
    }
    response
}

/// `n` and `last` of a query.
fn page(call: &Call, most: usize) -> Result<(usize, String), Fault> {
    let last = call.query.get("last").unwrap_or_default().to_owned();
    let Some(text) = call.query.get("n").filter(|text| !text.is_empty()) else {
        return Ok((most, last));
    };
    let count: usize = text.parse().map_err(|_| {
        Fault::new(Code::PageInvalid, "invalid number of results requested").about("n", text)
    })?;
    Ok((count.min(most), last))
}

/// Where the list goes on.
fn link(response: &mut Response<Body>, path: &str, last: Option<&String>, count: usize) {
    let Some(last) = last else { return };
    set(response, "link", format!("<{path}?last={}&n={count}>; rel=\"next\"", encode(last)));
}
