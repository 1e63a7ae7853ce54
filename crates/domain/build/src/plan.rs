//! Stages: where they begin, which of them the target needs.

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{Arg, Dockerfile, Instruction, Kind, expand, suggestion};

use crate::BuildError;

/// What a build is asked for, as far as stages and variables go.
#[derive(Debug, Clone, Default)]
pub struct PlanRequest {
    /// `--build-arg`; one without a value unsets the default.
    pub build_args: BTreeMap<String, Option<String>>,
    /// The stage to build: a name or a number; empty is the last.
    pub target: String,
    /// `TARGETPLATFORM` and the like.
    pub platform_args: BTreeMap<String, String>,
    /// Names of `--build-context`: they go before stages and images.
    pub contexts: BTreeSet<String>,
}

/// What a stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image(String),
    /// An earlier stage.
    Stage(usize),
}

/// A stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its `FROM`.
    pub from: Instruction,
    /// What it starts from.
    pub base: Base,
    /// The platform asked for.
    pub platform: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What follows.
    pub instructions: Vec<Instruction>,
}

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All stages.
    pub stages: Vec<Stage>,
    /// Those that are needed, in order; the last is the target.
    pub needed: Vec<usize>,
    /// Arguments before the first `FROM`, for stages that ask for them.
    pub globals: BTreeMap<String, String>,
    /// The escape character.
    pub escape: char,
    /// Names that are no stages here.
    pub contexts: BTreeSet<String>,
}

impl Plan {
    /// The stage of that name or number, among those before `before`.
    pub fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let other = self.contexts.contains(name);
        self.stages.get(..before).filter(|_| !other).and_then(|before| find(before, name))
    }

    /// The stages that instructions of a stage use.
    pub fn uses(&self, stage: usize, instructions: &[Instruction]) -> Vec<usize> {
        let before = self.stages.get(..stage).unwrap_or_default();
        uses(before, instructions, &self.contexts)
    }

    /// Stages, and all that they are made of.
    pub fn with_all_uses(&self, stages: Vec<usize>) -> Vec<usize> {
        needed(&self.stages, stages, &self.contexts)
    }
}

/// Plans a build.
///
/// # Errors
/// There is no such target, or a `FROM` makes no sense.
pub fn plan(file: &Dockerfile, request: &PlanRequest) -> Result<Plan, BuildError> {
    let mut globals: BTreeMap<String, String> = BTreeMap::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in &file.instructions {
        match (&instruction.kind, stages.last_mut()) {
            (Kind::From { image, platform, name }, _) => {
                let value_of = |name: &str| {
                    globals.get(name).or_else(|| request.platform_args.get(name)).cloned()
                };
                let expanded = |word: &String| {
                    expand(word, file.escape, &value_of)
                        .map_err(|source| BuildError::Expand { word: word.clone(), source })
                };
                let base = base(&stages, image, expanded(image)?, &request.contexts)?;
                let platform = platform.as_ref().map(expanded).transpose()?;
                stages.push(Stage {
                    from: instruction.clone(),
                    base,
                    platform: platform.filter(|platform| !platform.is_empty()),
                    name: name.clone(),
                    instructions: Vec::new(),
                });
            }
            (Kind::Arg(args), None) => {
                for arg in args {
                    set_global(&mut globals, arg, file.escape, request)?;
                }
            }
            (_, None) => return Err(BuildError::NoStage),
            (_, Some(stage)) => stage.instructions.push(instruction.clone()),
        }
    }
    if stages.is_empty() {
        return Err(BuildError::NoStages);
    }
    let target = match request.target.as_str() {
        "" => stages.len() - 1,
        name => find(&stages, name).ok_or_else(|| no_target(&stages, name))?,
    };
    let contexts = request.contexts.clone();
    for number in 0..stages.len() {
        check_sources(&stages, number, &contexts)?;
    }
    let needed = needed(&stages, vec![target], &contexts);
    Ok(Plan { stages, needed, globals, escape: file.escape, contexts })
}

fn no_target(stages: &[Stage], name: &str) -> BuildError {
    let known: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    BuildError::NoTarget { name: name.to_owned(), near: suggestion(name, &known) }
}

