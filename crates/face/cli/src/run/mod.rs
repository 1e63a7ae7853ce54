//! What happens around a container that runs in the foreground: its streams, the terminal, signals, and the pull before it.

mod api_socket;
pub(crate) mod create;
pub(crate) mod download;
pub(crate) mod hand_over;
pub(crate) mod keys;
pub(crate) mod options;
pub(crate) mod progress;
pub(crate) mod pull;
pub(crate) mod resize;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod upload;
pub(crate) mod wait;
