//! The directory, from its text (contract section 10).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::cached::Cached;
use super::connection::{self, PushingClients, Sketch};
use super::document;
use super::endpoint::{Query, Schemes, url};
use super::faults::Faults;
use super::node::{Node, Object, Read, Recorded};
use super::source::SecretSource;
use crate::domain::connection::Connection;
use crate::domain::directory::{ApiKeys, ApiTokens, Directory};
use crate::domain::ids::ConnectionId;
use crate::domain::redirect_uri::{Environment, RedirectUris, Rule};
use crate::ports::Unavailable;
use crate::ports::configuration::Directories;

/// Every fault of a directory, each with its JSON path.
pub type DirectoryFaults = Faults;

/// The directory in a secret.
pub struct SecretDirectories(Cached<Directory>);

impl SecretDirectories {
    /// The directory in the secret with this id. `development` allows loopback providers whatever the environment says. `pushing`
    /// is whether its reader could prove the clients whose requests it may have to push.
    #[must_use]
    pub fn new(source: Arc<SecretSource>, secret_id: String, development: bool, pushing: PushingClients) -> Self {
        let parse = move |text: &str| document::read(text, |root| read(root, development, pushing).ok());
        Self(Cached::new(source, secret_id, "read the directory", parse))
    }

    /// A directory that never changes.
    #[must_use]
    pub fn fixed(directory: Directory) -> Self {
        Self(Cached::fixed(directory))
    }
}

#[async_trait]
impl Directories for SecretDirectories {
    async fn directory(&self) -> Result<Arc<Directory>, Unavailable> {
        self.0.current().await
    }
}

/// Reads a directory, or says everything that is wrong with it. `development` allows loopback providers whatever the environment
/// says (design section 9).
pub fn parse_directory(text: &str, development: bool) -> Result<Directory, DirectoryFaults> {
    document::read(text, |root| read(root, development, PushingClients::MayProveThemselves).ok())
}

fn read(root: &Node<'_>, development: bool, pushing: PushingClients) -> Read<Directory> {
    let object = root.object()?;
    let environments = [("production", Environment::Production), ("staging", Environment::Staging)];
    let environment = object.must("environment", |node| node.one_of(&environments));
    // Without an environment the milder rules tell which faults there are in any case.
    let assumed = environment.unwrap_or(Environment::Staging);
    let schemes = match assumed {
        Environment::Production if !development => Schemes::Https,
        Environment::Production | Environment::Staging => Schemes::HttpsOrLoopback,
    };
    let public_url = object.must("public_url", |node| url(node, schemes, Query::Refused));
    let error_doc_base = object.must("error_doc_base", error_doc_base);
    let api_tokens = object.must("api_tokens", |node| api_tokens(node, schemes));
    let redirect_uris = object.or("redirect_uris", RedirectUris::default(), |node| redirect_uris(node, assumed));
    let connections = object.must("connections", |node| connections(node, schemes, pushing));
    let default_connection = default_connection(&object, connections.as_ref().ok().map(|(ids, _)| ids.as_slice()));
    object.done_all();
    Ok(Directory {
        environment: environment?,
        public_url: public_url?,
        error_doc_base: error_doc_base?,
        api_tokens: api_tokens?,
        redirect_uris: redirect_uris?,
        default_connection: default_connection?,
        connections: connections?.1,
    })
}

/// A text that becomes a URL when a code is appended; it may well end in `#`.
fn error_doc_base(node: &Node<'_>) -> Read<String> {
    let text = node.text(2048)?;
    match url::Url::parse(text) {
        Ok(base) if matches!(base.scheme(), "https" | "http") && !text.contains(char::is_whitespace) => Ok(text.to_owned()),
        _ => Err(node.fault("must be an http or https URL, to which a code is appended")),
    }
}

