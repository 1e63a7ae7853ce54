//! Scopes of the token protocol: `repository:team/app:pull,push`.

use serde::{Deserialize, Serialize};

use crate::{Action, Actions};

/// What a token is asked for, or gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `repository` or `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which.
    pub name: String,
    /// What may be done.
    pub actions: Actions,
}

impl Scope {
    /// Reads one. Actions that are not known are left out; `*` means all. `None` when it is no scope.
    pub fn parse(text: &str) -> Option<Scope> {
        let (kind, rest) = text.split_once(':')?;
        // The name may have a colon: a registry's host and port.
        let (name, actions) = rest.rsplit_once(':')?;
        // `repository(plugin)` is a repository, too.
        let kind = kind.split('(').next().unwrap_or(kind).to_owned();
        let mut known = Actions::new();
        for action in actions.split(',') {
            match (action, Action::named(action)) {
                ("*", _) => known.extend(Action::ALL),
                (_, Some(action)) => known.push(action),
                (_, None) => {}
            }
        }
        known.sort();
        known.dedup();
        (!name.is_empty()).then(|| Scope { kind, name: name.to_owned(), actions: known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let read = |text: &str| Scope::parse(text).map(|scope| (scope.name, scope.actions));
        let name = || "a/b".to_owned();
        assert_eq!(
            read("repository:a/b:push,pull,fly"),
            Some((name(), vec![Action::Pull, Action::Push]))
        );
        assert_eq!(read("repository(plugin):a/b:*"), Some((name(), Action::ALL.to_vec())));
        assert_eq!(read("registry:catalog:*").map(|scope| scope.0), Some("catalog".to_owned()));
        for bad in ["", "repository", "repository:a", "repository::pull"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
