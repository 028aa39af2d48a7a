-- Identity: revocations, enrolments, tokens, what is known of each device.

ALTER TABLE certificate ADD COLUMN revoked    INTEGER;  -- when; NULL: it is not
ALTER TABLE certificate ADD COLUMN superseded INTEGER;  -- from when on it is refused, as another has taken its place
CREATE INDEX certificate_barred ON certificate (hierarchy)
    WHERE revoked IS NOT NULL OR superseded IS NOT NULL;
CREATE INDEX certificate_by_serial ON certificate (serial);

-- Bearer tokens besides the one in admin.token. Of the token itself only SHA-256 is kept.
CREATE TABLE token (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL,            -- admin, viewer
    hash       TEXT    NOT NULL UNIQUE,
    created    INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    ends       INTEGER NOT NULL
);

-- Leave to have one certificate signed under one name.
CREATE TABLE enrolment (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,
    stream      INTEGER,                    -- stream that was bound to the name with it
    hash        TEXT    NOT NULL UNIQUE,    -- SHA-256 of its token
    created     INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    ends        INTEGER NOT NULL,
    used        INTEGER,                    -- when
    used_from   TEXT,
    certificate TEXT,                       -- fingerprint of what was signed
    withdrawn   INTEGER                     -- when
);
CREATE INDEX enrolment_by_name ON enrolment (name);

-- What is known of a device besides its certificates. A device may be here that was never enrolled.
CREATE TABLE device (
    name        TEXT    PRIMARY KEY,
    seen        INTEGER,                    -- its last request
    address     TEXT,
    tls_version TEXT,
    client      TEXT,                       -- User-Agent
    uploads     INTEGER NOT NULL DEFAULT 0, -- counts, kept so that listing costs the same always
    errors      INTEGER NOT NULL DEFAULT 0  -- uploads with at least one
) WITHOUT ROWID;
INSERT INTO device (name, seen, uploads, errors)
    SELECT device, max(last_byte), count(*), sum(errors <> '[]')
    FROM upload WHERE device IS NOT NULL GROUP BY device;
CREATE TRIGGER device_upload AFTER INSERT ON upload WHEN NEW.device IS NOT NULL BEGIN
    INSERT INTO device (name, uploads, errors) VALUES (NEW.device, 1, NEW.errors <> '[]')
        ON CONFLICT (name) DO UPDATE SET uploads = uploads + 1, errors = errors + excluded.errors;
END;
CREATE TRIGGER device_error AFTER UPDATE OF errors ON upload
    WHEN NEW.device IS NOT NULL AND OLD.errors = '[]' AND NEW.errors <> '[]' BEGIN
    UPDATE device SET errors = errors + 1 WHERE name = NEW.device;
END;
CREATE INDEX stream_by_owner ON stream (owner) WHERE owner IS NOT NULL;

-- Numbers of the revocation lists that were made; the content follows from the certificates.
CREATE TABLE revocation_list (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    made   INTEGER NOT NULL
);

CREATE INDEX event_audit ON event (seq) WHERE kind = 'audit';

-- Connections and requests that were turned away. Ids rise; only the newest are kept.
CREATE TABLE refusal (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    count       INTEGER NOT NULL,           -- how many alike came within a moment
    remote      TEXT    NOT NULL,
    cause       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    subject     TEXT,                       -- of the certificate that the client showed
    issuer      TEXT,
    serial      TEXT,
    hello       TEXT,                       -- what the client offered, JSON
    request     TEXT                        -- of a request: JSON
);
CREATE INDEX event_refusal ON event (seq) WHERE kind = 'refusal';

-- Roots that were replaced.
CREATE TABLE old_root (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT    NOT NULL UNIQUE,
    hierarchy   TEXT    NOT NULL,
    pem         TEXT    NOT NULL,
    between_pem TEXT,                       -- for the key that replaced it, signed with its own
    until       INTEGER NOT NULL,           -- trusted until then
    switch      INTEGER,                    -- until then the server shows a certificate of this root
    list        BLOB                        -- its last revocation list, DER
);
