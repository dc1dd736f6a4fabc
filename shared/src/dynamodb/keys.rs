//! Every key of the table and its indexes, built from typed ids. Nothing else may format one: so every key begins with the
//! organization, and a foreign id is not representable (I1).
//!
//! An organization has no `#`, and no other part is free text, so keys of different parts never meet.

use aws_sdk_dynamodb::types::AttributeValue;

use super::values::{Item, s};
use crate::domain::ids::{AuthorizationId, FlowId, OrganizationId, WorkflowId};

const AUTHORIZATION: &str = "AUTH";
/// The sort key of bindings.
const BINDING: &str = "BINDING";
/// Sorts after every binding of an authorization, and before the next authorization: `~` is greater than `#`.
const AFTER_BINDINGS: char = '~';
/// Sorts after an id that it is added to, and before every longer one: `!` is less than anything in a workflow id.
const JUST_AFTER: char = '!';

/// The primary key of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pk: String,
    sk: String,
}

impl Key {
    /// Where an authorization is.
    #[must_use]
    pub fn authorization(organization: &OrganizationId, id: &AuthorizationId) -> Self {
        Self { pk: format!("ORG#{organization}#AUTH#{id}"), sk: AUTHORIZATION.to_owned() }
    }

    /// Where a workflow's binding is.
    #[must_use]
    pub fn binding(organization: &OrganizationId, workflow: &WorkflowId) -> Self {
        Self { pk: format!("ORG#{organization}#WF#{workflow}"), sk: BINDING.to_owned() }
    }

    /// Where a claimed flow is. It has no organization: the id is 256 random bits, and only its sealed state knows it.
    #[must_use]
    pub fn flow(id: &FlowId) -> Self {
        Self { pk: format!("FLOW#{id}"), sk: "FLOW".to_owned() }
    }

    /// Where a version of an organization's branch key is.
    #[must_use]
    pub fn branch_key(organization: &OrganizationId, version: u32) -> Self {
        Self { pk: format!("KEY#{organization}"), sk: format!("v{version}") }
    }

    /// The partition key.
    #[must_use]
    pub fn pk(&self) -> &str {
        &self.pk
    }

    /// The sort key.
    #[must_use]
    pub fn sk(&self) -> &str {
        &self.sk
    }

    pub(super) fn attributes(&self) -> Item {
        Item::from([("pk".to_owned(), s(&self.pk)), ("sk".to_owned(), s(&self.sk))])
    }
}

/// Whose authorization is at this partition key, if one can be.
#[must_use]
pub fn parse_authorization(pk: &str) -> Option<(OrganizationId, AuthorizationId)> {
    let (organization, id) = pk.strip_prefix("ORG#")?.split_once("#AUTH#")?;
    Some((OrganizationId::try_from(organization).ok()?, AuthorizationId::try_from(id).ok()?))
}

/// Whose branch keys are at this partition key, if they can be.
pub(super) fn parse_branch_keys(pk: &str) -> Option<OrganizationId> {
    OrganizationId::try_from(pk.strip_prefix("KEY#")?).ok()
}

/// Whether an item of the index `by-organization` is an authorization, by its sort key in the table.
pub(super) fn is_authorization(sk: &str) -> bool {
    sk == AUTHORIZATION
}

/// The partition of an organization in the index `by-organization`.
#[must_use]
pub fn list_partition(organization: &OrganizationId) -> String {
    format!("ORG#{organization}")
}

/// The position of an authorization in its list: newest first.
#[must_use]
pub fn list_position(id: &AuthorizationId) -> String {
    id.newest_first()
}

/// The position of a binding: right after its authorization.
#[must_use]
pub fn binding_position(id: &AuthorizationId, workflow: &WorkflowId) -> String {
    format!("{}#WF#{workflow}", id.newest_first())
}

/// Whose binding is at this position, if one can be.
pub(super) fn parse_binding_position(position: &str) -> Option<AuthorizationId> {
    AuthorizationId::of_newest_first(position.split_once("#WF#")?.0)
}

/// A position behind an authorization and all its bindings.
pub(super) fn after_bindings(id: &AuthorizationId) -> String {
    format!("{}{AFTER_BINDINGS}", id.newest_first())
}

