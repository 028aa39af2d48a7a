-- What uploads were told about their media.

ALTER TABLE stream ADD COLUMN strict_media INTEGER NOT NULL DEFAULT 0; -- errors in media are refused
ALTER TABLE stream ADD COLUMN media_errors INTEGER NOT NULL DEFAULT 0; -- uploads with such errors
ALTER TABLE stream ADD COLUMN warnings     INTEGER NOT NULL DEFAULT 0; -- warnings given to uploads

ALTER TABLE upload ADD COLUMN findings TEXT;     -- JSON list, each rule once; NULL: nothing was found
ALTER TABLE fragment ADD COLUMN sequence INTEGER; -- mfhd.sequence_number

-- Manifests by the directory they lie in: every segment asks for those beside and above it.
CREATE INDEX object_manifests ON object (stream, rtrim(path, replace(path, '/', '')), path)
    WHERE current AND manifest;
