//! How things stand, for `logsidecar status`: one line for each `LogSidecar`, one for each of its targets.

use serde::Serialize;

use super::style::columns;

/// The answer of `logsidecar status`.
#[derive(Serialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// The LogSidecars.
    pub sidecars: Vec<LogSidecarRow>,
    /// Their targets, the worst first.
    pub targets: Vec<TargetRow>,
}

/// One `LogSidecar`.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct LogSidecarRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its conditions, as the controller wrote them.
    pub conditions: Vec<ConditionRow>,
    /// Whether they are about the current spec.
    pub observed: bool,
    /// How many workloads it matches.
    pub matched: usize,
    /// How many of those it is injected into.
    pub injected: usize,
    /// How many of those run it in all pods.
    pub available: usize,
    /// The stage of its rollout.
    pub stage: String,
    /// The workload at which the rollout was halted, and why; empty if it was not.
    pub halted: String,
}

/// A condition of a `LogSidecar`.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ConditionRow {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The reason, in one word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// One target of a `LogSidecar`.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct TargetRow {
    /// Its namespace.
    pub namespace: String,
    /// The `LogSidecar`.
    pub sidecar: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The reason, in one word.
    pub reason: String,
    /// Whether its template has something of the `LogSidecar`.
    pub injected: bool,
    /// How many pods are available.
    pub available: u32,
    /// How many pods are wanted.
    pub pods: u32,
    /// The revision of the `LogSidecar` that it has; empty if none.
    pub revision: String,
    /// A sentence.
    pub message: String,
}

impl StatusReport {
    /// Returns the status as text for people. With `namespaces`, each line begins with the namespace.
    #[must_use]
    pub fn text(&self, namespaces: bool) -> String {
        if self.sidecars.is_empty() {
            return String::new();
        }
        let mut out: String = self.sidecars.iter().map(sidecar).collect();
        if !self.targets.is_empty() {
            let mut rows = vec![row(
                namespaces,
                "NAMESPACE",
                ["LOGSIDECAR", "TARGET", "REASON", "INJECTED", "PODS", "REVISION", "MESSAGE"].map(str::to_owned),
            )];
            rows.extend(self.targets.iter().map(|target| row(namespaces, &target.namespace, cells(target))));
            out.push('\n');
            out.push_str(&columns(&rows));
        }
        out
    }
}

fn row(namespaces: bool, namespace: &str, cells: [String; 7]) -> Vec<String> {
    namespaces.then(|| namespace.to_owned()).into_iter().chain(cells).collect()
}

fn cells(target: &TargetRow) -> [String; 7] {
    let TargetRow { namespace: _, sidecar, kind, name, reason, injected, available, pods, revision, message } = target;
    [
        sidecar.clone(),
        format!("{kind}/{name}"),
        reason.clone(),
        if *injected { "yes" } else { "no" }.to_owned(),
        format!("{available}/{pods}"),
        if revision.is_empty() { "<none>".to_owned() } else { revision.clone() },
        message.clone(),
    ]
}

/// `LogSidecar shop/web-logs: Ready=True (Available), …; 3 matched, 3 injected, 3 available; rollout Rolling`
fn sidecar(sidecar: &LogSidecarRow) -> String {
    let LogSidecarRow { namespace, name, conditions, observed, matched, injected, available, stage, halted } = sidecar;
    let describe = |condition: &ConditionRow| {
        let ConditionRow { kind, status, reason, message } = condition;
        let ready = kind == "Ready";
        let message = if message.is_empty() || !ready { String::new() } else { format!(": {message}") };
        (ready || status == "True").then(|| format!("{kind}={status} ({reason}{message})"))
    };
    let conditions: Vec<String> = conditions.iter().filter_map(describe).collect();
    let conditions = match (conditions.is_empty(), observed) {
        (true, _) => "no conditions yet".to_owned(),
        (false, true) => conditions.join(", "),
        (false, false) => format!("{}, as of before the last change", conditions.join(", ")),
    };
    let halted = if halted.is_empty() { String::new() } else { format!(" at {halted}") };
    format!(
        "LogSidecar {namespace}/{name}: {conditions}; {matched} matched, {injected} injected, {available} available; rollout {stage}{halted}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_for_each_logsidecar_and_each_target() {
        let condition = |kind: &str, status: &str, message: &str| ConditionRow {
            kind: kind.into(),
            status: status.into(),
            reason: "Refused".into(),
            message: message.into(),
        };
        let sidecar = LogSidecarRow {
            namespace: "shop".into(),
            name: "logs".into(),
            conditions: vec![
                condition("Ready", "False", "1 of 2 workloads"),
                condition("Reconciling", "False", ""),
                condition("Stalled", "True", "1 of 2 workloads"),
            ],
            observed: true,
            matched: 2,
            injected: 1,
            available: 1,
            stage: "Rolling".into(),
            halted: String::new(),
        };
        let target = TargetRow {
            namespace: "shop".into(),
            sidecar: "logs".into(),
            kind: "Deployment".into(),
            name: "api".into(),
            reason: "ContainerAmbiguous".into(),
            injected: false,
            available: 0,
            pods: 3,
            revision: String::new(),
            message: "which?".into(),
        };
        let good = TargetRow {
            name: "web".into(),
            reason: "Available".into(),
            injected: true,
            available: 3,
            revision: "ab12".into(),
            message: String::new(),
            ..target.clone()
        };
        let status = StatusReport { sidecars: vec![sidecar], targets: vec![target, good] };
        let expected = "\
LogSidecar shop/logs: Ready=False (Refused: 1 of 2 workloads), Stalled=True (Refused); 2 matched, 1 injected, 1 available; rollout Rolling

LOGSIDECAR   TARGET           REASON               INJECTED   PODS   REVISION   MESSAGE
logs         Deployment/api   ContainerAmbiguous   no         0/3    <none>     which?
logs         Deployment/web   Available            yes        3/3    ab12
";
        assert_eq!(status.text(false), expected);
        assert!(status.text(true).contains("\nshop        logs         Deployment/api "));
        assert_eq!(StatusReport::default().text(false), "");
    }
}
