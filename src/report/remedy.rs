//! What to do about each reason, where its message does not say so itself.

use crate::api::Reason;

/// A sentence; empty where nothing is to be done, or the message says it.
#[must_use]
pub const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Available
        | Reason::Accepted
        | Reason::NoTargets
        | Reason::Injected
        | Reason::Updated
        | Reason::Removed
        | Reason::HandedOver
        | Reason::Refused
        | Reason::Progressing
        | Reason::ContainerNotFound
        | Reason::ContainerAmbiguous
        | Reason::ContainerNameTaken
        | Reason::VolumeNameTaken
        | Reason::VolumeNotFound
        | Reason::VolumeReadOnly
        | Reason::DirectoryMounted
        | Reason::MountPathTaken
        | Reason::EnvNotFound
        | Reason::PortTaken
        | Reason::OutputNotSupported
        | Reason::ConfigInvalid
        | Reason::Blocked
        | Reason::ManagedByController
        | Reason::LedgerUnreadable
        | Reason::Contested
        | Reason::KindNotSupported => "",
        Reason::RollingOut | Reason::Soaking | Reason::Queued => "nothing: wait",
        Reason::Pending => {
            "nothing: wait; if it stays so, see whether the controller runs: `kubectl get pods -n logsidecar-system`"
        }
        Reason::Removing => "nothing: wait; if it stays so, the controller has to run for it to end",
        Reason::Retrying => "nothing: it is tried again",
        Reason::TargetNotFound => "make the workload, or correct spec.target.name",
        Reason::Planned => "set spec.rollout.mode to Apply to have it done",
        Reason::Suspended => "set spec.suspend to false to go on",
        Reason::OptedOut => "remove the label logsidecar.dev/inject from the workload to have it injected",
        Reason::Paused => "resume the workload: `kubectl rollout resume`",
        Reason::OnDelete => "delete its pods one by one: each new one has the current template",
        Reason::Partitioned => "lower spec.updateStrategy.rollingUpdate.partition",
        Reason::RolloutFailed => "look at its pods with `kubectl describe pods`: the image of the sidecar is the usual suspect",
        Reason::Halted | Reason::RolledBack => "correct the LogSidecar: any change of its spec is another try",
        Reason::LedgerTooLarge => "use fewer LogSidecars, or fewer logs, for this workload",
        Reason::ForeignLedger => "clean its manifest with `logsidecar uninject`, or remove what was put in by hand",
        Reason::Rejected => "correct what the API server objects to; it is tried again",
        Reason::Forbidden => "give the controller's role the rule that is missing: see deploy/install.yaml",
        Reason::Unreadable => "upgrade the controller, or correct the LogSidecar",
    }
}
