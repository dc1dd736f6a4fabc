//! Lambda `token`: hands out fresh access tokens.

use shared::config::Need::{ClientSecrets, Directory, KmsKey, RescueQueue, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, KmsKey, Directory, ClientSecrets, RescueQueue]).await;
    lambda::run_http(token::TokenFunction { edge: wiring.edge(), hand_out: wiring.hand_out(), check: wiring.check() }).await
}
