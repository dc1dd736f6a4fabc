//! The connection directory, and how a caller's selector resolves against it (contract section 4.1).

use std::sync::Arc;

use url::Url;

use super::connection::Connection;
use super::ids::{ConnectionId, OrganizationId};
use super::redirect_uri::{Environment, RedirectUris};

/// All that is configured: see contract section 10.
#[derive(Debug)]
pub struct Directory {
    /// Production or staging.
    pub environment: Environment,
    /// Where this service is reached from outside; callbacks are below it.
    pub public_url: Url,
    /// What `doc_url` begins with.
    pub error_doc_base: String,
    /// How the bearer tokens of callers are verified.
    pub api_tokens: ApiTokens,
    /// Where browsers may be sent.
    pub redirect_uris: RedirectUris,
    /// The connection of a caller that names none.
    pub default_connection: Option<ConnectionId>,
    /// Every connection.
    pub connections: Vec<Arc<Connection>>,
}

/// How the bearer tokens of callers are verified (contract section 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokens {
    /// `iss` must equal it.
    pub issuer: String,
    /// `aud` must be or hold it.
    pub audience: String,
    /// Where the keys come from.
    pub keys: ApiKeys,
    /// The claim that names the organization.
    pub organization_claim: String,
    /// The claim that holds the e-mail.
    pub email_claim: String,
    /// The claim that says whether it is verified.
    pub email_verified_claim: String,
    /// The JOSE header `typ` that the issuer sets on access tokens, e.g. `at+jwt` (RFC 9068); any if absent.
    pub token_type: Option<String>,
}

/// Where the keys of API tokens come from: one or the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeys {
    /// A JWKS URL.
    Jwks(Url),
    /// The id of a secret with static material.
    Static(String),
}

/// What a caller names to say which connection; at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Nothing: the default connection.
    Default,
    /// `connection_id`.
    Connection(String),
    /// `organization_id`.
    Organization(String),
    /// `provider`.
    Provider(String),
}

/// Why a selector names no connection (contract section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Several selectors, an empty one, or none while no default is configured.
    #[error("connection selector is ambiguous, empty or absent")]
    InvalidSelector,
    /// No such connection for this organization.
    #[error("no such connection")]
    ConnectionInvalid,
    /// The connection exists, unlinked.
    #[error("connection is unlinked")]
    ConnectionUnlinked,
    /// `provider` names several.
    #[error("provider names several connections")]
    StrategyInvalid,
    /// `organization_id` has several.
    #[error("organization has several linked connections")]
    Ambiguous,
    /// No such organization, or not the caller's.
    #[error("no such organization")]
    OrganizationInvalid,
}

impl Directory {
    /// The connection with this id, whoever it belongs to.
    #[must_use]
    pub fn connection(&self, id: &ConnectionId) -> Option<&Arc<Connection>> {
        self.connections.iter().find(|c| c.id == *id)
    }

    /// This service's callback for a connection: one per connection (RFC 9700 section 4.4.2.2).
    #[must_use]
    pub fn callback(&self, connection: &ConnectionId) -> Url {
        let mut url = self.public_url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/workflows/authorization/callback/{connection}"));
        url
    }

    /// The one connection that a selector means for a caller of this organization.
    pub fn select(&self, selector: &Selector, organization: &OrganizationId) -> Result<&Arc<Connection>, SelectorError> {
        let mine = || self.connections.iter().filter(|c| c.serves(organization));
        match selector {
            Selector::Default => {
                let id = self.default_connection.as_ref().ok_or(SelectorError::InvalidSelector)?;
                the_one(mine().filter(|c| c.id == *id), SelectorError::ConnectionInvalid)
            }
            Selector::Connection(id) => the_one(mine().filter(|c| c.id.as_str() == id), SelectorError::ConnectionInvalid),
            Selector::Provider(name) => the_one(mine().filter(|c| c.provider == *name), SelectorError::StrategyInvalid),
            Selector::Organization(id) if id == organization.as_str() => {
                let own = || mine().filter(|c| c.organization.as_ref() == Some(organization));
                if own().next().is_none() {
                    return Err(SelectorError::OrganizationInvalid);
                }
                the_one(own(), SelectorError::Ambiguous)
            }
            Selector::Organization(_) => Err(SelectorError::OrganizationInvalid),
        }
    }
}

/// The only linked connection of several; `too_many` if two are linked.
fn the_one<'a>(
    candidates: impl Iterator<Item = &'a Arc<Connection>>,
    too_many: SelectorError,
) -> Result<&'a Arc<Connection>, SelectorError> {
    let (linked, unlinked): (Vec<_>, Vec<_>) = candidates.partition(|c| c.linked);
    match linked.as_slice() {
        [one] => Ok(one),
        [] if unlinked.is_empty() => Err(SelectorError::ConnectionInvalid),
        [] => Err(SelectorError::ConnectionUnlinked),
        _ => Err(too_many),
    }
}
