//! The inbound edge: from an API Gateway event to a use case and back.
//!
//! 1. [`routes`] says which route a method and path mean, and which function serves it.
//! 2. [`edge`] gives the request an id, verifies the caller, runs the function's handler, and turns what comes back into an
//!    answer of the contract's shape, with one log line.
//! 3. [`body`] and [`query`] read what a caller sends; what they do not know is refused, never ignored.
//! 4. [`error`] is the one table from error to status, type and code.
//! 5. [`views`] and [`page`] write what a caller and a browser see.

pub mod body;
pub mod edge;
pub mod error;
pub mod event;
pub mod page;
pub mod query;
pub mod routes;
pub mod views;
