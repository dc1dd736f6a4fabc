//! Hand-outs: an authorization and a binding in one consistent read.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::KeysAndAttributes;

use super::Table;
use super::error::Unprocessed;
use super::items;
use super::keys::Key;
use super::retry::Patience;
use crate::domain::authorization::Authorization;
use crate::domain::binding::Binding;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};
use crate::ports::Unavailable;
use crate::ports::store::HandOutReads;

const READ: &str = "read an authorization and a binding";

#[async_trait]
impl HandOutReads for Table {
    async fn authorization_with_binding(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        workflow: &WorkflowId,
    ) -> Result<(Option<Authorization>, Option<Binding>), Unavailable> {
        let keys = [Key::authorization(organization, id), Key::binding(organization, workflow)];
        let (mut authorization, mut binding) = (None, None);
        for row in self.batch(&keys).await? {
            if row.text("sk") == keys[0].sk() {
                authorization = Some(self.read(row).map_err(|bad| Unavailable::new(READ, bad))?);
            } else {
                binding = Some(items::binding(row, organization).map_err(|bad| Unavailable::new(READ, bad))?);
            }
        }
        Ok((authorization, binding))
    }
}

impl Table {
    /// Reads some items, asking again for those that DynamoDB left out.
    async fn batch(&self, keys: &[Key]) -> Result<Vec<super::row::Row>, Unavailable> {
        let all = KeysAndAttributes::builder().set_keys(Some(keys.iter().map(Key::attributes).collect())).consistent_read(true).build();
        let mut wanted = all.map_err(|error| Unavailable::new(READ, error))?;
        let (mut rows, mut patience) = (Vec::new(), Patience::new(self));
        loop {
            let answer = self.client.batch_get_item().request_items(&self.name, wanted).send().await;
            let mut answer = answer.map_err(|error| Unavailable::new(READ, error))?;
            let found = answer.responses.as_mut().and_then(|responses| responses.remove(&self.name));
            rows.extend(found.unwrap_or_default().into_iter().map(|item| self.row(item)));
            match answer.unprocessed_keys.and_then(|mut left| left.remove(&self.name)) {
                None => return Ok(rows),
                Some(left) if patience.wait(self).await => wanted = left,
                Some(_) => return Err(Unavailable::new(READ, Unprocessed)),
            }
        }
    }
}
