use std::collections::HashMap;

use aws_sdk_kms::Client;
use aws_sdk_kms::error::SdkError;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::operation::decrypt::DecryptOutput;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, KeyState};

use super::{code, emulation, sdk};
use crate::aws::Emulation;

async fn key(aws: &Emulation) -> (Client, String) {
    let client = Client::new(&sdk(aws));
    let created = client.create_key().send().await.unwrap();
    let id = created.key_metadata().unwrap().key_id().to_owned();
    (client, id)
}

fn context(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn open(client: &Client, blob: &Blob, context: Option<HashMap<String, String>>) -> Result<DecryptOutput, SdkError<DecryptError>> {
    client.decrypt().ciphertext_blob(blob.clone()).set_encryption_context(context).send().await
}

#[tokio::test]
async fn only_the_same_encryption_context_opens() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let right = context(&[("organization", "org_1"), ("purpose", "branch-key")]);
    let sealed =
        client.encrypt().key_id(&id).plaintext(Blob::new("secret")).set_encryption_context(Some(right.clone())).send().await.unwrap();
    let blob = sealed.ciphertext_blob().unwrap();

    let opened = open(&client, blob, Some(right)).await.unwrap();
    assert_eq!(opened.plaintext().unwrap().as_ref(), b"secret");
    for wrong in [
        None,
        Some(context(&[("organization", "org_1")])),
        Some(context(&[("organization", "org_2"), ("purpose", "branch-key")])),
        Some(context(&[("organization", "org_1"), ("purpose", "branch-key"), ("more", "")])),
        Some(context(&[("organizationorg_1", ""), ("purpose", "branch-key")])),
    ] {
        assert_eq!(code(open(&client, blob, wrong).await), "InvalidCiphertextException");
    }
}

#[tokio::test]
async fn no_changed_byte_opens() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let sealed = client.encrypt().key_id(&id).plaintext(Blob::new("s")).send().await.unwrap();
    let blob = sealed.ciphertext_blob().unwrap().as_ref().to_vec();
    for position in 0..blob.len() {
        let mut changed = blob.clone();
        changed[position] ^= 1;
        assert_eq!(code(open(&client, &Blob::new(changed), None).await), "InvalidCiphertextException");
        if position > 0 {
            let cut = Blob::new(blob[..position].to_vec());
            assert_eq!(code(open(&client, &cut, None).await), "InvalidCiphertextException");
        }
    }
}

#[tokio::test]
async fn a_data_key_without_plaintext_opens_later_and_after_rotations() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    client.create_alias().alias_name("alias/a").target_key_id(&id).send().await.unwrap();
    let wrapped = client.generate_data_key_without_plaintext().key_id("alias/a").key_spec(DataKeySpec::Aes256);
    let wrapped = wrapped.send().await.unwrap();
    let blob = wrapped.ciphertext_blob().unwrap();
    let first = open(&client, blob, None).await.unwrap();
    assert_eq!(first.plaintext().unwrap().as_ref().len(), 32);

    client.enable_key_rotation().key_id(&id).send().await.unwrap();
    assert!(client.get_key_rotation_status().key_id(&id).send().await.unwrap().key_rotation_enabled());
    client.rotate_key_on_demand().key_id(&id).send().await.unwrap();

    let again = open(&client, blob, None).await.unwrap();
    assert_eq!(again.plaintext(), first.plaintext());
    let newer = client.generate_data_key().key_id(&id).key_spec(DataKeySpec::Aes128).send().await.unwrap();
    let opened = open(&client, newer.ciphertext_blob().unwrap(), None).await.unwrap();
    assert_eq!(opened.plaintext(), newer.plaintext());
}

#[tokio::test]
async fn limits_are_those_of_kms() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let encrypt = |length| client.encrypt().key_id(&id).plaintext(Blob::new(vec![7; length])).send();
    let largest = encrypt(4096).await.unwrap();
    let opened = open(&client, largest.ciphertext_blob().unwrap(), None).await.unwrap();
    assert_eq!(opened.plaintext().unwrap().as_ref(), [7; 4096]);
    assert_eq!(code(encrypt(4097).await), "ValidationException");
    assert_eq!(code(encrypt(0).await), "ValidationException");
    assert_eq!(code(open(&client, &Blob::new(vec![0; 6145]), None).await), "ValidationException");
    assert_eq!(code(client.generate_data_key().key_id(&id).number_of_bytes(1025).send().await), "ValidationException");
    assert_eq!(code(client.generate_data_key().key_id(&id).send().await), "ValidationException");
}

#[tokio::test]
async fn the_key_named_at_decryption_must_be_the_one_that_sealed() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let (_, other) = key(&aws).await;
    let sealed = client.encrypt().key_id(&id).plaintext(Blob::new("s")).send().await.unwrap();
    let open_with = |id: &str| client.decrypt().key_id(id).ciphertext_blob(sealed.ciphertext_blob().unwrap().clone()).send();

    open_with(&id).await.unwrap();
    open_with(sealed.key_id().unwrap()).await.unwrap();
    assert_eq!(code(open_with(&other).await), "IncorrectKeyException");
    assert_eq!(code(open_with("alias/nobody").await), "NotFoundException");
    assert_eq!(code(open_with("").await), "NotFoundException");
}

#[tokio::test]
async fn a_key_out_of_service_says_which_way() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let sealed = client.encrypt().key_id(&id).plaintext(Blob::new("s")).send().await.unwrap();
    let blob = sealed.ciphertext_blob().unwrap();

    client.disable_key().key_id(&id).send().await.unwrap();
    assert_eq!(code(open(&client, blob, None).await), "DisabledException");
    client.enable_key().key_id(&id).send().await.unwrap();
    open(&client, blob, None).await.unwrap();
    client.schedule_key_deletion().key_id(&id).pending_window_in_days(7).send().await.unwrap();
    assert_eq!(code(open(&client, blob, None).await), "KMSInvalidStateException");
    let described = client.describe_key().key_id(&id).send().await.unwrap();
    assert_eq!(described.key_metadata().unwrap().key_state(), Some(&KeyState::PendingDeletion));
    assert!(described.key_metadata().unwrap().deletion_date().is_some());
}

#[tokio::test]
async fn aliases_are_unique_and_listings_come_in_pages() {
    let aws = emulation(None).await;
    let (client, id) = key(&aws).await;
    let create = |name: &str| client.create_alias().alias_name(name).target_key_id(&id).send();
    create("alias/a").await.unwrap();
    create("alias/b").await.unwrap();
    assert_eq!(code(create("alias/a").await), "AlreadyExistsException");
    assert_eq!(code(create("alias/aws/a").await), "InvalidAliasNameException");

    let pages: Vec<_> = client.list_aliases().limit(1).into_paginator().send().collect::<Vec<_>>().await;
    let names: Vec<_> = pages.into_iter().flat_map(|page| page.unwrap().aliases.unwrap()).map(|alias| alias.alias_name.unwrap()).collect();
    assert_eq!(names, ["alias/a", "alias/b"]);
    assert_eq!(client.list_keys().send().await.unwrap().keys().len(), 1);
}
