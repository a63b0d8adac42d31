//! What may be asked of a server, and when: Nova's table of allowed states, once.
//!
//! Source: the guards of Nova 34's compute API. The routes, the jobs and the matrix of states and actions in the tests
//! all read this table.

use crate::{
    error::Error,
    server::{TaskState, VmState},
};

/// The task_states in which an action may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// Only while nothing is being done.
    None,
    /// Whatever is being done.
    Any,
    /// While nothing or one of these is being done.
    NoneOr(&'static [TaskState]),
    /// Only while one of these is being done.
    Only(&'static [TaskState]),
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What Nova calls it when it refuses: `Cannot '<name>' instance …`.
    pub name: &'static str,
    /// The vm_states that allow it; none listed: all.
    pub vm_states: &'static [VmState],
    /// The task_states that allow it.
    pub tasks: Tasks,
    /// Whether the server must have been ACTIVE once.
    pub launched: bool,
    /// Whether a lock refuses it to those who are not admins.
    pub lock: bool,
}

/// What a user may ask of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `DELETE`
    Delete,
    /// `forceDelete`
    ForceDelete,
    /// `restore`
    Restore,
    /// `os-start`
    Start,
    /// `os-stop`
    Stop,
    /// `reboot` SOFT
    RebootSoft,
    /// `reboot` HARD
    RebootHard,
    /// `pause`
    Pause,
    /// `unpause`
    Unpause,
    /// `suspend`
    Suspend,
    /// `resume`
    Resume,
    /// `rescue`
    Rescue,
    /// `unrescue`
    Unrescue,
    /// `resize`
    Resize,
    /// `migrate`
    Migrate,
    /// `confirmResize`
    ConfirmResize,
    /// `revertResize`
    RevertResize,
    /// `rebuild`
    Rebuild,
    /// `createImage`
    CreateImage,
    /// `createBackup`
    CreateBackup,
    /// `changePassword`
    ChangePassword,
    /// `shelve`
    Shelve,
    /// `shelveOffload`
    ShelveOffload,
    /// `unshelve`
    Unshelve,
    /// `os-migrateLive`
    LiveMigrate,
    /// `force_complete` of a migration
    LiveMigrateForceComplete,
    /// `DELETE` of a migration
    LiveMigrateAbort,
    /// `evacuate`
    Evacuate,
    /// `lock`
    Lock,
    /// `unlock`
    Unlock,
    /// `trigger_crash_dump`
    TriggerCrashDump,
    /// `os-getConsoleOutput`
    ConsoleOutput,
    /// consoles by VNC, SPICE and serial
    Console,
    /// `POST …/os-interface`
    AttachInterface,
    /// `DELETE …/os-interface/{port}`
    DetachInterface,
    /// `POST …/metadata`
    CreateMetadata,
    /// `PUT …/metadata`
    UpdateMetadata,
    /// `DELETE …/metadata/{key}`
    DeleteMetadata,
    /// `injectNetworkInfo`
    InjectNetworkInfo,
    /// `GET …/diagnostics`
    Diagnostics,
    /// `os-resetState`
    ResetState,
}

const fn rule(name: &'static str, vm_states: &'static [VmState]) -> Rule {
    Rule { name, vm_states, tasks: Tasks::None, launched: true, lock: true }
}

impl Rule {
    const fn any_task(self) -> Self {
        Self { tasks: Tasks::Any, ..self }
    }
    const fn also_during(self, tasks: &'static [TaskState]) -> Self {
        Self { tasks: Tasks::NoneOr(tasks), ..self }
    }
    const fn only_during(self, tasks: &'static [TaskState]) -> Self {
        Self { tasks: Tasks::Only(tasks), ..self }
    }
    const fn unlaunched(self) -> Self {
        Self { launched: false, ..self }
    }
    const fn unlocked(self) -> Self {
        Self { lock: false, ..self }
    }
}

