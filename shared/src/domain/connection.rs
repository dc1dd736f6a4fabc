//! Connections: one configured OAuth client at one identity provider.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::ids::{ConnectionId, OrganizationId};
use super::scopes::Scopes;

/// One OAuth client at one identity provider, as the directory configures it (contract section 10).
#[derive(Debug, Clone)]
pub struct Connection {
    /// `conn_…`, also the last segment of its callback.
    pub id: ConnectionId,
    /// The provider's name, by which a caller may select it.
    pub provider: String,
    /// The one organization that may use it; every organization if absent.
    pub organization: Option<OrganizationId>,
    /// Whether it is in use.
    pub linked: bool,
    /// How its provider speaks.
    pub kind: Kind,
    /// The client identifier (RFC 6749 section 2.2).
    pub client_id: String,
    /// How the client proves itself at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// What is asked for when the caller names nothing.
    pub scopes: Scopes,
    /// All that a caller may ask for.
    pub allowed_scopes: Scopes,
    /// Further parameters of every authorization request.
    pub extra_authorization_params: BTreeMap<String, String>,
    /// Which claims say who signed in.
    pub claims: ClaimNames,
    /// How long an access token lives when the provider does not say.
    pub default_access_lifetime: Duration,
    /// How long a refresh token lives unused.
    pub refresh_idle_lifetime: Option<Duration>,
    /// How long a refresh token can be renewed at all.
    pub refresh_absolute_lifetime: Option<Duration>,
    /// For how long the provider still accepts a rotated refresh token.
    pub rotation_grace: Duration,
    /// How many refreshes may be under way at once.
    pub max_concurrent_refreshes: u32,
    /// Whether to push the authorization request (RFC 9126) even where the provider does not require it.
    pub pushed_authorization_requests: bool,
}

/// How the provider of a connection speaks.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a directory has few connections, each behind an Arc")]
pub enum Kind {
    /// OpenID Connect with discovery.
    Oidc {
        /// The issuer, compared exactly with the metadata's.
        issuer: String,
        /// Overrides or adds the RFC 7009 endpoint that the metadata lacks.
        revocation_endpoint: Option<Url>,
    },
    /// OAuth 2.0 with the endpoints named.
    OAuth2 {
        /// Where the browser is sent.
        authorization_endpoint: Url,
        /// Where codes and refresh tokens are redeemed.
        token_endpoint: Url,
        /// Where the identity comes from.
        userinfo_endpoint: Option<Url>,
        /// RFC 7009.
        revocation_endpoint: Option<Url>,
        /// Known departures from the RFC.
        dialect: Dialect,
    },
    /// WorkOS User Management.
    WorkOs {
        /// Usually `https://api.workos.com`.
        base_url: Url,
        /// What the authorization request selects.
        selector: WorkOsSelector,
    },
}

/// Known departures from RFC 6749 of `kind: "oauth2"` providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// None.
    Standard,
    /// GitHub: `200` with an `error` body, `bad_refresh_token`.
    GitHub,
    /// Slack: `ok: false`, comma-separated scopes, nested `authed_user` tokens.
    Slack,
}

/// Exactly one selector of a WorkOS authorization request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkOsSelector {
    /// `provider=…`, e.g. `authkit` or `GoogleOAuth`.
    Provider(String),
    /// `connection_id=…`.
    Connection(String),
    /// `organization_id=…`.
    Organization(String),
}

/// Client authentication at the token endpoint (OpenID Connect Core section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// HTTP Basic (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// The secret in the form body.
    ClientSecretPost,
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// A public client.
    None,
}

/// Which claims of the `id_token` or userinfo name the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// The subject, `sub` unless configured.
    pub subject: String,
    /// The e-mail, `email` unless configured.
    pub email: String,
    /// The organization, if the provider has such a claim.
    pub organization: Option<String>,
}

impl Connection {
    /// Whether callers of this organization may use the connection.
    #[must_use]
    pub fn serves(&self, organization: &OrganizationId) -> bool {
        self.organization.as_ref().is_none_or(|own| own == organization)
    }

    /// The issuer that its identities belong to: the configured one, or for providers without issuers the origin that
    /// answers for them.
    #[must_use]
    pub fn identity_issuer(&self) -> String {
        match &self.kind {
            Kind::Oidc { issuer, .. } => issuer.clone(),
            Kind::OAuth2 { token_endpoint, .. } => token_endpoint.origin().ascii_serialization(),
            Kind::WorkOs { base_url, .. } => base_url.origin().ascii_serialization(),
        }
    }
}
