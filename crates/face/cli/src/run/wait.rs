//! Waiting for a container's exit code.

use ferry_client::{Answer, Client, ClientError, path_segment};
use ferry_docker_api::WaitResponse;

/// docker's exit code when it cannot tell the container's.
const UNKNOWN: u8 = 125;

/// A wait that the daemon has taken note of.
#[derive(Debug)]
pub(crate) struct Waiting(Answer);

impl Waiting {
    /// Begins to wait: `next-exit`, `removed`, or empty for `not-running`. When this returns, no exit can be missed.
    pub(crate) async fn begin(
        client: &Client,
        container: &str,
        condition: &str,
    ) -> Result<Self, ClientError> {
        let path = format!("/containers/{}/wait", path_segment(container));
        let call = client.post(path).query_if(!condition.is_empty(), "condition", condition);
        call.send().await.map(Waiting)
    }

    /// The exit code; the error is docker's words.
    pub(crate) async fn exit_code(self) -> Result<u8, (u8, String)> {
        match self.0.json::<WaitResponse>().await {
            Ok(WaitResponse { error: Some(error), .. }) => {
                Err((UNKNOWN, format!("Error waiting for container: {}", error.message)))
            }
            Ok(answer) => Ok(exit_code(answer.status_code)),
            Err(error) => Err((
                UNKNOWN,
                format!("error waiting for container: {}", ferry_errkind::chain(&error)),
            )),
        }
    }
}

/// As the kernel would: the lowest eight bits.
pub(crate) fn exit_code(code: i64) -> u8 {
    code.to_le_bytes()[0]
}
