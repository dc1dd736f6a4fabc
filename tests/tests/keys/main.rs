//! Keys over the whole stack: branch keys that rotate and retire, a KMS that is down, tokens that were tampered with in the table,
//! and secrets that change while people sign in (design section 4; security requirements 65 to 72).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod hygiene;
mod outage;
mod quarantine;
mod rotation;
mod secrets;
mod swaps;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tests::table::{Item, Records, text};
use tests::{World, log};

/// The tenant of the demonstration.
const ORGANIZATION: &str = "org_demo";

/// The lines of the log that name this text.
fn logged(naming: &str) -> Vec<Value> {
    log::with(naming)
}

/// The item of a version of the organization's branch key.
fn branch_key(records: &Records, version: u32) -> Option<&Item> {
    let at = (format!("KEY#{ORGANIZATION}"), format!("v{version}"));
    records.items().iter().find(|item| (text(item, "pk"), text(item, "sk")) == (at.0.as_str(), at.1.as_str()))
}

/// One of the two ciphertexts of an authorization.
fn sealed(records: &Records, id: &str, attribute: &str) -> Vec<u8> {
    records.authorization(id).unwrap()[attribute].as_b().unwrap().clone().into_inner()
}

/// The version of the branch key that a ciphertext names.
fn version(ciphertext: &[u8]) -> u32 {
    u32::from_be_bytes(ciphertext[1..5].try_into().unwrap())
}

/// Puts a ciphertext where somebody with access to the table wants it.
async fn plant(world: &World, organization: &str, id: &str, attribute: &str, ciphertext: &[u8]) {
    world.tamper(organization, id, attribute, AttributeValue::B(Blob::new(ciphertext))).await;
}