/// The positions of an authorization's bindings, from after a workflow on; both ends are inclusive and no binding itself.
pub(super) fn bindings_between(id: &AuthorizationId, after: Option<&WorkflowId>) -> (String, String) {
    let from =
        after.map_or_else(|| format!("{}#WF#", id.newest_first()), |workflow| format!("{}{JUST_AFTER}", binding_position(id, workflow)));
    (from, after_bindings(id))
}

/// The partition of a shard in the index `due`.
#[must_use]
pub fn due_partition(shard: u32) -> String {
    format!("DUE#{shard:02}")
}

/// The partition of the organizations whose branch keys are to be rotated, in the index `due`. One is enough: each organization is
/// in it once in a quarter of a year.
pub(super) const DUE_KEYS: &str = "DUE#KEYS";

/// An `AttributeValue` of the shard that an authorization belongs to.
pub(super) fn due_shard(id: &AuthorizationId) -> AttributeValue {
    s(due_partition(crate::domain::schedule::shard(id)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop where it stands")]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_key_reads_back_whatever_the_organization_is_called() {
        let id = AuthorizationId::try_from("auth_01jd0000000000000000000000").unwrap();
        for name in ["org_1", "~!$%&'()*+,-./:;<=>?@[]^_`{|}", "AUTH", "ORG"] {
            let organization = OrganizationId::try_from(name).unwrap();
            let key = Key::authorization(&organization, &id);
            assert_eq!(parse_authorization(key.pk()), Some((organization, id.clone())));
        }
        assert_eq!(parse_authorization("ORG#a#WF#fl_1"), None);
        assert_eq!(parse_authorization("FLOW#x"), None);
    }

    #[test]
    fn a_bindings_position_says_whose_it_is() {
        for id in ["auth_01jd0000000000000000000000", "auth_7zzzzzzzzzzzzzzzzzzzzzzzzz", "auth_0123456789abcdefghjkmnpqrs"] {
            let (id, workflow) = (AuthorizationId::try_from(id).unwrap(), WorkflowId::try_from("fl_1-WF").unwrap());
            assert_eq!(parse_binding_position(&binding_position(&id, &workflow)), Some(id.clone()));
            assert_eq!(parse_binding_position(&list_position(&id)), None);
        }
        for broken in ["", "#WF#fl_1", "zz#WF#fl_1", "\u{e9}#WF#fl_1"] {
            assert_eq!(parse_binding_position(broken), None, "{broken}");
        }
    }

    #[test]
    fn s57_every_key_of_an_organization_begins_with_it_and_meets_no_other() {
        let (a, b) = (OrganizationId::try_from("org").unwrap(), OrganizationId::try_from("org2").unwrap());
        let id = AuthorizationId::try_from("auth_01jd0000000000000000000000").unwrap();
        let workflow = WorkflowId::try_from("fl_1").unwrap();
        assert!(Key::authorization(&a, &id).pk().starts_with("ORG#org#"));
        assert!(Key::binding(&a, &workflow).pk().starts_with("ORG#org#"));
        assert_ne!(Key::authorization(&a, &id), Key::authorization(&b, &id));
        assert!(!Key::authorization(&b, &id).pk().starts_with("ORG#org#"));
        assert_ne!(Key::branch_key(&a, 1), Key::branch_key(&b, 1));
        assert_ne!(list_partition(&a), list_partition(&b));
    }

    #[test]
    fn bindings_follow_their_authorization_and_the_end_marker_follows_them() {
        let newer = AuthorizationId::try_from("auth_01jd0000000000000000000001").unwrap();
        let older = AuthorizationId::try_from("auth_01jd0000000000000000000000").unwrap();
        let (one, longer) = (WorkflowId::try_from("fl").unwrap(), WorkflowId::try_from("fl-1").unwrap());
        let (from, to) = bindings_between(&newer, Some(&one));
        let ascending =
            [list_position(&newer), binding_position(&newer, &one), from, binding_position(&newer, &longer), to, list_position(&older)];
        assert!(ascending.is_sorted_by(|a, b| a < b), "{ascending:?}");
    }
}