/// Refuses to take from stages that are not done before this one.
fn check_sources(
    stages: &[Stage],
    number: usize,
    contexts: &BTreeSet<String>,
) -> Result<(), BuildError> {
    let (before, stage) = (&stages[..number], &stages[number]);
    let own = stage.name.clone().unwrap_or_else(|| format!("stage-{number}"));
    // What is no stage is an image.
    let later = |from: &str| {
        let other = from.is_empty() || contexts.contains(from) || find(before, from).is_some();
        let found = Some(from).filter(|_| !other).and_then(|from| find(stages, from));
        found.filter(|found| *found >= number)
    };
    let index = |from: &str| {
        let number: Option<i64> = from.parse().ok().filter(|_| !contexts.contains(from));
        number.filter(|_| find(stages, from).is_none())
    };
    for instruction in &stage.instructions {
        let wrong = |words: String| {
            let lines = (instruction.line, instruction.last_line);
            Err(BuildError::From { lines, words })
        };
        let circular = || wrong(format!("circular dependency detected on stage: {own}"));
        match &instruction.kind {
            Kind::Copy { flags, .. } => {
                let from = flags.from.as_deref().unwrap_or_default();
                match (later(from), index(from)) {
                    (Some(found), _) if found == number => return circular(),
                    (Some(_), _) => {
                        return wrong(format!(
                            "cannot copy from stage {from:?}, it needs to be defined before current stage {own:?}"
                        ));
                    }
                    (None, Some(index)) => return wrong(format!("invalid stage index {index}")),
                    (None, None) => {}
                }
            }
            Kind::Run { flags, .. } => {
                for mount in &flags.mounts {
                    match later(&mount.from) {
                        Some(found) if found == number => return circular(),
                        Some(_) => {
                            return wrong(format!(
                                "cannot mount from stage {:?} to {:?}, stage needs to be defined before current command",
                                mount.from, mount.target
                            ));
                        }
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn base(
    stages: &[Stage],
    written: &str,
    image: String,
    contexts: &BTreeSet<String>,
) -> Result<Base, BuildError> {
    if image.trim().is_empty() {
        return Err(BuildError::BlankBase(written.to_owned()));
    }
    if contexts.contains(&image) {
        return Ok(Base::Image(image));
    }
    if let Some(stage) = by_name(stages, &image) {
        return Ok(Base::Stage(stage));
    }
    Ok(match image.as_str() {
        "scratch" => Base::Scratch,
        _ => Base::Image(image),
    })
}

fn set_global(
    globals: &mut BTreeMap<String, String>,
    arg: &Arg,
    escape: char,
    request: &PlanRequest,
) -> Result<(), BuildError> {
    let default = match &arg.default {
        Some(word) => {
            let value_of =
                |name: &str| globals.get(name).or_else(|| request.platform_args.get(name)).cloned();
            let value = expand(word, escape, &value_of)
                .map_err(|source| BuildError::Expand { word: word.clone(), source })?;
            Some(value)
        }
        None => None,
    };
    let value = match request.build_args.get(&arg.name) {
        Some(given) => given.clone().or(default),
        None => default,
    };
    if let Some(value) = value {
        globals.insert(arg.name.clone(), value);
    }
    Ok(())
}

/// The last stage of a name wins, as in Docker.
fn by_name(stages: &[Stage], name: &str) -> Option<usize> {
    let name = name.to_ascii_lowercase();
    stages.iter().rposition(|stage| stage.name.as_deref() == Some(&name))
}

fn find(stages: &[Stage], name: &str) -> Option<usize> {
    by_name(stages, name)
        .or_else(|| name.parse().ok().filter(|number: &usize| *number < stages.len()))
}

/// Stages and all that they are made of.
fn needed(stages: &[Stage], mut todo: Vec<usize>, contexts: &BTreeSet<String>) -> Vec<usize> {
    let mut needed: BTreeSet<usize> = todo.iter().copied().collect();
    while let Some(number) = todo.pop() {
        let (Some(stage), Some(before)) = (stages.get(number), stages.get(..number)) else {
            continue;
        };
        let mut used = uses(before, &stage.instructions, contexts);
        if let Base::Stage(base) = stage.base {
            used.push(base);
        }
        todo.extend(used.into_iter().filter(|stage| needed.insert(*stage)));
    }
    needed.into_iter().collect()
}

/// What a trigger may need is known when it is seen: it can name any earlier stage.
fn uses(before: &[Stage], instructions: &[Instruction], contexts: &BTreeSet<String>) -> Vec<usize> {
    let find = |name: &str| {
        Some(name).filter(|name| !contexts.contains(*name)).and_then(|name| find(before, name))
    };
    let mut used: Vec<usize> = Vec::new();
    for instruction in instructions {
        match &instruction.kind {
            Kind::Copy { flags, .. } => {
                used.extend(flags.from.as_deref().and_then(find));
            }
            Kind::Run { flags, .. } => {
                used.extend(flags.mounts.iter().filter_map(|mount| find(&mount.from)));
            }
            _ => {}
        }
    }
    used
}