fn api_tokens(node: &Node<'_>, schemes: Schemes) -> Read<ApiTokens> {
    let object = node.object()?;
    let issuer = object.must("issuer", |node| node.text(2048).map(str::to_owned));
    let audience = object.must("audience", |node| node.text(2048).map(str::to_owned));
    let jwks_uri = object.may("jwks_uri", |node| url(node, schemes, Query::Allowed));
    let secret = object.may("static_key_secret", |node| node.text(2048).map(str::to_owned));
    let keys = match (jwks_uri, secret) {
        (Ok(Some(url)), Ok(None)) => Ok(ApiKeys::Jwks(url)),
        (Ok(None), Ok(Some(secret))) => Ok(ApiKeys::Static(secret)),
        (Ok(None), Ok(None)) => Err(node.fault("needs jwks_uri or static_key_secret")),
        (Ok(Some(_)) | Err(Recorded), Ok(Some(_)) | Err(Recorded)) => Err(node.fault("needs jwks_uri or static_key_secret, not both")),
        (Err(Recorded), Ok(None)) | (Ok(None), Err(Recorded)) => Err(Recorded),
    };
    let token_type = object.may("token_type", |node| node.text(128).map(str::to_owned));
    let claims =
        object.optional("claims").map_or_else(|| Ok(claim_names(None)), |node| node.object().map(|claims| claim_names(Some(&claims))));
    object.done_all();
    let (organization, email, email_verified) = claims?;
    Ok(ApiTokens {
        issuer: issuer?,
        audience: audience?,
        keys: keys?,
        organization_claim: organization?,
        email_claim: email?,
        email_verified_claim: email_verified?,
        token_type: token_type?,
    })
}

/// The claims that name organization, e-mail, and whether that is verified.
fn claim_names(object: Option<&Object<'_>>) -> (Read<String>, Read<String>, Read<String>) {
    let read = |name: &'static str, default: &str| match object {
        Some(object) => object.or(name, default.to_owned(), |node| node.text(128).map(str::to_owned)),
        None => Ok(default.to_owned()),
    };
    let names = (read("organization", "org_id"), read("email", "email"), read("email_verified", "email_verified"));
    if let Some(object) = object {
        object.done_all();
    }
    names
}

fn redirect_uris(node: &Node<'_>, environment: Environment) -> Read<RedirectUris> {
    let items = node.items()?;
    let mut entries = Vec::new();
    for item in &items {
        let Ok(object) = item.object() else { continue };
        let uri = object.must("uri", |node| node.any_text().map(str::to_owned));
        let is_default = object.or("default", false, Node::flag);
        object.done_all();
        if let (Ok(uri), Ok(is_default)) = (uri, is_default) {
            entries.push((object, (uri, is_default)));
        }
    }
    let complete = entries.len() == items.len();
    let (objects, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let faults = match RedirectUris::register(environment, &entries) {
        Ok(uris) => return if complete { Ok(uris) } else { Err(Recorded) },
        Err(faults) => faults,
    };
    for (index, rule) in faults {
        let field = if rule == Rule::WildcardDefault { "default" } else { "uri" };
        match index.and_then(|at| objects.get(at)).map(|object| object.optional(field)) {
            Some(Some(place)) => drop(place.fault(rule.to_string())),
            // Whether the list has its one default can only be said of the whole list.
            Some(None) | None if complete => drop(node.fault(rule.to_string())),
            Some(None) | None => {}
        }
    }
    Err(Recorded)
}

fn connections(node: &Node<'_>, schemes: Schemes, pushing: PushingClients) -> Read<(Vec<ConnectionId>, Vec<Arc<Connection>>)> {
    let sketches: Vec<_> = node.items()?.iter().map(|item| connection::read(item, schemes, pushing)).collect();
    let mut ids: HashMap<&ConnectionId, &str> = HashMap::new();
    for Sketch { path, id, .. } in &sketches {
        let Some((place, id)) = id else { continue };
        if let Some(first) = ids.get(id) {
            place.fault(format!("is already the id of {first}"));
        } else {
            ids.insert(id, path);
        }
    }
    one_organization_per_client(&sketches);
    let ids = ids.into_keys().cloned().collect();
    Ok((ids, sketches.into_iter().filter_map(|sketch| sketch.connection).map(Arc::new).collect()))
}

/// A client that two organizations own would let a code of one be redeemed by the other: the provider cannot tell them apart
/// (security checklist, attack scripts).
fn one_organization_per_client(sketches: &[Sketch<'_>]) {
    let mut owners = HashMap::new();
    for Sketch { path, client, .. } in sketches {
        let Some((place, client)) = client else { continue };
        let (owner, first) = owners.entry((&client.authority, &client.id)).or_insert((&client.owner, path));
        if **owner != client.owner {
            place.fault(format!("one client id in two organizations, here and at {first}"));
        }
    }
}

/// The default connection; `known` is absent where the list itself cannot be read.
fn default_connection(object: &Object<'_>, known: Option<&[ConnectionId]>) -> Read<Option<ConnectionId>> {
    object.may("default_connection", |node| {
        let id = connection::connection_id(node)?;
        if known.is_none_or(|known| known.contains(&id)) { Ok(id) } else { Err(node.fault("must be the id of a connection")) }
    })
}

#[cfg(test)]
mod tests;
