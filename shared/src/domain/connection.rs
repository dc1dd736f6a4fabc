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

    /// Whether an identity that the provider puts into this organization, or into none, may become an authorization of ours
    /// (contract section 6.3). WorkOS names the organization without being asked to:
    ///
    /// * One organization's connection that asks for an organization of WorkOS: that one, and no other, is its name there.
    /// * Else an organization has the same name on both sides.
    /// * Somebody of no organization is admitted only by a connection that is everybody's and asks for no organization.
    #[must_use]
    pub fn admits(&self, organization: &OrganizationId, told: Option<&str>) -> bool {
        let mapped = self.claims.organization.is_some();
        let Kind::WorkOs { selector, .. } = &self.kind else { return !mapped || told == Some(organization.as_str()) };
        match (selector, told) {
            (WorkOsSelector::Organization(theirs), told) if self.organization.is_some() => told == Some(theirs),
            (_, Some(told)) => told == organization.as_str(),
            (WorkOsSelector::Organization(_), None) => false,
            (WorkOsSelector::Provider(_) | WorkOsSelector::Connection(_), None) => self.organization.is_none() && !mapped,
        }
    }

    /// Whether `screen_hint` means anything there: it chooses a screen of WorkOS's `AuthKit`.
    #[must_use]
    pub fn has_screens(&self) -> bool {
        const AUTHKIT: &str = "authkit";
        match &self.kind {
            Kind::WorkOs { selector, .. } => matches!(selector, WorkOsSelector::Provider(name) if name == AUTHKIT),
            Kind::Oidc { .. } | Kind::OAuth2 { .. } => self.provider == AUTHKIT,
        }
    }

    /// Whether the provider ends a grant by its access token: GitHub deletes that, and WorkOS ends the session that it names.
    #[must_use]
    pub fn revokes_by_access_token(&self) -> bool {
        match &self.kind {
            Kind::WorkOs { .. } | Kind::OAuth2 { dialect: Dialect::GitHub, .. } => true,
            Kind::Oidc { .. } | Kind::OAuth2 { dialect: Dialect::Standard | Dialect::Slack, .. } => false,
        }
    }

    /// Whether its sign-ins are OpenID Connect ones: then `openid` is always asked for, and the `id_token` is the proof. A discovered
    /// provider may also be plain OAuth 2.0 (RFC 8414): a connection whose scopes do without `openid` has its identities from userinfo.
    #[must_use]
    pub fn is_openid(&self) -> bool {
        matches!(self.kind, Kind::Oidc { .. }) && self.allowed_scopes.contains("openid")
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    fn connection(kind: Kind, owner: Option<&str>, organization_claim: Option<&str>) -> Connection {
        Connection {
            id: ConnectionId::try_from("conn_1").unwrap(),
            provider: "authkit".to_owned(),
            organization: owner.map(|id| OrganizationId::try_from(id).unwrap()),
            linked: true,
            kind,
            client_id: "client_1".to_owned(),
            client_authentication: ClientAuthentication::ClientSecretPost,
            scopes: Scopes::default(),
            allowed_scopes: Scopes::default(),
            extra_authorization_params: BTreeMap::new(),
            claims: ClaimNames {
                subject: "sub".to_owned(),
                email: "email".to_owned(),
                organization: organization_claim.map(str::to_owned),
            },
            default_access_lifetime: Duration::from_hours(1),
            refresh_idle_lifetime: None,
            refresh_absolute_lifetime: None,
            rotation_grace: Duration::ZERO,
            max_concurrent_refreshes: 1,
            pushed_authorization_requests: false,
        }
    }

    fn workos(selector: WorkOsSelector) -> Kind {
        Kind::WorkOs { base_url: Url::parse("https://api.workos.com").unwrap(), selector }
    }

    fn oidc() -> Kind {
        Kind::Oidc { issuer: "https://signin.example.com".to_owned(), revocation_endpoint: None }
    }

    #[test]
    fn an_identity_of_another_organization_is_not_admitted() {
        let provider = || workos(WorkOsSelector::Provider("authkit".to_owned()));
        let sso = || workos(WorkOsSelector::Connection("conn_sso".to_owned()));
        let theirs = || workos(WorkOsSelector::Organization("org_theirs".to_owned()));
        let (mine, owner, claim) = (Some("org_mine"), Some("org_mine"), Some("organization_id"));
        for (kind, owner, claim, told, admitted) in [
            // OpenID Connect and OAuth: only where a claim is mapped.
            (oidc(), None, None, None, true),
            (oidc(), None, None, Some("org_other"), true),
            (oidc(), None, claim, mine, true),
            (oidc(), None, claim, Some("org_other"), false),
            (oidc(), owner, claim, None, false),
            // WorkOS: what it says counts, mapped or not.
            (provider(), None, None, mine, true),
            (provider(), None, None, Some("org_other"), false),
            (provider(), owner, None, mine, true),
            (sso(), owner, None, Some("org_other"), false),
            // What it does not say is missed where an organization is expected.
            (provider(), None, None, None, true),
            (sso(), None, None, None, true),
            (provider(), None, claim, None, false),
            (provider(), owner, None, None, false),
            (sso(), owner, None, None, false),
            // The organization that is asked for has to be the answer, and stands for ours if the connection is ours.
            (theirs(), owner, None, Some("org_theirs"), true),
            (theirs(), owner, None, mine, false),
            (theirs(), owner, None, None, false),
            (theirs(), None, None, Some("org_theirs"), false),
            (theirs(), None, None, mine, true),
            (theirs(), None, None, None, false),
        ] {
            let connection = connection(kind, owner, claim);
            let organization = OrganizationId::try_from("org_mine").unwrap();
            assert_eq!(connection.admits(&organization, told), admitted, "{connection:?} {told:?}");
        }
    }

    #[test]
    fn a_screen_hint_is_for_what_authkit_shows() {
        for (kind, has) in [
            (workos(WorkOsSelector::Provider("authkit".to_owned())), true),
            (workos(WorkOsSelector::Provider("GoogleOAuth".to_owned())), false),
            (workos(WorkOsSelector::Connection("authkit".to_owned())), false),
            (workos(WorkOsSelector::Organization("authkit".to_owned())), false),
            (oidc(), true),
        ] {
            assert_eq!(connection(kind.clone(), None, None).has_screens(), has, "{kind:?}");
        }
    }
}
