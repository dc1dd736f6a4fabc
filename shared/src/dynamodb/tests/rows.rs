use std::error::Error as _;

use aws_sdk_dynamodb::types::AttributeValue;

use super::support::*;
use crate::dynamodb::items::authorization_item;
use crate::dynamodb::values::{n, s};
use crate::ports::store::RefreshStore;

#[tokio::test]
async fn a_bad_row_is_named_by_table_attribute_and_key() {
    let (table, _) = table().await;
    let of = authorization("org_1", 1);
    let spoiled = [
        ("version", Some(s("three"))),
        ("status", Some(s("sleeping"))),
        ("created_at", Some(n(99_999_999_999_999_999_i64))),
        ("sealed_access", Some(s("plain"))),
        ("scopes", Some(AttributeValue::Ss(vec!["a b".to_owned()]))),
        ("user_id", None),
        ("connection_id", Some(s("a/b"))),
    ];
    for (attribute, value) in spoiled {
        let mut item = authorization_item(&of);
        item.remove(attribute);
        item.extend(value.map(|value| (attribute.to_owned(), value)));
        table.client.put_item().table_name(&table.name).set_item(Some(item)).send().await.unwrap();
        let error = table.authorization(&of.organization, &of.id).await.unwrap_err();
        assert_eq!(error.to_string(), "failed to read an authorization");
        let place = format!("table {} has a bad {attribute} at ORG#org_1#AUTH#{} / AUTH", table.name, of.id);
        assert_eq!(error.source().unwrap().to_string(), place);
    }
}
