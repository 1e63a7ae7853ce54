//! What a Dockerfile's instructions mean, as pure functions: which stages are needed, which variables an instruction sees, what it
//! does to the image's configuration.
//!
//! Knows: stages, `ARG` and `ENV`, the configuration of an image. Does not know: files, containers, the cache, how a step is done
//! (the engine does it). Start with [`plan`], [`State::apply`], [`Effect`].

mod error;
mod history;
mod lint;
mod outline;
mod plan;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod values;

pub use error::BuildError;
pub use lint::{Finding, RULES, Rule, Surroundings, is_error, lint};
pub use outline::{Outline, OutlineArg, Target, outline};
pub use plan::{Base, Plan, PlanRequest, Stage, plan};
pub use state::{CopyStep, Effect, RunStep, State};
