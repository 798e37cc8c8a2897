//! The cluster that a command is about: found as kubectl finds it, asked with the user's own credentials.

use std::path::PathBuf;

use clap::Args;
use kube::{
    Client, Config,
    api::{DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::ApiResource,
};

use crate::{
    cluster::request::{RequestError, TIMEOUT, bounded, list, objects},
    workload::{kind::Kind, name::ObjectName},
};

/// Which cluster, named as kubectl does.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClusterOptions {
    /// The namespace to look at. Default: that of the current context.
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The kubeconfig. Default: as for kubectl, what KUBECONFIG names, else ~/.kube/config; in a pod, its service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster that can be asked.
#[derive(Clone)]
pub(crate) struct Connection {
    pub client: Client,
    /// The namespace that is meant where none is named.
    pub namespace: String,
}

/// Why a cluster could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    /// There is none.
    #[error("no cluster to connect to: set KUBECONFIG, or give --kubeconfig or --context: {0}")]
    NoCluster(KubeconfigError),
    /// What the kubeconfig says cannot be used.
    #[error("the kubeconfig cannot be used: correct it, or choose another by --kubeconfig, --context or KUBECONFIG")]
    Client(#[source] kube::Error),
    /// It does not answer.
    #[error("cannot {} {}: is the cluster up, and the one that you mean? Another is chosen by --context, --kubeconfig or KUBECONFIG: {}", .0.verb, .0.what(), .1)]
    Unreachable(InspectRequest, String),
    /// It does not answer in time.
    #[error("cannot {} {}: no answer from the API server within {} s", .0.verb, .0.what(), TIMEOUT.as_secs())]
    Timeout(InspectRequest),
    /// The user may not.
    #[error("not allowed to {} {}: ask whoever runs the cluster for a role with that rule, and see `kubectl auth can-i {} {}`", .0.verb, .0.what(), .0.verb, .0.resource)]
    Forbidden(InspectRequest),
    /// Nobody knows the user.
    #[error("cannot {} {}: the API server does not know you: log in again, or correct the user in the kubeconfig", .0.verb, .0.what())]
    Unauthorized(InspectRequest),
    /// The CRD is not there.
    #[error(
        "the cluster does not know LogSidecars: install them by `kubectl apply -f deploy/install.yaml`, or their definition alone by `logsidecar crd | kubectl apply -f -`"
    )]
    NotInstalled,
    /// An object is not there.
    #[error("{} not found", .0.what())]
    NotFound(InspectRequest),
    /// Anything else.
    #[error("cannot {} {}: the API server says: {}", .0.verb, .0.what(), .1)]
    Failed(InspectRequest, String),
}

/// A request, for messages.
#[derive(Clone, Debug)]
pub(crate) struct InspectRequest {
    pub verb: &'static str,
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

impl InspectRequest {
    fn what(&self) -> String {
        let Self { verb: _, resource, namespace, name } = self;
        let what = name.as_ref().map_or_else(|| resource.clone(), |name| format!("{resource} {name}"));
        match namespace {
            Some(namespace) => format!("{what} in namespace {namespace}"),
            None if name.is_some() => resource.clone(),
            None => format!("{what} in all namespaces"),
        }
    }

    /// What an answer means. 404 without the name of a resource is a path that is not served.
    pub fn failed(self, error: &RequestError) -> InspectError {
        let status = match error {
            RequestError::Timeout => return InspectError::Timeout(self),
            RequestError::Kube(kube::Error::Api(status)) => status,
            RequestError::Kube(error) => return InspectError::Unreachable(self, innermost(error)),
        };
        match status.code {
            401 => InspectError::Unauthorized(self),
            403 => InspectError::Forbidden(self),
            404 if status.details.as_ref().is_none_or(|details| details.kind.is_empty()) && self.resource == "logsidecars" => {
                InspectError::NotInstalled
            }
            404 => InspectError::NotFound(self),
            _ => InspectError::Failed(self, status.message.clone()),
        }
    }
}

impl Connection {
    /// Connects; nothing is sent yet.
    pub async fn new(options: &ClusterOptions) -> Result<Self, InspectError> {
        let config = config(options).await.map_err(InspectError::NoCluster)?;
        let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(InspectError::Client)?;
        Ok(Self { client, namespace })
    }

    /// All objects of a resource in one namespace or in all.
    pub async fn list(&self, resource: &ApiResource, namespace: Option<&str>) -> Result<Vec<DynamicObject>, InspectError> {
        let api = objects(&self.client, namespace, resource);
        let request = || InspectRequest {
            verb: "list",
            resource: resource.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: None,
        };
        list(&api, ListParams::default()).await.map_err(|error| request().failed(&error))
    }

    /// All workloads of a kind. Of a custom resource that is not served there is none.
    pub async fn workloads(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<DynamicObject>, InspectError> {
        match self.list(&kind.resource(), namespace).await {
            Err(InspectError::NotFound(_)) if matches!(kind, Kind::Custom(_)) => Ok(Vec::new()),
            result => result,
        }
    }

    /// One object.
    pub async fn get(&self, resource: &ApiResource, namespace: &str, name: &ObjectName) -> Result<DynamicObject, InspectError> {
        let api = objects(&self.client, Some(namespace), resource);
        let request = || InspectRequest {
            verb: "get",
            resource: resource.plural.clone(),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_string()),
        };
        bounded(api.get(name)).await.map_err(|error| request().failed(&error))
    }
}

/// What is at the bottom of it: all above repeats it.
fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

async fn config(options: &ClusterOptions) -> Result<Config, KubeconfigError> {
    let ClusterOptions { namespace: _, context, kubeconfig } = options;
    let choice = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    match (kubeconfig, context) {
        (Some(file), _) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &choice).await,
        (None, Some(_)) => Config::from_kubeconfig(&choice).await,
        // In a pod there is no kubeconfig, and elsewhere no service account: what is wrong with the kubeconfig is what to tell.
        (None, None) => match Config::from_kubeconfig(&choice).await {
            Ok(config) => Ok(config),
            Err(error) => Config::incluster().map_err(|_| error),
        },
    }
}
