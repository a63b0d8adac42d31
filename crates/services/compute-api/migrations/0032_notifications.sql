-- Notifications that were decided with what they tell of, and wait to be sent. Empty while notifications are off.
CREATE TABLE notifications (
    id TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    -- INFO or ERROR
    priority TEXT NOT NULL,
    body TEXT NOT NULL,
    -- the replica that sends it now
    owner TEXT,
    lease_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX notifications_order ON notifications (created_at, id);
