//! Slack (`oauth.v2.access`): `200` with `ok: false` is an error; a person's token is nested in `authed_user` where a bot's came too;
//! its type is `user`, a bot's is `bot`; scopes are separated by commas; and tokens revoke themselves (`auth.revoke`).

use std::collections::BTreeMap;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use serde_json::{Map, Value};
use url::Url;

use crate::domain::caller::Person;
use crate::domain::connection::{Connection, Dialect};
use crate::domain::scopes::Scopes;
use crate::domain::secret::Secret;
use crate::json;
use crate::oauth::Provider;
use crate::oauth::classify::{classify, retry_after};
use crate::oauth::identity::identity;
use crate::ports::provider::{ProviderError, Receipt, Revoked, RevokedToken};

/// The parameter by which scopes of a person are asked for, where `scope` means those of the app's bot.
const PERSONS_SCOPES: &str = "user_scope";

/// The error code of an answer that is not `ok`.
pub(super) fn error_of(answer: &Map<String, Value>) -> Option<&str> {
    if answer.get("ok") == Some(&Value::Bool(true)) {
        return None;
    }
    match answer.get("error") {
        Some(Value::String(code)) => Some(code),
        // OpenID Connect endpoints of Slack answer without `ok`.
        None if answer.get("ok").is_none() => None,
        _ => Some("unknown_error"),
    }
}

/// Whether an error code says that a token is no longer valid.
pub(in crate::oauth) fn is_token_gone(code: &str) -> bool {
    matches!(code, "invalid_auth" | "not_authed" | "token_revoked" | "token_expired" | "account_inactive")
}

/// At `/oauth/v2/authorize`, `scope` asks for a bot, and `user_scope` for the person whom an authorization acts for. An operator who
/// wants a bot's token names `user_scope` in the endpoint's own query, or among the extra parameters, with whatever else it shall be.
pub(in crate::oauth) fn scope_parameter(endpoint: &Url, extra: &BTreeMap<String, String>) -> &'static str {
    let named = extra.contains_key(PERSONS_SCOPES) || endpoint.query_pairs().any(|(name, _)| name == PERSONS_SCOPES);
    if endpoint.path().ends_with("/oauth/v2/authorize") && !named { PERSONS_SCOPES } else { "scope" }
}

/// Scopes as Slack writes them.
pub(in crate::oauth) fn scope_text(scopes: &Scopes) -> String {
    scopes.iter().collect::<Vec<_>>().join(",")
}

/// The person's token if there is one, else the bot's, under the usual names; and who it is, under names that claims can have.
pub(super) fn standardized(mut answer: Map<String, Value>) -> Map<String, Value> {
    let user = answer.remove("authed_user").and_then(|user| if let Value::Object(user) = user { Some(user) } else { None });
    let team = answer.get("team").and_then(|team| team.get("id")).cloned();
    if let Some(mut user) = user {
        if let Some(id) = user.remove("id") {
            answer.insert("sub".to_owned(), id.clone());
            answer.insert("id".to_owned(), id.clone());
            answer.insert("user_id".to_owned(), id);
        }
        if user.contains_key("access_token") {
            // The bot's members must not stand in for those that the person's token lacks.
            for name in ["access_token", "refresh_token", "expires_in", "scope", "token_type"] {
                answer.remove(name);
            }
            answer.append(&mut user);
        } else if answer.get("token_type").and_then(Value::as_str) == Some("user")
            && let Some(scope) = user.remove("scope")
        {
            // `oauth.v2.user.access`: the person's token stands outside, its scopes inside.
            answer.entry("scope").or_insert(scope);
        }
    }
    if let Some(team) = team {
        answer.insert("team_id".to_owned(), team);
    }
    if matches!(answer.get("token_type").and_then(Value::as_str), Some("user" | "bot") | None) {
        answer.insert("token_type".to_owned(), "Bearer".into());
    }
    answer
}

/// A refresh that names a person has to name the stored one; most name none.
pub(in crate::oauth) fn hold_to_person(connection: &Connection, answer: &Map<String, Value>, person: &Person) -> Result<(), ProviderError> {
    match identity(connection, answer) {
        Ok(named) if named.person != *person => Err(ProviderError::IdentityChanged),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether what userinfo tells (`openid.connect.userInfo`, `users.identity`) is about somebody else than the token answer.
pub(in crate::oauth) fn is_of_another(answer: &Map<String, Value>, told: &Map<String, Value>) -> bool {
    let names = [told.get("sub"), told.get("https://slack.com/user_id"), told.get("user").and_then(|user| user.get("id"))];
    answer.get("user_id").is_some_and(|id| names.into_iter().flatten().any(|named| named != id))
}

impl Provider {
    /// Each token is revoked by itself, and proves itself: the client does not have to.
    pub(in crate::oauth) async fn revoke_at_slack(
        &self,
        endpoint: &Url,
        refresh_token: Option<&Secret>,
        access_token: Option<&Secret>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<Revoked, ProviderError> {
        if let Some(token) = refresh_token {
            match self.revoke_itself(endpoint, token, RevokedToken::Refresh, receipts).await {
                // Slack knows apps whose refresh tokens it does not take here. The access token is still to be revoked.
                Err(ProviderError::Refused { .. }) if access_token.is_some() => {}
                other => other?,
            }
        }
        if let Some(token) = access_token {
            self.revoke_itself(endpoint, token, RevokedToken::Access, receipts).await?;
        }
        Ok(Revoked::Done)
    }

    async fn revoke_itself(
        &self,
        endpoint: &Url,
        token: &Secret,
        what: RevokedToken,
        receipts: &mut Vec<Receipt>,
    ) -> Result<(), ProviderError> {
        let unusable = || ProviderError::Misconfigured { code: "endpoint_not_a_url".to_owned() };
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| unusable())?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(Method::POST)
            .uri(endpoint.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(AUTHORIZATION, bearer);
        let request = request.body(Vec::new()).map_err(|_| unusable())?;
        let answer = self.send_for_receipt(request, what, receipts).await?;
        let body = json::parse_object(&answer.body).unwrap_or_default();
        let error = error_of(&body);
        // A token that is not valid any more is what was asked for.
        if error.is_some_and(is_token_gone) {
            return Ok(());
        }
        let wait = retry_after(&answer.headers, self.clock.now());
        match classify(answer.status.as_u16(), error, wait, Dialect::Slack) {
            Some(error) => Err(error),
            // Slack says `ok` to everything that it has done.
            None if body.get("ok") != Some(&Value::Bool(true)) => {
                Err(ProviderError::AnswerInvalid { why: "it does not say that it is ok" })
            }
            None => Ok(()),
        }
    }
}
