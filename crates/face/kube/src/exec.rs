//! Running a program in a container.

use ferry_client::{Client, ClientError, path_segment};
use ferry_docker_api::{ExecConfig, ExecCreated, ExecInspect, ExecStartConfig};
use tokio::io::AsyncReadExt;

/// Runs it to its end; its exit code, if that is known. What it prints is read and forgotten.
pub(crate) async fn run(
    client: &Client,
    container: &str,
    command: &[String],
) -> Result<Option<i32>, ClientError> {
    let config = ExecConfig {
        attach_stdout: true,
        attach_stderr: true,
        cmd: Some(command.to_vec()),
        ..ExecConfig::default()
    };
    let path = format!("/containers/{}/exec", path_segment(container));
    let exec: ExecCreated = client.post(path).json_body(&config).json().await?;
    let path = format!("/exec/{}", path_segment(&exec.id));
    let start = client.post(format!("{path}/start")).json_body(&ExecStartConfig::default());
    let mut output = start.hijack().await?.stream;
    let mut chunk = [0; 4096];
    while output.read(&mut chunk).await.is_ok_and(|count| count > 0) {}
    let ended: ExecInspect = client.get(format!("{path}/json")).json().await?;
    Ok(ended.exit_code)
}
