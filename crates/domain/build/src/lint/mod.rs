//! What in a Dockerfile works, but could be better: the rules of Docker's build checks.

mod rules;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{Command, Dockerfile, Instruction, Kind, expand};

use self::{rules::Choice, variables::used};
use crate::PlanRequest;

pub use rules::{Finding, RULES, Rule};

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
}

/// Whether no stage has begun yet at a line.
fn names_stages_yet(file: &Dockerfile, line: usize) -> bool {
    !file.instructions.iter().any(|one| one.line < line && matches!(one.kind, Kind::From { .. }))
}

fn keyword(instruction: &Instruction) -> &str {
    instruction.text.split_whitespace().next().unwrap_or_default()
}
