//! Bindings: this workflow uses this authorization.

use time::OffsetDateTime;

use super::ids::{AuthorizationId, InvalidId, OrganizationId, WorkflowId};
use super::scopes::Scopes;

/// A workflow bound to an authorization of the same organization. A workflow has at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The tenant of both.
    pub organization: OrganizationId,
    /// The workflow.
    pub workflow: WorkflowId,
    /// What to call the workflow in front of people.
    pub name: Option<WorkflowName>,
    /// The authorization it uses.
    pub authorization: AuthorizationId,
    /// What the authorization must grant for as long as the binding lasts.
    pub required_scopes: Scopes,
    /// When the workflow was bound.
    pub created_at: OffsetDateTime,
}

/// A name for people: 1–256 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowName(String);

impl WorkflowName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkflowName {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        let length = text.chars().count();
        if (1..=256).contains(&length) && !text.chars().any(char::is_control) {
            Ok(Self(text))
        } else {
            Err(InvalidId { expected: "a name (1–256 characters, no control characters)" })
        }
    }
}
