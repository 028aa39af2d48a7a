-- Strict mode: sessions and their state, kept bytes of rejected and superseded uploads.

ALTER TABLE stream ADD COLUMN judged INTEGER NOT NULL DEFAULT 0; -- verdicts given in its sessions

ALTER TABLE upload ADD COLUMN judged INTEGER;  -- which of those it got, from 1
ALTER TABLE upload ADD COLUMN facts TEXT;      -- JSON: what the verdict depended on
ALTER TABLE upload ADD COLUMN rules TEXT NOT NULL DEFAULT '[]'; -- JSON list of the broken rules' ids
ALTER TABLE upload ADD COLUMN session TEXT;    -- number of its session, up to 2^64 - 1
ALTER TABLE upload ADD COLUMN run INTEGER;     -- and which run of it
ALTER TABLE upload ADD COLUMN extinf TEXT;     -- its X-EXTINF-duration

ALTER TABLE object ADD COLUMN begun INTEGER;   -- upload that began it
CREATE INDEX object_parts_of ON object (stream, path) WHERE part IS NOT NULL;

-- Runs of sessions. The newest one of a number is what uploads are judged by.
CREATE TABLE session (
    stream           INTEGER NOT NULL,
    number           TEXT    NOT NULL,
    run              INTEGER NOT NULL,
    version          INTEGER NOT NULL,         -- rises with every change, over all runs
    complete         INTEGER NOT NULL,
    opened           INTEGER NOT NULL,
    last             INTEGER NOT NULL,         -- last byte of the last upload that fitted in
    segments         INTEGER NOT NULL,
    expected_tracks  INTEGER,
    completed_tracks INTEGER NOT NULL,
    PRIMARY KEY (stream, number, run)
) WITHOUT ROWID;
CREATE INDEX session_listed ON session (stream, opened);

CREATE TABLE session_track (
    stream   INTEGER NOT NULL,
    number   TEXT    NOT NULL,
    run      INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    segments INTEGER NOT NULL,
    PRIMARY KEY (stream, number, run, name)
) WITHOUT ROWID;

-- Bytes of uploads that no path serves: kept/STREAM/UPLOAD.
CREATE TABLE kept (
    upload     INTEGER PRIMARY KEY,
    stream     INTEGER NOT NULL,
    path       TEXT    NOT NULL,
    superseded INTEGER NOT NULL,               -- else it was rejected
    size       INTEGER NOT NULL,
    at         INTEGER NOT NULL
);
CREATE INDEX kept_by_stream ON kept (stream, at, upload, size);
CREATE INDEX kept_by_path   ON kept (stream, path, at) WHERE superseded;
