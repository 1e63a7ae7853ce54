//! 1.41: create takes a platform; lists of images no longer take `filter`.

use http::Method;

use super::{Change, query};
use crate::query::Query;

pub(super) const CHANGES: &[Change] = &[
    query(Method::POST, "/containers/create", |query| query.remove("platform")),
    query(Method::GET, "/images/json", name_filter),
];

/// `filter=x` was what `filters={"reference":["x"]}` is now.
fn name_filter(query: &mut Query) {
    let name = query.get("filter").to_owned();
    if name.is_empty() {
        return;
    }
    // Filters that do not read are left for the handler to refuse.
    if let Ok(mut filters) = ferry_docker_api::Filters::parse(query.get("filters")) {
        filters.add("reference", &name);
        query.set("filters", &filters.to_json());
    }
}
