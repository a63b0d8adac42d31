-- Times are 0 where there is none. password_own: its user set it, no administrator.
ALTER TABLE account ADD COLUMN password_created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN password_expires_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN password_own BIGINT NOT NULL DEFAULT 0;
ALTER TABLE account ADD COLUMN last_active_at BIGINT NOT NULL DEFAULT 0;
UPDATE account SET password_created_at = created_at;
CREATE INDEX account_password_expiry ON account (password_expires_at);

-- Hashes of passwords that were replaced; number is the generation of the account that had it.
CREATE TABLE password_history (
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (user_id, number)
);

-- Wrong passwords since the last right one. source: an address the user has lately logged in from, or '' for all
-- others together. Rows without a user pay for those who do not exist.
CREATE TABLE login_failure (
    user_id TEXT NOT NULL,
    source TEXT NOT NULL,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, source)
);

-- Addresses from which users have logged in.
CREATE TABLE login_source (
    user_id TEXT NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, source)
);
