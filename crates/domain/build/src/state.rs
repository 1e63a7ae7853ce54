//! A stage as it grows: its configuration, the variables that instructions see, what each instruction asks the engine to do.

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{
    Command, CopyFlags, Health, Heredoc, Kind, Mount, Source, expand, expand_words,
};
use ferry_oci::{ContainerDefaults, HealthDefaults};

use crate::{
    BuildError,
    values::{absolute, ports, set_env},
};

/// Where programs are looked for when an image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// What an instruction asks for, beyond the change that it made to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing at all: an `ARG`.
    Nothing,
    /// Only the configuration changed.
    Config,
    /// A process is to run.
    Run(RunStep),
    /// Files are to be put in.
    Copy(CopyStep),
    /// A directory is to be there.
    Directory(String),
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// A script that the program is: it is to be at its path in `argv`.
    pub script: Option<String>,
    /// `--network`.
    pub network: Option<String>,
    /// `--mount`, variables replaced.
    pub mounts: Vec<Mount>,
    /// All that its outcome depends on besides the image.
    pub key: String,
    /// What history says.
    pub shown: String,
}

/// Files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStep {
    /// `ADD`.
    pub add: bool,
    /// Flags, variables replaced.
    pub flags: CopyFlags,
    /// What, variables replaced.
    pub sources: Vec<Source>,
    /// Absolute; a slash at its end stays.
    pub destination: String,
    /// What history says.
    pub shown: String,
}

/// A stage as it grows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What containers of the image inherit.
    pub config: ContainerDefaults,
    /// Who made it.
    pub author: Option<String>,
    /// What each `--build-arg` says.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Arguments before the first `FROM`.
    pub globals: BTreeMap<String, String>,
    /// `TARGETPLATFORM` and the like.
    pub platform_args: BTreeMap<String, String>,
    /// The escape character.
    pub escape: char,
    args: Vec<(String, Option<String>)>,
    has_command: bool,
}

impl State {
    /// A stage on an image with this configuration.
    pub fn on(config: ContainerDefaults, escape: char) -> State {
        let mut state = State { config, escape, ..State::default() };
        let env = state.config.env.get_or_insert_default();
        if !env.iter().any(|variable| variable.starts_with("PATH=")) {
            env.push(DEFAULT_PATH.to_owned());
        }
        state
    }

    /// What a variable is here: `ENV` goes before `ARG`.
    pub fn value_of(&self, name: &str) -> Option<String> {
        let env = self.config.env.iter().flatten();
        let known = env.filter_map(|variable| variable.split_once('='));
        let mut known = known.filter(|(known, _)| *known == name);
        if let Some((_, value)) = known.next() {
            return Some(value.to_owned());
        }
        let arg = self.args.iter().rev().find(|(known, _)| known == name)?;
        arg.1.clone()
    }

