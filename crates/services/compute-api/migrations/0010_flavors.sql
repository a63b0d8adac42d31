-- Flavors by their public id. Times are microseconds since the epoch.
CREATE TABLE flavors (
    id TEXT PRIMARY KEY,
    -- the internal id, which lists may sort by
    number BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    root_gb BIGINT NOT NULL,
    ephemeral_gb BIGINT NOT NULL,
    swap_mb BIGINT NOT NULL,
    -- a float, kept as text
    rxtx_factor TEXT NOT NULL,
    is_public BIGINT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0,
    description TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT,
    generation BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE flavor_extra_specs (
    flavor_id TEXT NOT NULL REFERENCES flavors (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (flavor_id, key)
);

-- Projects that may use a flavor that is not public.
CREATE TABLE flavor_access (
    flavor_id TEXT NOT NULL REFERENCES flavors (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    PRIMARY KEY (flavor_id, project_id)
);
CREATE INDEX flavor_access_project ON flavor_access (project_id);

-- What was done once in the life of this database, such as making the default flavors.
CREATE TABLE bootstrap (
    name TEXT PRIMARY KEY,
    done_at BIGINT NOT NULL
);
