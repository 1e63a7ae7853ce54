//! `update`: other limits and another restart policy while the container lives.

use std::sync::Arc;

use ferry_container::{apply_update, plan_update};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Phase, UpdateContainer};

use super::Actor;

impl Actor {
    /// The record first, then the kernel, as Docker; what the kernel refuses is taken out of the record again.
    pub(super) async fn update(&mut self, update: &UpdateContainer) -> Result<(), Failure> {
        let words = format!("Cannot update container {}", self.container.id);
        if matches!(self.container.state.phase, Phase::Removing | Phase::Dead) {
            let why = "container is marked for removal and cannot be \"update\"";
            return Err(Failure::new(ErrorKind::Conflict, why).context(words));
        }
        let before = self.container.spec.clone();
        apply_update(&mut self.container.spec.host, update)
            .map_err(|error| Failure::from(error).context(&words))?;
        if let Some(part) = &mut self.container.spec.pod {
            part.unified.extend(update.unified.clone());
            part.hugepages.extend(update.hugepages.clone());
        }
        let applied = match self.live {
            Some(_) => self.apply_limits(update).await,
            None => Ok(()),
        };
        let done = applied.and_then(|()| self.save());
        if done.is_err() {
            self.container.spec = before;
        }
        self.publish();
        self.event("update", &[]);
        done.map_err(|failure| failure.context(words))
    }

    async fn apply_limits(&self, update: &UpdateContainer) -> Result<(), Failure> {
        let resources = &self.container.spec.host.resources;
        let mut limits = plan_update(resources, update, &crate::devices::look_up)?;
        if let Some(part) = &self.container.spec.pod {
            ferry_container::pod_limits(part, &mut limits);
        }
        let shared = Arc::clone(&self.shared);
        let container = self.container.clone();
        let warnings = crate::blocking(move || {
            let cgroup = shared.cgroup(&container)?;
            Ok(cgroup.apply(&limits)?)
        });
        self.warn(&warnings.await?);
        Ok(())
    }
}
