//! The reasons that conditions, targets in status, Events, logs and the command line give: one row of `reasons!` each.

use std::{fmt, str::FromStr};

/// What a reason means for the `LogSidecar`, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasonClass {
    /// Refused until the `LogSidecar` or the workload is changed.
    Refused,
    /// Failed; retried, or waits for the workload to recover.
    Failing,
    /// Failed, or waits because another workload has, until the spec changes.
    Halted,
    /// In progress.
    Pending,
    /// Would be changed in the mode `Apply`; no failure.
    Planned,
    /// Left unchanged on request; no failure.
    LeftAlone,
    /// In the target state.
    Done,
}

/// Where a reason is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownFrom {
    /// The LogSidecars and workloads of the cluster: any client can derive it.
    Cluster,
    /// The status that the controller writes: it depends on what happened before, or on the answer to a write.
    Status,
}

/// Defines [`Reason`] from a table with one row for each reason: `Word: class, where it is known from, remedy;`.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $word:ident: $class:ident, $known_from:ident, $remedy:literal;)+) => {
        /// Why a target or a `LogSidecar` is in the state that it is in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $word,)+
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// Returns the word that users see, in `UpperCamelCase`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// Returns what the reason means for the `LogSidecar`.
            #[must_use]
            pub const fn class(self) -> ReasonClass {
                match self {
                    $(Self::$word => ReasonClass::$class,)+
                }
            }

            /// Returns what to do about it; empty if nothing is to be done, or if its message says what.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$word => $remedy,)+
                }
            }

            const fn known_from(self) -> KnownFrom {
                match self {
                    $(Self::$word => KnownFrom::$known_from,)+
                }
            }
        }
    };
}

