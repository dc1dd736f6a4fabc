//! One connection of the directory (contract section 10).

use std::collections::BTreeMap;
use std::time::Duration;

use super::endpoint::Schemes;
use super::kind;
use super::node::{Node, Object, Read, Recorded};
use crate::domain::connection::{ClaimNames, ClientAuthentication, Connection, Kind};
use crate::domain::ids::{ConnectionId, OrganizationId};
use crate::domain::reserved_parameters::is_reserved_parameter;
use crate::domain::scopes::Scopes;

/// Ten years: more is a slip of the hand, and would overflow times computed from it.
const LONGEST_SECONDS: u64 = 315_360_000;

/// Reserved names that an operator may give a value to, since some providers hand out refresh tokens only for `prompt=consent`, and
/// Slack asks for a person's scopes beside a bot's by `user_scope`. A caller has fields of their own for them.
const DEFAULT_HINTS: [&str; 5] = ["domain_hint", "max_age", "prompt", "screen_hint", "user_scope"];

/// Whether the clients whose requests are pushed to their providers (RFC 9126) can prove themselves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushingClients {
    /// The client secrets are at hand, or whoever reads the directory pushes nothing.
    MayProveThemselves,
    /// A function that pushes, and is not given the client secrets.
    HaveNoProof,
}

/// What could be read of a connection. The parts that are compared with other connections are there even if others have faults.
pub(super) struct Sketch<'a> {
    pub(super) path: String,
    pub(super) id: Option<(Node<'a>, ConnectionId)>,
    /// The client identifier, where it stands, and whose it is.
    pub(super) client: Option<(Node<'a>, Client)>,
    pub(super) connection: Option<Connection>,
}

/// A client that one organization owns at one provider.
pub(super) struct Client {
    pub(super) authority: String,
    pub(super) id: String,
    pub(super) owner: OrganizationId,
}

/// Reads a connection.
pub(super) fn read<'a>(node: &Node<'a>, schemes: Schemes, pushing: PushingClients) -> Sketch<'a> {
    let nothing = Sketch { path: node.path().to_owned(), id: None, client: None, connection: None };
    let Ok(object) = node.object() else { return nothing };

    let id = object.must("id", connection_id);
    let provider = object.must("provider", |node| node.text(128).map(str::to_owned));
    let owner = object.may("organization_id", organization_id);
    let linked = object.or("linked", true, Node::flag);
    let kind = kind::read(&object, schemes);
    let client_id = object.must("client_id", |node| node.text(1024).map(str::to_owned));
    let client_authentication = object.or("token_endpoint_auth_method", ClientAuthentication::ClientSecretBasic, client_authentication);
    let scopes = scopes(&object);
    let extra = object.or("extra_authorization_params", BTreeMap::new(), extra_params);
    let claims = object.or("claims", ClaimNames { subject: "sub".to_owned(), email: "email".to_owned(), organization: None }, claims);
    let default_access_lifetime = object.or("default_access_lifetime", Duration::from_hours(1), lifetime);
    let refresh_lifetime = object.or("refresh_token_lifetime", (None, None), refresh_lifetime);
    let rotation_grace = object.or("rotation_grace", Duration::ZERO, |node| node.whole(0, LONGEST_SECONDS).map(Duration::from_secs));
    let max_concurrent_refreshes = object.or("max_concurrent_refreshes", 32, concurrency);
    let pushed_authorization_requests = object.or("pushed_authorization_requests", false, Node::flag);
    object.done(&kind::FIELDS, "is not a field of this kind of connection");
    if let (Ok(kind), Ok(method), Ok(pushed)) = (&kind, &client_authentication, &pushed_authorization_requests) {
        proof(&object, kind, *method, *pushed, pushing);
    }

    if let (Ok(Kind::WorkOs { .. }), Ok(ClientAuthentication::PrivateKeyJwt)) = (&kind, &client_authentication)
        && let Some(place) = object.optional("token_endpoint_auth_method")
    {
        place.fault("must be one of client_secret_basic, client_secret_post, none for workos");
    }

    let client = match (&kind, &client_id, &owner) {
        (Ok(kind), Ok(id), Ok(Some(owner))) => {
            let client = authority(kind).map(|authority| Client { authority, id: id.clone(), owner: owner.clone() });
            object.optional("client_id").zip(client)
        }
        _ => None,
    };
    let sketch_id = id.as_ref().ok().cloned().and_then(|id| object.optional("id").map(|node| (node, id)));
    let connection = (|| {
        let ((scopes, allowed_scopes), (refresh_idle_lifetime, refresh_absolute_lifetime)) = (scopes?, refresh_lifetime?);
        Ok::<_, Recorded>(Connection {
            id: id?,
            provider: provider?,
            organization: owner?,
            linked: linked?,
            kind: kind?,
            client_id: client_id?,
            client_authentication: client_authentication?,
            scopes,
            allowed_scopes,
            extra_authorization_params: extra?,
            claims: claims?,
            default_access_lifetime: default_access_lifetime?,
            refresh_idle_lifetime,
            refresh_absolute_lifetime,
            rotation_grace: rotation_grace?,
            max_concurrent_refreshes: max_concurrent_refreshes?,
            pushed_authorization_requests: pushed_authorization_requests?,
        })
    })();
    Sketch { id: sketch_id, client, connection: connection.ok(), ..nothing }
}

