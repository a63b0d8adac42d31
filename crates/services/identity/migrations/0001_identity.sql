-- Domains are projects with is_domain = 1 and an empty domain_id, so one unique index names both.
CREATE TABLE project (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    is_domain BIGINT NOT NULL,
    description TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX project_name ON project (domain_id, name);
CREATE INDEX project_parent ON project (parent_id);

CREATE TABLE project_tag (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (project_id, tag)
);

CREATE TABLE account (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL REFERENCES project (id),
    default_project_id TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    password_hash TEXT NOT NULL,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX account_name ON account (domain_id, name);

CREATE TABLE user_group (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL REFERENCES project (id),
    description TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX user_group_name ON user_group (domain_id, name);

CREATE TABLE group_member (
    group_id TEXT NOT NULL REFERENCES user_group (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_member_user ON group_member (user_id);

CREATE TABLE role (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    domain_id TEXT NOT NULL,
    description TEXT,
    options TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX role_name ON role (domain_id, name);

CREATE TABLE implied_role (
    prior_id TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    implied_id TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    PRIMARY KEY (prior_id, implied_id)
);

-- actor_kind: user, group. target_kind: project, domain, system (target_id 'system').
CREATE TABLE assignment (
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    role_id TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    inherited BIGINT NOT NULL,
    PRIMARY KEY (actor_kind, actor_id, target_kind, target_id, role_id, inherited)
);
CREATE INDEX assignment_target ON assignment (target_kind, target_id);

CREATE TABLE region (
    id TEXT PRIMARY KEY NOT NULL,
    description TEXT NOT NULL,
    parent_region_id TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);

CREATE TABLE service (
    id TEXT PRIMARY KEY NOT NULL,
    type TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);

CREATE TABLE endpoint (
    id TEXT PRIMARY KEY NOT NULL,
    service_id TEXT NOT NULL REFERENCES service (id) ON DELETE CASCADE,
    interface TEXT NOT NULL,
    region_id TEXT NOT NULL,
    url TEXT NOT NULL,
    enabled BIGINT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX endpoint_service ON endpoint (service_id);

-- seq comes from the clock row below, which the inserting transaction holds until it commits: a reader that has
-- seen seq N has seen every lower one.
CREATE TABLE revocation (
    seq BIGINT PRIMARY KEY NOT NULL,
    issued_before BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    rule TEXT NOT NULL
);
CREATE INDEX revocation_expiry ON revocation (expires_at);

CREATE TABLE revocation_clock (
    id BIGINT PRIMARY KEY NOT NULL,
    seq BIGINT NOT NULL,
    stamp BIGINT NOT NULL
);
INSERT INTO revocation_clock (id, seq, stamp) VALUES (1, 0, 0);

-- Keyed digests of the passwords that bootstrap has set, to see cheaply that nothing changed.
CREATE TABLE bootstrap (
    name TEXT PRIMARY KEY NOT NULL,
    fingerprint TEXT NOT NULL
);
