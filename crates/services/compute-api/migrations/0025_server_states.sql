-- Who locked a server: owner (somebody of its project) or admin.
ALTER TABLE servers ADD COLUMN locked_by TEXT;
-- When it was put aside for its deletion; the reconciler deletes it some time after.
ALTER TABLE servers ADD COLUMN soft_deleted_at BIGINT;
CREATE INDEX servers_soft_deleted ON servers (soft_deleted_at) WHERE deleted_at IS NULL AND vm_state = 'soft-delete';
-- What its guest posted to the metadata service, encrypted with the server's public key.
ALTER TABLE server_inputs ADD COLUMN posted_password TEXT;
