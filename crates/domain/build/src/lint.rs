//! What in a Dockerfile works, but could be better: the rules of Docker's build checks.

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{Command, Dockerfile, Instruction, Kind, expand};

use crate::PlanRequest;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it asks for.
    pub description: &'static str,
    /// Only where `check=experimental=` asks for it.
    pub experimental: bool,
}

const fn rule(name: &'static str, description: &'static str) -> Rule {
    Rule { name, description, experimental: false }
}

/// All rules, as Docker names and describes them.
pub const RULES: [Rule; 21] = [
    rule(
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"),
    rule("DuplicateStageName", "Stage names should be unique"),
    rule(
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    ),
    rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
    rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
    rule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
    rule(
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    Rule {
        name: "InvalidDefinitionDescription",
        description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        experimental: true,
    },
    rule(
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    rule(
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    rule(
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    rule(
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    rule("NoEmptyContinuation", "Empty continuation lines will become errors in a future release"),
    rule(
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    rule("ReservedStageName", "Reserved words should not be used as stage names"),
    rule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
    rule("StageNameCasing", "Stage names should be lowercase"),
    rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
    rule("UndefinedVar", "Variables should be defined before their use"),
    rule(
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    ),
];

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// What it asks for.
    pub description: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where, from 1.
    pub line: usize,
}

impl Finding {
    /// Where the rule is explained.
    pub fn url(&self) -> String {
        let mut kebab = String::new();
        let mut before = ' ';
        for char in self.rule.chars() {
            if char.is_ascii_uppercase() && before.is_ascii_lowercase() {
                kebab.push('-');
            }
            kebab.push(char.to_ascii_lowercase());
            before = char;
        }
        let kebab = kebab.replace("jsonargs", "json-args");
        format!("https://docs.docker.com/go/dockerfile/rule/{kebab}/")
    }
}

/// What is known of a build besides its Dockerfile.
pub struct Surroundings<'a> {
    /// The variables of an image, if it is known.
    pub env_of: &'a dyn Fn(&str) -> Option<Vec<String>>,
    /// Whether `.dockerignore` leaves a path out.
    pub ignored: &'a dyn Fn(&str) -> bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Surroundings")
    }
}

/// Whether findings are errors: `# check=error=true`.
pub fn is_error(file: &Dockerfile, request: &PlanRequest) -> bool {
    Choice::of(file, request).error
}

/// `# check=skip=A,B;error=true;experimental=all`.
#[derive(Default)]
struct Choice {
    skip: BTreeSet<String>,
    all: bool,
    experimental: BTreeSet<String>,
    error: bool,
}

impl Choice {
    fn of(file: &Dockerfile, request: &PlanRequest) -> Choice {
        let own = request.build_args.get("BUILDKIT_DOCKERFILE_CHECK").cloned().flatten();
        let text = own.or_else(|| file.check.clone()).unwrap_or_default();
        let mut choice = Choice::default();
        for (name, value) in text.split(';').filter_map(|part| part.split_once('=')) {
            let list = || value.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
            match name.trim() {
                "skip" => choice.skip = list(),
                "experimental" => choice.experimental = list(),
                "error" => choice.error = value.trim() == "true",
                _ => {}
            }
        }
        choice.all = choice.skip.contains("all");
        choice
    }

    fn wants(&self, rule: &Rule) -> bool {
        let named = |list: &BTreeSet<String>| list.contains(&rule.name.to_ascii_lowercase());
        let asked = named(&self.experimental) || self.experimental.contains("all");
        !self.all && !named(&self.skip) && (!rule.experimental || asked)
    }
}

struct Linter<'a> {
    file: &'a Dockerfile,
    text: &'a str,
    found: Vec<Finding>,
    choice: Choice,
}

/// Looks at a Dockerfile.
pub fn lint(
    file: &Dockerfile,
    text: &str,
    request: &PlanRequest,
    around: &Surroundings<'_>,
) -> Vec<Finding> {
    let mut linter = Linter { file, text, found: Vec::new(), choice: Choice::of(file, request) };
    linter.casing();
    linter.continuations();
    linter.comments();
    linter.stages(request);
    linter.instructions(around);
    linter.variables(around);
    linter.found.sort_by(|one, other| (one.line, one.rule).cmp(&(other.line, other.rule)));
    linter.found.dedup();
    linter.found
}

impl Linter<'_> {
    fn find(&mut self, rule: &str, line: usize, message: String) {
        let Some(rule) = RULES.iter().find(|known| known.name == rule) else { return };
        if self.choice.wants(rule) {
            let (rule, description) = (rule.name, rule.description);
            self.found.push(Finding { rule, description, message, line });
        }
    }

    fn casing(&mut self) {
        let words: Vec<(usize, String)> =
            self.file.instructions.iter().map(|one| (one.line, keyword(one).to_owned())).collect();
        let upper = words.iter().filter(|(_, word)| *word == word.to_ascii_uppercase()).count();
        let lower = words.iter().filter(|(_, word)| *word == word.to_ascii_lowercase()).count();
        let (majority, name) =
            if upper >= lower { (true, "uppercase") } else { (false, "lowercase") };
        for (line, word) in words {
            let right =
                if majority { word.to_ascii_uppercase() } else { word.to_ascii_lowercase() };
            if word != right {
                let words = format!(
                    "Command '{word}' should match the case of the command majority ({name})"
                );
                self.find("ConsistentInstructionCasing", line, words);
            }
        }
    }

    fn continuations(&mut self) {
        let lines: Vec<&str> = self.text.lines().collect();
        let escape = self.file.escape;
        let mut at = Vec::new();
        for instruction in &self.file.instructions {
            let mut number = instruction.line;
            while lines.get(number.wrapping_sub(1)).is_some_and(|line| {
                line.trim_end().ends_with(escape)
                    || line.trim().is_empty()
                    || line.trim_start().starts_with('#')
            }) && number < instruction.last_line
            {
                number += 1;
                if lines.get(number - 1).is_some_and(|line| line.trim().is_empty()) {
                    at.push(instruction.line);
                }
            }
        }
        for line in at {
            self.find("NoEmptyContinuation", line, "Empty continuation line".to_owned());
        }
    }

    /// Comments right above stages and arguments are descriptions.
    fn comments(&mut self) {
        let mut wrong = Vec::new();
        for instruction in &self.file.instructions {
            let (what, name) = match &instruction.kind {
                Kind::From { name: Some(name), .. } => ("build stage", name.clone()),
                Kind::Arg(args) => match args.first() {
                    Some(arg) => ("argument", arg.name.clone()),
                    None => continue,
                },
                _ => continue,
            };
            let Some(comment) = crate::outline::comment_above(self.text, instruction.line) else {
                continue;
            };
            if comment.split_whitespace().next() != Some(name.as_str()) {
                wrong.push((
                    instruction.line,
                    format!(
                        "Comment for {what} should follow the format: `# {name} <description>`"
                    ),
                ));
            }
        }
        for (line, words) in wrong {
            self.find("InvalidDefinitionDescription", line, words);
        }
    }

    fn stages(&mut self, request: &PlanRequest) {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut globals: BTreeMap<String, String> = BTreeMap::new();
        let mut declared: BTreeSet<String> = request.platform_args.keys().cloned().collect();
        let file = self.file;
        for instruction in &file.instructions {
            let line = instruction.line;
            match &instruction.kind {
                Kind::Arg(args) if names_stages_yet(file, line) => {
                    for arg in args {
                        declared.insert(arg.name.clone());
                        let value_of = |name: &str| {
                            globals.get(name).or_else(|| request.platform_args.get(name)).cloned()
                        };
                        let default = arg.default.as_deref().unwrap_or_default();
                        let value = expand(default, file.escape, &value_of).unwrap_or_default();
                        globals.insert(arg.name.clone(), value);
                    }
                }
                Kind::From { image, platform, name } => {
                    self.from(instruction, name.as_deref(), &mut names);
                    let words = [Some(image), platform.as_ref()];
                    for name in words.into_iter().flatten().flat_map(|word| used(word, file.escape))
                    {
                        if !declared.contains(&name) {
                            let words = format!("FROM argument '{name}' is not declared");
                            self.find("UndefinedArgInFrom", line, words);
                        }
                    }
                    self.base(line, image, &globals, request);
                    if let Some(platform) = platform {
                        self.platform(line, platform);
                    }
                }
                _ => {}
            }
        }
    }

    fn from(
        &mut self,
        instruction: &Instruction,
        name: Option<&str>,
        names: &mut BTreeSet<String>,
    ) {
        let line = instruction.line;
        let words: Vec<&str> = instruction.text.split_whitespace().collect();
        if let [.., r#as, written] = words.as_slice()
            && r#as.eq_ignore_ascii_case("as")
        {
            let upper = |word: &str| word == word.to_ascii_uppercase();
            if upper(words[0]) != upper(r#as) {
                let words = format!("'{as}' and '{}' keywords' casing do not match", words[0]);
                self.find("FromAsCasing", line, words);
            }
            if *written != written.to_ascii_lowercase() {
                let words = format!("Stage name '{written}' should be lowercase");
                self.find("StageNameCasing", line, words);
            }
        }
        let Some(name) = name else { return };
        if matches!(name, "scratch" | "context") {
            let words =
                format!("Stage name should not use the same name as reserved stage {name:?}");
            self.find("ReservedStageName", line, words);
        }
        if !names.insert(name.to_owned()) {
            let words = format!("Duplicate stage name {name:?}, stage names should be unique");
            self.find("DuplicateStageName", line, words);
        }
    }

    fn base(
        &mut self,
        line: usize,
        image: &str,
        globals: &BTreeMap<String, String>,
        request: &PlanRequest,
    ) {
        let names = used(image, self.file.escape);
        if names.is_empty() {
            return;
        }
        let value_of =
            |name: &str| globals.get(name).or_else(|| request.platform_args.get(name)).cloned();
        let value = expand(image, self.file.escape, &value_of).unwrap_or_default();
        let empty = value.is_empty()
            || value.ends_with([':', '/', '@'])
            || value.starts_with([':', '/', '@']);
        if empty {
            let words = format!(
                "Default value for ARG {image} results in empty or invalid base image name"
            );
            self.find("InvalidDefaultArgInFrom", line, words);
        }
    }

    fn platform(&mut self, line: usize, platform: &str) {
        let bare = platform.trim_matches(['$', '{', '}']);
        if platform.starts_with('$') && bare == "TARGETPLATFORM" {
            let words = format!(
                "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
            );
            self.find("RedundantTargetPlatform", line, words);
        } else if !platform.contains('$') {
            let words = format!("FROM --platform flag should not use constant value {platform:?}");
            self.find("FromPlatformFlagConstDisallowed", line, words);
        }
    }

    fn instructions(&mut self, around: &Surroundings<'_>) {
        let file = self.file;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut shell, mut absolute) = (false, false);
        for instruction in &file.instructions {
            let line = instruction.line;
            let once = match &instruction.kind {
                Kind::From { .. } => {
                    seen.clear();
                    (shell, absolute) = (false, false);
                    continue;
                }
                Kind::Cmd(command) | Kind::Entrypoint(command) => {
                    let word =
                        if matches!(instruction.kind, Kind::Cmd(_)) { "CMD" } else { "ENTRYPOINT" };
                    if matches!(command, Command::Shell(_)) && !shell {
                        let words = format!(
                            "JSON arguments recommended for {word} to prevent unintended behavior related to OS signals"
                        );
                        self.find("JSONArgsRecommended", line, words);
                    }
                    Some(word)
                }
                Kind::Healthcheck(_) => Some("HEALTHCHECK"),
                _ => None,
            };
            if let Some(before) = once.and_then(|word| seen.insert(word, line)) {
                let words = format!(
                    "Multiple {} instructions should not be used in the same stage because only the last one will be used",
                    once.unwrap_or_default()
                );
                self.find("MultipleInstructionsDisallowed", before, words);
            }
            match &instruction.kind {
                Kind::Shell(_) => shell = true,
                Kind::Maintainer(_) => {
                    let words = "Maintainer instruction is deprecated in favor of using label";
                    self.find("MaintainerDeprecated", line, words.to_owned());
                }
                Kind::Workdir(path) => {
                    let is_absolute = path.starts_with(['/', '$', '"', '\'']);
                    if !is_absolute && !absolute {
                        let words = format!(
                            "Relative workdir {path:?} can have unexpected results if the base image changes"
                        );
                        self.find("WorkdirRelativePath", line, words);
                    }
                    absolute |= is_absolute;
                }
                Kind::Expose(ports) => ports.iter().for_each(|port| self.port(line, port)),
                Kind::Env(pairs) | Kind::Label(pairs) => {
                    let env = matches!(instruction.kind, Kind::Env(_));
                    let word = if env { "ENV" } else { "LABEL" };
                    if !instruction.text.split_whitespace().nth(1).unwrap_or_default().contains('=')
                    {
                        let words = format!(
                            "\"{word} key=value\" should be used instead of legacy \"{word} key value\" format"
                        );
                        self.find("LegacyKeyValueFormat", line, words);
                    }
                    for (name, _) in pairs.iter().filter(|_| env) {
                        self.secret(line, "ENV", name);
                    }
                }
                Kind::Arg(args) => args.iter().for_each(|arg| self.secret(line, "ARG", &arg.name)),
                Kind::Copy { add, flags, sources, .. } if flags.from.is_none() => {
                    for source in sources {
                        let ferry_dockerfile::Source::Path(path) = source else { continue };
                        let clean = path.trim_start_matches("./").trim_matches('/');
                        if !path.contains("://")
                            && !clean.is_empty()
                            && clean != "."
                            && (around.ignored)(clean)
                        {
                            let word = if *add { "Add" } else { "Copy" };
                            let words = format!(
                                "Attempting to {word} file {path:?} that is excluded by .dockerignore"
                            );
                            self.find("CopyIgnoredFile", line, words);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn port(&mut self, line: usize, port: &str) {
        let protocol = port.split_once('/').map(|(_, protocol)| protocol);
        if let Some(protocol) = protocol.filter(|text| *text != text.to_ascii_lowercase()) {
            let words =
                format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
            self.find(
                "ExposeProtoCasing",
                line,
                words.replace(&format!("'{port}'"), &format!("'{protocol}'")),
            );
        }
        if port.contains(':') && !port.contains('$') {
            let words = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            );
            self.find("ExposeInvalidFormat", line, words);
        }
    }

    fn secret(&mut self, line: usize, word: &str, name: &str) {
        const SECRETS: [&str; 9] = [
            "apikey",
            "auth",
            "credential",
            "credentials",
            "key",
            "password",
            "pword",
            "passwd",
            "secret",
        ];
        let parts: Vec<String> = name.split(['_', '-', '.']).map(str::to_ascii_lowercase).collect();
        let named = |part: &String| SECRETS.contains(&part.as_str()) || part == "token";
        let public =
            parts.iter().any(|part| matches!(part.as_str(), "public" | "file" | "version"));
        if parts.iter().any(named) && !public {
            let words =
                format!("Do not use ARG or ENV instructions for sensitive data ({word} {name:?})");
            self.find("SecretsUsedInArgOrEnv", line, words);
        }
    }

    /// Variables that nothing sets.
    fn variables(&mut self, around: &Surroundings<'_>) {
        let file = self.file;
        let mut stages: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
        // What the stage knows; `None` where its base image is not known.
        let mut known: Option<BTreeSet<String>> = None;
        let mut name = None;
        for instruction in &file.instructions {
            match &instruction.kind {
                Kind::From { image, name: own, .. } => {
                    if let Some(before) = name.replace(own.clone()).flatten() {
                        stages.insert(before, known.take());
                    }
                    let base = image.to_ascii_lowercase();
                    known = match stages.get(&base) {
                        Some(of_stage) => of_stage.clone(),
                        None if base == "scratch" => Some(BTreeSet::new()),
                        None => (around.env_of)(image).map(|env| {
                            let names = env.iter().filter_map(|one| one.split_once('='));
                            names.map(|(name, _)| name.to_owned()).collect()
                        }),
                    };
                    if let Some(known) = &mut known {
                        known.insert("PATH".to_owned());
                    }
                }
                kind => {
                    let Some(known) = &mut known else { continue };
                    let words = words_of(kind);
                    let missing: Vec<String> = words
                        .iter()
                        .flat_map(|word| used(word, file.escape))
                        .filter(|name| !known.contains(name) && !is_predefined(name))
                        .collect();
                    match kind {
                        Kind::Arg(args) => known.extend(args.iter().map(|arg| arg.name.clone())),
                        Kind::Env(pairs) => {
                            known.extend(pairs.iter().map(|(name, _)| name.clone()))
                        }
                        _ => {}
                    }
                    for name in missing {
                        let words = format!("Usage of undefined variable '${name}'");
                        self.find("UndefinedVar", instruction.line, words);
                    }
                }
            }
        }
    }
}

fn is_predefined(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

/// Whether no stage has begun yet at a line.
fn names_stages_yet(file: &Dockerfile, line: usize) -> bool {
    !file.instructions.iter().any(|one| one.line < line && matches!(one.kind, Kind::From { .. }))
}

fn keyword(instruction: &Instruction) -> &str {
    instruction.text.split_whitespace().next().unwrap_or_default()
}

/// Words in which variables are replaced.
fn words_of(kind: &Kind) -> Vec<&str> {
    match kind {
        Kind::Copy { sources, destination, flags, .. } => {
            let paths = sources.iter().filter_map(|source| match source {
                ferry_dockerfile::Source::Path(path) => Some(path.as_str()),
                ferry_dockerfile::Source::Document(_) => None,
            });
            let flags = [&flags.from, &flags.chown, &flags.chmod];
            paths
                .chain([destination.as_str()])
                .chain(flags.into_iter().flatten().map(String::as_str))
                .collect()
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect()
        }
        Kind::Arg(args) => args.iter().filter_map(|arg| arg.default.as_deref()).collect(),
        Kind::Workdir(word) | Kind::User(word) | Kind::StopSignal(word) => vec![word],
        Kind::Expose(words) | Kind::Volume(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Variables that a word uses without saying what to do where they are not set.
fn used(word: &str, escape: char) -> Vec<String> {
    let asked = std::cell::RefCell::new(Vec::new());
    let value_of = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    // What does not read is an error of its own.
    drop(expand(word, escape, &value_of));
    let plain = |name: &String| {
        word.contains(&format!("${{{name}}}"))
            || word.match_indices(&format!("${name}")).any(|(at, found)| {
                !word[at + found.len()..]
                    .starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
            })
    };
    asked.into_inner().into_iter().filter(plain).collect()
}
