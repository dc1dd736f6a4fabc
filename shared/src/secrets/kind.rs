//! How the provider of a connection speaks: the part of its configuration that depends on `kind`.

use super::endpoint::{Query, Schemes, url};
use super::node::{Node, Object, Read, Recorded};
use crate::domain::connection::{Dialect, Kind, WorkOsSelector};

/// Every field that only some kinds have.
pub(super) const FIELDS: [&str; 8] =
    ["issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint", "dialect", "base_url", "selector"];

type ReadKind = fn(&Object<'_>, Schemes) -> Read<Kind>;

/// Reads `kind` and what follows from it.
pub(super) fn read(object: &Object<'_>, schemes: Schemes) -> Read<Kind> {
    let kinds: [(_, ReadKind); 3] = [("oidc", oidc), ("oauth2", oauth2), ("workos", workos)];
    let Ok(read) = object.must("kind", |node| node.one_of(&kinds)) else {
        object.disregard(&FIELDS);
        return Err(Recorded);
    };
    read(object, schemes)
}

/// The issuer of a connection or of API tokens as it is written, since issuers are compared as texts (RFC 8414 section 3.3).
fn issuer(node: &Node<'_>, schemes: Schemes) -> Read<String> {
    url(node, schemes, Query::Refused)?;
    node.any_text().map(str::to_owned)
}

fn oidc(object: &Object<'_>, schemes: Schemes) -> Read<Kind> {
    let issuer = object.must("issuer", |node| issuer(node, schemes));
    let revocation_endpoint = object.may("revocation_endpoint", |node| url(node, schemes, Query::Allowed));
    Ok(Kind::Oidc { issuer: issuer?, revocation_endpoint: revocation_endpoint? })
}

fn oauth2(object: &Object<'_>, schemes: Schemes) -> Read<Kind> {
    let dialects = [("standard", Dialect::Standard), ("github", Dialect::GitHub), ("slack", Dialect::Slack)];
    let endpoint = |node: &Node<'_>| url(node, schemes, Query::Allowed);
    let authorization_endpoint = object.must("authorization_endpoint", endpoint);
    let token_endpoint = object.must("token_endpoint", endpoint);
    let userinfo_endpoint = object.may("userinfo_endpoint", endpoint);
    let revocation_endpoint = object.may("revocation_endpoint", endpoint);
    let dialect = object.or("dialect", Dialect::Standard, |node| node.one_of(&dialects));
    Ok(Kind::OAuth2 {
        authorization_endpoint: authorization_endpoint?,
        token_endpoint: token_endpoint?,
        userinfo_endpoint: userinfo_endpoint?,
        revocation_endpoint: revocation_endpoint?,
        dialect: dialect?,
    })
}

fn workos(object: &Object<'_>, schemes: Schemes) -> Read<Kind> {
    let base_url = object.must("base_url", |node| url(node, schemes, Query::Refused));
    let selector = object.must("selector", selector);
    Ok(Kind::WorkOs { base_url: base_url?, selector: selector? })
}

fn selector(node: &Node<'_>) -> Read<WorkOsSelector> {
    let object = node.object()?;
    let read = |name| object.may(name, |node| node.text(256).map(str::to_owned));
    let (provider, connection, organization) = (read("provider"), read("connection_id"), read("organization_id"));
    object.done_all();
    match (provider?, connection?, organization?) {
        (Some(provider), None, None) => Ok(WorkOsSelector::Provider(provider)),
        (None, Some(connection), None) => Ok(WorkOsSelector::Connection(connection)),
        (None, None, Some(organization)) => Ok(WorkOsSelector::Organization(organization)),
        _ => Err(node.fault("needs exactly one of provider, connection_id, organization_id")),
    }
}
