-- What images of a server inherit beside the properties of its own image (JSON): its owner's names and roles when it was
-- made, and what its image asked of flavors.
ALTER TABLE servers ADD COLUMN origin TEXT NOT NULL DEFAULT '{}';
