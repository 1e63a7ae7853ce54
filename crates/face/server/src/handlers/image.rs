//! `/images`: what is there. How images come and go as streams is in `image/transfer.rs`.

use ferry_docker_api::ImagePruneReport;
use ferry_engine::ops::image as ops;
use ferry_errkind::Failure;
use ferry_model::image::ListImages;
use http::StatusCode;

use crate::{
    convert,
    query::Query,
    refuse::{invalid, unsupported},
    reply::{self, Reply},
    request::Request,
};

mod transfer;
pub(crate) use transfer::{
    catalog, create, distribution, load, push, save, save_several, search, tags,
};

pub(crate) async fn list(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let accepted = ["before", "dangling", "label", "label!", "reference", "since", "until"];
    let filters = query.filters(&accepted)?;
    let wanted = ListImages {
        all: query.flag("all"),
        shared_size: query.flag("shared-size"),
        filters: filters.0,
    };
    let views = ops::list(&request.engine, wanted).await?;
    reply::json(&views.into_iter().map(convert::image::summary).collect::<Vec<_>>())
}

pub(crate) async fn inspect(request: Request) -> Result<Reply, Failure> {
    refuse_platform(&request.query)?;
    let view = ops::inspect(&request.engine, request.name()).await?;
    reply::json(&convert::image::inspect(view, &request.defaults.storage_driver))
}

pub(crate) async fn history(request: Request) -> Result<Reply, Failure> {
    refuse_platform(&request.query)?;
    let entries = ops::history(&request.engine, request.name()).await?;
    reply::json(&entries.into_iter().map(convert::image::history).collect::<Vec<_>>())
}

/// An image here has one platform: the one that was pulled.
fn refuse_platform(query: &Query) -> Result<(), Failure> {
    match query.text("platform").or_else(|| query.text("platforms")) {
        Some(_) => Err(unsupported("choosing among an image's platforms")),
        None => Ok(()),
    }
}

pub(crate) async fn tag(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    ops::tag(&request.engine, request.name(), query.get("repo"), query.get("tag")).await?;
    Ok(reply::status(StatusCode::CREATED))
}

pub(crate) async fn remove(request: Request) -> Result<Reply, Failure> {
    let (query, name) = (&request.query, request.name());
    if name.trim().is_empty() {
        return Err(invalid("image name cannot be blank"));
    }
    refuse_platform(query)?;
    let done =
        ops::remove(&request.engine, name, query.flag("force"), !query.flag("noprune")).await?;
    reply::json(&done.into_iter().map(convert::image::removal).collect::<Vec<_>>())
}

pub(crate) async fn prune(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&["dangling", "label", "label!", "until"])?;
    let (done, space_reclaimed) = ops::prune(&request.engine, &filters.0).await?;
    let done: Vec<_> = done.into_iter().map(convert::image::removal).collect();
    let images_deleted = (!done.is_empty()).then_some(done);
    reply::json(&ImagePruneReport { images_deleted, space_reclaimed })
}
