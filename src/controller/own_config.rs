//! A config in a ConfigMap of the user's own (`configMapRef`), looked at before the first pod waits for it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::{apply::Error, configs::ask, context::Context};
use crate::{
    api::{ConfigMapKey, LogSidecarSpec, Reason},
    plan::Refusal,
    shipper::{Shipper, engine::judge},
};

/// Refuses to write a template whose pods would wait for a ConfigMap of the user's own, or would not start with what is in it.
pub(super) async fn is_there(context: &Context, namespace: &str, spec: &LogSidecarSpec) -> Result<(), Error> {
    let Some((shipper, engine)) = Shipper::of(spec).and_then(|shipper| Some((shipper, shipper.engine()?))) else {
        return Ok(());
    };
    let Some(ConfigMapKey { name, key }) = &engine.config_map_ref else { return Ok(()) };
    let refused = |problem: String| {
        let message = format!("sidecar.{}.configMapRef: {problem}", shipper.field());
        Err(Error::Refused(Refusal::new(Reason::ConfigInvalid, message)))
    };
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    match ask(api.get(name)).await? {
        Ok(found) => match found.data.as_ref().and_then(|data| data.get(key)) {
            Some(text) => judge(shipper, spec, text).or_else(|error| refused(format!("ConfigMap {name}: {error}"))),
            None => refused(format!("ConfigMap {name} has no key {key}: correct the key, or add it")),
        },
        Err(kube::Error::Api(status)) if status.code == 404 => {
            refused(format!("there is no ConfigMap {name}: create it, or correct the name"))
        }
        Err(error) => Err(Error::Failed(format!("ConfigMap {name}: {error}"))),
    }
}
