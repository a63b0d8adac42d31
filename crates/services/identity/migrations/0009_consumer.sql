-- OAuth1 consumers are kept for clients that manage them; OAuth1 itself is not offered, so only a digest of the secret.
CREATE TABLE consumer (
    id TEXT PRIMARY KEY NOT NULL,
    description TEXT,
    secret_digest TEXT NOT NULL,
    extra TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    generation BIGINT NOT NULL
);
