//! Between controller and API server: sees every request, and may do to it what networks and servers do.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    process::Child,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request as HttpRequest, State},
    response::Response,
};
use futures::{StreamExt, stream};
use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use crate::kubernetes::kubectl;

/// What drives proxies and witnesses.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("threads"))
}

/// One request of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As RBAC calls it.
    pub verb: &'static str,
    /// `deployments`, `logsidecars/status` and so on; the path where it is no resource.
    pub resource: String,
    pub name: String,
    pub dry_run: bool,
    /// What it sends.
    pub body: String,
    /// What the API server answered, if it was asked.
    pub code: Option<u16>,
}

impl Request {
    fn of(method: &str, path: &str, query: &str, body: &[u8]) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        // apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]]
        let (resource, name) = match parts.as_slice() {
            ["apis", _, _, "namespaces", _, resource, rest @ ..] => {
                let subresource = rest.get(1).map(|sub| format!("/{sub}")).unwrap_or_default();
                (format!("{resource}{subresource}"), rest.first().copied().unwrap_or_default())
            }
            _ => (path.to_owned(), ""),
        };
        let verb = match method {
            "GET" if query.contains("watch=true") => "watch",
            "GET" if name.is_empty() => "list",
            "GET" => "get",
            "POST" => "create",
            "PATCH" => "patch",
            "PUT" => "update",
            _ => "delete",
        };
        Self {
            verb,
            resource,
            name: name.to_owned(),
            dry_run: query.contains("dryRun=All"),
            body: String::from_utf8_lossy(body).into_owned(),
            code: None,
        }
    }

    /// Whether it has changed a workload.
    pub fn writes_workload(&self) -> bool {
        self.resource == "deployments" && self.verb == "patch" && !self.dry_run && self.code == Some(200)
    }

    /// Whether it has changed a pod template: a rollout.
    pub fn changes_template(&self) -> bool {
        self.writes_workload() && self.body.contains(r#""path":"/spec/template"#)
    }
}

/// What happens to a request.
pub enum Fault {
    /// Nothing.
    Pass,
    /// The controller is killed before the API server hears of it.
    KillBefore,
    /// The controller is killed after the API server has done it, and before the answer.
    KillAfter,
    /// The API server is not asked; this is the answer.
    Answer(u16, Value),
    /// The answer is changed on its way.
    Rewrite(fn(&mut Value)),
    /// It takes its time.
    Delay(Duration),
    /// HTTP 429, with that `Retry-After` in seconds.
    Busy(u32),
    /// The connection breaks before the API server hears of it.
    ResetBefore,
    /// The connection breaks after the API server has done it, in the middle of the answer.
    ResetAfter,
    /// The oldest of the last answers to the same list, as an API server that lags behind gives it.
    Stale,
}

impl Fault {
    /// An answer as the API server itself gives it.
    pub fn status(code: u16, reason: &str) -> Self {
        Self::Answer(code, status(code, reason))
    }
}

