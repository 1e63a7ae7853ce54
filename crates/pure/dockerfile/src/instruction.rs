//! The instructions.

/// One instruction of a Dockerfile; variables in it are not replaced yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Number of its first line, from 1.
    pub line: usize,
    /// Number of its last line, documents included.
    pub last_line: usize,
    /// Its text, continuations joined.
    pub text: String,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `FROM [--platform=…] image [AS name]`.
    From {
        /// Image, earlier stage, or `scratch`.
        image: String,
        /// The platform asked for.
        platform: Option<String>,
        /// The stage's name, in lower case.
        name: Option<String>,
    },
    /// `RUN`.
    Run {
        /// Flags.
        flags: RunFlags,
        /// What to run.
        command: Command,
        /// Documents in its text.
        heredocs: Vec<Heredoc>,
    },
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `COPY` and `ADD`.
    Copy {
        /// `ADD`: archives are unpacked, URLs fetched.
        add: bool,
        /// Flags.
        flags: CopyFlags,
        /// What is copied.
        sources: Vec<Source>,
        /// Where to.
        destination: String,
    },
    /// `ENV`: names and values.
    Env(Vec<(String, String)>),
    /// `LABEL`: names and values.
    Label(Vec<(String, String)>),
    /// `ARG`.
    Arg(Vec<Arg>),
    /// `WORKDIR`.
    Workdir(String),
    /// `USER`.
    User(String),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Health),
    /// `ONBUILD`: an instruction for those who build on the image.
    OnBuild(String),
    /// `MAINTAINER`.
    Maintainer(String),
}

/// An `ARG`: its name and its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Name.
    pub name: String,
    /// Default; quotes and variables are still in it.
    pub default: Option<String>,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// Flags of `RUN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFlags {
    /// `--mount`.
    pub mounts: Vec<Mount>,
    /// `--network`: `default`, `none` or `host`.
    pub network: Option<String>,
    /// `--security=insecure`.
    pub insecure: bool,
}

/// A `RUN --mount`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where.
    pub target: String,
    /// Path in the source of a bind or cache.
    pub source: String,
    /// Stage or image of a bind or cache; empty is the build context.
    pub from: String,
    /// Identity of a cache or secret; empty is the target.
    pub id: String,
    /// A bind can be written to, a cache cannot.
    pub writable: bool,
    /// Size of a tmpfs in bytes.
    pub size: i64,
    /// Mode of a cache's directory or a secret's file.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Fails when there is no such secret.
    pub required: bool,
    /// The variable that a secret is put into.
    pub env: Option<String>,
    /// `shared`, `private` or `locked`.
    pub sharing: String,
}

/// What a `RUN --mount` mounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that stays from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A file that is not to be in the image.
    Secret,
    /// An agent's socket.
    Ssh,
}

/// Flags of `COPY` and `ADD`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyFlags {
    /// Stage, its number, or an image.
    pub from: Option<String>,
    /// `user[:group]`.
    pub chown: Option<String>,
    /// Octal mode.
    pub chmod: Option<String>,
    /// Independent of what is below.
    pub link: bool,
    /// Parent directories are kept.
    pub parents: bool,
    /// Patterns left out.
    pub exclude: Vec<String>,
    /// Digest of what a URL gives.
    pub checksum: Option<String>,
    /// Whether `ADD` unpacks; `None` is its own idea.
    pub unpack: Option<bool>,
    /// The repository's `.git` stays.
    pub keep_git_dir: bool,
}

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, a pattern or a URL.
    Path(String),
    /// A document in the Dockerfile.
    Document(Heredoc),
}

/// A document in the Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it; the file's name in `COPY`.
    pub name: String,
    /// The file descriptor before `<<`, 0 when there is none.
    pub fd: u32,
    /// Variables in it are replaced: the name was not quoted.
    pub expand: bool,
    /// Tabs at the beginning of lines are taken away.
    pub chomp: bool,
    /// The text.
    pub content: String,
}

impl Heredoc {
    /// Reads `<<EOF`, `3<<-"EOF"`; no content yet.
    pub(crate) fn announced(word: &str) -> Option<Heredoc> {
        let (fd, rest) = word.split_once("<<")?;
        if !fd.chars().all(|char| char.is_ascii_digit()) || rest.contains('<') {
            return None;
        }
        let fd = if fd.is_empty() { 0 } else { fd.parse().ok()? };
        let (chomp, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let name: String = rest.chars().filter(|char| !matches!(char, '"' | '\'' | '\\')).collect();
        let plain = name.chars().all(|char| !char.is_whitespace());
        (plain && !name.is_empty()).then(|| Heredoc {
            expand: name.len() == rest.len(),
            name,
            fd,
            chomp,
            content: String::new(),
        })
    }
}

/// A `HEALTHCHECK`. Durations are nanoseconds, 0 is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The probe; `None` is `NONE`.
    pub command: Option<Command>,
    /// Between two probes.
    pub interval: i64,
    /// For one.
    pub timeout: i64,
    /// Failures do not count so long.
    pub start_period: i64,
    /// Between two probes in that time.
    pub start_interval: i64,
    /// Failures until unhealthy.
    pub retries: i64,
}
