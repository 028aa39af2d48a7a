-- What people call a stream, and what the page asks for.

ALTER TABLE stream ADD COLUMN name TEXT;                       -- usable instead of the id
ALTER TABLE stream ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'; -- JSON list of texts
CREATE UNIQUE INDEX stream_by_name ON stream (name) WHERE name IS NOT NULL AND NOT deleted;
CREATE INDEX upload_by_path ON upload (stream, path, id);
