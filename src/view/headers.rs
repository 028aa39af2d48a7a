//! The CMAF headers of a stream: what its tracks are coded with.

use serde::Serialize;

use crate::catalog::Object;
use crate::cmaf::{TrackHeader, codec};
use crate::layout;
use crate::names::{ObjectPath, StreamId};
use crate::workdir::{self, Workdir};

/// Largest header that is read.
const MAX_HEADER: u64 = 1 << 20;

/// A CMAF header, as far as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Header {
    /// Object that begins with it.
    pub(crate) path: String,
    /// Bytes of it.
    pub(crate) size: u64,
    /// `video`, `audio`, `text` or `metadata`.
    pub(crate) kind: &'static str,
    /// RFC 6381 name of the coding, such as `avc1.4d401f`.
    pub(crate) codec: String,
    /// Ticks per second.
    pub(crate) timescale: u32,
    /// Pixels.
    pub(crate) width: Option<u16>,
    /// Pixels.
    pub(crate) height: Option<u16>,
    /// Hertz.
    pub(crate) sample_rate: Option<u32>,
    pub(crate) channels: Option<u16>,
    pub(crate) encrypted: bool,
}

/// The headers that are known of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(Vec<Header>);

impl Headers {
    /// Reads the headers that these objects begin with; one that cannot be read is left out. Blocks.
    pub(crate) fn read(workdir: &Workdir, stream: StreamId, objects: &[Object]) -> Self {
        let read = |object: &Object| read(workdir, stream, object);
        Self(objects.iter().filter_map(read).collect())
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Header] {
        &self.0
    }

    /// The header of a path's track: its own, else of those in its directory, or in the nearest directory
    /// above that has any, the one with the most similar name.
    pub(crate) fn of(&self, path: &str) -> Option<&Header> {
        if let Some(own) = self.0.iter().find(|header| header.path == path) {
            return Some(own);
        }
        let mut below = path;
        loop {
            let directory = below.rfind('/').map_or("", |slash| &below[..=slash]);
            let best = self
                .0
                .iter()
                .filter(|header| header.path.starts_with(directory))
                .rev()
                .max_by_key(|header| layout::likeness(&header.path, path));
            if best.is_some() || directory.is_empty() {
                return best;
            }
            below = directory.strip_suffix('/').unwrap_or_default();
        }
    }
}

fn read(workdir: &Workdir, stream: StreamId, object: &Object) -> Option<Header> {
    let path = ObjectPath::parse(&object.path).ok()?;
    let size = object.header_size.min(MAX_HEADER);
    let held = workdir.open_object(stream, &path).ok()??;
    let bytes = workdir::read_range(&held.file, 0, usize::try_from(size).ok()?).ok()?;
    let header = TrackHeader::parse(&bytes).ok()?;
    let track = header.tracks.first()?;
    let entry = track.entries.first();
    let kind = match &track.handler.0 {
        b"vide" | b"pict" => "video",
        b"soun" => "audio",
        b"text" | b"subt" | b"sbtl" | b"clcp" => "text",
        _ => "metadata",
    };
    let visual = entry.and_then(|entry| entry.visual.as_ref());
    let audio = entry.and_then(|entry| entry.audio);
    Some(Header {
        path: object.path.clone(),
        size: object.header_size,
        kind,
        codec: entry.map(codec::codecs).unwrap_or_default(),
        timescale: track.timescale,
        width: visual.map(|visual| visual.width),
        height: visual.map(|visual| visual.height),
        sample_rate: audio.map(|audio| audio.sample_rate),
        channels: audio.map(|audio| audio.channels),
        encrypted: entry.is_some_and(|entry| entry.protection.is_some()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str) -> Header {
        Header {
            path: path.to_owned(),
            size: 1,
            kind: "video",
            codec: String::new(),
            timescale: 1,
            width: None,
            height: None,
            sample_rate: None,
            channels: None,
            encrypted: false,
        }
    }

    #[test]
    fn a_segment_belongs_to_the_header_beside_it() {
        let headers = Headers(
            [
                "init-stream0.m4s",
                "init-stream1.m4s",
                "session_1/video/video.init",
                "session_2/init-stream0.m4s",
                "session_2/init-stream1.m4s",
            ]
            .map(header)
            .into(),
        );
        for (path, expected) in [
            ("chunk-stream0-00001.m4s", "init-stream0.m4s"),
            ("chunk-stream1-00001.m4s", "init-stream1.m4s"),
            ("init-stream1.m4s", "init-stream1.m4s"),
            (
                "session_2/chunk-stream1-00001.m4s",
                "session_2/init-stream1.m4s",
            ),
            (
                "session_1/video/segment_1001.m4s",
                "session_1/video/video.init",
            ),
        ] {
            let found = headers.of(path).map(|header| header.path.as_str());
            assert_eq!(found, Some(expected), "{path}");
        }
        assert!(Headers::default().of("a").is_none());
    }
}
