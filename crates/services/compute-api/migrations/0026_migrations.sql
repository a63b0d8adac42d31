-- Moves of servers between hosts and sizes, live ones and evacuations too. Times are microseconds since the epoch.
CREATE TABLE migrations (
    -- the integer id of /servers/{id}/migrations
    id BIGINT PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    server_id TEXT NOT NULL REFERENCES servers (id),
    -- migration, resize, live-migration, evacuation
    type TEXT NOT NULL,
    -- Nova's words: queued, preparing, running, post-migrating, completed, accepted, pre-migrating, migrating, finished,
    -- confirming, confirmed, reverting, reverted, cancelled, done, error, failed
    status TEXT NOT NULL,
    -- who asked for it, which need not be the server's owner
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    request_id TEXT,
    source_compute TEXT,
    source_node TEXT,
    dest_compute TEXT,
    dest_node TEXT,
    -- the destination's address
    dest_host TEXT,
    -- the flavors: public id, internal number (NULL if it is not in the catalog any more), copy (JSON)
    old_flavor_id TEXT NOT NULL,
    old_flavor_number BIGINT,
    old_flavor TEXT NOT NULL,
    new_flavor_id TEXT NOT NULL,
    new_flavor_number BIGINT,
    new_flavor TEXT NOT NULL,
    -- what the server was before: a stopped one comes back stopped
    old_vm_state TEXT NOT NULL,
    hidden BIGINT NOT NULL DEFAULT 0,
    -- bytes, while it goes on
    memory_total BIGINT,
    memory_processed BIGINT,
    memory_remaining BIGINT,
    disk_total BIGINT,
    disk_processed BIGINT,
    disk_remaining BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX migrations_server ON migrations (server_id, id);
CREATE INDEX migrations_created ON migrations (created_at, id);
CREATE INDEX migrations_finished ON migrations (updated_at) WHERE status = 'finished';

-- What a server holds beside its claim while it moves: the whole of the other host's share, or what the larger of its
-- two sizes takes more on the same host.
CREATE TABLE move_claims (
    server_id TEXT PRIMARY KEY REFERENCES servers (id),
    host TEXT NOT NULL REFERENCES hosts (host),
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    local_gb BIGINT NOT NULL,
    -- 1 on another host than the claim's, else 0
    instances BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX move_claims_host ON move_claims (host);

-- What a resize that is not decided yet takes of the quota beside the server's own size.
ALTER TABLE servers ADD COLUMN resize_vcpus BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN resize_memory_mb BIGINT NOT NULL DEFAULT 0;
