//! The routes of contract section 1.

use http::Method;

use crate::domain::caller::Permission;

/// The Lambda functions behind the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `create-url`
    CreateUrl,
    /// `callback`
    Callback,
    /// `list`, also the default route: it answers what no route takes.
    List,
    /// `revoke`
    Revoke,
    /// `assign`
    Assign,
    /// `token`
    Token,
}

/// What a method and path mean. Path parameters are as they were sent; they are judged where they are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /workflows/authorization`
    CreateUrl,
    /// `GET /workflows/authorization/callback/{connection_id}`
    Callback(String),
    /// `HEAD` of the same: looks, and consumes nothing.
    CallbackHead,
    /// `OPTIONS` of the same.
    CallbackOptions,
    /// `POST /workflows/authorization/complete`
    Complete,
    /// `GET /workflows/authorization`
    List,
    /// `GET /workflows/authorization/{auth_id}`
    One(String),
    /// `DELETE /workflows/authorization/{auth_id}`
    Revoke(String),
    /// `PUT /workflows/{workflow_id}/authorization`
    Bind(String),
    /// `GET /workflows/{workflow_id}/authorization`
    Binding(String),
    /// `DELETE /workflows/{workflow_id}/authorization`
    Unbind(String),
    /// `POST /workflows/authorization/{auth_id}/replace`
    Replace(String),
    /// `POST /workflows/authorization/{auth_id}/token`
    Token(String),
    /// `POST /workflows/authorization/{auth_id}/check`
    Check(String),
}

/// Why a method and path mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoute {
    /// No route has this path.
    NotFound,
    /// The path has other methods: the value of `Allow` (RFC 9110 section 10.2.1).
    MethodNotAllowed(&'static str),
}

/// What the callback answers to `OPTIONS`.
pub const CALLBACK_METHODS: &str = "GET, HEAD, OPTIONS";

impl Route {
    /// Resolves a method and a path.
    pub fn resolve(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let segments: Vec<&str> = path.strip_prefix('/').ok_or(NoRoute::NotFound)?.split('/').collect();
        if segments.iter().any(|s| s.is_empty()) {
            return Err(NoRoute::NotFound);
        }
        let (allow, route) = match (segments.as_slice(), method.as_str()) {
            (["workflows", "authorization"], m) => (
                "GET, POST",
                match m {
                    "POST" => Some(Self::CreateUrl),
                    "GET" => Some(Self::List),
                    _ => None,
                },
            ),
            // Before that of an authorization: none has this name.
            (["workflows", "authorization", "complete"], m) => ("POST", (m == "POST").then_some(Self::Complete)),
            (["workflows", "authorization", "callback", connection], m) => (
                CALLBACK_METHODS,
                match m {
                    "GET" => Some(Self::Callback((*connection).to_owned())),
                    "HEAD" => Some(Self::CallbackHead),
                    "OPTIONS" => Some(Self::CallbackOptions),
                    _ => None,
                },
            ),
            (["workflows", "authorization", id, verb @ ("replace" | "token" | "check")], m) => {
                let id = (*id).to_owned();
                let route = match *verb {
                    "replace" => Self::Replace(id),
                    "token" => Self::Token(id),
                    _ => Self::Check(id),
                };
                ("POST", (m == "POST").then_some(route))
            }
            // Before the next one: a workflow may be called "authorization", no authorization is.
            (["workflows", workflow, "authorization"], m) => (
                "DELETE, GET, PUT",
                match m {
                    "PUT" => Some(Self::Bind((*workflow).to_owned())),
                    "GET" => Some(Self::Binding((*workflow).to_owned())),
                    "DELETE" => Some(Self::Unbind((*workflow).to_owned())),
                    _ => None,
                },
            ),
            (["workflows", "authorization", id], m) => (
                "DELETE, GET",
                match m {
                    "GET" => Some(Self::One((*id).to_owned())),
                    "DELETE" => Some(Self::Revoke((*id).to_owned())),
                    _ => None,
                },
            ),
            _ => return Err(NoRoute::NotFound),
        };
        route.ok_or(NoRoute::MethodNotAllowed(allow))
    }

