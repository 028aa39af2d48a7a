//! One session of a camera, from its first manifest to its last.
//!
//! | interface | before | each track, over a connection of its own | after |
//! |---|---|---|---|
//! | `dash` | `session_N/index.mpd`, dynamic | `T/T.init`, `T/segment_1001.m4s`, … | the MPD, static |
//! | `hls` | `session_N/index.m3u8`, `T/index.m3u8` without segments | `T/T.init`, segments with `X-EXTINF-duration` | `T/index.m3u8` |
//! | `cmaf-ingest` | | `session_N/T/T.init`, segments; or all to `Streams(T.cmfv)` | |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::body::{Content, Growing};
use super::cut::{self, Chunk, Cutter, Lengths, Pace};
use super::manifest::{self, FIRST_NUMBER, Sent, Timeline};
use super::misbehave::{Fault, Faults};
use super::pack::{self, Marks};
use super::source::{Feed, Track};
use super::upload::{Broken, Camera, Object, Role, Uploader};
use crate::names::Interface;
use crate::{Error, Result};

const MPD: &str = "application/dash+xml";
const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/iso.segment";

/// How objects are called on interface 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Naming {
    /// A name for each segment, as the Matter profile has them.
    Matter,
    /// All of a track to one address, `Streams(NAME.cmfv)`.
    Streams,
}

/// What is the same for every session of every camera.
pub(super) struct Plan {
    pub(super) interface: Interface,
    pub(super) naming: Naming,
    pub(super) segment: Duration,
    pub(super) chunk: Option<Duration>,
    pub(super) whole: Option<Duration>,
    /// In real time, or as fast as it goes.
    pub(super) is_paced: bool,
    pub(super) faults: Faults,
}

/// One session.
pub(super) struct Session {
    pub(super) plan: Arc<Plan>,
    pub(super) camera: Arc<Camera>,
    pub(super) number: u64,
    pub(super) tracks: Vec<Track>,
}

/// When a session began, by both clocks.
#[derive(Clone, Copy)]
struct Began {
    here: Instant,
    wall: OffsetDateTime,
}

impl Session {
    /// Sends all of it; ends early, but properly, once `stop` is true.
    ///
    /// # Errors
    /// The source cannot be read on. What could not be sent is in the report.
    pub(super) async fn run(self, feeds: Vec<Feed>, stop: watch::Receiver<bool>) -> Result<()> {
        let session = Arc::new(self);
        let camera = &session.camera;
        let began = Began {
            here: Instant::now(),
            wall: OffsetDateTime::now_utc(),
        };
        let mut manifests = Uploader::new(Arc::clone(camera));
        session.open(&mut manifests, began).await;
        let mut running = JoinSet::new();
        for (place, feed) in feeds.into_iter().enumerate() {
            let sender = Sender::new(Arc::clone(&session), place, began);
            let stop = stop.clone();
            running.spawn(async move { (place, sender.run(feed, stop).await) });
        }
        let mut timelines = vec![Timeline::default(); session.tracks.len()];
        let mut failure = None;
        while let Some(ended) = running.join_next().await {
            match ended {
                Ok((place, (timeline, ended))) => {
                    if let Some(mine) = timelines.get_mut(place) {
                        *mine = timeline;
                    }
                    failure = failure.or(ended.err());
                }
                Err(e) => {
                    failure =
                        failure.or(Some(Error::internal("a track was not sent to its end", e)))
                }
            }
        }
        session.close(&mut manifests, &timelines, began).await;
        manifests.finish().await;
        camera.report.session(camera.index);
        failure.map_or(Ok(()), Err)
    }

    fn has(&self, fault: Fault) -> bool {
        self.plan.faults.has(fault)
    }

    fn sent<'a>(&'a self, timelines: &'a [Timeline]) -> Vec<Sent<'a>> {
        let pairs = self.tracks.iter().zip(timelines);
        pairs
            .map(|(track, timeline)| Sent { track, timeline })
            .collect()
    }

    fn text(&self, name: &str, content_type: &'static str, text: String) -> Object {
        Object {
            path: format!("session_{}/{name}", self.number),
            content_type,
            fields: Vec::new(),
            content: Content::Whole(text.into()),
            role: Role::Manifest,
            broken: None,
        }
    }

