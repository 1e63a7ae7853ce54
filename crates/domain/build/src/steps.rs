//! `RUN`, `COPY` and `ADD`: what is to be done, variables replaced.

use ferry_dockerfile::{Command, CopyFlags, Heredoc, Mount, RunFlags, Source};

use crate::{BuildError, CopyStep, Effect, RunStep, State, values::absolute};

/// Arguments that need no `ARG`, and that no image and no cache key shows.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

impl State {
    pub(crate) fn run(
        &self,
        flags: &RunFlags,
        command: &Command,
        heredocs: &[Heredoc],
    ) -> Result<Effect, BuildError> {
        let (argv, script) = match command {
            // A document that names its own interpreter.
            Command::Shell(text) if text.starts_with("#!") => {
                let path = "/dev/pipes/EOF".to_owned();
                (vec![path], Some(text.clone()))
            }
            Command::Shell(line) => {
                let mut whole = line.clone();
                for document in heredocs {
                    whole.push_str(&format!("\n{}{}", document.content, document.name));
                }
                (self.argv(&Command::Shell(whole)), None)
            }
            Command::Exec(words) => (words.clone(), None),
        };
        let mut env: Vec<String> = self.config.env.clone().unwrap_or_default();
        let mut used = Vec::new();
        for (name, value) in &self.args {
            let Some(value) = value else { continue };
            if env.iter().any(|variable| variable.split('=').next() == Some(name)) {
                continue;
            }
            used.push(format!("{name}={value}"));
        }
        env.extend(used.iter().cloned());
        let mounts = flags.mounts.iter().map(|mount| self.mount(mount));
        let mounts = mounts.collect::<Result<Vec<_>, BuildError>>()?;
        let (network, insecure) = (flags.network.clone(), flags.insecure);
        for (name, value) in &self.build_args {
            if let (true, Some(value)) = (PROXIES.contains(&name.as_str()), value) {
                env.push(format!("{name}={value}"));
            }
        }
        let mut shown = String::new();
        if !used.is_empty() {
            shown = format!("|{} {} ", used.len(), used.join(" "));
        }
        let command = script.clone().unwrap_or_else(|| argv.join(" "));
        let shown = format!("RUN {shown}{command} # buildkit");
        Ok(Effect::Run(RunStep { argv, env, script, network, insecure, mounts, args: used, shown }))
    }

    fn mount(&self, mount: &Mount) -> Result<Mount, BuildError> {
        let base = self.config.working_dir.clone().unwrap_or_default();
        let target = match self.word(&mount.target)? {
            target if target.is_empty() => target,
            target => absolute(&base, &target),
        };
        Ok(Mount {
            target,
            source: self.word(&mount.source)?,
            from: self.word(&mount.from)?,
            id: self.word(&mount.id)?,
            ..mount.clone()
        })
    }

    pub(crate) fn copy(
        &self,
        add: bool,
        flags: &CopyFlags,
        sources: &[Source],
        destination: &str,
    ) -> Result<Effect, BuildError> {
        let text = |text: &Option<String>| text.as_deref().map(|text| self.word(text)).transpose();
        let flags = CopyFlags {
            from: text(&flags.from)?,
            chown: text(&flags.chown)?,
            chmod: text(&flags.chmod)?,
            checksum: text(&flags.checksum)?,
            exclude: self.all_words(&flags.exclude)?,
            ..flags.clone()
        };
        let mut read = Vec::with_capacity(sources.len());
        let mut names = Vec::new();
        for source in sources {
            read.push(match source {
                Source::Path(path) => {
                    names.push(self.word(path)?);
                    Source::Path(self.word(path)?)
                }
                Source::Document(document) => {
                    names.push(format!("<<{}", document.name));
                    let mut document = document.clone();
                    if document.expand {
                        document.content = self.document(&document.content)?;
                    }
                    Source::Document(document)
                }
            });
        }
        let written = self.word(destination)?;
        let base = self.config.working_dir.clone().unwrap_or_default();
        let slash = written.ends_with('/') || written == "." || written.ends_with("/.");
        let mut full = absolute(&base, &written);
        if slash && full != "/" {
            full.push('/');
        }
        let word = if add { "ADD" } else { "COPY" };
        let shown = format!("{word} {} {written} # buildkit", names.join(" "));
        Ok(Effect::Copy(CopyStep { add, flags, sources: read, destination: full, shown }))
    }

    fn all_words(&self, words: &[String]) -> Result<Vec<String>, BuildError> {
        words.iter().map(|word| self.word(word)).collect()
    }

    /// A document: variables are replaced, quotes stay.
    fn document(&self, content: &str) -> Result<String, BuildError> {
        let mut lines = String::new();
        for line in content.split_inclusive('\n') {
            if !line.contains(['$', self.escape]) {
                lines.push_str(line);
                continue;
            }
            let mut kept = String::with_capacity(line.len());
            for char in line.chars() {
                // Quotes mean nothing in a document.
                if char == '"' || char == '\'' {
                    kept.push(self.escape);
                }
                kept.push(char);
            }
            lines.push_str(&self.word(&kept)?);
        }
        Ok(lines)
    }
}
