//! Lambda `revoke`: revokes what no workflow needs.

use shared::config::Need::{ClientSecrets, Directory, KmsKey, Table};
use shared::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let wiring = lambda::start(&[Table, KmsKey, Directory, ClientSecrets]).await;
    lambda::run_http(revoke::RevokeFunction { edge: wiring.edge(), revoke: wiring.revoke() }).await
}