    /// The function that serves the route.
    #[must_use]
    pub fn function(&self) -> Function {
        match self {
            Self::CreateUrl => Function::CreateUrl,
            Self::Callback(_) | Self::CallbackHead | Self::CallbackOptions | Self::Complete => Function::Callback,
            Self::List | Self::One(_) => Function::List,
            Self::Revoke(_) => Function::Revoke,
            Self::Bind(_) | Self::Binding(_) | Self::Unbind(_) | Self::Replace(_) => Function::Assign,
            Self::Token(_) | Self::Check(_) => Function::Token,
        }
    }

    /// The permission that the caller's JWT must hold; the callback has no caller.
    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        match self {
            Self::CreateUrl | Self::Complete => Some(Permission::Create),
            Self::Callback(_) | Self::CallbackHead | Self::CallbackOptions => None,
            Self::List | Self::One(_) | Self::Binding(_) | Self::Check(_) => Some(Permission::View),
            Self::Revoke(_) => Some(Permission::Delete),
            Self::Bind(_) | Self::Unbind(_) | Self::Replace(_) => Some(Permission::Assign),
            Self::Token(_) => Some(Permission::Use),
        }
    }

    /// The route's name in log lines, without the ids in it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateUrl => "create_url",
            Self::Callback(_) | Self::CallbackHead | Self::CallbackOptions => "callback",
            Self::Complete => "complete",
            Self::List => "list",
            Self::One(_) => "get",
            Self::Revoke(_) => "revoke",
            Self::Bind(_) => "bind",
            Self::Binding(_) => "binding",
            Self::Unbind(_) => "unbind",
            Self::Replace(_) => "replace",
            Self::Token(_) => "token",
            Self::Check(_) => "check",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_and_path_means_one_route_or_none() {
        let id = || "x".to_owned();
        for (method, path, expected) in [
            (Method::POST, "/workflows/authorization", Ok(Route::CreateUrl)),
            (Method::GET, "/workflows/authorization", Ok(Route::List)),
            (Method::PATCH, "/workflows/authorization", Err(NoRoute::MethodNotAllowed("GET, POST"))),
            (Method::POST, "/workflows/authorization/complete", Ok(Route::Complete)),
            (Method::GET, "/workflows/authorization/complete", Err(NoRoute::MethodNotAllowed("POST"))),
            (Method::DELETE, "/workflows/authorization/complete", Err(NoRoute::MethodNotAllowed("POST"))),
            (Method::GET, "/workflows/authorization/callback/x", Ok(Route::Callback(id()))),
            (Method::HEAD, "/workflows/authorization/callback/x", Ok(Route::CallbackHead)),
            (Method::POST, "/workflows/authorization/callback/x", Err(NoRoute::MethodNotAllowed("GET, HEAD, OPTIONS"))),
            (Method::GET, "/workflows/authorization/x", Ok(Route::One(id()))),
            (Method::DELETE, "/workflows/authorization/x", Ok(Route::Revoke(id()))),
            (Method::POST, "/workflows/authorization/x", Err(NoRoute::MethodNotAllowed("DELETE, GET"))),
            (Method::PUT, "/workflows/x/authorization", Ok(Route::Bind(id()))),
            (Method::POST, "/workflows/x/authorization", Err(NoRoute::MethodNotAllowed("DELETE, GET, PUT"))),
            (Method::POST, "/workflows/authorization/x/token", Ok(Route::Token(id()))),
            (Method::GET, "/workflows/authorization/x/token", Err(NoRoute::MethodNotAllowed("POST"))),
            (Method::GET, "/workflows/authorization/", Err(NoRoute::NotFound)),
            (Method::GET, "/workflows//authorization", Err(NoRoute::NotFound)),
            (Method::GET, "/", Err(NoRoute::NotFound)),
            (Method::GET, "", Err(NoRoute::NotFound)),
        ] {
            assert_eq!(Route::resolve(&method, path), expected, "{method} {path}");
        }
    }
}