    fn mpd(&self, timelines: &[Timeline], began: Began, is_over: bool) -> Object {
        let text = manifest::mpd(
            &self.sent(timelines),
            self.plan.segment,
            began.wall,
            is_over,
        );
        self.text("index.mpd", MPD, text)
    }

    fn playlist(&self, sent: &Sent<'_>, is_over: bool) -> Object {
        let text = manifest::media_playlist(sent, self.plan.segment, is_over);
        self.text(&format!("{}/index.m3u8", sent.track.name), PLAYLIST, text)
    }

    /// What comes before the media.
    async fn open(&self, manifests: &mut Uploader, began: Began) {
        let empty = vec![Timeline::default(); self.tracks.len()];
        if self.has(Fault::MissingManifest) {
            return;
        }
        match self.plan.interface {
            Interface::CmafIngest => {}
            Interface::Dash => {
                manifests.put(self.mpd(&empty, began, false)).await;
                if self.has(Fault::EarlyStaticMpd) {
                    manifests.put(self.mpd(&empty, began, true)).await;
                }
            }
            Interface::Hls => {
                let text = manifest::master(&self.sent(&empty));
                manifests.put(self.text("index.m3u8", PLAYLIST, text)).await;
                for sent in self.sent(&empty) {
                    let mut timeline = Timeline::default();
                    if self.has(Fault::InitialPlaylistWithSegments) {
                        timeline.add(0, cut::ticks(self.plan.segment, sent.track.timescale), 0);
                    }
                    let is_over = self.has(Fault::InitialPlaylistWithSegments);
                    let sent = Sent {
                        track: sent.track,
                        timeline: &timeline,
                    };
                    manifests.put(self.playlist(&sent, is_over)).await;
                }
            }
        }
    }

    /// What comes after it.
    async fn close(&self, manifests: &mut Uploader, timelines: &[Timeline], began: Began) {
        match self.plan.interface {
            Interface::CmafIngest => {}
            Interface::Dash => {
                if self.has(Fault::LateDynamicMpd) {
                    manifests.put(self.mpd(timelines, began, false)).await;
                }
                manifests.put(self.mpd(timelines, began, true)).await;
            }
            Interface::Hls => {
                for sent in self.sent(timelines) {
                    manifests.put(self.playlist(&sent, true)).await;
                }
            }
        }
    }

    /// Where the objects of a track lie, without slash at the end.
    fn directory(&self, track: &str) -> String {
        format!("session_{}/{track}", self.number)
    }
}

/// Sends one track.
struct Sender {
    session: Arc<Session>,
    place: usize,
    uploader: Uploader,
    began: Began,
    timeline: Timeline,
    /// Of the next fragment.
    sequence: u32,
    /// Segments begun so far.
    segments: u64,
    /// Ticks that everything from here on is moved by, for faults.
    moved: i64,
}

impl Sender {
    fn new(session: Arc<Session>, place: usize, began: Began) -> Self {
        let uploader = Uploader::new(Arc::clone(&session.camera));
        Self {
            session,
            place,
            uploader,
            began,
            timeline: Timeline::default(),
            sequence: 1,
            segments: 0,
            moved: 0,
        }
    }

    async fn run(mut self, feed: Feed, mut stop: watch::Receiver<bool>) -> (Timeline, Result<()>) {
        let ended = self.send_all(feed, &mut stop).await;
        self.uploader.finish().await;
        (self.timeline, ended)
    }

    async fn send_all(&mut self, feed: Feed, stop: &mut watch::Receiver<bool>) -> Result<()> {
        let session = Arc::clone(&self.session);
        let Some(track) = session.tracks.get(self.place) else {
            return Ok(());
        };
        let plan = &session.plan;
        let pace = if plan.is_paced {
            Pace::Real(self.began.here)
        } else {
            Pace::Source
        };
        let lengths = Lengths {
            timescale: track.timescale,
            segment: plan.segment,
            chunk: plan.chunk,
            whole: plan.whole,
        };
        let mut cutter = Cutter::new(feed, pace, lengths);
        let is_late = session.has(Fault::LateInit);
        if !is_late {
            self.send_header(track).await;
        }
        while let Some(chunk) = next(&mut cutter, stop).await? {
            if plan.chunk.is_some() {
                self.send_growing(track, chunk, &mut cutter, stop).await?;
            } else {
                self.send_whole(track, chunk).await;
            }
            if is_late && self.segments == 1 {
                self.send_header(track).await;
            }
        }
        Ok(())
    }

