//! What is in an object, in the shape `ffprobe -show_streams -show_format -of json` gives.
//!
//! Made in process from the boxes alone. Media data is seeked over and samples are summed, not
//! listed, so memory does not grow with the object.
//!
//! | field                      | differs from ffprobe                                           |
//! |----------------------------|----------------------------------------------------------------|
//! | `duration_ts`, `duration`  | sum of sample durations, not the time of the end               |
//! | `size`, `bit_rate`         | of the object itself, without a header that was lent           |
//! | `nb_frames`                | also where samples are in fragments                            |
//! | `level`, `profile`, ...    | from the codec configuration, also where ffprobe needs samples |
//! | `codecs`, `encryption`     | ours                                                           |
//! | `refs`                     | left out                                                       |
//!
//! A manifest's report has the tracks that it names; `size` is that of all of them.

mod chain;
mod codec;
mod manifest;
mod names;
mod rate;
mod report;
mod stream;
mod walk;

use std::fmt;
use std::io::{self, Read, Seek};

pub use report::{
    AudioReport, Disposition, Encryption, Format, FormatTags, Report, StreamReport, StreamTags,
    VideoReport,
};

use crate::cmaf::TrackHeader;
use crate::isobmff;
use crate::manifest::Fault;

pub use chain::Source;
pub use manifest::{Opened, manifest};

/// Probes the first `size` bytes of `source`.
///
/// `header` is what a lone media segment needs: its track's header, `ftyp` to `moov`. It is not used
/// where the object has one. `name` goes into the report as the file name.
///
/// An object that is still growing, or was cut, is described up to its last whole fragment.
///
/// # Errors
///
/// See [`ProbeError`].
pub fn probe(
    source: &mut (impl Read + Seek),
    size: u64,
    header: Option<&[u8]>,
    name: &str,
) -> Result<Report, ProbeError> {
    let header = header
        .map(TrackHeader::parse)
        .transpose()
        .map_err(ProbeError::Header)?;
    let facts = walk::walk(source, size, header)?;
    Ok(report::report(&facts, size, name))
}

/// Why there is no report.
#[derive(Debug)]
pub enum ProbeError {
    /// The object could not be read.
    Read(io::Error),
    /// It is no ISO media file at all.
    NotMedia,
    /// It is a media segment, and no header was given.
    HeaderMissing,
    /// The header that was given cannot be read.
    Header(isobmff::Error),
    /// The boxes break off before there is anything to report.
    Broken(isobmff::Error),
    /// The manifest cannot be read.
    Manifest(Fault),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("cannot read the object"),
            Self::NotMedia => f.write_str("this is no ISO media file (no ftyp, styp or moof)"),
            Self::HeaderMissing => f.write_str(
                "the object is a media segment, and the header of its track is not known",
            ),
            Self::Header(error) => write!(f, "cannot read the header of the track: {error}"),
            Self::Broken(error) => write!(f, "cannot read the object: {error}"),
            Self::Manifest(fault) => write!(f, "cannot read the manifest: {fault}"),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Header(error) | Self::Broken(error) => Some(error),
            Self::Manifest(fault) => Some(fault),
            Self::NotMedia | Self::HeaderMissing => None,
        }
    }
}

#[cfg(test)]
mod tests;