reasons! {
    /// The spec can be acted upon.
    Accepted: Done, Cluster, "";
    /// Every pod of the target runs with what the `LogSidecar` asks for.
    Available: Done, Cluster, "";
    /// The selector matches no workload; that is not a failure.
    NoTargets: Done, Cluster, "";
    /// Patched; the workload is replacing its pods.
    RollingOut: Pending, Cluster, "nothing: wait";
    /// Every pod is available; the sidecar has to run for a while, `spec.rollout.soak`, before the workload counts as done.
    Soaking: Pending, Status, "nothing: wait";
    /// Its turn comes when others are done: see `spec.rollout.maxConcurrent` and `canary`.
    Queued: Pending, Status, "nothing: wait";
    /// The rollout has failed at a workload; the others are left as they are until the spec is changed.
    Halted: Halted, Status, "correct the LogSidecar: any change of its spec is another try";
    /// `spec.rollout.mode` is `Plan`: it would be changed.
    Planned: Planned, Status, "set spec.rollout.mode to Apply to have it done";
    /// Not looked at yet.
    Pending: Pending, Cluster, "nothing: wait; if it stays so, see whether the controller runs: `kubectl get pods -n logsidecar-system`";
    /// The workload that `target.name` names does not exist (yet).
    TargetNotFound: Pending, Cluster, "make the workload, or correct spec.target.name";
    /// The `LogSidecar` is being deleted and this target still carries what it put in.
    Removing: Pending, Cluster, "nothing: wait; if it stays so, the controller has to run for it to end";
    /// The API server did not take the patch this time; it is tried again with growing pauses.
    Retrying: Failing, Status, "nothing: it is tried again";
    /// `spec.suspend` is true.
    Suspended: LeftAlone, Cluster, "set spec.suspend to false to go on";
    /// The workload carries the label `logsidecar.dev/inject: "false"`.
    OptedOut: LeftAlone, Cluster, "remove the label logsidecar.dev/inject from the workload to have it injected";
    /// The workload is paused: the template is patched, its pods are replaced when it is resumed.
    Paused: LeftAlone, Cluster, "resume the workload: `kubectl rollout resume`";
    /// The update strategy is `OnDelete`: the template is patched, each pod gets it when its owner deletes the old one.
    OnDelete: LeftAlone, Cluster, "delete its pods one by one: each new one has the current template";
    /// The update strategy has a `partition`: the template is patched, the pods below it get it when it is lowered.
    Partitioned: LeftAlone, Cluster, "lower spec.updateStrategy.rollingUpdate.partition";
    /// The new pods do not become available.
    RolloutFailed: Failing, Status, "look at its pods with `kubectl describe pods`: the image of the sidecar is the usual suspect";
    /// The rollout failed at this workload, and it has been given back what it had before.
    RolledBack: Halted, Status, "correct the LogSidecar: any change of its spec is another try";
    /// The controller does not act on this kind of workload.
    KindNotSupported: Refused, Cluster, "";
    /// The pod has no container of that name.
    ContainerNotFound: Refused, Cluster, "";
    /// The pod has several containers and `logs[].container` does not say which one writes the files.
    ContainerAmbiguous: Refused, Cluster, "";
    /// The pod already has a container with the sidecar's name.
    ContainerNameTaken: Refused, Cluster, "";
    /// The pod already has another volume of that name.
    VolumeNameTaken: Refused, Cluster, "";
    /// The pod has no volume of the name in `volume.existing`.
    VolumeNotFound: Refused, Cluster, "";
    /// The volume at the directory cannot be written to.
    VolumeReadOnly: Refused, Cluster, "";
    /// Another volume than the one asked for is mounted at or above the directory.
    DirectoryMounted: Refused, Cluster, "";
    /// Two different volumes would be mounted at one path of the sidecar.
    MountPathTaken: Refused, Cluster, "";
    /// A mount uses an environment variable (`subPathExpr`) that cannot be copied to the sidecar.
    EnvNotFound: Refused, Cluster, "";
    /// Another container of the pod uses the port already.
    PortTaken: Refused, Cluster, "";
    /// The shipper cannot send to one of the outputs.
    OutputNotSupported: Refused, Cluster, "";
    /// The shipper could not read its config.
    ConfigInvalid: Refused, Cluster, "";
    /// The new pods would be refused or could not start: nothing was written.
    Blocked: Refused, Status, "";
    /// Another controller renders this workload and would revert every change.
    ManagedByController: Refused, Cluster, "";
    /// The ledger annotation cannot be read.
    LedgerUnreadable: Refused, Cluster, "";
    /// The ledger annotation would outgrow its limit.
    LedgerTooLarge: Refused, Cluster, "use fewer LogSidecars, or fewer logs, for this workload";
    /// The template is a copy that carries the ledger and items of another workload.
    ForeignLedger: Refused, Cluster, "clean its manifest with `logsidecar uninject`, or remove what was put in by hand";
    /// Somebody else takes back what is put in, again and again.
    Contested: Failing, Status, "";
    /// The API server refused the result of the patch.
    Rejected: Refused, Status, "correct what the API server objects to; it is tried again";
    /// The controller lacks a permission.
    Forbidden: Failing, Status, "give the controller's role the rule that is missing: see deploy/install.yaml";
    /// This controller cannot read the `LogSidecar`, for example because it is older than the object.
    Unreadable: Refused, Cluster, "upgrade the controller, or correct the LogSidecar";
    /// Sidecar, volume and mounts were put into a template.
    Injected: Pending, Cluster, "";
    /// What had been put in was changed.
    Updated: Pending, Cluster, "";
    /// What had been put in was taken out.
    Removed: Pending, Cluster, "";
    /// Something that we had put in belongs to somebody else now and was left in place.
    HandedOver: Pending, Cluster, "";
    /// Some targets cannot be served; see `status.targets`.
    Refused: Refused, Cluster, "";
    /// Some targets are not done yet; see `status.targets`.
    Progressing: Pending, Cluster, "";
}

impl Reason {
    /// Returns whether only the controller can know it, so that other clients read it from the status of the `LogSidecar`.
    #[must_use]
    pub const fn is_known_only_to_controller(self) -> bool {
        matches!(self.known_from(), KnownFrom::Status)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not a reason of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a reason of this version")]
pub struct ParseReasonError(String);

impl FromStr for Reason {
    type Err = ParseReasonError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word).ok_or_else(|| ParseReasonError(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_back_to_its_reason() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        assert_eq!(
            "Unheard".parse::<Reason>().map_err(|error| error.to_string()),
            Err("`Unheard` is not a reason of this version".into())
        );
    }

    #[test]
    fn what_depends_on_the_past_is_known_only_to_the_controller() {
        let of = |reasons: &[Reason]| reasons.iter().map(|reason| reason.is_known_only_to_controller()).collect::<Vec<_>>();
        assert_eq!(of(&[Reason::Queued, Reason::Soaking, Reason::Halted, Reason::Contested, Reason::Rejected]), [true; 5]);
        assert_eq!(of(&[Reason::Available, Reason::RollingOut, Reason::OptedOut, Reason::ContainerNotFound]), [false; 4]);
    }

    #[test]
    fn what_is_no_failure_ranks_below_every_failure() {
        assert!(Reason::ContainerNotFound.class() < Reason::Retrying.class());
        assert!(Reason::Retrying.class() < Reason::RollingOut.class());
        assert!(Reason::RollingOut.class() < Reason::Suspended.class());
        assert!(Reason::Suspended.class() < Reason::Available.class());
    }
}
