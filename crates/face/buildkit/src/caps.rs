//! What is said to be there: the capabilities of BuildKit that clients ask for before they use something.

use crate::proto::moby::buildkit::v1::apicaps::ApiCap;

/// What a frontend that runs in the client may ask of us.
const FRONTEND: &[&str] = &[
    "solve.base",
    "solve.inlinereturn",
    "return",
    "proto.refarray",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
    "importcaches",
];

/// What a build may contain, and the exporters. Definitions are closed to us: these say what Dockerfiles may do.
const BUILD: &[&str] = &[
    "source.image",
    "source.image.resolvemode",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "exec.meta.base",
    "exec.meta.cgroup.parent",
    "exec.meta.network",
    "exec.meta.proxyenv",
    "exec.meta.security",
    "exec.meta.setsdefaultpath",
    "exec.meta.ulimit",
    "exec.mount.bind",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.tmpfs.size",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.secretenv",
    "file.base",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "exporter.image.attestations",
    "exporter.multiple",
    "gc.freespacefilter",
    "history.filter",
];

pub(crate) fn frontend() -> Vec<ApiCap> {
    enabled(FRONTEND)
}

pub(crate) fn build() -> Vec<ApiCap> {
    enabled(BUILD)
}

fn enabled(names: &[&str]) -> Vec<ApiCap> {
    let cap = |name: &&str| ApiCap { id: (*name).to_owned(), enabled: true, ..ApiCap::default() };
    names.iter().map(cap).collect()
}
