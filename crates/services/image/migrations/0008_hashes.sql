-- Data that is added as a location may have been hashed by another algorithm than ours.
ALTER TABLE image ADD COLUMN os_hash_algo TEXT;
UPDATE image SET os_hash_algo = 'sha512' WHERE os_hash_value IS NOT NULL;

-- When a location's bytes were last found to differ from the image's hash.
ALTER TABLE image_location ADD COLUMN damaged_at BIGINT;
