//! Addresses of the things that we put into a pod template: by list and list key, as the API server merges them, never by
//! position.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The address of one item in a pod template.
///
/// Written `initContainers/NAME`, `containers/NAME`, `volumes/NAME` or `mounts/CONTAINER:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Key {
    /// A container in `spec.initContainers`.
    InitContainer(String),
    /// A container in `spec.containers`.
    Container(String),
    /// A volume in `spec.volumes`.
    Volume(String),
    /// A mount in `volumeMounts` of a container of either list.
    Mount {
        /// The name of the container.
        container: String,
        /// `mountPath`, which is the list key of mounts.
        path: String,
    },
}

impl Key {
    /// The item in a template.
    #[must_use]
    pub fn get<'a>(&self, template: &'a Value) -> Option<&'a Value> {
        let (field, key) = self.list_key();
        self.list(template)?.iter().find(|item| item.get(field).and_then(Value::as_str) == Some(key))
    }

    /// Puts an item in: in place of one with the same key, else at the end of its list, which is made if need be.
    ///
    /// Guarantees: nothing else changes; where the container of a mount is missing, nothing at all.
    pub fn put(&self, template: &mut Value, item: Value) {
        let (field, key) = self.list_key();
        let Some(list) = self.list_mut(template) else { return };
        match list.iter_mut().find(|old| old.get(field).and_then(Value::as_str) == Some(key)) {
            Some(old) => *old = item,
            None => list.push(item),
        }
    }

    /// Removes the item. A list that becomes empty is removed, or set to `blank`, its value before the injection.
    pub fn remove(&self, template: &mut Value, blank: Option<&Value>) {
        let (field, key) = self.list_key();
        let Some(holder) = self.holder_mut(template) else { return };
        let Some(list) = holder.get_mut(self.list_name()).and_then(Value::as_array_mut) else { return };
        let before = list.len();
        list.retain(|item| item.get(field).and_then(Value::as_str) != Some(key));
        if list.is_empty() && before > 0 {
            match blank {
                Some(blank) => drop(holder.insert(self.list_name().to_owned(), blank.clone())),
                None => drop(holder.shift_remove(self.list_name())),
            }
        }
    }

    /// The name of the container, if the item is one.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::InitContainer(name) | Self::Container(name) => Some(name),
            Self::Volume(_) | Self::Mount { .. } => None,
        }
    }

    /// The name of the list that holds the item.
    #[must_use]
    pub const fn list_name(&self) -> &'static str {
        match self {
            Self::InitContainer(_) => "initContainers",
            Self::Container(_) => "containers",
            Self::Volume(_) => "volumes",
            Self::Mount { .. } => "volumeMounts",
        }
    }

    /// What the list of the item is called in a pod: `volumes`, or `app.volumeMounts`.
    #[must_use]
    pub fn list_path(&self) -> String {
        match self {
            Self::Mount { container, .. } => format!("{container}.{}", self.list_name()),
            Self::InitContainer(_) | Self::Container(_) | Self::Volume(_) => self.list_name().to_owned(),
        }
    }

    /// The object that holds the list, if it exists: the pod spec, or a container for a mount.
    pub fn holder_mut<'a>(&self, template: &'a mut Value) -> Option<&'a mut Map<String, Value>> {
        match self {
            Self::Mount { container, .. } => container_mut(template, container),
            Self::InitContainer(_) | Self::Container(_) | Self::Volume(_) => template.get_mut("spec")?.as_object_mut(),
        }
    }

    fn list<'a>(&self, template: &'a Value) -> Option<&'a Vec<Value>> {
        match self {
            Self::Mount { container: name, .. } => container(template, name)?.get("volumeMounts")?.as_array(),
            Self::InitContainer(_) | Self::Container(_) | Self::Volume(_) => {
                template.get("spec")?.get(self.list_name())?.as_array()
            }
        }
    }

    fn list_mut<'a>(&self, template: &'a mut Value) -> Option<&'a mut Vec<Value>> {
        let list = self.holder_mut(template)?.entry(self.list_name()).or_insert(Value::Null);
        if list.is_null() {
            *list = Value::Array(Vec::new());
        }
        list.as_array_mut()
    }

    fn list_key(&self) -> (&'static str, &str) {
        match self {
            Self::InitContainer(name) | Self::Container(name) | Self::Volume(name) => ("name", name),
            Self::Mount { path, .. } => ("mountPath", path),
        }
    }
}

/// The containers of a pod template, the init containers last.
pub fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers"].into_iter().filter_map(|list| template.get("spec")?.get(list)?.as_array()).flatten()
}

/// The container of that name, in either list: their names are unique in a pod.
#[must_use]
pub fn container<'a>(template: &'a Value, name: &str) -> Option<&'a Value> {
    containers(template).find(|container| container.get("name").and_then(Value::as_str) == Some(name))
}

fn container_mut<'a>(template: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    let spec = template.get_mut("spec")?.as_object_mut()?;
    spec.iter_mut()
        .filter(|(list, _)| *list == "containers" || *list == "initContainers")
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .find(|container| container.get("name").and_then(Value::as_str) == Some(name))?
        .as_object_mut()
}

/// The entries of a list field of an object; none where the field is absent or null.
pub fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { container, path } => write!(f, "mounts/{container}:{path}"),
            Self::InitContainer(name) | Self::Container(name) | Self::Volume(name) => {
                write!(f, "{}/{name}", self.list_name())
            }
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

/// The text is not the address of an item.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not one of initContainers/NAME, containers/NAME, volumes/NAME, mounts/CONTAINER:PATH")]
pub struct ParseKeyError(String);

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseKeyError(text.to_owned());
        let (list, rest) = text.split_once('/').ok_or_else(error)?;
        Ok(match list {
            "initContainers" => Self::InitContainer(rest.to_owned()),
            "containers" => Self::Container(rest.to_owned()),
            "volumes" => Self::Volume(rest.to_owned()),
            "mounts" => {
                let (container, path) = rest.split_once(':').ok_or_else(error)?;
                Self::Mount { container: container.to_owned(), path: path.to_owned() }
            }
            _ => return Err(error()),
        })
    }
}

impl TryFrom<String> for Key {
    type Error = ParseKeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys() -> [Key; 4] {
        [
            Key::InitContainer("ship".into()),
            Key::Container("ship".into()),
            Key::Volume("logs".into()),
            Key::Mount { container: "app".into(), path: "/var/log/a:b".into() },
        ]
    }

    #[test]
    fn every_key_is_read_back_from_its_text() {
        for key in keys() {
            assert_eq!(key.to_string().parse::<Key>().expect("own text"), key);
        }
    }

    #[test]
    fn an_item_put_in_is_found_and_taking_it_out_restores_the_template() {
        let template = json!({"spec": {"containers": [{"name": "app", "image": "a"}]}});
        for key in keys() {
            let mut changed = template.clone();
            let (field, value) = key.list_key();
            let item = json!({field: value, "x": 1});
            key.put(&mut changed, item.clone());
            assert_eq!(key.get(&changed), Some(&item));
            key.remove(&mut changed, None);
            assert_eq!(changed, template);
        }
    }
}
