//! The audit log of the API server: every request of the system, counted where it cannot be overlooked.

use std::{
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::Result;

/// One request that was answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// As RBAC calls it.
    pub verb: String,
    /// `deployments`, `logsidecars/status` and so on; the path where it is no resource.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// Path and query.
    pub uri: String,
    pub code: u64,
    /// What was sent, where the audit policy keeps it.
    pub body: Option<Value>,
    /// When it was answered, in seconds since 1970.
    pub at: f64,
}

impl Request {
    /// `None` for a stage of a request that does not count: a watch counts when it begins, everything else when it ends.
    fn of(event: &Value) -> Option<Self> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let stage = if text("/verb") == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        if text("/stage") != stage {
            return None;
        }
        let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
            ("", _) => text("/requestURI").to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, sub) => format!("{resource}/{sub}"),
        };
        let at: Timestamp = text("/stageTimestamp").parse().ok()?;
        Some(Self {
            verb: text("/verb").to_owned(),
            resource,
            namespace: text("/objectRef/namespace").to_owned(),
            name: text("/objectRef/name").to_owned(),
            uri: text("/requestURI").to_owned(),
            code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
            body: event.get("requestObject").cloned(),
            at: at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64(),
        })
    }

    pub fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Whether it has changed a Deployment of that namespace.
    pub fn is_write_to(&self, namespace: &str) -> bool {
        let changes = !self.is_read() && self.resource == "deployments" && self.namespace == namespace;
        changes && self.code < 300 && !self.uri.contains("dryRun=All")
    }
}

/// Where the reading of the log has got to.
pub struct Log {
    path: PathBuf,
    file: BufReader<File>,
    /// A line that is still being written.
    rest: String,
}

impl Log {
    /// Opens it at its end.
    pub fn open() -> Result<Self> {
        let path = PathBuf::from(std::env::var("LOGSIDECAR_AUDIT_LOG")?);
        let mut file = BufReader::new(File::open(&path)?);
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path, file, rest: String::new() })
    }

    /// What was appended since the last time.
    pub fn read(&mut self) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        loop {
            // Asked before reading: what the API server writes to this file, it writes before it begins another.
            let rotated = std::fs::metadata(&self.path)
                .is_ok_and(|now| self.file.get_ref().metadata().is_ok_and(|open| open.ino() != now.ino()));
            while self.file.read_line(&mut self.rest)? > 0 {
                if !self.rest.ends_with('\n') {
                    continue;
                }
                requests.extend(Request::of(&serde_json::from_str(&self.rest)?));
                self.rest.clear();
            }
            if !rotated {
                return Ok(requests);
            }
            self.file = BufReader::new(File::open(&self.path)?);
        }
    }
}
