//! Why one workload is as it is, for `logsidecar explain`: a block for each `LogSidecar` of its namespace.

use serde::Serialize;

use super::{Paint, WorkloadRef};

/// The answer of `logsidecar explain` about one workload.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The workload.
    #[serde(flatten)]
    pub workload: WorkloadRef,
    /// How its pods are doing.
    pub standing: String,
    /// Notes before the LogSidecars, such as that the controller does not act on the workload.
    pub notes: Vec<String>,
    /// The LogSidecars of its namespace, the matching ones first.
    pub sidecars: Vec<LogSidecarExplanation>,
}

/// The part of an explanation about one `LogSidecar`.
#[derive(Serialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct LogSidecarExplanation {
    /// Its name.
    pub sidecar: String,
    /// Whether it matches the workload.
    pub matches: bool,
    /// If it is not, the first thing that differs.
    pub mismatch: String,
    /// The reason, in one word; empty if it does not concern the workload.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The items that it injected.
    pub items: Vec<InjectedItem>,
    /// Its revision that the workload has; empty if none.
    pub revision: String,
    /// Whether that is the current one.
    pub is_current: bool,
    /// What would be changed, if something would.
    pub change: String,
    /// What to do.
    pub remedy: String,
}

/// An injected item.
#[derive(Serialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct InjectedItem {
    /// Its address in the template.
    pub key: String,
    /// Whether it is unchanged since.
    pub state: ItemState,
}

/// Whether an injected item is unchanged.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// It is unchanged.
    AsPutIn,
    /// Another field manager, or an admission plugin, changed it.
    Changed,
    /// It is not there any more.
    Missing,
}

impl ItemState {
    const fn describe(self) -> &'static str {
        match self {
            Self::AsPutIn => "as put in",
            Self::Changed => "changed since",
            Self::Missing => "not there any more",
        }
    }
}

impl Explanation {
    /// Returns the explanation as text for people.
    #[must_use]
    pub fn text(&self, paint: Paint) -> String {
        let standing = if self.standing.is_empty() { String::new() } else { format!("  {}", self.standing) };
        let mut out = format!("{}{standing}\n", paint.bold(&self.workload.to_string()));
        self.notes.iter().for_each(|note| out.push_str(&format!("{note}\n")));
        for block in &self.sidecars {
            out.push('\n');
            out.push_str(&write_block(block, paint));
        }
        out
    }
}

fn write_block(block: &LogSidecarExplanation, paint: Paint) -> String {
    let LogSidecarExplanation { sidecar, matches, mismatch, reason, message, items, revision, is_current, change, remedy } =
        block;
    let mut out = paint.bold(&format!("LogSidecar {sidecar}"));
    if !reason.is_empty() {
        out.push_str(&format!("  {reason}"));
    }
    out.push('\n');
    let mut line = |what: &str, text: &str| {
        if !text.is_empty() {
            out.push_str(&format!("  {what:10} {text}\n"));
        }
    };
    line("matches:", &if *matches { "yes".to_owned() } else { format!("no: {mismatch}") });
    line("state:", message);
    for (at, item) in items.iter().enumerate() {
        line(if at == 0 { "put in:" } else { "" }, &format!("{}, {}", item.key, item.state.describe()));
    }
    let age = if *is_current { "current" } else { "not the current one" };
    line("revision:", &if revision.is_empty() { String::new() } else { format!("{revision}, {age}") });
    line("change:", change);
    line("to do:", remedy);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::kind::Kind;

    #[test]
    fn each_logsidecar_has_its_block() {
        let matched = LogSidecarExplanation {
            sidecar: "web-logs".into(),
            matches: true,
            reason: "RollingOut".into(),
            message: "1 of 3 pods are new, 3 available".into(),
            items: vec![
                InjectedItem { key: "initContainers/web-logs".into(), state: ItemState::AsPutIn },
                InjectedItem { key: "volumes/logs".into(), state: ItemState::Changed },
                InjectedItem { key: "mounts/app:/l".into(), state: ItemState::Missing },
            ],
            revision: "ab12".into(),
            is_current: true,
            remedy: "nothing: wait".into(),
            ..LogSidecarExplanation::default()
        };
        let other = LogSidecarExplanation {
            sidecar: "api".into(),
            mismatch: "needs the label app=web, has app=api".into(),
            ..LogSidecarExplanation::default()
        };
        let explained = Explanation {
            workload: WorkloadRef::new(Kind::Deployment, "shop", "web"),
            standing: "1 of 3 pods are new, 3 available".into(),
            notes: Vec::new(),
            sidecars: vec![matched, other],
        };
        let expected = "\
Deployment shop/web  1 of 3 pods are new, 3 available

LogSidecar web-logs  RollingOut
  matches:   yes
  state:     1 of 3 pods are new, 3 available
  put in:    initContainers/web-logs, as put in
             volumes/logs, changed since
             mounts/app:/l, not there any more
  revision:  ab12, current
  to do:     nothing: wait

LogSidecar api
  matches:   no: needs the label app=web, has app=api
";
        assert_eq!(explained.text(Paint::Plain), expected);
    }
}
