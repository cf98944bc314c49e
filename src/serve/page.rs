//! `GET /`: one honest page that shows the status and refreshes itself.
//!
//! Self-contained: no asset of another origin is loaded, and the content security policy allows no other. The page itself is
//! open and holds no data; it asks for a token, keeps it for the browser tab only (sessionStorage) and calls `/v1/status`.
//! Whatever it shows is set as text, never as HTML.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");

pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (headers, PAGE).into_response()
}

/// Only the page's own script and style run, named by their hashes.
fn policy() -> String {
    let (script, style) = (hash(between("<script>", "</script>")), hash(between("<style>", "</style>")));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn between(start: &str, end: &str) -> &'static str {
    let (_, rest) = PAGE.split_once(start).expect("the page has one script and one style");
    rest.split_once(end).expect("the page closes its script and its style").0
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_self_contained_and_writes_no_html() {
        for banned in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "src=",
            "http://",
            "https://",
            "onclick",
            "style=",
        ] {
            assert!(!PAGE.contains(banned), "{banned}");
        }
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
    }
}
