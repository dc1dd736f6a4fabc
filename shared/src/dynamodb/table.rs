//! The table (design, section 2): one definition for the local stack, the tests and – word for word – the template.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType,
};

/// The partition key of the table: the organization, a flow or a key's organization (design, section 2).
pub const PARTITION_KEY: &str = "pk";
/// The sort key of the table.
pub const SORT_KEY: &str = "sk";

/// The attribute with the second after which DynamoDB may delete an item. It is never trusted: every expiry is
/// compared in code (design, section 2).
pub const TTL_ATTRIBUTE: &str = "expires_at";

/// The index in which each authorization is followed by its bindings (design, section 2).
pub const BY_ORGANIZATION: &str = "by-organization";
/// Its partition key.
pub const BY_ORGANIZATION_PARTITION_KEY: &str = "org_pk";
/// Its sort key.
pub const BY_ORGANIZATION_SORT_KEY: &str = "org_sk";
/// What it shows besides keys: everything the list needs that the keys do not tell, and no token attribute, so that the role of
/// the list cannot read ciphertext (design, section 2).
pub const BY_ORGANIZATION_PROJECTION: [&str; 19] = [
    "user_id",
    "email",
    "provider",
    "connection_id",
    "created_by",
    "created_at",
    "scopes",
    "status",
    "reason",
    "binding_count",
    "refreshable",
    "access_expires_at",
    "reauthorize_by",
    "last_used_at",
    "last_refreshed_at",
    "undecryptable_since",
    "workflow_id",
    "workflow_name",
    "required_scopes",
];

/// The sparse index of what the sweep has to do; keys only (design, section 2).
pub const DUE: &str = "due";
/// Its partition key: `DUE#<shard>`.
pub const DUE_PARTITION_KEY: &str = "due_shard";
/// Its sort key: when the item is due.
pub const DUE_SORT_KEY: &str = "due_at";

/// The request that creates the table, on demand and with both indexes.
///
/// TTL on [`TTL_ATTRIBUTE`] is a second request at DynamoDB, to be made once the table is active.
pub fn create_table(client: &Client, name: &str) -> Result<CreateTableFluentBuilder, BuildError> {
    Ok(client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PARTITION_KEY, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(SORT_KEY, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(BY_ORGANIZATION_PARTITION_KEY, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(BY_ORGANIZATION_SORT_KEY, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(DUE_PARTITION_KEY, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(DUE_SORT_KEY, ScalarAttributeType::N)?)
        .set_key_schema(Some(keys(PARTITION_KEY, SORT_KEY)?))
        .global_secondary_indexes(by_organization()?)
        .global_secondary_indexes(due()?))
}

fn by_organization() -> Result<GlobalSecondaryIndex, BuildError> {
    let shown = BY_ORGANIZATION_PROJECTION.map(str::to_owned).to_vec();
    let projection = Projection::builder().projection_type(ProjectionType::Include).set_non_key_attributes(Some(shown)).build();
    GlobalSecondaryIndex::builder()
        .index_name(BY_ORGANIZATION)
        .set_key_schema(Some(keys(BY_ORGANIZATION_PARTITION_KEY, BY_ORGANIZATION_SORT_KEY)?))
        .projection(projection)
        .build()
}

fn due() -> Result<GlobalSecondaryIndex, BuildError> {
    GlobalSecondaryIndex::builder()
        .index_name(DUE)
        .set_key_schema(Some(keys(DUE_PARTITION_KEY, DUE_SORT_KEY)?))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
}

fn keys(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>, BuildError> {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    Ok(vec![key(partition, KeyType::Hash)?, key(sort, KeyType::Range)?])
}
