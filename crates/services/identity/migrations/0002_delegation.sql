-- Application credentials. expires_at 0: never. unrestricted as it was given; null counts as no.
CREATE TABLE application_credential (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    secret TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    unrestricted BIGINT,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX application_credential_name ON application_credential (user_id, name);
CREATE INDEX application_credential_project ON application_credential (project_id);

CREATE TABLE application_credential_role (
    application_credential_id TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
    role_id TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    PRIMARY KEY (application_credential_id, role_id)
);
CREATE INDEX application_credential_role_role ON application_credential_role (role_id);

-- Rules outlive their credentials and are shared by the user's credentials.
CREATE TABLE access_rule (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    service TEXT NOT NULL,
    path TEXT NOT NULL,
    method TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE UNIQUE INDEX access_rule_content ON access_rule (user_id, service, path, method);

CREATE TABLE application_credential_access_rule (
    application_credential_id TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
    access_rule_id TEXT NOT NULL REFERENCES access_rule (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (application_credential_id, access_rule_id)
);
CREATE INDEX application_credential_access_rule_rule ON application_credential_access_rule (access_rule_id);

-- Trusts. Deleted ones stay, with deleted_at (0: not deleted). expires_at 0: never. project_id '': none.
-- remaining_uses null: unlimited. redelegated_trust_id '': the trustor's own.
CREATE TABLE trust (
    id TEXT PRIMARY KEY NOT NULL,
    trustor_user_id TEXT NOT NULL,
    trustee_user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    impersonation BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    remaining_uses BIGINT,
    redelegated_trust_id TEXT NOT NULL,
    redelegation_count BIGINT NOT NULL,
    extra TEXT NOT NULL,
    deleted_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX trust_trustor ON trust (trustor_user_id);
CREATE INDEX trust_trustee ON trust (trustee_user_id);
CREATE INDEX trust_project ON trust (project_id);
CREATE INDEX trust_redelegated ON trust (redelegated_trust_id);

-- The role may be gone: then the trust gives nothing any more.
CREATE TABLE trust_role (
    trust_id TEXT NOT NULL REFERENCES trust (id) ON DELETE CASCADE,
    role_id TEXT NOT NULL,
    PRIMARY KEY (trust_id, role_id)
);

-- Everybody a trust depends on: trustor and trustee of it and of those it was redelegated from.
CREATE TABLE trust_party (
    trust_id TEXT NOT NULL REFERENCES trust (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    PRIMARY KEY (trust_id, user_id)
);
CREATE INDEX trust_party_user ON trust_party (user_id);
