//! The index `by-organization`: each authorization followed by its bindings, newest first. A hint, never a decision (I5), and
//! it lags a little behind the table: a binding may show up without its authorization, or the other way round.

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

use super::Table;
use super::error::{BadRow, NotAsStored};
use super::items;
use super::keys;
use super::row::Row;
use super::values::s;
use crate::domain::binding::Binding;
use crate::domain::ids::{AuthorizationId, OrganizationId, WorkflowId};
use crate::ports::Unavailable;
use crate::ports::store::{IndexEntry, IndexPage, OrganizationIndex, PageQuery, Search};

const PAGE: &str = "read the list of an organization";
const ENTRY: &str = "read an entry of the list";
const BOUND_TO: &str = "find the authorization of a workflow";
const BINDINGS: &str = "read the bindings of an authorization";
/// From here on DynamoDB's own megabyte is the better limit of a page.
const UNLIMITED_FROM: usize = 250;

#[async_trait]
impl OrganizationIndex for Table {
    /// One Query, unless authorizations with more bindings than are kept of each have used up its rows: then it goes on behind them.
    async fn page(&self, organization: &OrganizationId, query: &PageQuery) -> Result<IndexPage, Unavailable> {
        let mut entries = Vec::new();
        let mut after = query.after.clone();
        loop {
            let missing = query.limit - entries.len();
            let request = self.listing_after(organization, after.as_deref());
            // One more than the page can show, which tells whether there is a next one.
            let rows = missing.saturating_mul(query.bindings_each + 1).saturating_add(1);
            let limit = (missing < UNLIMITED_FROM).then(|| i32::try_from(rows).unwrap_or(i32::MAX));
            let answer = request.set_limit(limit).send().await.map_err(|error| Unavailable::new(PAGE, error))?;
            let cut_at = answer.last_evaluated_key.map(|key| self.row(key).text("org_sk").to_owned());
            let rows = answer.items.unwrap_or_default().into_iter().map(|item| self.row(item));
            let part = PageQuery { after, limit: missing, ..*query };
            let read = assemble(rows, organization, &part, cut_at).map_err(|bad| Unavailable::new(PAGE, bad))?;
            entries.extend(read.entries);
            if read.next.is_none() || read.is_complete || limit.is_none() {
                return Ok(IndexPage { entries, next: read.next });
            }
            after = read.next;
        }
    }

    fn behind(&self, id: &AuthorizationId) -> String {
        keys::after_bindings(id)
    }

