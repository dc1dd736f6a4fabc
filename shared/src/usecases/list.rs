//! Show who uses what (contract section 7): one Query of the index per page, and never a token.
//!
//! A cursor is a position in the list of one organization under the filters that the list began with; `limit` may change on the way.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::Call;
use crate::domain::caller::Caller;
use crate::domain::fnv::fnv;
use crate::domain::ids::{AuthorizationId, WorkflowId};
use crate::ports::Unavailable;
use crate::ports::clock::Clock;
use crate::ports::flows::CursorSealer;
use crate::ports::store::{IndexEntry, OrganizationIndex, PageQuery, Search};

/// How many workflows of an authorization are shown.
pub const WORKFLOWS_SHOWN: usize = 25;
/// How many pages of the index one answer may look through when a filter leaves little.
const PAGES_PER_ANSWER: usize = 8;
/// How many authorizations are read from the index at a time when there is a filter.
const INDEX_PAGE: usize = 1000;
/// How many pages of the index may be shown in one answer. One is a megabyte at most, and Lambda carries six.
const PAGES_SHOWN: usize = 4;
/// What must remain of the function's time before the search for a workflow goes on.
const SEARCH_TIME: Duration = Duration::seconds(3);

/// The use case with what it needs.
pub struct List {
    /// The index.
    pub index: Arc<dyn OrganizationIndex>,
    /// Seals positions.
    pub cursors: Arc<dyn CursorSealer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
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
    /// The cursor is not one of ours for this organization and these filters.
    #[error("cursor does not open")]
    Cursor,
    /// A part of ours is down.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl List {
    /// One page of the caller's organization.
    pub async fn page(&self, call: &Call, caller: &Caller, request: &Request) -> Result<Page, ListError> {
        let mut after = match &request.cursor {
            None => None,
            Some(cursor) => Some(self.position(caller, &request.filter, cursor).await?),
        };
        if let Some(workflow) = &request.filter.workflow_id {
            return self.of_workflow(call, caller, request, workflow, after).await;
        }
        // Without a filter a page of the index is a page of the answer, even if DynamoDB ends it early at a megabyte. With one the
        // index is read by the megabyte, one match further than is shown: so the last page knows that it is the last.
        let (pages, limit) = if request.filter.is_empty() { (1, request.limit) } else { (PAGES_PER_ANSWER, INDEX_PAGE) };
        let mut entries: Vec<IndexEntry> = Vec::new();
        let mut shown = 0;
        for _ in 0..pages {
            let query = PageQuery { after, limit, bindings_each: WORKFLOWS_SHOWN };
            let page = self.index.page(&caller.organization, &query).await?;
            let before = entries.len();
            entries.extend(page.entries.into_iter().filter(|entry| request.filter.admits(entry)));
            shown += usize::from(entries.len() > before);
            after = page.next;
            if entries.len() > request.limit {
                entries.truncate(request.limit);
                after = entries.last().map(|last| self.index.behind(&last.id));
                break;
            }
            if after.is_none() || shown == PAGES_SHOWN {
                break;
            }
        }
        Ok(Page { entries, next: self.cursor(caller, &request.filter, after).await? })
    }

    /// A workflow has at most one authorization: its binding is looked for, for as long as the time allows.
    async fn of_workflow(
        &self,
        call: &Call,
        caller: &Caller,
        request: &Request,
        workflow: &WorkflowId,
        mut after: Option<String>,
    ) -> Result<Page, ListError> {
        let found = loop {
            match self.index.look_for(&caller.organization, workflow, after.as_deref()).await? {
                Search::Found(id) => break self.one(caller, &id).await?,
                Search::Nowhere => break None,
                Search::NotUntil(position) if call.has(SEARCH_TIME, self.clock.now()) => after = Some(position),
                Search::NotUntil(position) => {
                    return Ok(Page { entries: Vec::new(), next: self.cursor(caller, &request.filter, Some(position)).await? });
                }
            }
        };
        Ok(Page { entries: found.into_iter().filter(|entry| request.filter.admits(entry)).collect(), next: None })
    }

    async fn cursor(&self, caller: &Caller, filter: &Filter, position: Option<String>) -> Result<Option<String>, Unavailable> {
        let Some(position) = position else { return Ok(None) };
        let text = format!("{:016x}{position}", filter.fingerprint());
        self.cursors.seal_cursor(&caller.organization, &text).await.map(Some)
    }

    /// The position in a cursor, if it is one for these filters.
    async fn position(&self, caller: &Caller, filter: &Filter, cursor: &str) -> Result<String, ListError> {
        let text = self.cursors.open_cursor(&caller.organization, cursor).await?.ok_or(ListError::Cursor)?;
        let position = text.strip_prefix(&format!("{:016x}", filter.fingerprint()));
        position.map(str::to_owned).ok_or(ListError::Cursor)
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

    /// Tells filters apart, so that a cursor is not taken from one list to another.
    fn fingerprint(&self) -> u64 {
        fnv(format!("{self:?}").as_bytes())
    }

    fn admits(&self, entry: &IndexEntry) -> bool {
        self.status.as_ref().is_none_or(|s| s == entry.status.as_str())
            && self.user_id.as_ref().is_none_or(|u| *u == entry.user_id)
            && self.email.as_ref().is_none_or(|e| Some(e) == entry.email.as_ref())
            && self.unused_since.is_none_or(|since| entry.last_used_at.is_none_or(|used| used < since))
    }
}
