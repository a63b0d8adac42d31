-- Lists are walked in the order of creation: all, of a domain, below a parent, with a tag.
CREATE INDEX account_made ON account (created_at, id);
CREATE INDEX account_domain_made ON account (domain_id, created_at, id);
CREATE INDEX account_any_name ON account (name);
CREATE INDEX account_default_project ON account (default_project_id);
CREATE INDEX project_made ON project (is_domain, created_at, id);
CREATE INDEX project_domain_made ON project (domain_id, created_at, id);
DROP INDEX project_parent;
CREATE INDEX project_parent_made ON project (parent_id, created_at, id);
CREATE INDEX project_any_name ON project (name);
CREATE INDEX project_tag_tag ON project_tag (tag, project_id);
CREATE INDEX user_group_made ON user_group (created_at, id);
CREATE INDEX user_group_domain_made ON user_group (domain_id, created_at, id);
CREATE INDEX user_group_any_name ON user_group (name);
DROP INDEX group_member_user;
CREATE INDEX group_member_user_group ON group_member (user_id, group_id);
CREATE INDEX role_domain_made ON role (domain_id, created_at, id);
DROP INDEX assignment_target;
CREATE INDEX assignment_target_actor ON assignment (target_kind, target_id, actor_kind, actor_id, role_id, inherited);
CREATE INDEX assignment_role ON assignment (role_id, actor_kind, actor_id, target_kind, target_id, inherited);

-- Counts the committed changes that an answer about a token may depend on.
ALTER TABLE revocation_clock ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;
