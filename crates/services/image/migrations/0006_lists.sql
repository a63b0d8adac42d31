-- Lists: one index for each reason to see an image, in the order of the default list. Deleted records stay for ever
-- and are in none of them.
CREATE INDEX image_live ON image (created_at, id) WHERE status <> 'deleted';
CREATE INDEX image_live_owner ON image (owner, created_at, id) WHERE status <> 'deleted';
CREATE INDEX image_live_visibility ON image (visibility, created_at, id) WHERE status <> 'deleted';
-- By name: clients look images up so, and sort by it.
CREATE INDEX image_live_name ON image (name) WHERE status <> 'deleted';
CREATE INDEX image_live_owner_name ON image (owner, COALESCE(name, '')) WHERE status <> 'deleted';
CREATE INDEX image_live_visibility_name ON image (visibility, COALESCE(name, '')) WHERE status <> 'deleted';
CREATE INDEX image_tag_tag ON image_tag (tag, image_id);
DROP INDEX image_created;
DROP INDEX image_owner;