impl Action {
    /// Every action.
    pub const ALL: &'static [Self] = &[
        Self::Delete,
        Self::ForceDelete,
        Self::Restore,
        Self::Start,
        Self::Stop,
        Self::RebootSoft,
        Self::RebootHard,
        Self::Pause,
        Self::Unpause,
        Self::Suspend,
        Self::Resume,
        Self::Rescue,
        Self::Unrescue,
        Self::Resize,
        Self::Migrate,
        Self::ConfirmResize,
        Self::RevertResize,
        Self::Rebuild,
        Self::CreateImage,
        Self::CreateBackup,
        Self::ChangePassword,
        Self::Shelve,
        Self::ShelveOffload,
        Self::Unshelve,
        Self::LiveMigrate,
        Self::LiveMigrateForceComplete,
        Self::LiveMigrateAbort,
        Self::Evacuate,
        Self::Lock,
        Self::Unlock,
        Self::TriggerCrashDump,
        Self::ConsoleOutput,
        Self::Console,
        Self::AttachInterface,
        Self::DetachInterface,
        Self::CreateMetadata,
        Self::UpdateMetadata,
        Self::DeleteMetadata,
        Self::InjectNetworkInfo,
        Self::Diagnostics,
        Self::ResetState,
    ];

    /// Its row of the table.
    pub const fn rule(self) -> Rule {
        use TaskState as T;
        use VmState::{
            Active, Error, Paused, Rescued, Resized, Shelved, ShelvedOffloaded, SoftDeleted, Stopped,
            Suspended,
        };
        match self {
            Self::Delete => rule("delete", &[]).any_task().unlaunched(),
            Self::ForceDelete => rule("forceDelete", &[]).any_task().unlaunched(),
            Self::Restore => rule("restore", &[SoftDeleted]),
            Self::Start => rule("start", &[Stopped]),
            Self::Stop => rule("stop", &[Active, Error]),
            Self::RebootSoft => rule("reboot", &[Active]),
            Self::RebootHard => rule("reboot", &[Active, Stopped, Paused, Suspended, Error]).also_during(&[
                T::Rebooting,
                T::RebootPending,
                T::RebootStarted,
                T::RebootingHard,
                T::Resuming,
                T::Unpausing,
                T::Pausing,
                T::Suspending,
            ]),
            Self::Pause => rule("pause", &[Active]),
            Self::Unpause => rule("unpause", &[Paused]),
            Self::Suspend => rule("suspend", &[Active]),
            Self::Resume => rule("resume", &[Suspended]),
            Self::Rescue => rule("rescue", &[Active, Stopped, Error]),
            Self::Unrescue => rule("unrescue", &[Rescued]),
            Self::Resize => rule("resize", &[Active, Stopped]),
            Self::Migrate => rule("migrate", &[Active, Stopped]),
            Self::ConfirmResize => rule("confirmResize", &[Resized]),
            Self::RevertResize => rule("revertResize", &[Resized]),
            Self::Rebuild => rule("rebuild", &[Active, Stopped, Error]),
            Self::CreateImage => rule("createImage", &[Active, Stopped, Paused, Suspended]).unlocked(),
            Self::CreateBackup => rule("createBackup", &[Active, Stopped, Paused, Suspended]).unlocked(),
            Self::ChangePassword => rule("changePassword", &[Active]),
            Self::Shelve => rule("shelve", &[Active, Stopped, Paused, Suspended]),
            Self::ShelveOffload => rule("shelveOffload", &[Shelved]),
            Self::Unshelve => rule("unshelve", &[Shelved, ShelvedOffloaded]),
            Self::LiveMigrate => rule("os-migrateLive", &[Active, Paused]),
            Self::LiveMigrateForceComplete => rule("force_complete", &[Active]).only_during(&[T::Migrating]),
            Self::LiveMigrateAbort => rule("abort live migration", &[]).only_during(&[T::Migrating]),
            Self::Evacuate => rule("evacuate", &[Active, Stopped, Error]).any_task().unlocked(),
            Self::Lock => rule("lock", &[]).any_task().unlaunched().unlocked(),
            Self::Unlock => rule("unlock", &[]).any_task().unlaunched().unlocked(),
            Self::TriggerCrashDump => rule("trigger_crash_dump", &[Active, Paused, Rescued, Resized, Error]),
            Self::ConsoleOutput => rule("get_console_output", &[]).any_task().unlocked(),
            Self::Console => rule("get_console", &[]).any_task().unlocked(),
            Self::AttachInterface => rule("attach_interface", &[Active, Paused, Stopped]),
            Self::DetachInterface => rule("detach_interface", &[Active, Paused, Stopped]),
            Self::CreateMetadata => rule("create metadata", &[Active, Paused, Suspended, Stopped]).any_task(),
            Self::UpdateMetadata => rule("update metadata", &[Active, Paused, Suspended, Stopped]).any_task(),
            Self::DeleteMetadata => rule("delete metadata", &[Active, Paused, Suspended, Stopped]).any_task(),
            Self::InjectNetworkInfo => rule(
                "inject_network_info",
                &[
                    Active,
                    Stopped,
                    Paused,
                    Suspended,
                    Rescued,
                    Resized,
                    SoftDeleted,
                    Error,
                    Shelved,
                    ShelvedOffloaded,
                ],
            )
            .any_task()
            .unlaunched(),
            // Its hypervisor says whether it runs: only then there is something to tell.
            Self::Diagnostics => rule("get_diagnostics", &[]).any_task().unlaunched().unlocked(),
            Self::ResetState => rule("reset_state", &[]).any_task().unlaunched().unlocked(),
        }
    }

    /// 409 in Nova's words if a server in this state does not allow it. Locks are asked about before.
    pub fn check(
        self,
        id: &str,
        vm_state: VmState,
        task_state: Option<TaskState>,
        launched: bool,
    ) -> Result<(), Error> {
        let rule = self.rule();
        let wrong = |attribute: &str, state: &str| {
            let name = rule.name;
            Err(Error::conflict(format!("Cannot '{name}' instance {id} while it is in {attribute} {state}")))
        };
        if !rule.vm_states.is_empty() && !rule.vm_states.contains(&vm_state) {
            return wrong("vm_state", vm_state.as_str());
        }
        let fits = match (rule.tasks, task_state) {
            (Tasks::Any, _) | (Tasks::None | Tasks::NoneOr(_), None) => true,
            (Tasks::NoneOr(tasks) | Tasks::Only(tasks), Some(task)) => tasks.contains(&task),
            (Tasks::None, Some(_)) | (Tasks::Only(_), None) => false,
        };
        if !fits {
            return wrong("task_state", task_state.map_or("None", TaskState::as_str));
        }
        if rule.launched && !launched {
            let name = rule.name;
            return Err(Error::conflict(format!("Instance {id} is in an invalid state for '{name}'")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_judged_by_the_table() {
        for action in Action::ALL.iter().copied() {
            let rule = action.rule();
            for vm in VmState::ALL {
                for task in std::iter::once(None).chain(TaskState::ALL.iter().copied().map(Some)) {
                    let vm_fits = rule.vm_states.is_empty() || rule.vm_states.contains(vm);
                    let fits = action.check("x", *vm, task, true).is_ok();
                    assert!(vm_fits || !fits, "{action:?} {vm:?} {task:?}");
                    if rule.tasks == Tasks::None {
                        assert_eq!(fits, vm_fits && task.is_none(), "{action:?} {vm:?} {task:?}");
                    }
                }
            }
            assert_eq!(
                rule.launched,
                action
                    .check(
                        "x",
                        rule.vm_states.first().copied().unwrap_or(VmState::Active),
                        match rule.tasks {
                            Tasks::Only(tasks) => Some(tasks[0]),
                            _ => None,
                        },
                        false
                    )
                    .is_err()
            );
        }
    }

    #[test]
    fn refusals_have_novas_words() {
        let told =
            |action: Action, vm, task, launched| action.check("x", vm, task, launched).map_err(|e| e.public);
        assert_eq!(
            told(Action::Pause, VmState::Stopped, None, true),
            Err("Cannot 'pause' instance x while it is in vm_state stopped".into())
        );
        assert_eq!(
            told(Action::Pause, VmState::Active, Some(TaskState::Rebooting), true),
            Err("Cannot 'pause' instance x while it is in task_state rebooting".into())
        );
        assert_eq!(
            told(Action::Stop, VmState::Error, None, false),
            Err("Instance x is in an invalid state for 'stop'".into())
        );
    }
}
