-- Tags (JSON array), trusted image certificates (JSON array or NULL) and OS-DCF:diskConfig of servers.
ALTER TABLE servers ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE servers ADD COLUMN trusted_certs TEXT;
ALTER TABLE servers ADD COLUMN disk_config TEXT NOT NULL DEFAULT 'MANUAL';
