//! The adapter against a provider that behaves and misbehaves over a loopback socket.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it stands")]

mod api_token;
mod egress;
mod golden_workos;
mod keys;
mod provider;
mod scripted;
mod sign_in;
mod workos;
mod world;
