//! The rules, which of them a Dockerfile wants to be held to, and what they find.

use std::collections::BTreeSet;

use ferry_dockerfile::Dockerfile;

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

/// `# check=skip=A,B;error=true;experimental=all`.
#[derive(Default)]
pub(super) struct Choice {
    skip: BTreeSet<String>,
    all: bool,
    experimental: BTreeSet<String>,
    pub(super) error: bool,
}

impl Choice {
    pub(super) fn of(file: &Dockerfile, request: &PlanRequest) -> Choice {
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

    pub(super) fn wants(&self, rule: &Rule) -> bool {
        let named = |list: &BTreeSet<String>| list.contains(&rule.name.to_ascii_lowercase());
        let asked = named(&self.experimental) || self.experimental.contains("all");
        !self.all && !named(&self.skip) && (!rule.experimental || asked)
    }
}
