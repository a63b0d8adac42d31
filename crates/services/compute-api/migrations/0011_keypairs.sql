-- Keypairs of users. Private keys are never stored. Times are microseconds since the epoch.
CREATE TABLE keypairs (
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    -- the integer id that show answers
    number BIGINT NOT NULL UNIQUE,
    -- ssh or x509
    type TEXT NOT NULL,
    public_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, name)
);
