//! Show who uses what (contract section 7): one Query of the index per page, and never a token.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::domain::caller::Caller;
use crate::domain::ids::{AuthorizationId, WorkflowId};
use crate::ports::Unavailable;
use crate::ports::flows::CursorSealer;
use crate::ports::store::{IndexEntry, OrganizationIndex, PageQuery};

/// How many workflows of an authorization are shown.
pub const WORKFLOWS_SHOWN: usize = 25;
/// How many pages of the index one answer may look through when a filter leaves little.
const PAGES_PER_ANSWER: usize = 8;

/// The use case with what it needs.
pub struct List {
    /// The index.
    pub index: Arc<dyn OrganizationIndex>,
    /// Seals positions.
    pub cursors: Arc<dyn CursorSealer>,
}

/// Which authorizations, and how many.
#[derive(Debug)]
pub struct Request {
    /// Filters; all must hold.
    pub filter: Filter,
    /// 1–1000.
    pub limit: usize,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Filters of the list.
#[derive(Debug, Default)]
pub struct Filter {
    /// The status.
    pub status: Option<String>,
    /// The identity's subject.
    pub user_id: Option<String>,
    /// The identity's e-mail, exactly.
    pub email: Option<String>,
    /// Bound to this workflow.
    pub workflow_id: Option<WorkflowId>,
    /// Not handed out since.
    pub unused_since: Option<OffsetDateTime>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// Newest first.
    pub entries: Vec<IndexEntry>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The cursor is not one of ours for this organization.
    #[error("cursor does not open")]
    Cursor,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl List {
    /// One page of the caller's organization.
    pub async fn page(&self, caller: &Caller, request: &Request) -> Result<Page, ListError> {
        let mut after = match &request.cursor {
            None => None,
            Some(cursor) => Some(self.cursors.open_cursor(&caller.organization, cursor).await?.ok_or(ListError::Cursor)?),
        };
        if let Some(workflow) = &request.filter.workflow_id {
            return self.of_workflow(caller, request, workflow).await;
        }
        let mut entries = Vec::new();
        // Without a filter a page of the index is a page of the answer, even if DynamoDB ends it early at a megabyte.
        let pages = if request.filter.is_empty() { 1 } else { PAGES_PER_ANSWER };
        for _ in 0..pages {
            let query = PageQuery { after, limit: request.limit - entries.len(), bindings_each: WORKFLOWS_SHOWN };
            let page = self.index.page(&caller.organization, &query).await?;
            entries.extend(page.entries.into_iter().filter(|entry| request.filter.admits(entry)));
            after = page.next;
            if after.is_none() || entries.len() == request.limit {
                break;
            }
        }
        let next = match after {
            None => None,
            Some(position) => Some(self.cursors.seal_cursor(&caller.organization, &position).await?),
        };
        Ok(Page { entries, next })
    }

    /// A workflow has at most one authorization: it is found by its binding.
    async fn of_workflow(&self, caller: &Caller, request: &Request, workflow: &WorkflowId) -> Result<Page, ListError> {
        let bound_to = self.index.authorization_of(&caller.organization, workflow).await?;
        let entry = match bound_to {
            Some(id) if request.cursor.is_none() => self.one(caller, &id).await?,
            _ => None,
        };
        Ok(Page { entries: entry.into_iter().filter(|entry| request.filter.admits(entry)).collect(), next: None })
    }

    /// One authorization of the caller's organization; `None` if there is none.
    pub async fn one(&self, caller: &Caller, id: &AuthorizationId) -> Result<Option<IndexEntry>, ListError> {
        Ok(self.index.entry(&caller.organization, id, WORKFLOWS_SHOWN).await?)
    }
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.status.is_none() && self.user_id.is_none() && self.email.is_none() && self.unused_since.is_none()
    }

    fn admits(&self, entry: &IndexEntry) -> bool {
        self.status.as_ref().is_none_or(|s| s == entry.status.as_str())
            && self.user_id.as_ref().is_none_or(|u| *u == entry.user_id)
            && self.email.as_ref().is_none_or(|e| Some(e) == entry.email.as_ref())
            && self.unused_since.is_none_or(|since| entry.last_used_at.is_none_or(|used| used < since))
    }
}
