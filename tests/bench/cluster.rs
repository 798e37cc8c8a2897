//! The control plane: Deployments to be patched, and what the API server spends.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
};
use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Result, settings::Settings};

/// The namespace of the Deployments that are counted.
pub const TARGETS: &str = "bench";
/// The namespace of the one Deployment whose patch is recorded.
pub const SAMPLE: &str = "bench-sample";

/// How many requests of the benchmark itself are in flight.
const HELPERS: usize = 16;

/// What kube-controller-manager may use of the processor in half a second while it does nothing, in seconds.
const IDLE: f64 = 0.04;
/// How long rollouts may take to end. Only what hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A Deployment as a guarded patch has to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: String,
    pub uid: String,
    pub version: String,
}

impl Target {
    fn of(object: &DynamicObject) -> Self {
        let metadata = object.metadata.clone();
        Self {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            version: metadata.resource_version.unwrap_or_default(),
        }
    }
}

pub struct Cluster {
    admin: Client,
    /// With the permissions of the system under test.
    pub account: Client,
    /// What the system under test finds in KUBECONFIG.
    pub kubeconfig: PathBuf,
    pub folder: TempDir,
    manifest: PathBuf,
    done: String,
    /// The process ids of API server and etcd.
    servers: Vec<u32>,
    /// The process id of kube-controller-manager, whose Deployment controller ends the rollouts.
    controllers: u32,
}

