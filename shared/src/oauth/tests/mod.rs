//! The adapter against a provider that behaves and misbehaves over a loopback socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

mod api_token;
mod client_keys;
mod discovery;
mod egress;
mod environment;
mod golden_workos;
mod id_token_keys;
mod keys;
mod log;
mod provider;
mod pushed;
mod refresh_answers;
mod scripted;
mod sign_in;
mod survey;
mod tls;
mod workos;
mod world;
