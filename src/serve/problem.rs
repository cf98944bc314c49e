//! Errors of the API: `application/problem+json` with `type`, `title`, `status`, `detail` and `hint`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What went wrong, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name; `type` is `urn:plimsoll:` and it.
    pub name: &'static str,
    /// What failed, on what.
    pub detail: String,
    /// What to do.
    pub hint: Option<String>,
    /// Further members, a JSON object, for example the numbers of a refused gate.
    pub more: Option<Value>,
}

impl Problem {
    /// Without hint.
    pub fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self { status, name, detail: detail.into(), hint: None, more: None }
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// 404: no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409: not now, not like this.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds further members.
    #[must_use]
    pub fn with(mut self, more: Value) -> Self {
        self.more = Some(more);
        self
    }

    /// The body.
    pub fn json(&self) -> Value {
        let mut body = self.more.clone().filter(Value::is_object).unwrap_or_else(|| json!({}));
        body["type"] = json!(format!("urn:plimsoll:{}", self.name));
        body["title"] = json!(self.status.canonical_reason().unwrap_or("Error"));
        body["status"] = json!(self.status.as_u16());
        body["detail"] = json!(self.detail);
        body["hint"] = json!(self.hint);
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"plimsoll\""));
        }
        response
    }
}
