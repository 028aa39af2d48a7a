//! Streams at a glance.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Headers;
use crate::Result;
use crate::catalog::{Catalog, Object, Stream, StreamCounts};
use crate::clock::Timestamp;
use crate::live::{Activity, Hub, SLOT_SECONDS};
use crate::names::{Interface, StreamId, StreamName};
use crate::workdir::{self, Workdir};

/// Headers of a stream that are looked at for its codings.
const HEADERS: usize = 8;
/// A stream is live for so long after its last byte: sources push a segment every few seconds.
const LIVE: Duration = Duration::from_secs(20);

/// A stream at a glance.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) id: StreamId,
    pub(crate) name: Option<StreamName>,
    pub(crate) tags: Vec<String>,
    pub(crate) interface: Interface,
    pub(crate) strict_mode: bool,
    pub(crate) track_name: Option<String>,
    /// Name of the device it belongs to.
    pub(crate) owner: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) last_upload: Option<Timestamp>,
    /// `live`: something is being uploaded, or was within 20 s; `idle`: not; `empty`: never yet.
    pub(crate) state: &'static str,
    /// Uploads under way.
    pub(crate) running: usize,
    pub(crate) counts: Counts,
    /// RFC 6381 names of what its tracks are coded with.
    pub(crate) codecs: Vec<String>,
    pub(crate) activity: Series,
}

/// What a stream has seen and holds.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) uploads: i64,
    pub(crate) bytes: i64,
    pub(crate) manifests: i64,
    pub(crate) segments: i64,
    pub(crate) errors: i64,
}

/// What came over the last five minutes, in slots, oldest first. The last one is still filling.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) slot_seconds: u64,
    pub(crate) bytes: Vec<u64>,
    pub(crate) uploads: Vec<u32>,
}

impl Series {
    fn of(activity: &Activity, stream: StreamId) -> (Self, usize) {
        let (slots, running) = activity.of(stream);
        let series = Self {
            slot_seconds: SLOT_SECONDS,
            bytes: slots.iter().map(|slot| slot.bytes).collect(),
            uploads: slots.iter().map(|slot| slot.uploads).collect(),
        };
        (series, running)
    }

    /// Bits per second over the last minute of whole slots.
    pub(crate) fn bit_rate(&self) -> u64 {
        let whole = self.bytes.iter().rev().skip(1);
        let slots = 60 / self.slot_seconds.max(1);
        let bytes: u64 = whole.take(usize::try_from(slots).unwrap_or(1)).sum();
        bytes.saturating_mul(8) / 60
    }
}

/// These streams at a glance.
pub(crate) async fn read(
    catalog: &Catalog,
    workdir: &Workdir,
    live: &Hub,
    streams: Vec<Arc<Stream>>,
) -> Result<Vec<Overview>> {
    let ids: Vec<StreamId> = streams.iter().map(|stream| stream.id).collect();
    let read: Vec<(StreamCounts, Vec<Object>)> = catalog
        .read(move |tables| {
            ids.iter()
                .map(|id| Ok((tables.counts(*id)?, tables.headers(*id, "", HEADERS)?)))
                .collect()
        })
        .await?;
    let (workdir, live) = (workdir.clone(), live.clone());
    workdir::blocking(move || {
        Ok(streams
            .iter()
            .zip(read)
            .map(|(stream, (counts, objects))| {
                let headers = Headers::read(&workdir, stream.id, &objects);
                overview(stream, &counts, &headers, live.activity())
            })
            .collect())
    })
    .await
}

fn overview(
    stream: &Stream,
    counts: &StreamCounts,
    headers: &Headers,
    activity: &Activity,
) -> Overview {
    let (series, running) = Series::of(activity, stream.id);
    let mut codecs: Vec<String> = Vec::new();
    for header in headers.all() {
        if !header.codec.is_empty() && !codecs.contains(&header.codec) {
            codecs.push(header.codec.clone());
        }
    }
    Overview {
        id: stream.id,
        name: stream.name.clone(),
        tags: stream.tags.clone(),
        interface: stream.interface,
        strict_mode: stream.strict_mode,
        track_name: stream.track_name.clone(),
        owner: stream.owner.clone(),
        created: stream.created,
        last_upload: counts.last_upload,
        state: match counts.last_upload {
            _ if running > 0 => "live",
            None => "empty",
            Some(last) if last.elapsed() < LIVE => "live",
            Some(_) => "idle",
        },
        running,
        counts: Counts {
            uploads: counts.uploads,
            bytes: counts.bytes,
            manifests: counts.manifests,
            segments: counts.objects,
            errors: counts.problems,
        },
        codecs,
        activity: series,
    }
}

/// Whether a stream is one that the searcher means: every word is in its name, a tag, its device's name,
/// its interface, or is its id.
pub(crate) fn is_meant(stream: &Stream, words: &[String]) -> bool {
    let id = stream.id.to_string();
    let texts: Vec<String> = stream
        .name
        .iter()
        .map(|name| name.as_str())
        .chain(stream.tags.iter().map(String::as_str))
        .chain(stream.owner.as_deref())
        .chain([stream.interface.as_str()])
        .map(str::to_lowercase)
        .collect();
    words
        .iter()
        .all(|word| *word == id || texts.iter().any(|text| text.contains(word.as_str())))
}

/// The words of a search, as [`is_meant`] takes them.
pub(crate) fn words(search: &str) -> Vec<String> {
    search.split_whitespace().map(str::to_lowercase).collect()
}
