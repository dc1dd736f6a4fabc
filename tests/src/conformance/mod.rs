//! An OpenID provider that misbehaves on demand, for re-enacting the relying-party modules of the OpenID Foundation's conformance
//! suite. It answers as the specifications have it, signs with real keys, and holds the client to everything the suite's own provider
//! checks; a [`Script`] says in what it departs from that.
//!
//! * [`keys`]: signing keys, and tokens signed by them rightly or wrongly.
//! * [`script`]: in what it misbehaves.
//! * `client`: what it demands of the client.
//! * [`provider`]: the endpoints.

mod client;
pub mod keys;
pub mod provider;
pub mod script;

pub use provider::{Profile, Provider};
pub use script::{Alg, Script, Signature, without};
