-- blob: sealed, `v1.KEY-ID.BASE64` (vault.rs). id: of type ec2 the SHA-256 of the access key, else random.
-- totp_step: the last 30-second step whose passcode was used; passcodes up to it are spent.
CREATE TABLE credential (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    project_id TEXT REFERENCES project (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    blob TEXT NOT NULL,
    extra TEXT NOT NULL,
    totp_step BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
CREATE INDEX credential_user ON credential (user_id, type);
CREATE INDEX credential_project ON credential (project_id);
