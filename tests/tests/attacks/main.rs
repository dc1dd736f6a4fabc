//! The attack scripts of the security checklist that concern sign-in, each as a story of two browsers: an attacker's and a victim's,
//! with their own cookies and their own sessions at the provider. The handlers, the store and the wire are the real ones; the providers
//! follow a script, and one of them is the attacker's.
//!
//! Every story ends with the same questions: how often was which token endpoint asked, what does each organization have, which tokens
//! were given back, and what did each browser see.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod across_connections;
mod at_the_api;
mod forged_events;
mod in_the_browser;
mod session_fixation;
mod stolen_codes;