impl Cluster {
    pub async fn connect(settings: &Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = Config::infer().await?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, account(settings)?)?;
        let as_account =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(&kubeconfig)?, &KubeConfigOptions::default()).await?;
        let (servers, controllers) = processes(config.cluster_url.port_u16().unwrap_or_default())?;
        let cluster = Self {
            admin: Client::try_from(config)?,
            account: Client::try_from(as_account)?,
            kubeconfig,
            folder,
            manifest: settings.manifest.clone(),
            done: settings.done.clone(),
            servers,
            controllers,
        };
        for namespace in [TARGETS, SAMPLE] {
            kubectl(&["create", "namespace", namespace])?;
        }
        Ok(cluster)
    }

    fn deployments(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), namespace, &Kind::Deployment.resource())
    }

    /// Creates what is missing of that many Deployments, and returns them all once their rollouts have ended.
    pub async fn create(&self, namespace: &str, count: usize) -> Result<Vec<Target>> {
        let api = self.deployments(namespace);
        let there = self.all(namespace).await?.len();
        many(count - there, |index| {
            let (api, name) = (api.clone(), format!("target-{:05}", there + index));
            async move { Ok(api.create(&written(), &deployment(&name, &[])?).await?) }
        })
        .await?;
        self.settled(namespace, count).await
    }

    /// Makes Deployments what they were before anything was put in, and returns them once their rollouts have ended.
    pub async fn reset(&self, targets: &[Target]) -> Result<Vec<Target>> {
        let (api, names) = (self.deployments(TARGETS), Arc::new(targets.to_vec()));
        many(targets.len(), |index| {
            let (api, name) = (api.clone(), names[index].name.clone());
            async move { Ok(api.replace(&name, &written(), &deployment(&name, &[])?).await?) }
        })
        .await?;
        self.settled(TARGETS, targets.len()).await
    }

    /// Waits until that many rollouts have ended and the Deployment controller writes nothing more; returns the Deployments as they are
    /// then, with the versions that a guarded patch needs.
    async fn settled(&self, namespace: &str, count: usize) -> Result<Vec<Target>> {
        let (start, mut before) = (Instant::now(), Vec::new());
        loop {
            self.controllers_rest().await?;
            let objects = self.all(namespace).await?;
            let targets: Vec<Target> = objects.iter().map(Target::of).collect();
            let ended = objects.iter().filter(|object| has_ended(object)).count();
            if ended == count && targets == before {
                return Ok(targets);
            }
            before = targets;
            if start.elapsed() > PATIENCE {
                return Err(format!("waited {PATIENCE:?} for {count} rollouts to end: {ended} have").into());
            }
        }
    }

    /// Waits until the controllers of Kubernetes do nothing. Their process tells, and the API server need not be asked.
    pub async fn controllers_rest(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let before = cpu(self.controllers);
            tokio::time::sleep(Duration::from_millis(500)).await;
            if cpu(self.controllers) - before < IDLE {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("waited {PATIENCE:?} for kube-controller-manager to come to rest").into());
            }
        }
    }

    async fn all(&self, namespace: &str) -> Result<Vec<DynamicObject>> {
        let api = self.deployments(namespace);
        let (mut objects, mut params) = (Vec::new(), ListParams::default().limit(500));
        loop {
            let page = api.list(&params).await?;
            objects.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// How many Deployments of a namespace are as the system under test should make them.
    pub async fn patched(&self, namespace: &str) -> Result<usize> {
        Ok(self.all(namespace).await?.iter().filter(|object| is_done(object, &self.done)).count())
    }

    /// Creates what tells the system to begin; returns when, in seconds since 1970.
    pub async fn begin(&self, namespace: &str) -> Result<f64> {
        let objects = self.manifest(namespace).await?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        for (api, object) in objects {
            api.create(&PostParams::default(), &object).await?;
        }
        Ok(begun)
    }

    /// Deletes it, without the system's having a say.
    pub async fn end(&self, namespace: &str) -> Result<()> {
        let without_finalizers = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        for (api, object) in self.manifest(namespace).await? {
            let name = object.metadata.name.unwrap_or_default();
            api.patch(&name, &PatchParams::default(), &without_finalizers).await?;
            api.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    /// The objects of the manifest, and where they go.
    async fn manifest(&self, namespace: &str) -> Result<Vec<(Api<DynamicObject>, DynamicObject)>> {
        let file = self.manifest.display().to_string();
        let text = kubectl(&["create", "--dry-run=client", "-o", "json", "-n", namespace, "-f", &file])?;
        let mut found = Vec::new();
        for object in serde_json::Deserializer::from_str(&text).into_iter() {
            let object: DynamicObject = object?;
            let types = object.types.clone().ok_or("a manifest without kind")?;
            let (resource, _): (ApiResource, _) =
                kube::discovery::pinned_kind(&self.admin, &GroupVersionKind::try_from(types)?).await?;
            found.push((Api::namespaced_with(self.admin.clone(), namespace, &resource), object));
        }
        Ok(found)
    }

    /// Creates Deployments one at a time; the seconds from the API server's answer until a watch shows the patch.
    pub async fn probe(&self, count: usize, done: &str) -> Result<Vec<f64>> {
        let api = self.deployments(TARGETS);
        let only = "probe=yes";
        let from = api.list_metadata(&ListParams::default().labels(only)).await?;
        let version = from.metadata.resource_version.unwrap_or_default();
        let mut events = api.watch(&WatchParams::default().labels(only), &version).await?.boxed();
        let mut seconds = Vec::new();
        for index in 0..count {
            let name = format!("probe-{index:05}");
            api.create(&written(), &deployment(&name, &[("probe", "yes")])?).await?;
            let start = Instant::now();
            let seen = async {
                while let Some(event) = events.try_next().await? {
                    match event {
                        WatchEvent::Modified(object)
                            if object.metadata.name.as_ref() == Some(&name) && is_done(&object, done) =>
                        {
                            return Ok(());
                        }
                        _ => {}
                    }
                }
                Err("the watch has ended".into())
            };
            let seen: Result<()> = tokio::time::timeout(Duration::from_secs(60), seen).await?;
            seen?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        api.delete_collection(&DeleteParams::default(), &ListParams::default().labels(only)).await?;
        Ok(seconds)
    }

    /// What API server and etcd have used of the processor since they were started, in seconds.
    pub fn server_cpu(&self) -> f64 {
        self.servers.iter().map(|pid| cpu(*pid)).sum()
    }
}

/// Whether the Deployment controller is done with the current template, as `kubectl rollout status` judges it.
fn has_ended(object: &DynamicObject) -> bool {
    let status = &object.data["status"];
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let is_complete = |condition: &Value| condition["type"] == "Progressing" && condition["reason"] == "NewReplicaSetAvailable";
    status["observedGeneration"].as_i64() == object.metadata.generation && conditions.iter().any(is_complete)
}

fn is_done(object: &DynamicObject, pointer: &str) -> bool {
    serde_json::to_value(object).is_ok_and(|object| object.pointer(pointer).is_some())
}

fn written() -> PostParams {
    PostParams { field_manager: Some("bench".to_owned()), ..PostParams::default() }
}

/// A Deployment as `kubectl apply` would leave it.
fn deployment(name: &str, labels: &[(&str, &str)]) -> Result<DynamicObject> {
    let mut object: Value = serde_saphyr::from_str(include_str!("target.yaml"))?;
    object["metadata"]["name"] = name.into();
    for (key, value) in labels {
        object["metadata"]["labels"][key] = (*value).into();
    }
    let applied = format!("{object}\n");
    object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = applied.into();
    Ok(serde_json::from_value(object)?)
}

/// Does something many times, a few at once; the results in their order.
async fn many<T: Send + 'static, F>(count: usize, work: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
{
    let works: Vec<_> = (0..count).map(work).collect();
    let tasks = futures::stream::iter(works).map(|work| async { tokio::spawn(work).await? });
    tasks.buffered(HELPERS).try_collect().await
}

/// Does something once for each index, with so many tasks that take the next one each.
pub async fn in_flight<F>(count: usize, tasks: usize, work: impl Fn(usize) -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let (next, work) = (next.clone(), work.clone());
        running.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                work(index).await?;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        let ended: Result<()> = ended?;
        ended?;
    }
    Ok(())
}

/// A kubeconfig with the permissions of the system under test, and no more.
fn account(settings: &Settings) -> Result<String> {
    let (namespace, name) = &settings.account;
    let token = kubectl(&["-n", namespace, "create", "token", name, "--duration=12h"])?;
    let mut config: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "--flatten", "-o", "json"])?)?;
    config["users"][0]["user"] = json!({"token": token.trim()});
    Ok(config.to_string())
}

