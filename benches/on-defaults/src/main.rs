//! The function `token` as it would be if nothing had been done about its start: the SDKs' own configuration (an HTTP client, a TLS
//! configuration and a set of trusted roots for each service), nothing opened ahead of time, and a TLS library that gathers jitter
//! entropy (`cargo budgets` builds it so).

use shared::config::Need::{ClientSecrets, Directory, KmsKey, RescueQueue, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let sdk = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let wiring = lambda::start_with(&[Table, KmsKey, Directory, ClientSecrets, RescueQueue], sdk).await;
    lambda::run_http(token::TokenFunction { edge: wiring.edge(), hand_out: wiring.hand_out(), check: wiring.check() }).await
}
