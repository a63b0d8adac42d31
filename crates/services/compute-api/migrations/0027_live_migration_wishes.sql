-- What was asked of a live migration while it goes on; its job looks here whenever it runs.
CREATE TABLE live_migration_wishes (
    migration_id BIGINT PRIMARY KEY REFERENCES migrations (id),
    abort BIGINT NOT NULL DEFAULT 0,
    force_complete BIGINT NOT NULL DEFAULT 0
);
