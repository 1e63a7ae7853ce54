//! What a Dockerfile takes and which targets it has: `--call=outline` and `--call=targets`.

use ferry_dockerfile::{Dockerfile, Instruction, Kind, MountKind};

use crate::{Base, Plan};

/// A Dockerfile as seen by somebody who wants to use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target that it is about.
    pub target: String,
    /// What that target is.
    pub description: String,
    /// Arguments.
    pub args: Vec<OutlineArg>,
    /// Ids of secrets, and whether they must be there.
    pub secrets: Vec<(String, bool)>,
    /// Ids of agents, and whether they must be there.
    pub ssh: Vec<(String, bool)>,
    /// All targets.
    pub targets: Vec<Target>,
}

/// An argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// Its default.
    pub value: String,
    /// What it is for.
    pub description: String,
}

/// A target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Its name; stages without one have none.
    pub name: String,
    /// It is what is built when nobody says anything.
    pub default: bool,
    /// What it is.
    pub description: String,
    /// What it stands on.
    pub base: String,
}

/// Describes a target, and lists all.
pub fn outline(file: &Dockerfile, text: &str, plan: &Plan, target: usize) -> Outline {
    let mut outline = Outline::default();
    let of = |instruction: &Instruction, name: &str| {
        let comment = comment_above(text, instruction.line).unwrap_or_default();
        let rest = comment.strip_prefix(name).unwrap_or_default().trim();
        rest.to_owned()
    };
    for (at, stage) in plan.stages.iter().enumerate() {
        let name = stage.name.clone().unwrap_or_default();
        let description = of(&stage.from, &name);
        let base = match &stage.base {
            Base::Scratch => "scratch".to_owned(),
            Base::Image(image) => image.clone(),
            Base::Stage(number) => plan.stages[*number].name.clone().unwrap_or_default(),
        };
        if at == target {
            outline.target.clone_from(&name);
            outline.description.clone_from(&description);
        }
        let default = at + 1 == plan.stages.len();
        outline.targets.push(Target { name, default, description, base });
    }
    let first = file.instructions.iter().position(|one| matches!(one.kind, Kind::From { .. }));
    let globals = &file.instructions[..first.unwrap_or_default()];
    let used = plan.needed.iter().flat_map(|stage| &plan.stages[*stage].instructions);
    for instruction in globals.iter().chain(used) {
        match &instruction.kind {
            Kind::Arg(args) => {
                for arg in args {
                    let value = match &arg.default {
                        Some(default) => default.trim_matches('"').to_owned(),
                        None => plan.globals.get(&arg.name).cloned().unwrap_or_default(),
                    };
                    let description = of(instruction, &arg.name);
                    let known = outline.args.iter_mut().find(|known| known.name == arg.name);
                    match known {
                        Some(known) if known.description.is_empty() => {
                            known.description = description
                        }
                        Some(_) => {}
                        None => outline.args.push(OutlineArg {
                            name: arg.name.clone(),
                            value,
                            description,
                        }),
                    }
                }
            }
            Kind::Run { flags, .. } => {
                for mount in &flags.mounts {
                    let list = match mount.kind {
                        MountKind::Secret => &mut outline.secrets,
                        MountKind::Ssh => &mut outline.ssh,
                        _ => continue,
                    };
                    match list.iter_mut().find(|(id, _)| *id == mount.id) {
                        Some((_, required)) => *required |= mount.required,
                        None => list.push((mount.id.clone(), mount.required)),
                    }
                }
            }
            _ => {}
        }
    }
    outline
}

/// The comment in the line right above.
pub(crate) fn comment_above(text: &str, line: usize) -> Option<String> {
    let above = text.lines().nth(line.checked_sub(2)?)?.trim();
    let comment = above.strip_prefix('#')?.trim();
    // A directive describes nothing.
    let name = comment.split_once('=').map(|(name, _)| name.trim().to_ascii_lowercase());
    let directive = matches!(name.as_deref(), Some("syntax" | "escape" | "check"));
    (!directive && !comment.is_empty()).then(|| comment.to_owned())
}