    async fn entry(&self, organization: &OrganizationId, id: &AuthorizationId, most: usize) -> Result<Option<IndexEntry>, Unavailable> {
        let request = self
            .listing(organization, "org_pk = :org AND begins_with(org_sk, :position)")
            .expression_attribute_values(":position", s(keys::list_position(id)))
            .limit(i32::try_from(most.saturating_add(1)).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(|error| Unavailable::new(ENTRY, error))?;
        let rows = answer.items.unwrap_or_default().into_iter().map(|item| self.row(item));
        let query = PageQuery { after: None, limit: 1, bindings_each: most };
        let page = assemble(rows, organization, &query, None).map_err(|bad| Unavailable::new(ENTRY, bad))?;
        Ok(page.entries.into_iter().next())
    }

    async fn look_for(&self, organization: &OrganizationId, workflow: &WorkflowId, after: Option<&str>) -> Result<Search, Unavailable> {
        let request = self
            .listing_after(organization, after)
            .filter_expression("workflow_id = :workflow")
            .expression_attribute_values(":workflow", s(workflow.as_str()));
        let answer = request.send().await.map_err(|error| Unavailable::new(BOUND_TO, error))?;
        if let Some(item) = answer.items.unwrap_or_default().into_iter().next() {
            let binding = items::binding(self.row(item), organization).map_err(|bad| Unavailable::new(BOUND_TO, bad))?;
            return Ok(Search::Found(binding.authorization));
        }
        Ok(match answer.last_evaluated_key {
            Some(key) => Search::NotUntil(self.row(key).text("org_sk").to_owned()),
            None => Search::Nowhere,
        })
    }

    async fn bindings_of(
        &self,
        organization: &OrganizationId,
        id: &AuthorizationId,
        after: Option<&WorkflowId>,
        most: usize,
    ) -> Result<Vec<Binding>, Unavailable> {
        let (from, to) = keys::bindings_between(id, after);
        let (mut found, mut start) = (Vec::new(), None);
        while found.len() < most {
            let request = self
                .listing(organization, "org_pk = :org AND org_sk BETWEEN :from AND :to")
                .expression_attribute_values(":from", s(&from))
                .expression_attribute_values(":to", s(&to))
                .limit(i32::try_from(most - found.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            let answer = request.send().await.map_err(|error| Unavailable::new(BINDINGS, error))?;
            for item in answer.items.unwrap_or_default() {
                found.push(items::binding(self.row(item), organization).map_err(|bad| Unavailable::new(BINDINGS, bad))?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

impl Table {
    fn listing_after(&self, organization: &OrganizationId, after: Option<&str>) -> QueryFluentBuilder {
        match after {
            None => self.listing(organization, "org_pk = :org"),
            Some(after) => self.listing(organization, "org_pk = :org AND org_sk > :after").expression_attribute_values(":after", s(after)),
        }
    }

    fn listing(&self, organization: &OrganizationId, condition: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .index_name(super::table::BY_ORGANIZATION)
            .key_condition_expression(condition)
            .expression_attribute_values(":org", s(keys::list_partition(organization)))
    }
}

/// What one Query has brought.
struct Part {
    entries: Vec<IndexEntry>,
    /// Where to go on, if DynamoDB stopped before the end or an authorization was left out.
    next: Option<String>,
    /// The page is full, and an authorization follows.
    is_complete: bool,
}

/// Makes a part of a page of rows in index order. `cut_at` is where DynamoDB stopped, if there is more behind.
///
/// 1. Bindings join the authorization before them, up to `bindings_each`; an orphan joins none.
/// 2. The page ends before authorization `limit + 1`.
/// 3. If DynamoDB stopped amid the bindings of the last authorization, that one is left to the next page, unless it is alone.
/// 4. The next page begins behind the bindings of the last authorization shown.
fn assemble(
    rows: impl Iterator<Item = Row>,
    organization: &OrganizationId,
    query: &PageQuery,
    cut_at: Option<String>,
) -> Result<Part, BadRow> {
    let mut entries: Vec<IndexEntry> = Vec::new();
    let mut is_complete = false;
    for row in rows {
        if keys::is_authorization(row.text("sk")) {
            if entries.len() == query.limit {
                is_complete = true;
                break;
            }
            entries.push(entry(row)?);
        } else if let Some(entry) = entries.last_mut().filter(|entry| entry.workflows.len() < query.bindings_each) {
            let binding = items::binding(row, organization)?;
            if binding.authorization == entry.id {
                entry.workflows.push(binding);
            }
        }
    }
    let amid_bindings = |entry: &IndexEntry| (entry.workflows.len() as u64) < entry.binding_count.min(query.bindings_each as u64);
    let stopped_here = |entry: &IndexEntry| cut_at.as_ref().is_some_and(|at| at.starts_with(&keys::list_position(&entry.id)));
    if entries.len() > 1 {
        entries.pop_if(|last| stopped_here(last) && amid_bindings(last));
    }
    let next = (is_complete || cut_at.is_some())
        .then(|| {
            entries.last().map(|last| keys::after_bindings(&last.id)).or_else(|| query.after.clone().filter(|_| is_complete)).or(cut_at)
        })
        .flatten();
    Ok(Part { entries, next, is_complete })
}

fn entry(mut row: Row) -> Result<IndexEntry, BadRow> {
    Ok(IndexEntry {
        id: keys::parse_authorization(row.text("pk")).ok_or_else(|| row.bad("pk", NotAsStored("not an authorization's key")))?.1,
        user_id: row.required("user_id")?,
        email: row.optional("email")?,
        provider: row.required("provider")?,
        connection: row.required("connection_id")?,
        created_by: row.required("created_by")?,
        created_at: row.time("created_at")?,
        scopes: row.optional("scopes")?.unwrap_or_default(),
        status: items::status(&mut row)?,
        binding_count: row.required("binding_count")?,
        refreshable: row.required("refreshable")?,
        access_expires_at: row.time("access_expires_at")?,
        reauthorize_by: row.optional_time("reauthorize_by")?,
        last_used_at: row.optional_time("last_used_at")?,
        last_refreshed_at: row.optional_time("last_refreshed_at")?,
        undecryptable_since: row.optional_time("undecryptable_since")?,
        workflows: Vec::new(),
    })
}
