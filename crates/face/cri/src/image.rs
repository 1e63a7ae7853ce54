//! `ImageService`: images as a kubelet sees them.

use std::{collections::BTreeMap, time::Duration};

use ferry_engine::{
    Engine,
    ops::{
        disk,
        image::{self, PullRequest},
    },
};
use ferry_errkind::ErrorKind;
use ferry_model::image::{ImageView, ListImages};
use tokio::sync::mpsc;
use tonic::{Request, Status, async_trait};

use crate::{
    Product,
    answer::{Answer, done, refused},
    api::{self, image_service_server::ImageService},
    convert::{self, required},
    runtime::{self, Answers},
};

/// Images in one message of a stream.
const PART: usize = 100;

/// The service.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Engine,
    pinned: Vec<String>,
    patience: Duration,
}

impl Images {
    pub(crate) fn new(engine: Engine, product: &Product) -> Self {
        Images { engine, pinned: product.pinned.clone(), patience: product.pull_patience }
    }

    fn show(&self, view: &ImageView) -> api::Image {
        convert::image::image(view, &self.pinned)
    }

    /// The image that a name means; `None` when there is none.
    async fn find(&self, spec: Option<&api::ImageSpec>) -> Result<Option<ImageView>, Status> {
        let spec = required(spec, "image")?;
        match image::inspect(&self.engine, &spec.image).await {
            Ok(view) => Ok(Some(view)),
            Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(None),
            Err(failure) => Err(refused(failure)),
        }
    }

    async fn list(&self, filter: Option<api::ImageFilter>) -> Result<Vec<api::Image>, Status> {
        let wanted = filter.and_then(|filter| filter.image).filter(|spec| !spec.image.is_empty());
        if let Some(spec) = wanted {
            let found = self.find(Some(&spec)).await?;
            return Ok(found.iter().map(|view| self.show(view)).collect());
        }
        let all = image::list(&self.engine, ListImages::default()).await.map_err(refused)?;
        Ok(all.iter().map(|view| self.show(view)).collect())
    }
}

#[async_trait]
impl ImageService for Images {
    async fn list_images(
        &self,
        request: Request<api::ListImagesRequest>,
    ) -> Answer<api::ListImagesResponse> {
        let images = self.list(request.into_inner().filter).await?;
        done(api::ListImagesResponse { images })
    }

    async fn stream_images(
        &self,
        request: Request<api::StreamImagesRequest>,
    ) -> Answer<Answers<api::StreamImagesResponse>> {
        let all = self.list(request.into_inner().filter).await?;
        done(runtime::stream_in_parts(all, PART, |images| api::StreamImagesResponse { images }))
    }

    async fn image_status(
        &self,
        request: Request<api::ImageStatusRequest>,
    ) -> Answer<api::ImageStatusResponse> {
        let request = request.into_inner();
        let found = self.find(request.image.as_ref()).await?;
        let mut info = BTreeMap::new();
        if let Some(view) = found.as_ref().filter(|_| request.verbose) {
            let config: serde_json::Value =
                serde_json::from_str(&view.image.config_json).unwrap_or_default();
            let text = serde_json::json!({ "imageSpec": config });
            info.insert("info".to_owned(), text.to_string());
        }
        done(api::ImageStatusResponse { image: found.as_ref().map(|view| self.show(view)), info })
    }

    async fn pull_image(
        &self,
        request: Request<api::PullImageRequest>,
    ) -> Answer<api::PullImageResponse> {
        let request = request.into_inner();
        let spec = required(request.image.as_ref(), "image")?;
        let pull = PullRequest {
            image: spec.image.clone(),
            auth: request.auth.as_ref().map(convert::image::auth).transpose()?,
            ..PullRequest::default()
        };
        let (sender, mut news) = mpsc::channel(16);
        let mut pulling = std::pin::pin!(image::pull(&self.engine, pull, sender));
        let pulled = loop {
            tokio::select! {
                pulled = &mut pulling => break pulled,
                got = tokio::time::timeout(self.patience, news.recv()) => match got {
                    Ok(Some(_)) => {}
                    Ok(None) => break pulling.await,
                    Err(_) => {
                        let words = format!(
                            "pull of image \"{}\" made no progress for {} s",
                            spec.image,
                            self.patience.as_secs()
                        );
                        return Err(Status::deadline_exceeded(words));
                    }
                },
            }
        };
        pulled.map_err(|failure| {
            refused(failure.context(format!("failed to pull image \"{}\"", spec.image)))
        })?;
        let view = self.find(Some(spec)).await?;
        let view = view.ok_or_else(|| Status::unknown("the image was removed meanwhile"))?;
        done(api::PullImageResponse { image_ref: view.image.id.to_string() })
    }

    async fn remove_image(
        &self,
        request: Request<api::RemoveImageRequest>,
    ) -> Answer<api::RemoveImageResponse> {
        let request = request.into_inner();
        if let Some(view) = self.find(request.image.as_ref()).await? {
            // All its names: kubelet means the image.
            let id = view.image.id.to_string();
            match image::remove(&self.engine, &id, true, true).await {
                Err(failure) if failure.kind() != ErrorKind::NotFound => {
                    return Err(refused(failure));
                }
                _ => {}
            }
        }
        done(api::RemoveImageResponse {})
    }

    async fn image_fs_info(
        &self,
        _: Request<api::ImageFsInfoRequest>,
    ) -> Answer<api::ImageFsInfoResponse> {
        let bytes = disk::layers(&self.engine).await.map_err(refused)?;
        let data_root = self.engine.config().data_root.to_string_lossy().into_owned();
        let usage = api::FilesystemUsage {
            timestamp: runtime::now().nanos(),
            fs_id: Some(api::FilesystemIdentifier { mountpoint: data_root }),
            used_bytes: Some(api::UInt64Value { value: bytes }),
            inodes_used: None,
        };
        done(api::ImageFsInfoResponse {
            image_filesystems: vec![usage.clone()],
            // Containers' layers are on the same file system.
            container_filesystems: vec![usage],
        })
    }
}