fn kubectl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("kubectl").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The API server that listens on a port with its etcd, and the kube-controller-manager of the same certificate authority.
fn processes(port: u16) -> Result<(Vec<u32>, u32)> {
    let mut commands = Vec::new();
    for process in std::fs::read_dir("/proc")? {
        let Ok(pid) = process?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        commands.push((pid, command.split('\0').map(str::to_owned).collect::<Vec<_>>()));
    }
    let secure_port = format!("--secure-port={port}");
    let server = commands.iter().find(|(_, command)| command.contains(&secure_port));
    let (server, command) = server.ok_or("the API server is no process of this machine")?;
    let store = command.iter().find_map(|argument| argument.strip_prefix("--etcd-servers=")).unwrap_or("none");
    let is_store = |command: &[String]| {
        command[0].ends_with("etcd") && command.windows(2).any(|pair| pair[0] == "--listen-client-urls" && pair[1] == store)
    };
    let stores = commands.iter().filter(|(_, command)| is_store(command)).map(|(pid, _)| *pid);
    let authority = command.iter().find_map(|argument| argument.strip_prefix("--client-ca-file=")).unwrap_or("none");
    let root = format!("--root-ca-file={authority}");
    let controllers = commands.iter().find(|(_, command)| command.contains(&root));
    let (controllers, _) = controllers.ok_or("no kube-controller-manager runs: no rollout would end")?;
    Ok((std::iter::once(*server).chain(stores).collect(), *controllers))
}

/// What a process has used of the processor, in seconds.
pub fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the process, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).unwrap_or_default();
    f64::from(ticks(11) + ticks(12)) / 100.0
}
