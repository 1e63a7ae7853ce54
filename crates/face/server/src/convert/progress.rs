//! Progress messages.

use bytes::Bytes;
use ferry_docker_api::{JsonMessage, ProgressDetail};
use ferry_engine::ops::image::{PullProgress, PushProgress};
use ferry_stdx::size;

/// What pull tells.
pub(crate) fn pull_message(progress: PullProgress) -> JsonMessage {
    let PullProgress { id, status, current, total } = progress;
    let signed = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or(0)).unwrap_or(i64::MAX);
    let detail =
        ProgressDetail { current: signed(current), total: signed(total), ..Default::default() };
    // "Pulling from x" has the tag as its id, and is not about a layer.
    let is_layer = id.is_some() && !status.starts_with("Pulling from");
    JsonMessage {
        status,
        progress: bar(current, total),
        progress_detail: is_layer.then_some(detail),
        id: id.unwrap_or_default(),
        ..JsonMessage::default()
    }
}

/// What load tells: layers as in pull, results as a stream of lines.
pub(crate) fn load_message(progress: PullProgress) -> JsonMessage {
    if progress.id.is_some() {
        return pull_message(progress);
    }
    JsonMessage { stream: format!("{}\n", progress.status), ..JsonMessage::default() }
}

/// What push tells: steps as in pull, and what it came to as a result for programs.
pub(crate) fn push_message(progress: PushProgress) -> JsonMessage {
    match progress {
        PushProgress::Step(step) => pull_message(step),
        PushProgress::Done { tag, digest, size } => JsonMessage {
            progress_detail: Some(ProgressDetail::default()),
            aux: Some(serde_json::json!({"Tag": tag, "Digest": digest, "Size": size})),
            ..JsonMessage::default()
        },
    }
}

/// The bar that old clients print: `[=====>      ]   1.2MB/3.4MB`.
fn bar(current: Option<u64>, total: Option<u64>) -> String {
    match (current.unwrap_or(0), total.unwrap_or(0)) {
        (0, 0) => String::new(),
        (current, 0) => format!("{:>8}", size::format_decimal(current)),
        (current, total) => {
            let done =
                usize::try_from(u128::from(current) * 50 / u128::from(total)).unwrap_or(50).min(50);
            format!(
                "[{}>{}] {:>8}/{}",
                "=".repeat(done),
                " ".repeat(50 - done),
                size::format_decimal(current),
                size::format_decimal(total)
            )
        }
    }
}

/// A message as a line.
pub(crate) fn line(message: &JsonMessage) -> Bytes {
    // Texts and numbers always have a JSON form.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.extend_from_slice(b"\r\n");
    Bytes::from(text)
}