    async fn send_header(&mut self, track: &Track) {
        let session = Arc::clone(&self.session);
        if session.has(Fault::MissingInit) {
            return;
        }
        let mut bytes = pack::header(track);
        if session.has(Fault::NoCmafBrand) {
            bytes = super::deform::without_cmaf_brands(&bytes);
        }
        let object = Object {
            path: match session.plan.naming {
                Naming::Matter => format!("{}/{}.init", session.directory(&track.name), track.name),
                Naming::Streams => streams_name(track),
            },
            content_type: if session.plan.naming == Naming::Streams {
                mime(track)
            } else {
                "video/mp4"
            },
            fields: Vec::new(),
            content: Content::Whole(bytes),
            role: Role::Header,
            broken: None,
        };
        let again = session.has(Fault::DuplicateInit).then(|| object.clone());
        self.uploader.put(object).await;
        if let Some(again) = again {
            self.uploader.put(again).await;
        }
    }

    /// A segment that is one chunk.
    async fn send_whole(&mut self, track: &Track, chunk: Chunk) {
        let (time, end) = (chunk.time(), chunk.end());
        let bytes = self.pack(track, chunk);
        self.timeline.add(time, end, super::len(&bytes));
        let mut object = self.segment(track, end, Content::Whole(bytes));
        if self.session.plan.interface == Interface::Hls {
            let length = cut::duration(end.saturating_sub(time), track.timescale);
            self.add_extinf(&mut object, length);
        }
        self.uploader.put(object).await;
    }

