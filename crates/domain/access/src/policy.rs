//! Accounts and grants.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::password;

/// What is done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Taking away.
    Delete,
    /// All of that, and seeing who else may what.
    Admin,
}

impl Action {
    /// All that is done to content.
    pub const ALL: [Action; 3] = [Action::Pull, Action::Push, Action::Delete];
    const GRANTED: [Action; 4] = [Action::Pull, Action::Push, Action::Delete, Action::Admin];

    /// Its name in scopes and grants.
    pub fn name(self) -> &'static str {
        match self {
            Action::Pull => "pull",
            Action::Push => "push",
            Action::Delete => "delete",
            Action::Admin => "admin",
        }
    }

    /// The action of this name.
    pub fn named(name: &str) -> Option<Action> {
        Action::GRANTED.into_iter().find(|action| action.name() == name)
    }
}

/// Several actions.
pub type Actions = Vec<Action>;

/// What may be done to the repositories that begin with a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `team` means `team` and `team/…`; `*` means all.
    pub prefix: String,
    /// What may be done.
    pub actions: Actions,
}

/// A text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid grant \"{0}\": write PREFIX=pull,push,delete,admin, with * for all repositories")]
pub struct InvalidGrant(String);

impl FromStr for Grant {
    type Err = InvalidGrant;

    fn from_str(text: &str) -> Result<Grant, InvalidGrant> {
        let invalid = || InvalidGrant(text.to_owned());
        let (prefix, actions) = text.split_once('=').ok_or_else(invalid)?;
        let actions: Option<Actions> = actions.split(',').map(Action::named).collect();
        if prefix != "*" && !ferry_oci::Reference::is_repository(prefix) {
            return Err(invalid());
        }
        Ok(Grant { prefix: prefix.to_owned(), actions: actions.ok_or_else(invalid)? })
    }
}

impl Grant {
    /// Everything.
    pub fn all() -> Grant {
        Grant { prefix: "*".to_owned(), actions: Action::GRANTED.to_vec() }
    }

    fn gives(&self, action: Action) -> bool {
        self.actions.contains(&action) || self.actions.contains(&Action::Admin)
    }

    fn means(&self, repository: &str) -> bool {
        self.prefix == "*"
            || repository
                .strip_prefix(self.prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// How somebody proves who they are: a hash, see [`crate::hash_password`] and [`crate::secret_hash`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(pub String);

/// A user, or a robot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The hash of its password or secret.
    pub credential: Credential,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// Seconds since 1970 from when on it may nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// A robot has a secret that was made for it, and no password.
    #[serde(default)]
    pub robot: bool,
}

/// Everybody, and what they may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// By name.
    #[serde(default)]
    pub accounts: BTreeMap<String, Account>,
    /// What nobody in particular may do.
    #[serde(default)]
    pub anonymous: Vec<Grant>,
}

/// Of a password that nobody has, so that a name that is not known takes as long to refuse as a wrong password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether `text` can be an account's name.
pub fn is_name(text: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$@+".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(right)
}

impl Policy {
    /// Adds the users of an htpasswd file, who may do everything unless an account of the same name says what. Only bcrypt hashes
    /// are taken; the numbers of lines with others are returned.
    pub fn add_htpasswd(&mut self, text: &str) -> Vec<usize> {
        let mut skipped = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once(':') {
                Some((name, hash)) if hash.starts_with("$2") && is_name(name) => {
                    let credential = Credential(hash.to_owned());
                    let account = Account {
                        credential: credential.clone(),
                        grants: vec![Grant::all()],
                        expires: None,
                        robot: false,
                    };
                    self.accounts
                        .entry(name.to_owned())
                        .and_modify(|account| account.credential = credential)
                        .or_insert(account);
                }
                _ => skipped.push(number + 1),
            }
        }
        skipped
    }

    /// Whether somebody is who they say. Takes tens of milliseconds.
    pub fn is_right(&self, name: &str, password: &str, now: u64) -> bool {
        let account = self.accounts.get(name);
        let hash = account.map_or(NOBODY, |account| account.credential.0.as_str());
        let fits = password::fits(password, hash);
        fits && self.is_valid(name, now)
    }

    /// Whether there is such an account, and it has not expired.
    pub fn is_valid(&self, name: &str, now: u64) -> bool {
        self.accounts
            .get(name)
            .is_some_and(|account| account.expires.is_none_or(|expires| now < expires))
    }

