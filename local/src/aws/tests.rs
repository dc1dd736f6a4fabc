//! The emulation through the real SDKs, over the wire.

mod dynamodb;
mod front;
mod kms;
mod restart;
mod secrets_manager;
mod sqs;

use std::path::Path;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tokio::net::TcpListener;

use super::Emulation;
use crate::provision::loopback_sdk_config;

/// An emulation on a free port.
async fn emulation(data: Option<&Path>) -> Emulation {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Emulation::start(listener, data, None).await.unwrap()
}

fn sdk(emulation: &Emulation) -> SdkConfig {
    loopback_sdk_config(&emulation.endpoint())
}

/// The error's type, as the SDK read it.
fn code<T, E: ProvideErrorMetadata, R>(outcome: Result<T, SdkError<E, R>>) -> String {
    outcome.map(|_| ()).unwrap_err().code().unwrap_or("none").to_owned()
}
