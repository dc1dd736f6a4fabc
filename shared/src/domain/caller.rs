//! Who calls: what a verified bearer JWT says (contract section 2). Nothing else is trusted as identity.

use super::ids::{OrganizationId, WorkflowId};
use super::scopes::Scopes;

/// The claims of a verified API token.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who it is: (`iss`, `sub`).
    pub person: Person,
    /// The e-mail claim, only when `email_verified` says so.
    pub verified_email: Option<String>,
    /// The organization claim; a route that needs it answers `organization_required` without.
    pub organization: Option<OrganizationId>,
    /// What the token allows.
    pub scopes: Scopes,
    /// A token made for one workflow names it in the claim `workflow_id`; it may then not be used for another.
    pub workflow: Option<WorkflowId>,
}

/// A person as one issuer knows them. Never told apart by e-mail (OpenID Connect Core section 5.7).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Person {
    /// The issuer, `iss`.
    pub issuer: String,
    /// The subject at that issuer, `sub`.
    pub subject: String,
}

/// A principal whose organization is known: the caller of a use case.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub person: Person,
    /// Their verified e-mail, if the token has one.
    pub verified_email: Option<String>,
    /// The organization the call is for.
    pub organization: OrganizationId,
    /// The one workflow the token is for, if it is.
    pub workflow: Option<WorkflowId>,
}

/// The scopes of this service (contract section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Make a sign-in URL and complete the sign-in.
    Create,
    /// See authorizations and bindings, and check them.
    View,
    /// Revoke authorizations.
    Delete,
    /// Bind, re-bind, unbind and replace.
    Assign,
    /// Obtain access tokens.
    Use,
}

impl Permission {
    /// The scope token in the JWT.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Create => "workflow_authorization:create",
            Self::View => "workflow_authorization:view",
            Self::Delete => "workflow_authorization:delete",
            Self::Assign => "workflow_authorization:assign",
            Self::Use => "workflow_authorization:use",
        }
    }

    /// Whether these scopes hold the permission, by name or by `workflow_authorization:*`.
    #[must_use]
    pub fn granted_by(self, scopes: &Scopes) -> bool {
        scopes.contains(self.scope()) || scopes.contains("workflow_authorization:*")
    }
}
