//! What the service is about, free of any I/O: ids, secrets, scopes, connections, redirect URIs, flows, authorizations, bindings
//! and the refresh schedule. Nothing here knows DynamoDB, HTTP or the clock on the wall.

pub mod authorization;
pub mod binding;
pub mod caller;
pub mod connection;
pub mod directory;
pub mod flow;
pub(crate) mod fnv;
pub mod ids;
pub mod incident;
pub mod pkce;
pub mod redirect_uri;
pub mod reserved_parameters;
pub mod schedule;
pub mod scopes;
pub mod secret;
