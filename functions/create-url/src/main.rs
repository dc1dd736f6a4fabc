//! Lambda `create-url`: makes sign-in URLs.

use shared::config::Need::{ClientSecretsToPush, Directory, StateKeys};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Directory, StateKeys, ClientSecretsToPush]).await;
    lambda::run_http(create_url::CreateUrlFunction { edge: wiring.edge(), create_url: wiring.create_url() }).await
}