    /// Does what an instruction says.
    ///
    /// # Errors
    /// A variable that must be set is not, or a value makes no sense.
    pub fn apply(&mut self, kind: &Kind) -> Result<Effect, BuildError> {
        match kind {
            Kind::From { .. } => return Err(BuildError::NoStage),
            Kind::Run { flags, command, heredocs } => {
                return self.run(flags.network.clone(), &flags.mounts, command, heredocs);
            }
            Kind::Copy { add, flags, sources, destination } => {
                return self.copy(*add, flags, sources, destination);
            }
            Kind::Arg(args) => {
                for arg in args {
                    let default = arg.default.as_deref().map(|word| self.word(word)).transpose()?;
                    self.declare(&arg.name, default);
                }
                return Ok(Effect::Nothing);
            }
            Kind::Workdir(path) => {
                let path = self.word(path)?;
                let base = self.config.working_dir.clone().unwrap_or_default();
                let full = absolute(&base, &path);
                self.config.working_dir = Some(full.clone());
                return Ok(Effect::Directory(full));
            }
            Kind::Cmd(command) => {
                self.config.cmd = Some(self.argv(command));
                self.has_command = true;
            }
            Kind::Entrypoint(command) => {
                self.config.entrypoint = Some(self.argv(command));
                if !self.has_command {
                    // The command was the old entry point's.
                    self.config.cmd = None;
                }
            }
            Kind::Env(pairs) => {
                // All see what was before this instruction.
                for (name, value) in self.pairs(pairs)? {
                    set_env(self.config.env.get_or_insert_default(), &name, &value);
                }
            }
            Kind::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                self.config.labels.get_or_insert_default().extend(pairs);
            }
            Kind::User(user) => self.config.user = Some(self.word(user)?),
            Kind::Expose(words) => {
                let mut all = BTreeSet::new();
                for word in words {
                    for port in self.words(word)? {
                        ports(&port, &mut all)?;
                    }
                }
                self.config.exposed_ports.get_or_insert_default().extend(all);
            }
            Kind::Volume(paths) => {
                for path in paths {
                    let path = self.word(path)?;
                    if path.trim().is_empty() {
                        let words = "VOLUME specified can not be an empty string";
                        return Err(BuildError::Value(words.to_owned()));
                    }
                    self.config.volumes.get_or_insert_default().insert(path);
                }
            }
            Kind::StopSignal(signal) => {
                let signal = self.word(signal)?;
                self.config.stop_signal = Some(signal);
            }
            Kind::Shell(shell) => self.config.shell = Some(shell.clone()),
            Kind::Healthcheck(health) => self.config.healthcheck = Some(self.health(health)),
            Kind::OnBuild(text) => self.config.on_build.get_or_insert_default().push(text.clone()),
            Kind::Maintainer(name) => self.author = Some(name.clone()),
        }
        Ok(Effect::Config)
    }

    /// Arguments that are declared so far, and what they are.
    fn declare(&mut self, name: &str, default: Option<String>) {
        let value = match self.build_args.get(name) {
            Some(Some(given)) => Some(given.clone()),
            Some(None) | None => default
                .or_else(|| self.globals.get(name).cloned())
                .or_else(|| self.platform_args.get(name).cloned()),
        };
        self.args.retain(|(known, _)| known != name);
        self.args.push((name.to_owned(), value));
    }

    fn word(&self, word: &str) -> Result<String, BuildError> {
        expand(word, self.escape, &|name| self.value_of(name))
            .map_err(|source| BuildError::Expand { word: word.to_owned(), source })
    }

    fn words(&self, word: &str) -> Result<Vec<String>, BuildError> {
        expand_words(word, self.escape, &|name| self.value_of(name))
            .map_err(|source| BuildError::Expand { word: word.to_owned(), source })
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, BuildError> {
        pairs.iter().map(|(name, value)| Ok((self.word(name)?, self.word(value)?))).collect()
    }

    fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => {
                let mut argv = self.shell();
                argv.push(line.clone());
                argv
            }
        }
    }

    fn shell(&self) -> Vec<String> {
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        self.config.shell.clone().filter(|shell| !shell.is_empty()).unwrap_or_else(default)
    }

    fn health(&self, health: &Health) -> HealthDefaults {
        let number = |number: i64| Some(number).filter(|number| *number != 0);
        let test = match &health.command {
            None => vec!["NONE".to_owned()],
            Some(Command::Exec(words)) => {
                std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
            }
            Some(Command::Shell(line)) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        HealthDefaults {
            test: Some(test),
            interval: number(health.interval),
            timeout: number(health.timeout),
            start_period: number(health.start_period),
            start_interval: number(health.start_interval),
            retries: number(health.retries),
        }
    }

    fn run(
        &self,
        network: Option<String>,
        mounts: &[Mount],
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
                    let tabs = if document.chomp { "\t" } else { "" };
                    whole.push_str(&format!("\n{}{tabs}{}", document.content, document.name));
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
        used.sort();
        env.extend(used.iter().cloned());
        let mounts = mounts
            .iter()
            .map(|mount| {
                let target = self.word(&mount.target)?;
                Ok(Mount { target, source: self.word(&mount.source)?, ..mount.clone() })
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        let key = format!("RUN {argv:?} {script:?} {used:?} {network:?} {mounts:?}");
        for (name, value) in &self.build_args {
            if let (true, Some(value)) = (PROXIES.contains(&name.as_str()), value) {
                env.push(format!("{name}={value}"));
            }
        }
        let mut shown = String::new();
        if !used.is_empty() {
            shown = format!("|{} {} ", used.len(), used.join(" "));
        }
        let shown = format!("RUN {shown}{}", script.clone().unwrap_or_else(|| argv.join(" ")));
        Ok(Effect::Run(RunStep { argv, env, script, network, mounts, key, shown }))
    }

    fn copy(
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
        if read.len() > 1 && !full.ends_with('/') {
            let word = if add { "ADD" } else { "COPY" };
            return Err(BuildError::Value(format!(
                "When using {word} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let shown = format!("{} {} {written}", if add { "ADD" } else { "COPY" }, names.join(" "));
        Ok(Effect::Copy(CopyStep { add, flags, sources: read, destination: full, shown }))
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
