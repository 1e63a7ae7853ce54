//! What a build is to do, found before anything is done: the images that its stages start from, the instructions, their numbers and names.

use std::{collections::BTreeMap, sync::Arc};

use ferry_build::Base;
use ferry_dockerfile::{Instruction, Kind, parse_instruction};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Digest;
use tokio::task::JoinSet;

use super::{BuildError, Vertex, VertexKind, current::Current, graph::Build, progress::Step};

/// A stage, ready to be built.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) base: Option<Current>,
    pub(super) instructions: Vec<Instruction>,
    /// One for `FROM`, then one for each instruction.
    pub(super) vertices: Vec<Vertex>,
}

impl Build {
    /// Finds the images that stages start from, and with them the instructions that are to be done.
    pub(super) async fn prepare(self: &Arc<Self>) -> Result<BTreeMap<usize, Ready>, BuildError> {
        let mut ready: BTreeMap<usize, Ready> = BTreeMap::new();
        let mut todo = self.plan.needed.clone();
        while !todo.is_empty() {
            let mut bases = self.bases(&todo).await?;
            let mut more = Vec::new();
            for number in std::mem::take(&mut todo) {
                let mut base = bases.remove(&number);
                let stage = &self.plan.stages[number];
                let triggers = match stage.base {
                    Base::Stage(other) => own_triggers(&self.plan.stages[other].instructions)?,
                    _ => triggers(base.as_mut())?,
                };
                // A trigger can name any earlier stage.
                more.extend(self.plan.uses(number, &triggers));
                let mut instructions = triggers;
                instructions.extend(self.plan.stages[number].instructions.iter().cloned());
                if Some(&number) == self.plan.needed.last() {
                    instructions.extend(labels(&self.request.labels));
                }
                ready.insert(number, Ready { base, instructions, vertices: Vec::new() });
            }
            todo = self.plan.with_all_uses(more);
            todo.retain(|number| !ready.contains_key(number));
        }
        self.number(&mut ready);
        for stage in ready.values() {
            for vertex in &stage.vertices {
                self.teller.vertex(vertex).await?;
            }
        }
        Ok(ready)
    }

    /// The images that these stages start from, each looked up once, all at the same time.
    async fn bases(
        self: &Arc<Self>,
        stages: &[usize],
    ) -> Result<BTreeMap<usize, Current>, BuildError> {
        let mut wanted: BTreeMap<(String, Option<String>), Vec<usize>> = BTreeMap::new();
        for number in stages {
            let stage = &self.plan.stages[*number];
            if let Base::Image(name) = &stage.base {
                let platform = stage.platform.clone().or_else(|| self.request.platform.clone());
                wanted.entry((name.clone(), platform)).or_default().push(*number);
            }
        }
        let mut tasks = JoinSet::new();
        for ((name, platform), users) in wanted {
            let build = Arc::clone(self);
            tasks.spawn(async move {
                let image = build.image(&name, platform, build.request.pull).await;
                let line = users.first().map(|number| &build.plan.stages[*number].from);
                let image = image.map_err(|error| build.at(error, line))?;
                Ok::<_, BuildError>((users, image))
            });
        }
        let mut bases = BTreeMap::new();
        while let Some(found) = tasks.join_next().await {
            let broken = |error: tokio::task::JoinError| {
                Failure::new(ErrorKind::Internal, error.to_string())
            };
            let (users, image) = found.map_err(broken)??;
            bases.extend(users.into_iter().map(|number| (number, image.clone())));
        }
        Ok(bases)
    }

    /// Gives each instruction its vertex, its number and its name.
    fn number(&self, ready: &mut BTreeMap<usize, Ready>) {
        let of = ready.values().map(|stage| stage.instructions.len() + 1).sum();
        let mut number = 0;
        for (at, stage) in ready {
            let plan = &self.plan.stages[*at];
            let layers = |kind: &Kind| {
                matches!(kind, Kind::Run { .. } | Kind::Copy { .. } | Kind::Workdir(_))
            };
            let total = 1 + stage
                .instructions
                .iter()
                .filter(|instruction| layers(&instruction.kind))
                .count();
            let mut name = self.prefix();
            match &plan.name {
                Some(own) => name.extend([own, " "]),
                None if self.plan.stages.len() > 1 => name.push_str(&format!("stage-{at} ")),
                None => {}
            }
            let width = total.to_string().len();
            let mut index = 0;
            let mut last: Option<Digest> = None;
            let triggers = stage.instructions.len().saturating_sub(plan.instructions.len());
            let from = std::iter::once(&plan.from);
            for instruction in from.chain(&stage.instructions) {
                number += 1;
                let base = matches!(instruction.kind, Kind::From { .. });
                let kind = match &instruction.kind {
                    Kind::From { .. } => VertexKind::Base,
                    kind if layers(kind) => VertexKind::Layer,
                    _ => VertexKind::Config,
                };
                let shown = match (&stage.base, base) {
                    (Some(current), true) => format!("FROM {}", current.name),
                    _ => instruction.text.replace('\n', " "),
                };
                let label = match kind {
                    VertexKind::Config => shown,
                    _ => {
                        index += 1;
                        format!("[{name}{index:>width$}/{total}] {shown}")
                    }
                };
                let mut vertex = Vertex::new(&format!("{} {number}", self.id), kind, label);
                vertex.inputs = last.take().into_iter().collect();
                let triggers = if base { triggers } else { 0 };
                vertex.step = Some(Step { number, of, text: instruction.text.clone(), triggers });
                last = Some(vertex.digest.clone());
                stage.vertices.push(vertex);
            }
        }
    }
}

/// What a base image has those do who build on it.
fn triggers(base: Option<&mut Current>) -> Result<Vec<Instruction>, BuildError> {
    let config = base.and_then(|base| base.config.config.as_mut());
    let texts = config.and_then(|config| config.on_build.take()).unwrap_or_default();
    texts.iter().map(|text| trigger(text)).collect()
}

/// What a stage has those do that stand on it.
fn own_triggers(instructions: &[Instruction]) -> Result<Vec<Instruction>, BuildError> {
    let texts = instructions.iter().filter_map(|instruction| match &instruction.kind {
        Kind::OnBuild(text) => Some(text),
        _ => None,
    });
    texts.map(|text| trigger(text)).collect()
}

fn trigger(text: &str) -> Result<Instruction, BuildError> {
    let read = parse_instruction(text).map_err(BuildError::of)?;
    Ok(Instruction { line: 0, ..read })
}

/// `--label` as the instruction that it stands for.
fn labels(labels: &BTreeMap<String, String>) -> Option<Instruction> {
    let quoted = |text: &String| format!("'{}'", text.replace('\'', "'\"'\"'"));
    let pairs: Vec<_> = labels.iter().map(|(name, value)| (quoted(name), quoted(value))).collect();
    let words: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = format!("LABEL {}", words.join(" "));
    (!pairs.is_empty()).then_some(Instruction {
        line: 0,
        last_line: 0,
        text,
        kind: Kind::Label(pairs),
    })
}