    /// A segment whose chunks are sent as they are made, the first of which is here.
    async fn send_growing(
        &mut self,
        track: &Track,
        first: Chunk,
        cutter: &mut Cutter,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<()> {
        let growing = Arc::new(Growing::default());
        let (time, mut end, mut is_over) = (first.time(), first.end(), first.ends);
        let bytes = self.pack(track, first);
        let mut count = super::len(&bytes);
        growing.push(bytes);
        let nominal = time.saturating_add(cut::ticks(self.session.plan.segment, track.timescale));
        let object = self.segment(track, nominal, Content::Growing(Arc::clone(&growing)));
        let mut uploader = std::mem::replace(
            &mut self.uploader,
            Uploader::new(Arc::clone(&self.session.camera)),
        );
        let make = async {
            let mut ended = Ok(());
            while !is_over {
                match next(cutter, stop).await {
                    Ok(Some(chunk)) => {
                        (end, is_over) = (chunk.end(), chunk.ends);
                        let bytes = self.pack(track, chunk);
                        count = count.saturating_add(super::len(&bytes));
                        growing.push(bytes);
                    }
                    Ok(None) => is_over = true,
                    Err(e) => {
                        is_over = true;
                        ended = Err(e);
                    }
                }
            }
            growing.finish();
            ended
        };
        let (ended, ()) = tokio::join!(make, uploader.put(object));
        self.uploader = uploader;
        self.timeline.add(time, end, count);
        ended
    }

    /// The bytes of a chunk, with the faults that are asked for.
    fn pack(&mut self, track: &Track, mut chunk: Chunk) -> Bytes {
        let session = Arc::clone(&self.session);
        let number = self.segments + u64::from(chunk.begins);
        self.segments = number;
        let is_second = number == 2 && chunk.begins;
        let second = i64::from(track.timescale);
        if is_second && session.has(Fault::TfdtGap) {
            self.moved = second;
        }
        if is_second && session.has(Fault::TfdtOverlap) {
            self.moved = -second / 2;
        }
        for sample in &mut chunk.samples {
            sample.time = sample.time.saturating_add_signed(self.moved);
        }
        if is_second
            && session.has(Fault::FirstSampleNotSync)
            && let Some(first) = chunk.samples.first_mut()
        {
            first.flags = super::deform::NOT_SYNC;
        }
        let captured = cut::duration(chunk.time(), track.timescale);
        let captured = (self.began.wall + captured).unix_timestamp_nanos() / 1000;
        let marks = Marks {
            sequence: self.sequence,
            captured: i64::try_from(captured)
                .ok()
                .filter(|_| !session.has(Fault::MissingPrft)),
        };
        if !session.has(Fault::RepeatedSequence) {
            self.sequence = self.sequence.wrapping_add(1);
        }
        let bytes = pack::chunk(&chunk, marks);
        if !is_second {
            return bytes;
        }
        [
            Fault::WrongTrackId,
            Fault::NoDefaultBase,
            Fault::TrunPastMdat,
            Fault::EmptyBody,
        ]
        .into_iter()
        .filter(|fault| session.has(*fault))
        .fold(bytes, |bytes, fault| super::deform::chunk(&bytes, fault))
    }

    /// The object of the segment that has just been begun, and ends at `end`.
    fn segment(&self, track: &Track, end: u64, content: Content) -> Object {
        let session = &self.session;
        let plan = &session.plan;
        let is_second = self.segments == 2;
        let has = |fault| is_second && session.has(fault);
        let number = FIRST_NUMBER.saturating_add(self.segments).saturating_sub(1);
        let mut directory = session.directory(&track.name);
        if has(Fault::WrongTrackName) {
            directory = session.directory(&format!("{}-2", track.name));
        }
        if has(Fault::WrongSession) {
            directory = format!("session_{}/{}", session.number + 1, track.name);
        }
        let name = if has(Fault::BadSegmentName) {
            "seg-"
        } else {
            "segment_"
        };
        let path = match plan.naming {
            Naming::Matter => format!("{directory}/{name}{number:04}.m4s"),
            Naming::Streams => streams_name(track),
        };
        let mut fields = Vec::new();
        if has(Fault::ContentRange) {
            fields.push((
                hyper::header::CONTENT_RANGE,
                HeaderValue::from_static("bytes 0-99/*"),
            ));
        }
        if has(Fault::ContentEncoding) {
            fields.push((
                hyper::header::CONTENT_ENCODING,
                HeaderValue::from_static("br"),
            ));
        }
        let broken = match () {
            () if has(Fault::TruncatedBody) => Some(Broken::Truncated),
            () if has(Fault::StalledBody) => Some(Broken::Stalled),
            () => None,
        };
        let made = plan
            .is_paced
            .then(|| self.began.here + cut::duration(end, track.timescale));
        Object {
            path,
            content_type: if plan.naming == Naming::Streams {
                mime(track)
            } else {
                SEGMENT
            },
            fields,
            content,
            role: Role::Media(made),
            broken,
        }
    }

    fn add_extinf(&self, object: &mut Object, length: Duration) {
        let is_second = self.segments == 2;
        let has = |fault| is_second && self.session.has(fault);
        if has(Fault::MissingExtinf) {
            return;
        }
        let text = if has(Fault::BadExtinf) {
            "four".to_owned()
        } else {
            manifest::decimal(length)
        };
        if let Ok(value) = HeaderValue::from_str(&text) {
            object
                .fields
                .push((HeaderName::from_static("x-extinf-duration"), value));
        }
    }
}

/// The next chunk, or, when it is time to stop, what there is of it.
async fn next(cutter: &mut Cutter, stop: &mut watch::Receiver<bool>) -> Result<Option<Chunk>> {
    tokio::select! {
        biased;
        // If nobody can say it any more, it goes on.
        Ok(_) = stop.wait_for(|stop| *stop) => Ok(cutter.flush()),
        chunk = cutter.next() => chunk,
    }
}

fn streams_name(track: &Track) -> String {
    format!(
        "Streams({}.{})",
        track.name,
        if track.is_video() { "cmfv" } else { "cmfa" }
    )
}

fn mime(track: &Track) -> &'static str {
    if track.is_video() {
        "video/mp4"
    } else {
        "audio/mp4"
    }
}