/// Whether the client can do what is asked of it.
fn proof(object: &Object<'_>, kind: &Kind, method: ClientAuthentication, pushed: bool, pushing: PushingClients) {
    let fault = |name: &'static str, rule: &'static str| {
        if let Some(node) = object.optional(name) {
            node.fault(rule);
        }
    };
    let discovered = matches!(kind, Kind::Oidc { .. });
    if method == ClientAuthentication::PrivateKeyJwt && matches!(kind, Kind::OAuth2 { .. }) {
        fault("token_endpoint_auth_method", "needs kind oidc, whose issuer an assertion is addressed to");
    }
    if pushed && !discovered {
        fault("pushed_authorization_requests", "needs kind oidc, whose metadata names where to push to");
    } else if pushed && pushing == PushingClients::HaveNoProof && method != ClientAuthentication::None {
        fault("pushed_authorization_requests", "needs the client secrets, which this function is not given");
    }
}

/// A connection id.
pub(super) fn connection_id(node: &Node<'_>) -> Read<ConnectionId> {
    ConnectionId::try_from(node.any_text()?).map_err(|error| node.fault(format!("must be {}", error.expected)))
}

fn organization_id(node: &Node<'_>) -> Read<OrganizationId> {
    OrganizationId::try_from(node.any_text()?).map_err(|error| node.fault(format!("must be {}", error.expected)))
}

/// Who answers at the provider: two connections with the same authority and client id are the same client. A `WorkOS` client id
/// names an environment that many organizations share, and the organization comes with every answer.
fn authority(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Oidc { issuer, .. } => Some(issuer.trim_end_matches('/').to_owned()),
        Kind::OAuth2 { token_endpoint, .. } => Some(token_endpoint.as_str().to_owned()),
        Kind::WorkOs { .. } => None,
    }
}

fn client_authentication(node: &Node<'_>) -> Read<ClientAuthentication> {
    node.one_of(&[
        ("client_secret_basic", ClientAuthentication::ClientSecretBasic),
        ("client_secret_post", ClientAuthentication::ClientSecretPost),
        ("private_key_jwt", ClientAuthentication::PrivateKeyJwt),
        ("none", ClientAuthentication::None),
    ])
}

/// The scopes asked for by default, and all that may be asked for: the same unless configured.
fn scopes(object: &Object<'_>) -> Read<(Scopes, Scopes)> {
    let asked = object.or("scopes", Vec::new(), scope_list);
    let allowed = object.may("allowed_scopes", scope_list);
    let (asked, allowed) = (asked?, allowed?);
    let set = |list: &[(Node<'_>, String)]| Scopes::try_from(list.iter().map(|(_, scope)| scope.clone()).collect::<Vec<_>>());
    let scopes = set(&asked).map_err(|_| Recorded)?;
    let Some(allowed) = allowed else { return Ok((scopes.clone(), scopes)) };
    let allowed = set(&allowed).map_err(|_| Recorded)?;
    for (node, _) in asked.iter().filter(|(_, scope)| !allowed.contains(scope)) {
        node.fault("must be within allowed_scopes");
    }
    Ok((scopes, allowed))
}

fn scope_list<'a>(node: &Node<'a>) -> Read<Vec<(Node<'a>, String)>> {
    let read = |item: Node<'a>| {
        let scope = item.any_text()?.to_owned();
        match Scopes::try_from(vec![scope.clone()]) {
            Ok(_) => Ok((item, scope)),
            Err(_) => Err(item.fault("must be a scope token (RFC 6749 section 3.3)")),
        }
    };
    let items: Vec<_> = node.items()?.into_iter().map(read).collect();
    items.into_iter().collect()
}

fn extra_params(node: &Node<'_>) -> Read<BTreeMap<String, String>> {
    let read = |(name, value): (&str, Node<'_>)| {
        let text = value.text(2048);
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(value.fault("must have a name without control characters"));
        }
        if is_reserved_parameter(name) && !DEFAULT_HINTS.contains(&name) {
            return Err(value.fault("is a reserved parameter"));
        }
        Ok((name.to_owned(), text?.to_owned()))
    };
    let entries: Vec<_> = node.entries()?.into_iter().map(read).collect();
    entries.into_iter().collect()
}

fn claims(node: &Node<'_>) -> Read<ClaimNames> {
    let object = node.object()?;
    let name = |node: &Node<'_>| node.text(128).map(str::to_owned);
    let subject = object.or("subject", "sub".to_owned(), name);
    let email = object.or("email", "email".to_owned(), name);
    let organization = object.may("organization", name);
    object.done_all();
    Ok(ClaimNames { subject: subject?, email: email?, organization: organization? })
}

fn lifetime(node: &Node<'_>) -> Read<Duration> {
    node.whole(1, LONGEST_SECONDS).map(Duration::from_secs)
}

fn refresh_lifetime(node: &Node<'_>) -> Read<(Option<Duration>, Option<Duration>)> {
    let object = node.object()?;
    let (idle, absolute) = (object.may("idle", lifetime), object.may("absolute", lifetime));
    object.done_all();
    Ok((idle?, absolute?))
}

fn concurrency(node: &Node<'_>) -> Read<u32> {
    let number = node.whole(1, 10_000)?;
    u32::try_from(number).map_err(|_| Recorded)
}
