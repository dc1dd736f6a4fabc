use super::support::*;
use crate::dynamodb::Table;
use crate::dynamodb::items::binding_item;
use crate::ports::store::*;

/// Organization `org_1` with `authorizations` of `bindings` each, and another one's between them.
async fn filled(table: &Table, authorizations: u16, bindings: u16) {
    for number in 0..authorizations {
        let to = stored(table, authorization("org_1", number)).await;
        for at in 0..bindings {
            let bound = binding(&to, &format!("fl_{number}-{at:02}"), "read");
            assert!(matches!(table.bind(&bound, None).await.unwrap(), BindOutcome::Bound));
        }
    }
    stored(table, authorization("org_12", 1)).await;
}

async fn walk(table: &Table, limit: usize, bindings_each: usize) -> Vec<Vec<IndexEntry>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = table.page(&organization("org_1"), &PageQuery { after, limit, bindings_each }).await.unwrap();
        assert!(page.entries.len() <= limit);
        pages.push(page.entries);
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn the_list_is_newest_first_with_its_bindings_and_the_cursor_covers_all_once() {
    let (table, calls) = table().await;
    filled(&table, 100, 3).await;
    calls.take();
    let whole = walk(&table, 1000, 25).await;
    assert_eq!(calls.take(), 1);
    assert_eq!(whole.len(), 1);
    let ids: Vec<_> = whole[0].iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(ids, (0..100).rev().map(id).collect::<Vec<_>>());
    for entry in &whole[0] {
        assert_eq!((entry.workflows.len(), entry.binding_count), (3, 3));
        assert!(entry.workflows.iter().all(|bound| bound.authorization == entry.id));
        assert!(entry.workflows.is_sorted_by_key(|bound| bound.workflow.clone()));
    }
    for (limit, bindings_each) in [(1, 25), (7, 25), (10, 3), (10, 1), (33, 0), (100, 2), (249, 1)] {
        let pages = walk(&table, limit, bindings_each).await;
        let walked: Vec<_> = pages.iter().flatten().map(|entry| entry.id.clone()).collect();
        assert_eq!(walked, ids, "limit {limit}, {bindings_each} bindings each");
        assert!(pages.iter().flatten().all(|entry| entry.workflows.len() == bindings_each.min(3)));
    }
}

#[tokio::test]
async fn an_entry_with_more_bindings_than_shown_has_them_all_behind() {
    let (table, _) = table().await;
    filled(&table, 2, 30).await;
    let pages = walk(&table, 1, 5).await;
    assert_eq!(pages.iter().map(Vec::len).filter(|len| *len > 0).sum::<usize>(), 2);
    let org = organization("org_1");
    let entry = table.entry(&org, &id(1), 25).await.unwrap().unwrap();
    assert_eq!((entry.workflows.len(), entry.binding_count), (25, 30));
    let shown = entry.workflows.last().unwrap().workflow.clone();
    let rest = table.bindings_of(&org, &id(1), Some(&shown), 100).await.unwrap();
    assert_eq!(
        rest.iter().map(|bound| bound.workflow.as_str()).collect::<Vec<_>>(),
        ["fl_1-25", "fl_1-26", "fl_1-27", "fl_1-28", "fl_1-29"]
    );
    assert_eq!(table.bindings_of(&org, &id(1), None, 7).await.unwrap().len(), 7);
    assert_eq!(table.bindings_of(&org, &id(1), None, 100).await.unwrap().len(), 30);
    assert!(table.bindings_of(&organization("org_12"), &id(1), None, 100).await.unwrap().is_empty());
    assert!(table.entry(&org, &id(9), 25).await.unwrap().is_none());
}

#[tokio::test]
async fn bindings_that_the_index_shows_without_their_authorization_join_no_other() {
    let (table, _) = table().await;
    let shown = stored(&table, authorization("org_1", 5)).await;
    for number in [9, 3] {
        let orphan = binding(&authorization("org_1", number), &format!("fl_{number}"), "read");
        table.client.put_item().table_name(&table.name).set_item(Some(binding_item(&orphan))).send().await.unwrap();
    }
    let pages = walk(&table, 10, 25).await;
    assert_eq!(pages.concat().iter().map(|entry| (entry.id.clone(), entry.workflows.len())).collect::<Vec<_>>(), [(shown.id, 0)]);
    assert!(table.entry(&organization("org_1"), &id(9), 25).await.unwrap().is_none());
    assert!(walk(&table, 1, 0).await.concat().len() == 1);
}

#[tokio::test]
async fn a_megabyte_of_rows_ends_a_page_and_the_next_begins_with_a_whole_entry() {
    let (table, _) = table().await;
    // A row of a binding is at most 1 KB by its name, so a padding attribute would be cheating: long scopes it is.
    let long = (0..60).map(|n| format!("{n}{}", "x".repeat(250))).collect::<Vec<_>>().join(" ");
    for number in 0..20 {
        let mut to = authorization("org_1", number);
        to.scopes = crate::domain::scopes::Scopes::parse(&long).unwrap();
        to.binding_count = 5;
        stored(&table, to.clone()).await;
        for at in 0..5 {
            let item = binding_item(&binding(&to, &format!("fl_{number}-{at}"), &long));
            table.client.put_item().table_name(&table.name).set_item(Some(item)).send().await.unwrap();
        }
    }
    let pages = walk(&table, 1000, 25).await;
    assert!(pages.len() > 1, "the megabyte was not reached");
    assert_eq!(
        pages.concat().iter().map(|entry| (entry.id.clone(), entry.workflows.len())).collect::<Vec<_>>(),
        (0..20).rev().map(|n| (id(n), 5)).collect::<Vec<_>>()
    );
}
