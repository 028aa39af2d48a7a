//! What CMAF boxes mean: the header of a track, and the fragments of a body as they arrive.
//!
//! ```text
//! body:  ftyp moov | prft moof mdat | moof mdat | styp sidx moof mdat | mfra
//!        header    | fragment       | fragment  | fragment            | trailer
//! ```
//!
//! Every byte of a CMAF body belongs to exactly one of these. This module knows no HTTP and no disk.

pub mod check;
pub mod codec;
mod fragment;
mod header;
mod ingest;
#[cfg(test)]
pub(crate) mod testing;
mod time;

pub use fragment::{Defaults, Sample, TrafSummary, samples};
pub use header::{SampleTable, Track, TrackHeader};
pub use ingest::{BodyScanner, FragmentSeen, HeaderSeen, ScanEvent, Start};
pub use time::{Ticks, Timescale};
