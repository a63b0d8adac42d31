-- Server groups. Their policy holds for claims: a claim of a member locks the group's row.
CREATE TABLE server_groups (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    -- affinity, anti-affinity, soft-affinity, soft-anti-affinity
    policy TEXT NOT NULL,
    -- the rule of an anti-affinity group
    max_server_per_host BIGINT,
    created_at BIGINT NOT NULL,
    -- rises with every claim of a member
    generation BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX server_groups_project ON server_groups (project_id, created_at, id);

-- A server is in one group at most, from its creation on; deleted servers do not count.
CREATE TABLE server_group_members (
    server_id TEXT PRIMARY KEY REFERENCES servers (id),
    group_id TEXT NOT NULL REFERENCES server_groups (id),
    user_id TEXT NOT NULL
);
CREATE INDEX server_group_members_group ON server_group_members (group_id);

-- Shelved servers: the image that holds what their disk was.
CREATE TABLE shelved_servers (
    server_id TEXT PRIMARY KEY REFERENCES servers (id),
    image_id TEXT NOT NULL,
    shelved_at BIGINT NOT NULL
);
