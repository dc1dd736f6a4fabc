//! The operations that read secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::wire::{Fault, Page};
use super::secret::{Content, Secret};
use super::{Secrets, SecretsManager, name_of};

/// How much a listing shows at once unless told otherwise.
const DEFAULT_PAGE: usize = 100;
/// How many secrets one batch may name.
const BATCH_LIMIT: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetRequest {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeRequest {
    secret_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchRequest {
    secret_id_list: Option<Vec<String>>,
    filters: Option<Vec<Filter>>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    filters: Option<Vec<Filter>>,
    include_planned_deletion: Option<bool>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// A condition; several values are alternatives.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

impl SecretsManager {
    /// `GetSecretValue`.
    pub(super) fn get_value(&self, request: &GetRequest) -> Result<Value, Fault> {
        self.secrets.read(|secrets| value(secrets, &request.secret_id, request.version_id.as_deref(), request.version_stage.as_deref()))
    }

    /// `BatchGetSecretValue`: what cannot be read is listed under `Errors` and fails nothing else.
    pub(super) fn batch_get_value(&self, request: &BatchRequest) -> Result<Value, Fault> {
        self.secrets.read(|secrets| {
            let ids: Vec<String> = match (&request.secret_id_list, &request.filters) {
                (Some(ids), None) if ids.len() <= BATCH_LIMIT => ids.clone(),
                (None, Some(filters)) => matching(secrets, filters, false)?.into_iter().map(|(name, _)| name.clone()).collect(),
                _ => {
                    let message = "Specify either Filters or up to 20 entries of SecretIdList.";
                    return Err(Fault::client("InvalidParameterException", message));
                }
            };
            let page = cut(ids, request.max_results.unwrap_or(BATCH_LIMIT).min(BATCH_LIMIT), request.next_token.as_deref())?;
            let (mut values, mut errors) = (Vec::new(), Vec::new());
            for id in page.items {
                match value(secrets, &id, None, None) {
                    Ok(value) => values.push(value),
                    Err(fault) => {
                        errors.push(json!({ "SecretId": id, "ErrorCode": fault.kind(), "Message": fault.message() }));
                    }
                }
            }
            Ok(with_next(json!({ "SecretValues": values, "Errors": errors }), page.next))
        })
    }

    /// `DescribeSecret`.
    pub(super) fn describe(&self, request: &DescribeRequest) -> Result<Value, Fault> {
        self.secrets.read(|secrets| {
            let name = name_of(secrets, &request.secret_id)?;
            let secret = secrets.get(&name).ok_or_else(Fault::internal)?;
            Ok(description(&name, secret, "VersionIdsToStages"))
        })
    }

    /// `ListSecrets`.
    pub(super) fn list(&self, request: &ListRequest) -> Result<Value, Fault> {
        let filters = request.filters.as_deref().unwrap_or_default();
        let all = self.secrets.read(|secrets| {
            let matching = matching(secrets, filters, request.include_planned_deletion == Some(true))?;
            Ok(matching.into_iter().map(|(name, secret)| description(name, secret, "SecretVersionsToStages")).collect())
        })?;
        let page = cut(all, request.max_results.unwrap_or(DEFAULT_PAGE), request.next_token.as_deref())?;
        Ok(with_next(json!({ "SecretList": page.items }), page.next))
    }
}

fn value(secrets: &Secrets, id: &str, version: Option<&str>, stage: Option<&str>) -> Result<Value, Fault> {
    let name = name_of(secrets, id)?;
    let secret = secrets.get(&name).ok_or_else(Fault::internal)?;
    secret.require_kept()?;
    let (id, version) = secret.version(version, stage)?;
    let (field, content) = match &version.content {
        Content::Text(text) => ("SecretString", text),
        Content::Binary(bytes) => ("SecretBinary", bytes),
    };
    Ok(json!({
        "ARN": secret.arn, "Name": name, "VersionId": id, "VersionStages": secret.stages_of(&id),
        "CreatedDate": version.created, field: content,
    }))
}

fn description(name: &str, secret: &Secret, stages_field: &str) -> Value {
    let stages: BTreeMap<&str, Vec<&str>> =
        secret.versions.keys().map(|id| (id.as_str(), secret.stages_of(id))).filter(|(_, stages)| !stages.is_empty()).collect();
    let mut description = json!({
        "ARN": secret.arn, "Name": name, "CreatedDate": secret.created, "LastChangedDate": secret.changed,
        stages_field: stages,
    });
    if let Some(fields) = description.as_object_mut() {
        fields.extend(secret.description.clone().map(|text| ("Description".to_owned(), text.into())));
        fields.extend(secret.deleted.map(|date| ("DeletedDate".to_owned(), date.into())));
    }
    description
}

fn matching<'a>(secrets: &'a Secrets, filters: &[Filter], include_deleted: bool) -> Result<Vec<(&'a String, &'a Secret)>, Fault> {
    if filters.iter().any(|filter| filter.key != "name") {
        return Err(Fault::client("InvalidParameterException", "only the filter \"name\" is emulated"));
    }
    let by_name = |name: &str| filters.iter().all(|filter| filter.values.iter().any(|value| name.starts_with(value)));
    Ok(secrets.iter().filter(|(name, secret)| (include_deleted || secret.deleted.is_none()) && by_name(name)).collect())
}

fn cut<T>(all: Vec<T>, size: usize, token: Option<&str>) -> Result<Page<T>, Fault> {
    Page::cut(all, size, token, Fault::client("InvalidNextTokenException", "the token is not one of ours"))
}

fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.extend(next.map(|next| ("NextToken".to_owned(), next.into())));
    }
    answer
}
