//! Workflow authorizations on AWS: the crate that every function shares.
//!
//! * [`domain`]: what it is about, without any I/O.
//! * [`ports`]: what the use cases need from the world, as traits.
//! * [`usecases`]: what the service does, one file per story.
//! * [`dynamodb`], [`kms`], [`secrets`], [`sqs`], [`eventbridge`], [`oauth`]: the adapters behind the ports. None knows another.
//! * [`http`]: the inbound edge.
//! * [`aead`], [`json`], [`client_key`]: the one way to seal, to read JSON from outside, and to sign for a client.
//! * [`config`], [`connections`], [`correlation`], [`telemetry`], [`system`], [`wiring`], [`lambda`]: what a `main` is made of.

pub mod aead;
pub mod client_key;
pub mod config;
pub mod connections;
pub mod correlation;
pub mod domain;
pub mod dynamodb;
pub mod eventbridge;
pub mod http;
pub mod json;
pub mod kms;
pub mod lambda;
#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod memory;
pub mod oauth;
pub mod ports;
pub mod secrets;
pub mod sqs;
pub mod system;
pub mod telemetry;
mod tls;
pub mod usecases;
pub mod wiring;