fn status(code: u16, reason: &str) -> Value {
    let message = format!("made up by the suite: {reason}");
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

fn json_answer(code: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(code).header("content-type", "application/json").body(body.into()).expect("a response")
}

type Script = Box<dyn FnMut(&Request) -> Fault + Send>;

pub struct Proxy {
    pub address: SocketAddr,
    upstream: Client,
    script: Mutex<Script>,
    seen: Mutex<Vec<Request>>,
    /// The controller.
    pub process: Mutex<Option<Child>>,
    /// Counts up when open watches are to be cut.
    cuts: watch::Sender<u32>,
    /// Resources of which the next watch is told that its version is too old.
    expired: Mutex<BTreeSet<&'static str>>,
    /// The last answers to each list, the oldest first.
    lists: Mutex<BTreeMap<String, VecDeque<Bytes>>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client with the permissions that the controller is installed with, and no more.
async fn as_controller() -> Client {
    static TOKEN: OnceLock<String> = OnceLock::new();
    let token =
        TOKEN.get_or_init(|| kubectl(&["-n", "logsidecar-system", "create", "token", "logsidecar", "--duration=12h"], ""));
    let mut config = Config::infer().await.expect("KUBECONFIG names a control plane");
    config.auth_info = AuthInfo { token: Some(token.trim().to_owned().into()), ..AuthInfo::default() };
    Client::try_from(config).expect("a client")
}

impl Proxy {
    pub fn start() -> Arc<Self> {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let proxy = Arc::new(Self {
                address: listener.local_addr().expect("an address"),
                upstream: as_controller().await,
                script: Mutex::new(Box::new(|_| Fault::Pass)),
                seen: Mutex::default(),
                process: Mutex::default(),
                cuts: watch::channel(0).0,
                expired: Mutex::default(),
                lists: Mutex::default(),
            });
            let app = Router::new().fallback(forward).with_state(proxy.clone());
            tokio::spawn(async move { axum::serve(listener, app).await });
            proxy
        })
    }

    /// Decides from now on what happens to requests.
    pub fn script(&self, script: impl FnMut(&Request) -> Fault + Send + 'static) {
        *lock(&self.script) = Box::new(script);
    }

    /// Kills the controller at its request of that number from now on, before or after the API server has done it. Says later whether
    /// there were that many.
    pub fn kill_at(&self, at: usize, after: bool) -> Arc<AtomicBool> {
        let (count, fired) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let fires = fired.clone();
        self.script(move |_| {
            if count.fetch_add(1, Ordering::Relaxed) != at {
                return Fault::Pass;
            }
            fires.store(true, Ordering::Relaxed);
            if after { Fault::KillAfter } else { Fault::KillBefore }
        });
        fired
    }

    /// Cuts every open watch in the middle of an event.
    pub fn cut_watches(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Makes the controller list everything anew.
    pub fn expire_watches(&self) {
        lock(&self.expired).extend(["deployments", "logsidecars"]);
        self.cut_watches();
    }

    /// Everything that was asked until now.
    pub fn seen(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }

    /// How many requests the API server has answered for which this holds.
    pub fn count(&self, which: impl Fn(&Request) -> bool) -> usize {
        lock(&self.seen).iter().filter(|request| request.code.is_some() && which(request)).count()
    }

    /// Whether the controller has ended by itself.
    pub fn has_ended(&self) -> bool {
        lock(&self.process).as_mut().is_some_and(|child| child.try_wait().expect("a status").is_some())
    }

    /// Keeps the answer to a list, and forgets those that are long past.
    fn keep(&self, list: &str, answer: &[u8]) {
        const KEPT: usize = 6;
        let mut lists = lock(&self.lists);
        let answers = lists.entry(list.to_owned()).or_default();
        answers.push_back(Bytes::copy_from_slice(answer));
        if answers.len() > KEPT {
            answers.pop_front();
        }
    }

    fn oldest(&self, list: &str) -> Option<Bytes> {
        lock(&self.lists).get(list)?.front().cloned()
    }

    /// Ends the controller at once, as a node that loses power does.
    pub fn kill(&self) {
        if let Some(mut child) = lock(&self.process).take() {
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
    }

    /// Whether the controller is there.
    pub fn is_alive(&self) -> bool {
        lock(&self.process).is_some()
    }
}

async fn forward(State(proxy): State<Arc<Proxy>>, request: HttpRequest) -> Response {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    let mut seen = Request::of(head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default(), &bytes);
    let is_expired = seen.verb == "watch" && lock(&proxy.expired).remove(seen.resource.as_str());
    let fault = if is_expired { Fault::status(410, "Expired") } else { (lock(&proxy.script))(&seen) };
    let index = {
        let mut all = lock(&proxy.seen);
        all.push(seen.clone());
        all.len() - 1
    };
    match &fault {
        Fault::KillBefore => {
            proxy.kill();
            return Response::default();
        }
        Fault::Answer(code, body) => return json_answer(*code, body.to_string()),
        Fault::Busy(seconds) => {
            let mut body = status(429, "TooManyRequests");
            body["details"] = json!({"retryAfterSeconds": seconds});
            let mut answer = json_answer(429, body.to_string());
            answer.headers_mut().insert("retry-after", (*seconds).into());
            return answer;
        }
        Fault::ResetBefore => return Response::new(broken()),
        Fault::Stale => {
            if let Some(list) = proxy.oldest(&head.uri.to_string()) {
                return json_answer(200, list);
            }
        }
        Fault::Delay(pause) => tokio::time::sleep(*pause).await,
        Fault::Pass | Fault::KillAfter | Fault::Rewrite(_) | Fault::ResetAfter => {}
    }
    let is_list = seen.verb == "list" && !head.uri.query().unwrap_or_default().contains("continue=");
    let list = head.uri.to_string();
    let mut upstream = axum::http::Request::builder().method(head.method).uri(head.uri);
    for name in ["content-type", "accept"] {
        upstream = upstream
            .header(name, head.headers.get(name).map_or("application/json", |value| value.to_str().unwrap_or_default()));
    }
    let upstream = upstream.body(kube::client::Body::from(bytes.to_vec())).expect("a request");
    let Ok(answer) = proxy.upstream.send(upstream).await else {
        return Response::builder().status(502).body(Body::empty()).expect("a response");
    };
    let (head, body) = answer.into_parts();
    seen.code = Some(head.status.as_u16());
    lock(&proxy.seen)[index] = seen.clone();
    if seen.verb == "watch" {
        if matches!(fault, Fault::KillAfter) {
            proxy.kill();
        }
        return Response::from_parts(head, until_cut(&proxy, Body::new(body)));
    }
    let mut bytes = to_bytes(Body::new(body), usize::MAX).await.expect("a body").to_vec();
    match fault {
        Fault::KillAfter => proxy.kill(),
        Fault::Rewrite(change) => {
            let mut value = serde_json::from_slice(&bytes).unwrap_or_default();
            change(&mut value);
            bytes = value.to_string().into_bytes();
        }
        Fault::ResetAfter => return Response::new(broken()),
        // Some of them are answered above.
        Fault::Pass
        | Fault::Delay(_)
        | Fault::Stale
        | Fault::KillBefore
        | Fault::Answer(..)
        | Fault::Busy(_)
        | Fault::ResetBefore => {}
    }
    if is_list && head.status.is_success() {
        proxy.keep(&list, &bytes);
    }
    json_answer(head.status.as_u16(), bytes)
}

/// The body until watches are cut; then the beginning of an event, and no end.
fn until_cut(proxy: &Proxy, body: Body) -> Body {
    let mut cuts = proxy.cuts.subscribe();
    let cut = async move { drop(cuts.changed().await) };
    Body::from_stream(body.into_data_stream().take_until(cut).chain(broken().into_data_stream()))
}

/// The beginning of something, and no end.
fn broken() -> Body {
    let half: [Result<Bytes, axum::Error>; 2] = [
        Ok(Bytes::from_static(br#"{"type":"MODIFIED","object":{"kind":"#)),
        Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset))),
    ];
    Body::from_stream(stream::iter(half))
}
