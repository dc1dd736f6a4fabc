//! Which request the present task works for: so that every log line bears its id, and providers are told it, without a parameter
//! through every layer. Nothing is decided by it.

use crate::domain::ids::RequestId;

tokio::task_local! {
    static REQUEST: RequestId;
}

/// Does the work in the name of a request.
pub async fn on_behalf_of<T>(request: RequestId, work: impl Future<Output = T>) -> T {
    REQUEST.scope(request, work).await
}

/// The request, if there is one: init and what is spawned has none.
pub(crate) fn request_id() -> Option<String> {
    REQUEST.try_with(|id| id.as_str().to_owned()).ok()
}
