//! The one vocabulary of reasons: conditions, targets in status, Events, logs and the command line use these words.

/// Why a target or a `LogSidecar` is in the state that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The spec can be acted upon.
    Accepted,
    /// Every pod of the target runs with what the `LogSidecar` asks for.
    Available,
    /// The selector matches no workload; that is not a failure.
    NoTargets,
    /// Patched; the workload is replacing its pods.
    RollingOut,
    /// Every pod is available; the sidecar has to run for a while, `spec.rollout.soak`, before the workload counts as done.
    Soaking,
    /// Its turn comes when others are done: see `spec.rollout.maxConcurrent` and `canary`.
    Queued,
    /// The rollout has failed at a workload; the others are left as they are until the spec is changed.
    Halted,
    /// `spec.rollout.mode` is `Plan`: it would be changed.
    Planned,
    /// Not looked at yet.
    Pending,
    /// The workload that `target.name` names does not exist (yet).
    TargetNotFound,
    /// The `LogSidecar` is being deleted and this target still carries what it put in.
    Removing,
    /// The API server did not take the patch this time; it is tried again with growing pauses.
    Retrying,
    /// `spec.suspend` is true.
    Suspended,
    /// The workload carries the label `logsidecar.dev/inject: "false"`.
    OptedOut,
    /// The workload is paused: the template is patched, its pods are replaced when it is resumed.
    Paused,
    /// The update strategy is `OnDelete`: the template is patched, each pod gets it when its owner deletes the old one.
    OnDelete,
    /// The update strategy has a `partition`: the template is patched, the pods below it get it when it is lowered.
    Partitioned,
    /// The new pods do not become available.
    RolloutFailed,
    /// The rollout failed at this workload, and it has been given back what it had before.
    RolledBack,
    /// The controller does not act on this kind of workload.
    KindNotSupported,
    /// The pod has no container of that name.
    ContainerNotFound,
    /// The pod has several containers and `logs[].container` does not say which one writes the files.
    ContainerAmbiguous,
    /// The pod already has a container with the sidecar's name.
    ContainerNameTaken,
    /// The pod already has another volume of that name.
    VolumeNameTaken,
    /// The pod has no volume of the name in `volume.existing`.
    VolumeNotFound,
    /// The volume at the directory cannot be written to.
    VolumeReadOnly,
    /// Another volume than the one asked for is mounted at or above the directory.
    DirectoryMounted,
    /// Two different volumes would be mounted at one path of the sidecar.
    MountPathTaken,
    /// A mount uses an environment variable (`subPathExpr`) that cannot be copied to the sidecar.
    EnvNotFound,
    /// Another container of the pod uses the port already.
    PortTaken,
    /// The shipper cannot send to one of the outputs.
    OutputNotSupported,
    /// The shipper could not read its config.
    ConfigInvalid,
    /// The new pods would be refused or could not start: nothing was written.
    Blocked,
    /// Another controller renders this workload and would revert every change.
    ManagedByController,
    /// The ledger annotation cannot be read.
    LedgerUnreadable,
    /// The ledger annotation would outgrow its limit.
    LedgerTooLarge,
    /// The template is a copy that carries the ledger and items of another workload.
    ForeignLedger,
    /// Somebody else takes back what is put in, again and again.
    Contested,
    /// The API server refused the result of the patch.
    Rejected,
    /// The controller lacks a permission.
    Forbidden,
    /// This controller cannot read the `LogSidecar`, for example because it is older than the object.
    Unreadable,
    /// Sidecar, volume and mounts were put into a template.
    Injected,
    /// What had been put in was changed.
    Updated,
    /// What had been put in was taken out.
    Removed,
    /// Something that we had put in belongs to somebody else now and was left in place.
    HandedOver,
    /// Some targets cannot be served; see `status.targets`.
    Refused,
    /// Some targets are not done yet; see `status.targets`.
    Progressing,
}

impl Reason {
    /// The word as users see it, in `UpperCamelCase`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Available => "Available",
            Self::NoTargets => "NoTargets",
            Self::RollingOut => "RollingOut",
            Self::Soaking => "Soaking",
            Self::Queued => "Queued",
            Self::Halted => "Halted",
            Self::Planned => "Planned",
            Self::Pending => "Pending",
            Self::TargetNotFound => "TargetNotFound",
            Self::Removing => "Removing",
            Self::Retrying => "Retrying",
            Self::Suspended => "Suspended",
            Self::OptedOut => "OptedOut",
            Self::Paused => "Paused",
            Self::OnDelete => "OnDelete",
            Self::Partitioned => "Partitioned",
            Self::RolloutFailed => "RolloutFailed",
            Self::RolledBack => "RolledBack",
            Self::KindNotSupported => "KindNotSupported",
            Self::ContainerNotFound => "ContainerNotFound",
            Self::ContainerAmbiguous => "ContainerAmbiguous",
            Self::ContainerNameTaken => "ContainerNameTaken",
            Self::VolumeNameTaken => "VolumeNameTaken",
            Self::VolumeNotFound => "VolumeNotFound",
            Self::VolumeReadOnly => "VolumeReadOnly",
            Self::DirectoryMounted => "DirectoryMounted",
            Self::MountPathTaken => "MountPathTaken",
            Self::EnvNotFound => "EnvNotFound",
            Self::PortTaken => "PortTaken",
            Self::OutputNotSupported => "OutputNotSupported",
            Self::ConfigInvalid => "ConfigInvalid",
            Self::Blocked => "Blocked",
            Self::ManagedByController => "ManagedByController",
            Self::LedgerUnreadable => "LedgerUnreadable",
            Self::LedgerTooLarge => "LedgerTooLarge",
            Self::ForeignLedger => "ForeignLedger",
            Self::Contested => "Contested",
            Self::Rejected => "Rejected",
            Self::Forbidden => "Forbidden",
            Self::Unreadable => "Unreadable",
            Self::Injected => "Injected",
            Self::Updated => "Updated",
            Self::Removed => "Removed",
            Self::HandedOver => "HandedOver",
            Self::Refused => "Refused",
            Self::Progressing => "Progressing",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
