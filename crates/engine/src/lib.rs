//! The waist: what Ferry does, whoever asks. One file per verb below [`ops`]; one task per container; recovery at boot.
//!
//! Knows: every domain, and how they work together. Does not know: HTTP, Docker's JSON, the command line.
//! Start with [`Engine`], [`ops::container::create`], `actor/mod.rs`.
//!
//! Invariants:
//! - A container is changed by its own task only; everyone else reads what that task publishes.
//! - A container that runs depends on its shim, never on the engine: the engine may be killed at any instant.
//! - What blocks (disk, netlink) runs on threads for that, never on the loop.

mod actor;
mod apparmor;
mod boot;
mod bridge;
mod cdi;
mod config;
mod devices;
mod events;
mod execs;
mod filter;
mod launch;
mod mounted;
mod net;
mod networks;
pub mod ops;
mod probe;
mod programs;
mod propagation;
mod quota;
mod random;
mod records;
mod registry;
mod relay;
mod resolver;
mod rootfs;
mod rules;
mod selinux;
mod shared;
mod signal;
mod usage;
mod userns;
mod validate;
mod welcome;

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};

pub use boot::BootError;
pub use config::{
    BridgeConfig, BuildGcRule, CgroupDriver, CniConfig, EngineConfig, RegistryConfig, RuntimeConfig,
};
pub use events::{EventBus, EventCounts, PodEvent};
pub use ferry_archive::{Change, ChangeKind};
pub use ferry_cgroup::{
    BlkioEntry as CgroupBlkio, Detail as CgroupDetail, HugePages as CgroupHugePages,
    Limits as CgroupLimits, Pressure as CgroupPressure, Stall as CgroupStall, Stats as CgroupStats,
};
pub use ferry_container::why::Finding;
pub use ferry_container::{IdMaps, subordinate_ranges, unclaimed_range};
pub use ferry_dns::{
    Query as DnsQuery, Rcode as DnsRcode, Record as DnsRecord, kind as dns_kind,
    refusal as dns_refusal,
};
pub use ferry_network::{Pool, network_of, parse_subnet};
pub use ferry_transfer::{AuthOutcome, RegistryAuth, SignatureRule, VerifyKey};
pub use ferry_volume::Snapshot as VolumeSnapshot;
pub use ops::build::Budget as BuildBudget;

use ferry_sys::failpoint;

use shared::Shared;

/// A running engine. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Opens the data, finds the containers that run, finishes or undoes what a crash left half done, and brings back
    /// what restart policies want.
    ///
    /// # Errors
    /// When another engine has the data, or it cannot be read.
    pub async fn boot(config: EngineConfig) -> Result<Engine, BootError> {
        let engine = boot::boot(config).await.map(|shared| Engine { shared })?;
        ops::build::remove_leftovers(&engine).await;
        Ok(engine)
    }

    /// What it was told.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Takes over what of a configuration may change while the engine runs: labels, registries, runtimes.
    pub fn reload(&self, config: &EngineConfig) {
        self.shared.reload(config);
    }

    /// Lets go of everything. Containers go on.
    pub async fn shutdown(&self) {
        for handle in self.shared.containers.all() {
            let (reply, released) = tokio::sync::oneshot::channel();
            if handle.send(actor::Command::Release { reply }).await.is_ok() {
                released.await.ok();
            }
        }
    }

    /// The process from which shims are forked, for those who count memory.
    pub fn template_pid(&self) -> u32 {
        self.shared.template.pid()
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    joined(tokio::task::spawn_blocking(work).await)?
}

/// What a worker has answered.
fn joined<T>(answer: Result<T, tokio::task::JoinError>) -> Result<T, Failure> {
    answer.map_err(|error| {
        let words = format!("a worker of the engine ended early: {error}");
        Failure::new(ErrorKind::Internal, words)
    })
}
