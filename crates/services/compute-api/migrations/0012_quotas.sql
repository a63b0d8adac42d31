-- Limits that differ from the defaults; -1 is unlimited. An empty user_id is the whole project.
CREATE TABLE quotas (
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    resource TEXT NOT NULL,
    hard_limit BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id, resource)
);

-- Default limits set by os-quota-class-sets, over those of the settings.
CREATE TABLE quota_classes (
    class TEXT NOT NULL,
    resource TEXT NOT NULL,
    hard_limit BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (class, resource)
);

-- One row for each owner whose usage was ever checked: its row lock makes checks of one owner wait for each other.
CREATE TABLE quota_locks (
    owner TEXT PRIMARY KEY,
    generation BIGINT NOT NULL DEFAULT 1
);

-- Numbers that are handed out once: flavors, keypairs.
CREATE TABLE resource_numbers (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
