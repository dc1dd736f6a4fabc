//! The whole system on one machine (design section 7).
//!
//! * [`stack`]: all of it, started and stopped.
//! * [`front`], [`functions`]: the HTTP API and the Lambda Invoke API over the real handlers.
//! * [`aws`], [`provision`]: DynamoDB, KMS, Secrets Manager and SQS in this process, and what the service needs there.
//! * [`sign_in`], [`demonstration`], [`app`]: a provider, a configuration and an application to try it with.
//! * [`client`], [`demo`]: a caller and a browser, and the story they play.
//! * [`witness`]: who sees everything that passes, for tests.
//! * [`cli`]: the commands.

pub mod app;
pub mod aws;
pub(crate) mod check;
pub mod cli;
pub mod client;
pub mod demo;
pub mod demonstration;
pub mod front;
pub mod functions;
pub(crate) mod mint;
pub mod provision;
pub mod sign_in;
pub mod stack;
pub(crate) mod state_keys;
pub mod witness;
