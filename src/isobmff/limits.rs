//! What bounds memory and work, whatever the input claims.

/// Longest box that is held whole (`moov`, `moof`). A CMAF header is about a kilobyte and a chunk's
/// `moof` a few; an hour-long single fragment of audio still fits.
pub const WHOLE_BOX: usize = 4 << 20;

/// Longest small box that is held whole (`ftyp`, `styp`, `prft`).
pub const SMALL_BOX: usize = 4 << 10;

/// Most boxes in one top-level box.
pub const BOXES: usize = 1 << 16;

/// Deepest nesting, the top level counted as one. The deepest path in use is ten long
/// (`moov > trak > mdia > minf > stbl > stsd > encv > sinf > schi > tenc`).
pub const DEPTH: usize = 32;

/// Most entries that are read from one `stsd`.
pub const SAMPLE_ENTRIES: usize = 16;

/// Most tracks that are read from one `moov`.
pub const TRACKS: usize = 64;

/// Longest codec configuration (`avcC`, `hvcC`, ...) that is read.
pub const CONFIGURATION: usize = 16 << 10;
