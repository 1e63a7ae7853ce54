//! Who answers, whether it is ready, and what it can do.

use ferry_engine::{CgroupDriver, Engine, ops::pod};

use super::Runtime;
use crate::{
    answer::{Answer, done},
    api,
};

/// Both of these must be true for a kubelet to send pods (CRI's `RuntimeReady`, `NetworkReady`).
const CONDITIONS: [&str; 2] = ["RuntimeReady", "NetworkReady"];

pub(super) fn version(runtime: &Runtime) -> Answer<api::VersionResponse> {
    done(api::VersionResponse {
        // The kubelet's API version, which has been this for ever.
        version: "0.1.0".to_owned(),
        runtime_name: "ferry".to_owned(),
        runtime_version: runtime.product.version.clone(),
        runtime_api_version: "v1".to_owned(),
    })
}

pub(super) async fn status(
    runtime: &Runtime,
    request: api::StatusRequest,
) -> Answer<api::StatusResponse> {
    let fault = pod::network_fault(&runtime.engine).await;
    let fault = fault.map(|failure| failure.message().to_owned());
    let conditions = CONDITIONS.map(|kind| api::RuntimeCondition {
        r#type: kind.to_owned(),
        status: kind != "NetworkReady" || fault.is_none(),
        reason: match &fault {
            Some(_) if kind == "NetworkReady" => "NetworkPluginNotReady".to_owned(),
            _ => String::new(),
        },
        message: match &fault {
            Some(words) if kind == "NetworkReady" => {
                format!("Network plugin returns error: {words}")
            }
            _ => String::new(),
        },
    });
    let config = runtime.engine.config();
    let mut info = std::collections::BTreeMap::new();
    if request.verbose {
        let text = serde_json::json!({
            "dataRoot": config.data_root,
            "execRoot": config.exec_root,
            "runtimes": config.runtimes.keys().collect::<Vec<_>>(),
        });
        info.insert("config".to_owned(), text.to_string());
    }
    let user_namespaces = pod::has_user_namespaces(&runtime.engine);
    let handler = |name: &str| api::RuntimeHandler {
        name: name.to_owned(),
        features: Some(api::RuntimeHandlerFeatures {
            recursive_read_only_mounts: true,
            user_namespaces,
        }),
    };
    let names = config.runtimes.keys().map(String::as_str);
    done(api::StatusResponse {
        status: Some(api::RuntimeStatus { conditions: conditions.to_vec() }),
        info,
        runtime_handlers: [""].into_iter().chain(names).map(handler).collect(),
        features: Some(api::RuntimeFeatures {
            supplemental_groups_policy: true,
            ..api::RuntimeFeatures::default()
        }),
    })
}

pub(super) fn configuration(engine: &Engine) -> Answer<api::RuntimeConfigResponse> {
    let driver = match engine.config().cgroup_driver {
        CgroupDriver::Cgroupfs => api::CgroupDriver::Cgroupfs,
        CgroupDriver::Systemd => api::CgroupDriver::Systemd,
    };
    done(api::RuntimeConfigResponse {
        linux: Some(api::LinuxRuntimeConfiguration { cgroup_driver: driver.into() }),
    })
}

/// A pod network's range is the business of the CNI configuration, which somebody else writes, as with containerd without a
/// template.
pub(super) fn update(
    request: &api::UpdateRuntimeConfigRequest,
) -> Answer<api::UpdateRuntimeConfigResponse> {
    let config = request.runtime_config.clone().unwrap_or_default();
    let range = config.network_config.unwrap_or_default().pod_cidr;
    tracing::info!(range, "the kubelet tells the range of its pods' addresses");
    done(api::UpdateRuntimeConfigResponse {})
}
