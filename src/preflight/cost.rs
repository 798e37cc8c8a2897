//! What a change asks the cluster for.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, Neg},
};

use super::{Change, pod::Pod};
use crate::quantity::Quantity;

/// What all pods of a change ask for more than before; less than nothing where something is taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Thousandths of a CPU.
    pub cpu_millis: i64,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// The number of pods.
    pub pods: i64,
}

/// The difference in requests, times the pods.
///
/// Guarantees: the way back costs the opposite.
#[must_use]
pub fn cost(change: &Change<'_>) -> Cost {
    let usage = |template| Pod::new(template, &[]).usage().requests;
    let (before, after) = (usage(change.before), usage(change.after));
    let more = |resource: &str, count: fn(Quantity) -> i64| {
        let [before, after] = [&before, &after].map(|usage| usage.get(resource).copied().map_or(0, count));
        after.saturating_sub(before).saturating_mul(change.pods.wanted)
    };
    Cost { cpu_millis: more("cpu", Quantity::milli), memory_bytes: more("memory", Quantity::value), pods: change.pods.wanted }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            pods: self.pods.saturating_add(other.pods),
        }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// The cost of the way back: the pods are as many.
impl Neg for Cost {
    type Output = Self;

    fn neg(self) -> Self {
        Self { cpu_millis: -self.cpu_millis, memory_bytes: -self.memory_bytes, pods: self.pods }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_millis, memory_bytes, pods } = self;
        let cpu = if cpu_millis % 1000 == 0 { (cpu_millis / 1000).to_string() } else { format!("{cpu_millis}m") };
        let unit = if *pods == 1 { "pod" } else { "pods" };
        write!(f, "cpu {cpu}, memory {} ({pods} {unit})", Quantity::whole(*memory_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{preflight::Pods, workload::kind::Kind};
    use serde_json::json;

    #[test]
    fn a_sidecar_costs_its_requests_times_the_pods() {
        let before = json!({"spec": {"containers": [{"name": "app"}]}});
        let mut after = before.clone();
        after["spec"]["initContainers"] =
            json!([{"name": "tail", "restartPolicy": "Always", "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}}}]);
        let pods = Pods { wanted: 3, surges: false };
        let put_in = cost(&Change { kind: Kind::Deployment, name: "web", before: &before, after: &after, pods });
        assert_eq!(put_in.to_string(), "cpu 15m, memory 48Mi (3 pods)");
        assert_eq!((-put_in).to_string(), "cpu -15m, memory -48Mi (3 pods)");
        let other = Cost { cpu_millis: 1985, memory_bytes: 1 << 20, pods: 1 };
        assert_eq!([put_in, other].into_iter().sum::<Cost>().to_string(), "cpu 2, memory 49Mi (4 pods)");
        assert_eq!(Cost { pods: 1, ..Cost::default() }.to_string(), "cpu 0, memory 0 (1 pod)");
    }
}
