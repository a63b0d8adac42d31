//! A server's states: Nova's vm_state, task_state and power_state, and the status clients see.

use serde::{Deserialize, Serialize};

macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The text in the database and in answers.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// The value with this text.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

text_enum! {
    /// What a server durably is (`OS-EXT-STS:vm_state`).
    VmState {
        /// Being built.
        Building = "building",
        /// Up.
        Active = "active",
        /// Paused in memory.
        Paused = "paused",
        /// Suspended to disk.
        Suspended = "suspended",
        /// Shut off.
        Stopped = "stopped",
        /// Running from a rescue image.
        Rescued = "rescued",
        /// Resized, not yet confirmed.
        Resized = "resized",
        /// Deleted, may be restored.
        SoftDeleted = "soft-delete",
        /// Gone.
        Deleted = "deleted",
        /// Broken; the fault says how.
        Error = "error",
        /// Shelved, still on its host.
        Shelved = "shelved",
        /// Shelved and off its host.
        ShelvedOffloaded = "shelved_offloaded",
    }
}

text_enum! {
    /// What is being done with a server (`OS-EXT-STS:task_state`).
    TaskState {
        /// Choosing a host.
        Scheduling = "scheduling",
        /// Claiming its resources.
        BlockDeviceMapping = "block_device_mapping",
        /// Making ports.
        Networking = "networking",
        /// The agent is making the guest.
        Spawning = "spawning",
        /// An image of it is asked for.
        ImageSnapshotPending = "image_snapshot_pending",
        /// Its disk is being copied.
        ImageSnapshot = "image_snapshot",
        /// Its disk is being copied for a backup.
        ImageBackup = "image_backup",
        /// The copy is made.
        ImagePendingUpload = "image_pending_upload",
        /// The copy is on its way to the image service.
        ImageUploading = "image_uploading",
        /// Its admin password is being changed.
        UpdatingPassword = "updating_password",
        /// A host for another size is being chosen.
        ResizePrep = "resize_prep",
        /// Its disk is on its way to the other host.
        ResizeMigrating = "resize_migrating",
        /// Its disk has arrived.
        ResizeMigrated = "resize_migrated",
        /// It is being started in its new size.
        ResizeFinish = "resize_finish",
        /// Going back to its old size.
        ResizeReverting = "resize_reverting",
        /// Its old guest is being removed.
        ResizeConfirming = "resize_confirming",
        /// Soft reboot.
        Rebooting = "rebooting",
        /// Soft reboot, the agent has it.
        RebootPending = "reboot_pending",
        /// Soft reboot, the guest goes down.
        RebootStarted = "reboot_started",
        /// Hard reboot.
        RebootingHard = "rebooting_hard",
        /// Hard reboot, the agent has it.
        RebootPendingHard = "reboot_pending_hard",
        /// Hard reboot, the guest is down.
        RebootStartedHard = "reboot_started_hard",
        /// Being paused.
        Pausing = "pausing",
        /// Being continued.
        Unpausing = "unpausing",
        /// Being written to disk.
        Suspending = "suspending",
        /// Coming back from disk.
        Resuming = "resuming",
        /// Shutting off.
        PoweringOff = "powering-off",
        /// Starting.
        PoweringOn = "powering-on",
        /// Going into rescue.
        Rescuing = "rescuing",
        /// Coming back from rescue.
        Unrescuing = "unrescuing",
        /// Being made anew.
        Rebuilding = "rebuilding",
        /// Being made anew: its disks.
        RebuildBlockDeviceMapping = "rebuild_block_device_mapping",
        /// Being made anew: its guest.
        RebuildSpawning = "rebuild_spawning",
        /// Moving while it runs.
        Migrating = "migrating",
        /// Being deleted.
        Deleting = "deleting",
        /// Being put aside for its deletion.
        SoftDeleting = "soft-deleting",
        /// Being brought back from its deletion.
        Restoring = "restoring",
        /// Being shelved.
        Shelving = "shelving",
        /// Being shelved: its copy is made.
        ShelvingImagePendingUpload = "shelving_image_pending_upload",
        /// Being shelved: its copy is on its way to the image service.
        ShelvingImageUploading = "shelving_image_uploading",
        /// Leaving its host.
        ShelvingOffloading = "shelving_offloading",
        /// Coming back from the shelf.
        Unshelving = "unshelving",
    }
}

/// The hypervisor's view (`OS-EXT-STS:power_state`), Nova's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerState {
    /// 0
    NoState,
    /// 1
    Running,
    /// 3
    Paused,
    /// 4
    Shutdown,
    /// 6
    Crashed,
    /// 7
    Suspended,
}

impl PowerState {
    /// Nova's number.
    pub const fn code(self) -> i64 {
        match self {
            Self::NoState => 0,
            Self::Running => 1,
            Self::Paused => 3,
            Self::Shutdown => 4,
            Self::Crashed => 6,
            Self::Suspended => 7,
        }
    }
    /// The value with this number; unknown numbers are `NoState`.
    pub const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Running,
            3 => Self::Paused,
            4 => Self::Shutdown,
            6 => Self::Crashed,
            7 => Self::Suspended,
            _ => Self::NoState,
        }
    }
}

/// The `status` clients see for a vm_state and task_state (Nova's table of state combinations).
pub const fn status(vm: VmState, task: Option<TaskState>) -> &'static str {
    use TaskState as T;
    match (vm, task) {
        (VmState::Active, Some(T::Rebooting | T::RebootPending | T::RebootStarted)) => "REBOOT",
        (VmState::Active, Some(T::RebootingHard | T::RebootPendingHard | T::RebootStartedHard)) => {
            "HARD_REBOOT"
        }
        (VmState::Active, Some(T::UpdatingPassword)) => "PASSWORD",
        (
            VmState::Active | VmState::Stopped | VmState::Error,
            Some(T::Rebuilding | T::RebuildBlockDeviceMapping | T::RebuildSpawning),
        ) => "REBUILD",
        (VmState::Active | VmState::Paused, Some(T::Migrating)) => "MIGRATING",
        (
            VmState::Active | VmState::Stopped,
            Some(T::ResizePrep | T::ResizeMigrating | T::ResizeMigrated | T::ResizeFinish),
        ) => "RESIZE",
        (VmState::Resized, Some(T::ResizeReverting)) => "REVERT_RESIZE",
        (VmState::Active, _) => "ACTIVE",
        (VmState::Building, _) => "BUILD",
        (VmState::Paused, _) => "PAUSED",
        (VmState::Suspended, _) => "SUSPENDED",
        (VmState::Stopped, _) => "SHUTOFF",
        (VmState::Rescued, _) => "RESCUE",
        (VmState::Resized, _) => "VERIFY_RESIZE",
        (VmState::SoftDeleted, _) => "SOFT_DELETED",
        (VmState::Deleted, _) => "DELETED",
        (VmState::Error, _) => "ERROR",
        (VmState::Shelved, _) => "SHELVED",
        (VmState::ShelvedOffloaded, _) => "SHELVED_OFFLOADED",
    }
}

/// The vm_states a `status` filter of the list means; empty if no server can have it.
pub fn vm_states_of_status(wanted: &str) -> Vec<VmState> {
    VmState::ALL
        .iter()
        .copied()
        .filter(|vm| {
            status(*vm, None).eq_ignore_ascii_case(wanted)
                || TaskState::ALL.iter().any(|t| status(*vm, Some(*t)).eq_ignore_ascii_case(wanted))
        })
        .collect()
}
