//! What the test suites share: the whole system in one process under a clock that is moved by hand, its callers, a browser, and a
//! provider that follows a script.
//!
//! * [`World`]: the stack, its callers and what they do most often.
//! * [`arena`]: the same with several people, their browsers, and an attacker's provider.
//! * [`Expect`]: what an answer must be, said beside the call.
//! * [`canary`]: in every world, and stops a test whose secrets are where they must not be.
//! * [`Browser`]: one person's browser, with its cookies and all that it saw.
//! * [`faults`]: what tests do to requests on their way to AWS.
//! * [`permissions`]: what a function asks of AWS, in the words of its role.
//! * [`provider`]: an identity provider that fails on request.
//! * [`conformance`]: an identity provider that lies on request.
//! * [`github`], [`slack`], [`pushing`]: counterparts that behave and misbehave as GitHub, Slack, and providers with pushed requests do;
//!   [`script`]: what they have in common.
//! * [`log`]: what the service has logged.
//! * [`memory`]: the table without a wire, for simulations of months.
//! * [`table`]: what is in the table, looked at past the API.
//! * [`tokens`]: bearer tokens of any shape, well made or not.
//! * [`workos`]: WorkOS User Management that behaves, and misbehaves, as the real one is documented to.
#![expect(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "a test may stop where it stands")]

pub mod answers;
pub mod arena;
pub mod browser;
pub mod canary;
pub mod clock;
pub mod conformance;
pub mod faults;
pub mod github;
pub mod log;
pub mod memory;
pub mod permissions;
pub mod provider;
pub mod pushing;
pub mod script;
pub mod slack;
pub mod table;
pub mod tokens;
pub mod workos;
pub mod world;

pub use answers::Expect;
pub use browser::Browser;
pub use clock::ManualClock;
pub use world::{Caller, Calls, Setup, Verifier, World};