    /// Whether somebody (`None`: who did not say who) may do something to a repository. What anybody may do, accounts may, too.
    pub fn allows(&self, who: Option<&str>, action: Action, repository: &str, now: u64) -> bool {
        let granted = |grants: &[Grant]| {
            grants.iter().any(|grant| grant.gives(action) && grant.means(repository))
        };
        let own = who
            .filter(|name| self.is_valid(name, now))
            .and_then(|name| self.accounts.get(name))
            .is_some_and(|account| granted(&account.grants));
        own || granted(&self.anonymous)
    }

    /// The accounts that somebody looks after: those with a grant where they are an admin. `None` when they are admin nowhere.
    pub fn administered(&self, who: &str, now: u64) -> Option<Vec<(&str, &Account)>> {
        let own = self.accounts.get(who).filter(|_| self.is_valid(who, now))?;
        let own: Vec<&Grant> =
            own.grants.iter().filter(|grant| grant.gives(Action::Admin)).collect();
        if own.is_empty() {
            return None;
        }
        let mine = |grant: &Grant| {
            own.iter()
                .any(|mine| mine.prefix == "*" || grant.prefix != "*" && mine.means(&grant.prefix))
        };
        let accounts = self.accounts.iter().filter(|(_, account)| account.grants.iter().any(mine));
        Some(accounts.map(|(name, account)| (name.as_str(), account)).collect())
    }

    /// Whether anything at all may be done without saying who.
    pub fn has_anonymous(&self) -> bool {
        !self.anonymous.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hash_password, secret_hash};

    fn account(credential: String, grants: &[&str], expires: Option<u64>) -> Account {
        let grants = grants.iter().map(|text| text.parse().unwrap()).collect();
        Account { credential: Credential(credential), grants, expires, robot: false }
    }

    #[test]
    fn grants_are_by_prefix() {
        let mut policy = Policy::default();
        let secret = format!("secret:{}", secret_hash("s"));
        policy
            .accounts
            .insert("ci".to_owned(), account(secret, &["team=pull,push", "x/y=delete"], Some(100)));
        policy.anonymous.push("public=pull".parse().unwrap());
        for (who, action, repository, now, allowed) in [
            (Some("ci"), Action::Push, "team/app", 0, true),
            (Some("ci"), Action::Push, "team", 0, true),
            (Some("ci"), Action::Push, "teams/app", 0, false),
            (Some("ci"), Action::Delete, "team/app", 0, false),
            (Some("ci"), Action::Delete, "x/y/z", 0, true),
            (Some("ci"), Action::Pull, "public/a", 0, true),
            (Some("ci"), Action::Push, "team/app", 100, false),
            (Some("who"), Action::Pull, "team/app", 0, false),
            (None, Action::Pull, "public/a", 0, true),
            (None, Action::Push, "public/a", 0, false),
            (None, Action::Pull, "team/app", 0, false),
        ] {
            let found = policy.allows(who, action, repository, now);
            assert_eq!(found, allowed, "{who:?} {action:?} {repository} at {now}");
        }
        assert!(policy.is_right("ci", "s", 0) && !policy.is_right("ci", "t", 0));
        assert!(!policy.is_right("ci", "s", 100), "expired");
        assert!(!policy.is_right("nobody", "s", 0));
        assert!(hash_password("x").unwrap().starts_with("$argon2id$"));
        for bad in ["", "x", "x=", "x=fly", "X=pull", "=pull", "x=pull,"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn admins_see_whom_they_look_after() {
        let mut policy = Policy::default();
        for (name, grants) in [
            ("root", &["*=admin"][..]),
            ("lead", &["team=admin", "x=pull"]),
            ("ann", &["team/app=push"]),
            ("bob", &["teams=push"]),
        ] {
            policy.accounts.insert(name.to_owned(), account(String::new(), grants, None));
        }
        let names = |who: &str| -> Option<Vec<&str>> {
            Some(policy.administered(who, 0)?.into_iter().map(|(name, _)| name).collect())
        };
        assert_eq!(names("root").unwrap(), ["ann", "bob", "lead", "root"]);
        assert_eq!(names("lead").unwrap(), ["ann", "lead"]);
        assert!(names("ann").is_none() && names("nobody").is_none());
        assert!(policy.allows(Some("lead"), Action::Delete, "team/x", 0));
        assert!(!policy.allows(Some("lead"), Action::Push, "x", 0));
    }

    #[test]
    fn htpasswd_files_have_bcrypt_only() {
        let mut policy = Policy::default();
        let text = "# users\nann:$2y$05$abc\nbob:$apr1$x\n\nnoline\n";
        assert_eq!(policy.add_htpasswd(text), [3, 5]);
        assert!(policy.allows(Some("ann"), Action::Delete, "a", 0));
    }
}
