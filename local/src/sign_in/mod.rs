//! The demonstration sign-in: a small, honest OpenID provider for `cargo local` and `cargo demo`.
//!
//! It has three made-up people without passwords, so it authenticates nobody; everything else it does as the
//! specifications ask, so that what works against it works against a real one.
//!
//! 1. `GET authorize` checks the request and shows a page: who would you like to be ([`Person`])?
//! 2. `POST authorize` takes the answer and sends the browser back with a code that lives 60 seconds.
//! 3. `POST token` gives tokens for the code, and later for each refresh token, once.
//! 4. `GET userinfo` tells who an access token is about; `POST revoke` ends a grant.
//!
//! # Signing in without a browser
//!
//! `GET` the authorization URL, take the hidden `transaction` out of the page ([`transaction_in`]), and `POST` the form
//! fields `transaction`, `person` (a subject, e.g. `usr_olivia`) and `decision` (`allow` or `refuse`) to the same path.
//! The answer is a `303` back to the client.

mod api_token;
mod authorize;
mod clients;
mod counters;
mod decide;
mod digest;
mod discovery;
mod failure;
mod grant;
mod id_token;
mod keep;
mod ledger;
mod minted;
mod page;
mod params;
mod people;
mod random;
mod redirect;
mod refusal;
mod revoke;
mod scopes;
mod signing;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests;
mod token;
mod transactions;
mod userinfo;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use time::OffsetDateTime;
use url::Url;

pub use self::api_token::{ApiClaims, MintError, mint_api_token};
pub use self::clients::Client;
pub use self::counters::Counters;
pub use self::keep::KeepError;
pub use self::page::transaction_in;
pub use self::people::{PEOPLE, Person};

/// Where the provider takes the time from.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// How long an access token lives unless [`SignIn::set_access_lifetime`] says otherwise.
const ACCESS_LIFETIME_SECONDS: u32 = 3_600;

/// No request here is larger than a few kilobytes.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// The provider.
pub struct SignIn {
    issuer: String,
    clients: Vec<Client>,
    clock: Clock,
    access_lifetime: AtomicU32,
    rotation_grace: AtomicU32,
    counts: counters::Counts,
    transactions: transactions::Transactions,
    keeper: keep::Keeper,
}

impl SignIn {
    /// A provider with these clients; [`PEOPLE`] can sign in. A trailing slash of the issuer is not part of it.
    #[must_use]
    pub fn new(issuer: &Url, clients: Vec<Client>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.as_str().trim_end_matches('/').to_owned(),
            clients,
            clock,
            access_lifetime: AtomicU32::new(ACCESS_LIFETIME_SECONDS),
            rotation_grace: AtomicU32::new(0),
            counts: counters::Counts::default(),
            transactions: transactions::Transactions::default(),
            keeper: keep::Keeper::default(),
        })
    }

    /// The endpoints, relative to the issuer: to be nested under the issuer's path.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery::metadata))
            .route("/jwks.json", get(discovery::keys))
            .route("/authorize", get(authorize::show).post(decide::answer))
            .route("/token", post(token::issue))
            .route("/userinfo", get(userinfo::tell).post(userinfo::tell))
            .route("/revoke", post(revoke::revoke))
            .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
            .with_state(Arc::clone(self))
    }

    /// The issuer, exactly as it is in discovery and in every token.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How often the provider was asked so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counts.snapshot()
    }

    /// From now on new access tokens live this long. The demonstration shortens it to show a refresh.
    pub fn set_access_lifetime(&self, seconds: u32) {
        self.access_lifetime.store(seconds, Ordering::Relaxed);
    }

    /// From now on the last used refresh token may come back within this time as long as its successor has not been
    /// presented: a client that never got the answer asks again. 0, as at the beginning: a used one ends the grant.
    pub fn set_rotation_grace(&self, seconds: u32) {
        self.rotation_grace.store(seconds, Ordering::Relaxed);
    }

    /// Takes up the codes and grants in this file, if it exists, and from now on writes every change to it before the
    /// client hears of it. The process may be killed at any moment. Tokens are in there as digests only.
    pub fn persist_to(&self, path: &Path) -> Result<(), KeepError> {
        self.keeper.persist_to(path)
    }

    fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id() == id)
    }

    fn now(&self) -> i64 {
        (self.clock)().unix_timestamp()
    }

    fn access_lifetime(&self) -> u32 {
        self.access_lifetime.load(Ordering::Relaxed)
    }

    fn rotation_grace(&self) -> i64 {
        i64::from(self.rotation_grace.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the ledger is left out: digests in a log would help nobody
        formatter.debug_struct("SignIn").field("issuer", &self.issuer).field("clients", &self.clients).finish_non_exhaustive()
    }
}
