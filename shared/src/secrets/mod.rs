//! What Secrets Manager holds for this service (contract section 10): the directory, the client secrets, the keys that seal flows,
//! and static API-token keys.
//!
//! 1. A [`SecretSource`] reads a secret; what was made of it is kept for five minutes, or longer while nothing better can be had.
//! 2. A text is read as JSON and walked field by field; every fault is collected with its JSON path, so that an operator repairs a
//!    configuration in one go. A fault never repeats a value: it may be a secret.
//! 3. Each adapter implements one port, so that a function reads only the secrets that its role may read.

mod cached;
mod client_secrets;
mod connection;
mod directory;
mod document;
mod endpoint;
#[cfg(test)]
mod fakes;
mod faults;
mod kind;
mod node;
mod sealing;
mod source;
mod state_keys;
mod static_api_key;

pub use client_secrets::{SecretClientSecrets, parse_client_secrets};
pub use connection::PushingClients;
pub use directory::{DirectoryFaults, SecretDirectories, parse_directory};
pub use faults::{Fault, Faults};
pub use sealing::StateKeys;
pub use source::{ReadSecret, SecretSource};
pub use state_keys::{KeyRing, parse_state_keys};
pub use static_api_key::{SecretStaticApiKeys, parse_static_api_key};
