//! Who answers, whether it is ready, and what it can do.

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

pub(super) fn status(
    runtime: &Runtime,
    request: api::StatusRequest,
) -> Answer<api::StatusResponse> {
    let conditions = CONDITIONS.map(|kind| api::RuntimeCondition {
        r#type: kind.to_owned(),
        status: true,
        ..api::RuntimeCondition::default()
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
    let handler = |name: &str| api::RuntimeHandler {
        name: name.to_owned(),
        features: Some(api::RuntimeHandlerFeatures {
            recursive_read_only_mounts: false,
            user_namespaces: false,
        }),
    };
    let names = config.runtimes.keys().map(String::as_str);
    done(api::StatusResponse {
        status: Some(api::RuntimeStatus { conditions: conditions.to_vec() }),
        info,
        runtime_handlers: [""].into_iter().chain(names).map(handler).collect(),
        features: Some(api::RuntimeFeatures::default()),
    })
}

pub(super) fn configuration() -> Answer<api::RuntimeConfigResponse> {
    done(api::RuntimeConfigResponse {
        linux: Some(api::LinuxRuntimeConfiguration {
            cgroup_driver: api::CgroupDriver::Cgroupfs.into(),
        }),
    })
}
