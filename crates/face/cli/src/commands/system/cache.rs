//! Records of the build cache as rows.

use ferry_docker_api::BuildCacheRecord;
use ferry_stdx::time::Timestamp;

use crate::format::{Kind, Row, units};

/// A list of records.
pub(crate) const KIND: Kind = Kind {
    name: "*formatter.buildCacheContext",
    titles: &[
        ("ID", "CACHE ID"),
        ("Parent", "PARENT"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("InUse", "IN USE"),
        ("Shared", "SHARED"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Description", "DESCRIPTION"),
    ],
};

/// What `system df -v` shows of them.
pub(crate) const TABLE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}";

/// What `raw` means.
pub(crate) const RAW: &str = "build_cache_id: {{.ID}}\nparent_id: {{.Parent}}\nbuild_cache_type: {{.CacheType}}\ndescription: {{.Description}}\ncreated_at: {{.CreatedAt}}\ncreated_since: {{.CreatedSince}}\nlast_used_at: {{.LastUsedAt}}\nlast_used_since: {{.LastUsedSince}}\nusage_count: {{.UsageCount}}\nin_use: {{.InUse}}\nshared: {{.Shared}}\n";

/// What they take, without what belongs to images, too.
pub(crate) fn size(records: &[BuildCacheRecord]) -> i64 {
    records.iter().filter(|record| !record.shared).map(|record| record.size).sum()
}

/// Records as rows, those first that were not used for the longest time.
pub(crate) fn rows(records: &[BuildCacheRecord], trunc: bool) -> Vec<Row> {
    let used = |record: &BuildCacheRecord| {
        record.last_used_at.as_deref().and_then(Timestamp::parse_rfc3339)
    };
    let mut sorted: Vec<&BuildCacheRecord> = records.iter().collect();
    sorted.sort_by(|a, b| (used(a), &a.id).cmp(&(used(b), &b.id)));
    sorted.into_iter().map(|record| row(record, used(record), trunc)).collect()
}

fn row(record: &BuildCacheRecord, used: Option<Timestamp>, trunc: bool) -> Row {
    let short = |id: &str| if trunc { units::short(id).to_owned() } else { id.to_owned() };
    let mut id = short(&record.id);
    if record.in_use {
        id.push('*');
    }
    let parents = match record.parents.as_slice() {
        [] => record.parent.clone(),
        parents => parents.join(", "),
    };
    let created = Timestamp::parse_rfc3339(&record.created_at).unwrap_or_default();
    let last = record.last_used_at.as_deref();
    Row::default()
        .with("ID", id)
        .with("Parent", short(&parents))
        .with("CacheType", record.kind.as_str())
        .with("Description", record.description.as_str())
        .with("Size", units::short_size(record.size))
        .with("CreatedAt", units::go_time_of(&record.created_at))
        .with("CreatedSince", units::ago_of(created))
        .with("LastUsedAt", last.map(units::go_time_of).unwrap_or_default())
        .with("LastUsedSince", used.map(units::ago_of).unwrap_or_default())
        .with("UsageCount", record.usage_count.to_string())
        .with("InUse", record.in_use.to_string())
        .with("Shared", record.shared.to_string())
        .with("Reclaimable", (!record.in_use).to_string())
}
