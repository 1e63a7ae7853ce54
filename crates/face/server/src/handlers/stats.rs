//! `/containers/{id}/stats`.

use bytes::Bytes;
use ferry_engine::ops::container::{self as ops, Sample, StatsRequest};
use ferry_errkind::Failure;
use tokio::sync::mpsc;

use crate::{
    body::Body,
    convert,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// A stream of samples; without `stream` the second sample only, since a processor's load is a difference, and with
/// `one-shot` the first.
pub(crate) async fn stats(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let stream = query.flag_or("stream", true);
    let one_shot = query.flag("one-shot");
    if stream && one_shot {
        return Err(invalid("cannot have stream=true and one-shot=true"));
    }
    let wanted = StatsRequest { stream, one_shot };
    let samples = ops::stats(&request.engine, request.name(), wanted).await?;
    let (sender, lines) = mpsc::channel(1);
    tokio::spawn(write(samples, wanted, sender));
    Ok(reply::json_stream(Body::Pieces(lines)))
}

async fn write(
    mut samples: mpsc::Receiver<Sample>,
    wanted: StatsRequest,
    lines: mpsc::Sender<Bytes>,
) {
    let mut before: Option<Sample> = None;
    while let Some(sample) = samples.recv().await {
        let first = before.is_none();
        let running = sample.figures.is_some();
        if wanted.stream || wanted.one_shot || !first || !running {
            let named = !wanted.one_shot || !running;
            let response = convert::stats::response(&sample, before.as_ref(), named);
            // Numbers, texts and maps with texts as keys always have a JSON form.
            let mut line = serde_json::to_vec(&response).unwrap_or_default();
            line.push(b'\n');
            if lines.send(Bytes::from(line)).await.is_err() || !wanted.stream {
                return;
            }
        }
        before = Some(sample);
    }
}
