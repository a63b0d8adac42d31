//! M09: every state of a server against everything that may be asked of it: the answers are the table's, and a delete
//! always ends with nothing left.

use crate::{
    jobs::until,
    servers::{each, gone, up},
    support::{Answer, Client},
    world::count,
};
use ferrostack_db::{Db, sqlx};
use ferrostack_model::{
    action::Action,
    server::{TaskState, VmState},
};
use serde_json::{Value, json};

/// What is asked: its row of the table, and the request.
enum Ask {
    /// `POST …/action`
    Act(Value),
    /// `GET …/{path}`
    Get(&'static str),
    /// `POST …/metadata`
    Metadata,
}

fn asks() -> Vec<(Action, Ask)> {
    let act = |action, name: &str| (action, Ask::Act(json!({name: null})));
    vec![
        act(Action::Start, "os-start"),
        act(Action::Stop, "os-stop"),
        (Action::RebootSoft, Ask::Act(json!({"reboot": {"type": "SOFT"}}))),
        (Action::RebootHard, Ask::Act(json!({"reboot": {"type": "HARD"}}))),
        act(Action::Pause, "pause"),
        act(Action::Unpause, "unpause"),
        act(Action::Suspend, "suspend"),
        act(Action::Resume, "resume"),
        act(Action::Rescue, "rescue"),
        act(Action::Unrescue, "unrescue"),
        act(Action::Restore, "restore"),
        act(Action::TriggerCrashDump, "trigger_crash_dump"),
        act(Action::InjectNetworkInfo, "injectNetworkInfo"),
        act(Action::Lock, "lock"),
        act(Action::Unlock, "unlock"),
        (Action::ChangePassword, Ask::Act(json!({"changePassword": {"adminPass": "x"}}))),
        (Action::CreateImage, Ask::Act(json!({"createImage": {"name": "x"}}))),
        (
            Action::CreateBackup,
            Ask::Act(json!({"createBackup": {"name": "x", "backup_type": "daily", "rotation": 1}})),
        ),
        (Action::ResetState, Ask::Act(json!({"os-resetState": {"state": "error"}}))),
        (Action::ConsoleOutput, Ask::Act(json!({"os-getConsoleOutput": {}}))),
        (Action::Diagnostics, Ask::Get("diagnostics")),
        (Action::CreateMetadata, Ask::Metadata),
        (Action::ForceDelete, Ask::Act(json!({"forceDelete": null}))),
    ]
}

/// Puts a server into a state, with nobody at work on it.
async fn put(db: &Db, id: &str, vm: VmState, task: Option<TaskState>) {
    let mut tx = db.begin_write().await.unwrap();
    sqlx::query(
        "UPDATE servers SET vm_state = $2, task_state = $3, locked = 0, locked_by = NULL, generation = generation + 1
         WHERE id = $1",
    )
    .bind(id)
    .bind(vm.as_str())
    .bind(task.map(TaskState::as_str))
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("DELETE FROM jobs WHERE target = $1").bind(id).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn send(client: Client<'_>, id: &str, ask: &Ask) -> Answer {
    match ask {
        Ask::Act(body) => client.post(&format!("/servers/{id}/action"), body.clone()).await,
        Ask::Get(path) => client.get(&format!("/servers/{id}/{path}")).await,
        Ask::Metadata => {
            client.post(&format!("/servers/{id}/metadata"), json!({"metadata": {"k": "v"}})).await
        }
    }
}

fn states() -> impl Iterator<Item = (VmState, Option<TaskState>)> {
    let tasks = || std::iter::once(None).chain(TaskState::ALL.iter().copied().map(Some));
    let live = VmState::ALL.iter().copied().filter(|vm| *vm != VmState::Deleted);
    live.flat_map(move |vm| tasks().map(move |task| (vm, task)))
}

#[actix_web::test]
async fn m09_every_refusal_is_the_tables() {
    each(async |cloud, _| {
        let admin = cloud.at("admin", 84);
        let id = up(admin, json!({})).await;
        let db = cloud.db().await;
        let mut refused = 0;
        for (vm, task) in states() {
            put(&db, &id, vm, task).await;
            for (action, ask) in asks() {
                let Err(wrong) = action.check(&id, vm, task, true) else { continue };
                let said = send(admin, &id, &ask).await;
                assert_eq!(said.fault(409), wrong.public, "{action:?} of {vm:?} {task:?}");
                refused += 1;
            }
        }
        assert!(refused > 5000, "{refused}");
        let jobs: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM jobs WHERE target = $1")
            .bind(&id)
            .fetch_one(db.reader())
            .await
            .unwrap();
        assert_eq!(jobs, 0, "what is refused begins nothing");
        put(&db, &id, VmState::Active, None).await;
        db.close().await;
        gone(admin, &id).await;
    })
    .await;
}

#[actix_web::test]
async fn m09_what_the_table_allows_is_taken() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 84);
        let id = up(admin, json!({})).await;
        let db = cloud.db().await;
        // Nobody does what is ordered: each is looked at where it begins.
        {
            let mut state = world.state.lock();
            for verb in [
                "start",
                "stop",
                "reboot-soft",
                "reboot-hard",
                "pause",
                "unpause",
                "suspend",
                "resume",
                "rescue",
                "unrescue",
                "destroy",
                "snapshot",
            ] {
                state.lose.insert(verb, u32::MAX);
            }
        }
        let mut taken = 0;
        for (action, ask) in asks() {
            // Answered when it is done.
            if matches!(action, Action::ChangePassword | Action::Diagnostics) {
                continue;
            }
            let states: Vec<_> =
                states().filter(|(vm, task)| action.check(&id, *vm, *task, true).is_ok()).collect();
            // Where the table says "any" a few of the hundreds do.
            let every = states.len().div_ceil(12).max(1);
            for (vm, task) in states.into_iter().step_by(every) {
                put(&db, &id, vm, task).await;
                let said = send(admin, &id, &ask).await;
                assert!(said.status.is_success(), "{action:?} of {vm:?} {task:?}: {}", said.text);
                taken += 1;
            }
        }
        assert!(taken > 60, "{taken}");
        put(&db, &id, VmState::Active, None).await;
        world.state.lock().lose.clear();
        db.close().await;
        gone(admin, &id).await;
    })
    .await;
}

/// Also S-2014-017 and S-2014-032: out of rescue, out of ERROR after whatever task, and out of what nobody works on.
#[actix_web::test]
async fn m09_a_delete_of_any_state_leaves_nothing() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 84);
        let db = cloud.db().await;
        let all: Vec<_> = states().collect();
        for part in all.chunks(24) {
            let mut ids = Vec::new();
            for (vm, task) in part {
                let id = up(admin, json!({})).await;
                put(&db, &id, *vm, *task).await;
                ids.push(id);
            }
            for id in &ids {
                admin.delete(&format!("/servers/{id}")).await.expect(204);
            }
            for (id, state) in ids.iter().zip(part) {
                until(&format!("{state:?} is gone"), async || {
                    (admin.get(&format!("/servers/{id}")).await.status == 404).then_some(())
                })
                .await;
            }
            world.assert_empty(&db).await;
        }
        let live = "SELECT COUNT(*) FROM servers WHERE deleted_at IS NULL";
        assert_eq!(count(&db, live).await, 0);
        db.close().await;
    })
    .await;
}
