//! The client of a build, as the engine asks it: secrets and agents, through its session.

use ferry_engine::ops::build::{Asked, BuildClient, Connection};
use ferry_errkind::{ErrorKind, Failure};
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tonic::{Code, Request, metadata::MetadataValue};

use crate::{
    proto::moby::{
        buildkit::secrets::v1::{GetSecretRequest, secrets_client::SecretsClient},
        sshforward::v1::{BytesMessage, CheckAgentRequest, ssh_client::SshClient},
    },
    session::Session,
    solve::of_status,
};

/// Largest secret: BuildKit's own limit is 500 KB.
const MAX_SECRET: usize = 512 << 10;
/// Bytes between a step and an agent.
const PIPE: usize = 64 << 10;
const BACKLOG: usize = 16;

/// A session, asked for what steps need.
#[derive(Debug)]
pub(crate) struct SessionClient {
    session: Session,
}

impl SessionClient {
    pub(crate) fn new(session: Session) -> SessionClient {
        SessionClient { session }
    }
}

impl BuildClient for SessionClient {
    fn secret(&self, id: &str) -> Asked<'_, Option<Vec<u8>>> {
        let asked = GetSecretRequest { id: id.to_owned(), ..GetSecretRequest::default() };
        Box::pin(async move {
            if !self.session.supports("/moby.buildkit.secrets.v1.Secrets/GetSecret") {
                return Ok(None);
            }
            match SecretsClient::new(self.session.channel()).get_secret(asked).await {
                Ok(answer) if answer.get_ref().data.len() > MAX_SECRET => {
                    let words = format!("a secret is larger than {} KiB", MAX_SECRET >> 10);
                    Err(Failure::new(ErrorKind::TooLarge, words))
                }
                Ok(answer) => Ok(Some(answer.into_inner().data)),
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(of_status(&status)),
            }
        })
    }

    fn has_agent(&self, id: &str) -> Asked<'_, bool> {
        let asked = CheckAgentRequest { id: named(id) };
        Box::pin(async move {
            if !self.session.supports("/moby.sshforward.v1.SSH/CheckAgent") {
                return Ok(false);
            }
            // An id that it does not have is an error of no certain kind.
            Ok(SshClient::new(self.session.channel()).check_agent(asked).await.is_ok())
        })
    }

    fn agent(&self, id: &str) -> Asked<'_, Box<dyn Connection>> {
        let id = named(id);
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let (mut from, mut to) = tokio::io::split(ours);
            let (out, queue) = mpsc::channel::<BytesMessage>(BACKLOG);
            let messages = stream::unfold(queue, |mut queue| async move {
                queue.recv().await.map(|message| (message, queue))
            });
            let mut request = Request::new(messages);
            let invalid =
                |_| Failure::new(ErrorKind::InvalidArgument, format!("invalid ssh id {id:?}"));
            let value = MetadataValue::try_from(id.as_str()).map_err(invalid)?;
            request.metadata_mut().insert("buildkit.ssh.id", value);
            let mut client = SshClient::new(self.session.channel());
            tokio::spawn(async move {
                let mut buffer = vec![0; 32 << 10];
                while let Ok(read @ 1..) = from.read(&mut buffer).await {
                    let data = buffer[..read].to_vec();
                    if out.send(BytesMessage { data }).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                let Ok(answer) = client.forward_agent(request).await else { return };
                let mut answer = answer.into_inner();
                while let Ok(Some(message)) = answer.message().await {
                    if to.write_all(&message.data).await.is_err() {
                        return;
                    }
                }
                to.shutdown().await.ok();
            });
            Ok(Box::new(theirs) as Box<dyn Connection>)
        })
    }
}

fn named(id: &str) -> String {
    if id.is_empty() { "default".to_owned() } else { id.to_owned() }
}
