//! A stage as it grows: its configuration, the variables that instructions see, what each instruction asks the engine to do.

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{
    Arg, Command, CopyFlags, Health, Kind, Mount, Source, expand, expand_words,
};
use ferry_oci::{ContainerDefaults, HealthDefaults};

use crate::{
    BuildError, history,
    values::{absolute, is_signal, ports, set_env},
};

/// Where programs are looked for when an image does not say.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an instruction asks for, beyond the change that it made to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Only the configuration changed, or not even that.
    Config {
        /// What history says.
        shown: String,
    },
    /// A process is to run.
    Run(RunStep),
    /// Files are to be put in.
    Copy(CopyStep),
    /// A directory is to be there.
    Directory {
        /// Its path.
        path: String,
        /// What history says.
        shown: String,
    },
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
    /// `--security=insecure`.
    pub insecure: bool,
    /// `--mount`, variables replaced.
    pub mounts: Vec<Mount>,
    /// Arguments of the build among `env`, as `name=value`.
    pub args: Vec<String>,
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
    pub(crate) args: Vec<(String, Option<String>)>,
    has_command: bool,
}

impl State {
    /// A configuration that instructions change, nothing added.
    pub fn bare(config: ContainerDefaults, escape: char) -> State {
        State { config, escape, ..State::default() }
    }

    /// A stage on an image with this configuration.
    pub fn on(config: ContainerDefaults, escape: char) -> State {
        let mut state = State::bare(config, escape);
        let env = state.config.env.get_or_insert_default();
        if !env.iter().any(|variable| variable.starts_with("PATH=")) {
            env.push(DEFAULT_PATH.to_owned());
        }
        state
    }

    /// The arguments that are declared, with their values: a stage on this one has them, too.
    pub fn declared(&self) -> Vec<(String, Option<String>)> {
        self.args.clone()
    }

    /// Declares what the stage that this one stands on has declared.
    pub fn inherit(&mut self, args: Vec<(String, Option<String>)>) {
        self.args = args;
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
        let shown = match kind {
            Kind::From { .. } => return Err(BuildError::NoStage),
            Kind::Run { flags, command, heredocs } => return self.run(flags, command, heredocs),
            Kind::Copy { add, flags, sources, destination } => {
                return self.copy(*add, flags, sources, destination);
            }
            Kind::Workdir(path) => {
                let path = self.word(path)?;
                let base = self.config.working_dir.clone().unwrap_or_default();
                let full = absolute(&base, &path);
                self.config.working_dir = Some(full.clone());
                let shown = format!("WORKDIR {full}");
                return Ok(Effect::Directory { path: full, shown });
            }
            Kind::Arg(args) => self.arguments(args)?,
            Kind::Cmd(command) => {
                let argv = self.argv(command);
                self.config.cmd = Some(argv.clone());
                self.config.args_escaped = Some(true);
                self.has_command = true;
                format!("CMD {}", history::quoted(&argv))
            }
            Kind::Entrypoint(command) => {
                let argv = self.argv(command);
                self.config.entrypoint = Some(argv.clone());
                if !self.has_command {
                    // The command was the old entry point's.
                    self.config.cmd = None;
                }
                format!("ENTRYPOINT {}", history::quoted(&argv))
            }
            Kind::Env(pairs) => {
                // All see what was before this instruction.
                let pairs = self.pairs(pairs)?;
                for (name, value) in &pairs {
                    set_env(self.config.env.get_or_insert_default(), name, value);
                }
                history::pairs("ENV", &pairs)
            }
            Kind::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                let shown = history::pairs("LABEL", &pairs);
                self.config.labels.get_or_insert_default().extend(pairs);
                shown
            }
            Kind::User(user) => {
                let user = self.word(user)?;
                self.config.user = Some(user.clone());
                format!("USER {user}")
            }
            Kind::Expose(words) => self.expose(words)?,
            Kind::Volume(paths) => self.volumes(paths)?,
            Kind::StopSignal(signal) => {
                let signal = self.word(signal)?;
                if !is_signal(&signal) {
                    return Err(BuildError::Value(format!("invalid signal: {signal}")));
                }
                self.config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Kind::Shell(shell) => {
                self.config.shell = Some(shell.clone());
                format!("SHELL {}", history::list(shell))
            }
            Kind::Healthcheck(health) => {
                let health = self.health(health);
                let shown = history::health(&health);
                self.config.healthcheck = Some(health);
                shown
            }
            Kind::OnBuild(text) => {
                self.config.on_build.get_or_insert_default().push(text.clone());
                format!("ONBUILD {text}")
            }
            Kind::Maintainer(name) => {
                self.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
        };
        Ok(Effect::Config { shown })
    }

    fn arguments(&mut self, args: &[Arg]) -> Result<String, BuildError> {
        let mut shown = "ARG".to_owned();
        for arg in args {
            let default = arg.default.as_deref().map(|word| self.word(word)).transpose()?;
            let value = self.declare(&arg.name, default);
            shown.push_str(&format!(" {}", arg.name));
            if let Some(value) = value {
                shown.push_str(&format!("={value}"));
            }
        }
        Ok(shown)
    }

    fn expose(&mut self, words: &[String]) -> Result<String, BuildError> {
        let mut all = BTreeSet::new();
        for word in words {
            for port in self.words(word)? {
                ports(&port, &mut all)?;
            }
        }
        let shown: Vec<String> = all.iter().cloned().collect();
        self.config.exposed_ports.get_or_insert_default().extend(all);
        Ok(format!("EXPOSE {}", history::list(&shown)))
    }

    fn volumes(&mut self, paths: &[String]) -> Result<String, BuildError> {
        let mut all = Vec::with_capacity(paths.len());
        for path in paths {
            let path = self.word(path)?;
            if path.trim().is_empty() {
                let words = "VOLUME specified can not be an empty string";
                return Err(BuildError::Value(words.to_owned()));
            }
            all.push(path);
        }
        self.config.volumes.get_or_insert_default().extend(all.iter().cloned());
        Ok(format!("VOLUME {}", history::list(&all)))
    }

    /// Declares an argument; answers what it is, unless it got that from elsewhere than from here or the command line.
    fn declare(&mut self, name: &str, default: Option<String>) -> Option<String> {
        let own = default.clone();
        let value = match self.build_args.get(name) {
            Some(Some(given)) => Some(given.clone()),
            Some(None) | None => default
                .or_else(|| self.globals.get(name).cloned())
                .or_else(|| self.platform_args.get(name).cloned()),
        };
        match self.args.iter_mut().find(|(known, _)| known == name) {
            // To declare it again takes nothing away.
            Some((_, known)) if value.is_some() => known.clone_from(&value),
            Some(_) => {}
            None => self.args.push((name.to_owned(), value.clone())),
        }
        value.or(own)
    }

    pub(crate) fn word(&self, word: &str) -> Result<String, BuildError> {
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

    pub(crate) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(line) => {
                let mut argv = self.shell();
                argv.push(line.clone());
                argv
            }
        }
    }

    pub(crate) fn shell(&self) -> Vec<String> {
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
}
