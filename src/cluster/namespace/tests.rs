use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Router,
    http::{StatusCode, Uri},
};
use serde_json::json;

use super::*;

/// An API server that counts its requests and answers with `answer`.
fn server<F>(answer: impl Fn(String) -> F + Clone + Send + Sync + 'static) -> (Client, Arc<AtomicUsize>)
where
    F: Future<Output = (StatusCode, Value)> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let answer = move |uri: Uri| {
        counted.fetch_add(1, Ordering::SeqCst);
        let answer = answer(uri.path().to_owned());
        async move {
            let (code, body) = answer.await;
            (code, body.to_string())
        }
    };
    (Client::new(Router::new().fallback(answer), "default"), count)
}

/// What there is in every namespace.
fn object(path: &str) -> Value {
    let list =
        |name: &str| json!({"metadata": {}, "items": [{"metadata": {"name": name, "managedFields": [{"manager": "m"}]}}]});
    match path.rsplit('/').next() {
        Some("resourcequotas") => list("quota"),
        Some("limitranges") => list("range"),
        Some("horizontalpodautoscalers") => list("autoscaler"),
        name => json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"a": "b"}}}),
    }
}

fn forbidden() -> (StatusCode, Value) {
    (StatusCode::FORBIDDEN, json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}))
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_are_told_what_one_has_read() {
    let (client, count) = server(async |path: String| (StatusCode::OK, object(&path)));
    let cache = NamespaceCache::default();
    let (one, two) = tokio::join!(cache.of(&client, "shop"), cache.of(&client, "shop"));
    let named = |name: &str| json!({"metadata": {"name": name}});
    let expected = NamespaceConstraints {
        namespace: object("/api/v1/namespaces/shop"),
        quotas: vec![named("quota")],
        limit_ranges: vec![named("range")],
        autoscalers: vec![named("autoscaler")],
    };
    assert_eq!(one.expect("read").as_ref(), &expected);
    assert_eq!((two.expect("read").as_ref(), count.load(Ordering::SeqCst)), (&expected, 4));
    tokio::time::advance(FRESH).await;
    cache.of(&client, "shop").await.expect("read");
    assert_eq!(count.load(Ordering::SeqCst), 8);
    // Another namespace; what is known of the first is still fresh.
    cache.of(&client, "bank").await.expect("read");
    cache.of(&client, "shop").await.expect("read");
    assert_eq!(count.load(Ordering::SeqCst), 12);
    tokio::time::advance(FRESH).await;
    cache.of(&client, "mill").await.expect("read");
    assert_eq!(cache.0.lock().expect("no panic").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_an_error_and_asked_for_again_later() {
    let may = Arc::new(AtomicUsize::new(0));
    let allowed = may.clone();
    let (client, count) = server(move |path: String| {
        let refused = path.ends_with("limitranges") && allowed.load(Ordering::SeqCst) == 0;
        async move { if refused { forbidden() } else { (StatusCode::OK, object(&path)) } }
    });
    let cache = NamespaceCache::default();
    let expected = Error::Forbidden { plural: "limitranges".to_owned(), namespace: "shop".to_owned() };
    assert_eq!(cache.of(&client, "shop").await, Err(expected.clone()));
    let asked = count.load(Ordering::SeqCst);
    may.store(1, Ordering::SeqCst);
    assert_eq!(cache.of(&client, "shop").await, Err(expected));
    assert_eq!(count.load(Ordering::SeqCst), asked);
    tokio::time::advance(FRESH).await;
    cache.of(&client, "shop").await.expect("read");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let (client, _) = server(|_| std::future::pending());
    let before = Instant::now();
    assert_eq!(NamespaceCache::default().of(&client, "shop").await, Err(Error::Timeout("shop".to_owned())));
    assert_eq!(before.elapsed().as_secs(), TIMEOUT.as_secs());
}
