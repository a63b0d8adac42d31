//! Which notification an event of instance actions is.

/// Events of instance actions and the notifications that tell of them: `instance.<name>.<phase>`.
const NAMES: &[(&str, &str)] = &[
    ("compute__do_build_and_run_instance", "create"),
    ("compute_terminate_instance", "delete"),
    ("compute_soft_delete_instance", "soft_delete"),
    ("compute_restore_instance", "restore"),
    ("compute_start_instance", "power_on"),
    ("compute_stop_instance", "power_off"),
    ("compute_reboot_instance", "reboot"),
    ("compute_pause_instance", "pause"),
    ("compute_unpause_instance", "unpause"),
    ("compute_suspend_instance", "suspend"),
    ("compute_resume_instance", "resume"),
    ("compute_rescue_instance", "rescue"),
    ("compute_unrescue_instance", "unrescue"),
    ("compute_rebuild_instance", "rebuild"),
    ("compute_prep_resize", "resize_prep"),
    ("compute_resize_instance", "resize"),
    ("compute_finish_resize", "resize_finish"),
    ("compute_confirm_resize", "resize_confirm"),
    ("compute_revert_resize", "resize_revert"),
    ("compute_snapshot_instance", "snapshot"),
    ("compute_backup_instance", "snapshot"),
    ("compute_shelve_instance", "shelve"),
    ("compute_shelve_offload_instance", "shelve_offload"),
    ("compute_unshelve_instance", "unshelve"),
    ("compute_trigger_crash_dump", "trigger_crash_dump"),
    ("compute_attach_interface", "interface_attach"),
    ("compute_detach_interface", "interface_detach"),
    ("compute_pre_live_migration", "live_migration_pre"),
    ("compute_post_live_migration_at_destination", "live_migration_post_dest"),
    ("compute_rollback_live_migration_at_destination", "live_migration_rollback_dest"),
    ("compute_live_migration_abort", "live_migration_abort"),
    ("compute_live_migration_force_complete", "live_migration_force_complete"),
];

/// The name of an event's notifications, if it has any.
pub fn of_event(event: &str) -> Option<&'static str> {
    NAMES.iter().find(|(e, _)| *e == event).map(|(_, name)| *name)
}

/// The name of an event that is told of once, because it takes no time.
pub fn moment_of_event(event: &str) -> Option<&'static str> {
    match event {
        "api_lock" => Some("lock"),
        "api_unlock" => Some("unlock"),
        _ => None,
    }
}
