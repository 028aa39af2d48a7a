-- Times are microseconds since 1970 by the server's clock. Booleans are 0 or 1.

CREATE TABLE stream (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    interface   TEXT    NOT NULL,
    strict_mode INTEGER NOT NULL,
    track_name  TEXT,
    owner       TEXT,                       -- name of the device it belongs to
    created     INTEGER NOT NULL,
    deleted     INTEGER NOT NULL DEFAULT 0, -- what belongs to it is being removed
    last_upload INTEGER,
    uploads     INTEGER NOT NULL DEFAULT 0, -- counts, kept so that listing costs the same always
    bytes       INTEGER NOT NULL DEFAULT 0,
    manifests   INTEGER NOT NULL DEFAULT 0,
    objects     INTEGER NOT NULL DEFAULT 0, -- without manifests
    problems    INTEGER NOT NULL DEFAULT 0
);

-- One row per request that tried to store something. Ids rise in the order of commits.
CREATE TABLE upload (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    stream       INTEGER NOT NULL,
    path         TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    note         TEXT,                      -- what happened to it besides: retransmission, empty, …
    object       INTEGER,                   -- object its bytes are part of
    size         INTEGER NOT NULL,
    http_status  INTEGER,
    errors       TEXT    NOT NULL,          -- JSON list of sentences
    method       TEXT    NOT NULL,
    target       TEXT    NOT NULL,
    headers      TEXT    NOT NULL,          -- JSON list of [name, value]
    framing      TEXT    NOT NULL,
    http_version TEXT    NOT NULL,
    tls_version  TEXT    NOT NULL,
    cipher       TEXT    NOT NULL,
    connection   INTEGER NOT NULL,
    remote       TEXT    NOT NULL,
    peer         TEXT,                      -- fingerprint of the client certificate
    device       TEXT,                      -- its name
    first_byte   INTEGER NOT NULL,
    last_byte    INTEGER NOT NULL
);
CREATE INDEX upload_by_stream ON upload (stream, id);
CREATE INDEX upload_by_object ON upload (object) WHERE object IS NOT NULL;
CREATE INDEX upload_refused   ON upload (stream, id) WHERE status = 'refused';
CREATE INDEX upload_by_device ON upload (stream, device) WHERE status = 'accepted' AND device IS NOT NULL;

-- What lies, or lay, at a path. A track has one row per part.
CREATE TABLE object (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    stream      INTEGER NOT NULL,
    path        TEXT    NOT NULL,
    current     INTEGER NOT NULL,           -- the path serves it
    manifest    INTEGER NOT NULL,
    upload      INTEGER NOT NULL,           -- last upload that changed it
    size        INTEGER NOT NULL,
    whole       INTEGER NOT NULL,
    growing     INTEGER NOT NULL DEFAULT 0, -- on its way, not current yet
    part        INTEGER,                    -- number of the part, from 1; NULL: not a track
    header_size INTEGER NOT NULL DEFAULT 0,
    media_end   INTEGER NOT NULL DEFAULT 0, -- end of the last fragment
    end_time    INTEGER,                    -- greatest end of a fragment in ticks
    stored      INTEGER NOT NULL
);
CREATE UNIQUE INDEX object_current ON object (stream, path) WHERE current;
CREATE INDEX object_by_stream ON object (stream);
CREATE INDEX object_headers ON object (stream, path) WHERE current AND header_size > 0;
CREATE INDEX object_growing ON object (id) WHERE growing;
CREATE INDEX object_parts ON object (id) WHERE current AND part IS NOT NULL;
CREATE INDEX object_listed ON object (stream, manifest, upload) WHERE current;

CREATE TABLE fragment (
    object       INTEGER NOT NULL,
    offset       INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    media_offset INTEGER NOT NULL,          -- payload of its media data, from the object's start
    media_size   INTEGER NOT NULL,
    decode_time  INTEGER,                   -- ticks
    duration     INTEGER NOT NULL,          -- ticks
    sync         INTEGER NOT NULL,
    wall_clock   INTEGER,                   -- from its prft
    upload       INTEGER NOT NULL,
    PRIMARY KEY (object, offset)
) WITHOUT ROWID;
CREATE INDEX fragment_by_time ON fragment (object, decode_time);

-- Paths whose newest upload broke a rule.
CREATE TABLE problem (
    stream INTEGER NOT NULL,
    path   TEXT    NOT NULL,
    upload INTEGER NOT NULL,
    errors TEXT    NOT NULL,
    PRIMARY KEY (stream, path)
) WITHOUT ROWID;
CREATE INDEX problem_listed ON problem (stream, upload);

CREATE TABLE event (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    stream INTEGER,
    path   TEXT,
    upload INTEGER,
    detail TEXT
);

-- Every certificate issued here, and every other one that a peer showed.
CREATE TABLE certificate (
    fingerprint TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    serial      TEXT    NOT NULL,
    hierarchy   TEXT    NOT NULL,
    issued      INTEGER,                    -- NULL: not issued here
    issued_by   TEXT,
    not_after   INTEGER,
    der         BLOB    NOT NULL
) WITHOUT ROWID;
CREATE INDEX certificate_by_name ON certificate (hierarchy, name);
