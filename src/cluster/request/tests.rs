use std::sync::{Arc, Mutex};

use axum::{
    Router,
    http::{StatusCode, Uri},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use serde_json::{Value, json};

use super::*;

/// An API server with so many ConfigMaps, which remembers the queries that it was sent. A page that continues after `expires_at` is
/// answered with 410.
fn server(count: usize, expires_at: Option<usize>) -> (Api<ConfigMap>, Arc<Mutex<Vec<String>>>) {
    let queries = Arc::new(Mutex::new(Vec::new()));
    let seen = queries.clone();
    let answer = move |uri: Uri| {
        let query = uri.query().unwrap_or_default().to_owned();
        seen.lock().expect("no panic").push(query.clone());
        let (code, body) = page(count, expires_at, &query);
        std::future::ready((code, body.to_string()))
    };
    (Api::namespaced(Client::new(Router::new().fallback(answer), "default"), "shop"), queries)
}

fn page(count: usize, expires_at: Option<usize>, query: &str) -> (StatusCode, Value) {
    let field = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name)?.parse::<usize>().ok());
    let from = field("continue=").unwrap_or(0);
    if from > 0 && expires_at == Some(from) {
        let status = json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "gone"});
        return (StatusCode::GONE, status);
    }
    let to = field("limit=").map_or(count, |limit| (from + limit).min(count));
    let items: Vec<Value> = (from..to).map(|index| json!({"metadata": {"name": format!("c{index}")}})).collect();
    let next = if to < count { json!(to.to_string()) } else { Value::Null };
    (StatusCode::OK, json!({"metadata": {"continue": next}, "items": items}))
}

fn names(found: &[ConfigMap]) -> Vec<String> {
    found.iter().filter_map(|config| config.metadata.name.clone()).collect()
}

#[tokio::test]
async fn list_reads_every_page_and_begins_anew_when_it_expires() {
    let expected: Vec<String> = (0..250).map(|index| format!("c{index}")).collect();
    for (expires_at, requests) in [(None, 3), (Some(200), 4)] {
        let (api, queries) = server(250, expires_at);
        let found = list(&api, ListParams::default()).await.expect("a list");
        assert_eq!(names(&found), expected);
        assert_eq!(queries.lock().expect("no panic").len(), requests, "{expires_at:?}");
    }
}

#[tokio::test]
async fn search_stops_at_the_first_page_that_has_it() {
    let (api, queries) = server(250, None);
    let is_first = |config: &ConfigMap| config.metadata.name.as_deref() == Some("c7");
    assert!(any(&api, ListParams::default(), is_first).await.expect("a list"));
    assert_eq!(queries.lock().expect("no panic").len(), 1);
    assert!(!any(&api, ListParams::default(), |_| false).await.expect("a list"));
}

#[tokio::test(start_paused = true)]
async fn request_without_an_answer_ends() {
    let start = tokio::time::Instant::now();
    let answer = bounded::<()>(std::future::pending()).await;
    assert!(matches!(answer, Err(RequestError::Timeout)));
    assert_eq!(start.elapsed(), TIMEOUT);
}
