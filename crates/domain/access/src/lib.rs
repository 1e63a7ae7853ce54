//! Who may do what in a registry.
//! Knows: permissions.
//! Start with nothing yet.
