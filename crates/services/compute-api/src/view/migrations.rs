//! Migrations as JSON: the operators' list and the shorter one of a server.

use super::links::Links;
use crate::store::migrations::Migration;
use ferrostack_model::{Microversion, microversion::feature, migration::Kind};
use serde_json::{Value, json};

/// An item of `GET /os-migrations`. `hosts` says whether hosts are shown.
pub fn listed(m: &Migration, links: &Links, v: Microversion, hosts: bool) -> Value {
    let shown = |text: &Option<String>| json!(text.as_ref().filter(|_| hosts));
    let mut body = json!({
        "id": m.id,
        "instance_uuid": m.server_id,
        "status": m.status.as_str(),
        "old_instance_type_id": m.old.number,
        "new_instance_type_id": m.new.number,
        "source_compute": shown(&m.source.host),
        "source_node": shown(&m.source.node),
        "dest_compute": shown(&m.dest.host),
        "dest_node": shown(&m.dest.node),
        "dest_host": shown(&m.dest_host),
        "created_at": m.created_at.iso_micros_naive(),
        "updated_at": m.updated_at.iso_micros_naive(),
    });
    if v.has(feature::MIGRATION_TYPE) {
        body["migration_type"] = json!(m.kind.as_str());
        if m.kind == Kind::Live && m.status.is_live() {
            body["links"] = links.item(&format!("servers/{}/migrations", m.server_id), &m.id.to_string());
        }
    }
    if v.has(feature::MIGRATION_PAGING) {
        body["uuid"] = json!(m.uuid);
    }
    if v.has(feature::MIGRATION_OWNER) {
        body["user_id"] = json!(m.user_id);
        body["project_id"] = json!(m.project_id);
    }
    body
}

/// A live migration of `GET /servers/{id}/migrations`. `hosts` says whether hosts are shown.
pub fn of_server(m: &Migration, v: Microversion, hosts: bool) -> Value {
    let shown = |text: &Option<String>| json!(text.as_ref().filter(|_| hosts));
    let mut body = json!({
        "id": m.id,
        "server_uuid": m.server_id,
        "status": m.status.as_str(),
        "source_compute": shown(&m.source.host),
        "source_node": shown(&m.source.node),
        "dest_compute": shown(&m.dest.host),
        "dest_node": shown(&m.dest.node),
        "dest_host": shown(&m.dest_host),
        "memory_total_bytes": m.memory.total,
        "memory_processed_bytes": m.memory.processed,
        "memory_remaining_bytes": m.memory.remaining,
        "disk_total_bytes": m.disk.total,
        "disk_processed_bytes": m.disk.processed,
        "disk_remaining_bytes": m.disk.remaining,
        "created_at": m.created_at.iso_micros_naive(),
        "updated_at": m.updated_at.iso_micros_naive(),
    });
    if v.has(feature::MIGRATION_PAGING) {
        body["uuid"] = json!(m.uuid);
    }
    if v.has(feature::MIGRATION_OWNER) {
        body["user_id"] = json!(m.user_id);
        body["project_id"] = json!(m.project_id);
    }
    body
}
