//! Who may do what in a registry: users, robots, what they may do where, and the tokens that say so.
//!
//! Knows: passwords' hashes (argon2, bcrypt), grants by prefix of repositories, scopes and signed tokens. Does not know: HTTP, files,
//! the clock (times are arguments).
//! Start with [`Policy`], [`Action`], [`Scope`], [`Signer`].
//!
//! Invariants: a password or secret is never kept, only its hash; what is not granted is refused.

mod password;
mod policy;
mod scope;
mod token;

pub use self::{
    password::{HashError, hash_password},
    policy::{Account, Action, Actions, Credential, Grant, InvalidGrant, Policy, is_name},
    scope::Scope,
    token::{Claims, Signer, TokenError, new_secret, secret_hash},
};
