//! Finding commands by name.

use super::{
    Extension,
    command::{Command, Group},
    dispatch::Brought,
};

/// All commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree {
    groups: &'static [Group],
    extensions: &'static [Extension],
    /// Groups of other faces.
    more: &'static [Group],
}

/// What words name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found {
    /// A management command, without one of its commands.
    Group(&'static Group),
    /// A command, and by how many words it was named.
    Command(&'static Command, usize),
    /// A management command, and a word that is none of its commands.
    UnknownIn(&'static Group),
    /// What another face does.
    Extension(&'static Extension),
    /// Nothing.
    Unknown,
}

impl Tree {
    pub(crate) const fn new(groups: &'static [Group]) -> Self {
        Tree { groups, extensions: &[], more: &[] }
    }

    pub(crate) const fn with(groups: &'static [Group], (extensions, more): Brought) -> Self {
        Tree { groups, extensions, more }
    }

    /// What other faces bring.
    pub(crate) fn extensions(&self) -> &'static [Extension] {
        self.extensions
    }

    /// The management commands. A group without a name only holds top-level commands.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &'static Group> {
        let is_new = |group: &&Group| !self.groups.iter().any(|ours| ours.name == group.name);
        let more = self.more.iter().filter(is_new);
        self.groups.iter().filter(|group| !group.name.is_empty()).chain(more)
    }

    /// All commands of a group, whoever brings them.
    pub(crate) fn commands_of(&self, name: &str) -> impl Iterator<Item = &'static Command> {
        let groups = self.groups.iter().chain(self.more);
        groups.filter(move |group| group.name == name).flat_map(|group| group.commands)
    }

    /// The commands that stand at top level, with their names there.
    pub(crate) fn top_level(&self) -> impl Iterator<Item = (&'static str, &'static Command)> {
        self.groups
            .iter()
            .chain(self.more)
            .flat_map(|group| group.commands)
            .filter_map(|command| Some((command.top?, command)))
    }

    /// Whether a command stands at top level under this name.
    pub(crate) fn is_top_level(&self, name: &str) -> bool {
        self.top_level().any(|(known, _)| known == name)
    }

    /// What the words of a command line name; flags end the words.
    pub(crate) fn find(&self, words: &[String]) -> Found {
        let Some(first) = words.first().map(String::as_str) else { return Found::Unknown };
        let top = self
            .top_level()
            .find(|(name, command)| *name == first || command.top_aliases.contains(&first));
        if let Some((_, command)) = top {
            return Found::Command(command, 1);
        }
        if let Some(extension) = self.extensions.iter().find(|known| known.name == first) {
            return Found::Extension(extension);
        }
        let Some(group) = self.groups().find(|group| group.name == first) else {
            return Found::Unknown;
        };
        let Some(second) = words.get(1).filter(|word| !word.starts_with('-')) else {
            return Found::Group(group);
        };
        let command = self
            .commands_of(group.name)
            .find(|command| command.name == second || command.aliases.contains(&second.as_str()));
        match command {
            Some(command) => Found::Command(command, 2),
            None => Found::UnknownIn(group),
        }
    }
}
