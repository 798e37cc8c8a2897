//! The system under test, as a process that is watched from outside.

use std::{
    collections::BTreeSet,
    fs::File,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    Result,
    audit::{Log, Request},
    cluster::{self, Cluster},
    settings::Settings,
};

/// At rest: no request and no work for this long.
const REST: Duration = Duration::from_secs(1);
/// How often it is looked at. The looks cost the API server nothing, and the times are those of the audit log.
const LOOK: Duration = Duration::from_millis(50);
/// Without any progress for this long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub peak: f64,
    pub now: f64,
}

pub struct System {
    child: Child,
    started: Instant,
}

impl System {
    pub fn start(settings: &Settings, cluster: &Cluster) -> Result<Self> {
        let log = File::options().create(true).append(true).open(cluster.folder.path().join("system.log"))?;
        let child = Command::new("sh")
            .args(["-c", &format!("exec {}", settings.start)])
            .env("KUBECONFIG", &cluster.kubeconfig)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { child, started: Instant::now() })
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(&mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            if asked.elapsed() > PATIENCE {
                return Err("the system under test does not end when it is asked to".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What it has used of the processor since its start, in seconds.
    pub fn cpu(&self) -> f64 {
        cluster::cpu(self.child.id())
    }

    pub fn memory(&self) -> Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mebibytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field in /proc/PID/status")?;
            let kibibytes: f64 = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse()?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(kibibytes / 1024.0)
        };
        Ok(Memory { peak: mebibytes("VmHWM")?, now: mebibytes("VmRSS")? })
    }

    /// Waits until it has asked for something and then, for a while, neither asks nor works; returns how many seconds after
    /// its start that was, and what it has asked for.
    pub async fn until_at_rest(&mut self, log: &mut Log) -> Result<(f64, Vec<Request>)> {
        let mut requests = Vec::new();
        while requests.is_empty() {
            tokio::time::sleep(LOOK).await;
            requests.extend(log.read()?);
            self.must_run()?;
            if self.started.elapsed() > PATIENCE {
                return Err("the system under test asks the API server for nothing".into());
            }
        }
        let at = self.rest(log, &mut requests).await?;
        Ok(((at - self.started).as_secs_f64(), requests))
    }

    /// Waits until it has neither asked nor worked for a while; returns since when.
    pub async fn rest(&mut self, log: &mut Log, requests: &mut Vec<Request>) -> Result<Instant> {
        let (start, mut last) = (Instant::now(), (Instant::now(), self.cpu()));
        while last.0.elapsed() < REST {
            if start.elapsed() > PATIENCE * 5 {
                return Err(
                    format!("the system under test does not come to rest; its last requests: {:?}", last_of(requests)).into()
                );
            }
            tokio::time::sleep(LOOK).await;
            let new = log.read()?;
            // A look may find a tick of the clock that is nobody's work.
            if !new.is_empty() || self.cpu() - last.1 > 0.015 {
                last = (Instant::now(), self.cpu());
            }
            requests.extend(new);
            self.must_run()?;
        }
        Ok(last.0)
    }

    /// Waits until so many Deployments are patched and it is at rest; returns when the last one was, in seconds since 1970, and
    /// what it has asked for.
    pub async fn until_patched(
        &mut self,
        log: &mut Log,
        cluster: &Cluster,
        namespace: &str,
        count: usize,
    ) -> Result<(f64, Vec<Request>)> {
        let mut requests: Vec<Request> = Vec::new();
        let mut written = BTreeSet::new();
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            for request in log.read()? {
                if request.is_write_to(namespace) && written.insert(request.name.clone()) {
                    last = Instant::now();
                }
                requests.push(request);
            }
            self.must_run()?;
            if written.len() >= count {
                self.rest(log, &mut requests).await?;
                if cluster.patched(namespace).await? >= count {
                    let ended = requests.iter().filter(|request| request.is_write_to(namespace)).map(|request| request.at);
                    return Ok((ended.fold(0.0, f64::max), requests));
                }
            }
            if last.elapsed() > PATIENCE {
                return Err(format!("{} of {count} Deployments are patched, and nothing goes on", written.len()).into());
            }
        }
    }

    fn must_run(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => Err(format!("the system under test has ended: {status}").into()),
            None => Ok(()),
        }
    }
}

fn last_of(requests: &[Request]) -> Vec<String> {
    requests.iter().rev().take(5).map(|request| format!("{} {}", request.verb, request.uri)).collect()
}

impl Drop for System {
    fn drop(&mut self) {
        // Ended already, or not worth waiting for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
