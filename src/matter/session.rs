//! Sessions: the order in which a camera uploads what belongs together.
//!
//! ```text
//! DASH   dynamic MPD ─► per track: init ─► segments … ─► static MPD
//! HLS    multivariant playlist ─► per track: initial playlist ─► init ─► segments … ─► final playlist
//! ```
//!
//! The number in the path is the session. It opens with its first manifest. The same manifest, once the
//! session is complete or nothing has come for a while, opens the next run of it: a camera that was
//! started again counts from 1 again. Several sessions may be open at once.
//!
//! [`judge`] looks at one upload, in the session and the track that its path names, and says which rules
//! it breaks or what it changes; never both.

use crate::clock::Timestamp;
use crate::finding::Finding;
use crate::names::{Interface, ObjectPath};

use super::facts::{Facts, Manifest};
use super::names::{Extension, Name};
use super::rules::{self, broken};

/// A run of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// From 1.
    pub(crate) run: i64,
    pub(crate) complete: bool,
    /// Last byte of the manifest that opened it.
    pub(crate) opened: Timestamp,
    /// Last byte of the last upload that fitted in.
    pub(crate) last: Timestamp,
    /// Uploads of segments.
    pub(crate) segments: u64,
    /// Tracks that the multivariant playlist names.
    pub(crate) expected_tracks: Option<u64>,
    /// Tracks whose final playlist has come.
    pub(crate) completed_tracks: u64,
    /// Changes that it has seen, over all runs.
    pub(crate) version: i64,
}

/// A track within a run that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) state: TrackState,
    /// Uploads of segments.
    pub(crate) segments: u64,
}

/// How far a track has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrackState {
    InitialPlaylist,
    Init,
    Segments,
    Completed,
}

impl TrackState {
    /// As clients of the Matter project's test server know it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::InitialPlaylist => "initial_playlist_uploaded",
            Self::Init => "init_uploaded",
            Self::Segments => "segments_uploading",
            Self::Completed => "completed",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        [
            Self::InitialPlaylist,
            Self::Init,
            Self::Segments,
            Self::Completed,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// An upload to be judged.
#[derive(Clone, Copy)]
pub(crate) struct Upload<'u> {
    pub(crate) path: &'u ObjectPath,
    /// Last byte.
    pub(crate) at: Timestamp,
    pub(crate) facts: &'u Facts,
}

/// What holds before it: the newest run of its session, and its track in that; `None` where there is
/// none.
#[derive(Clone, Copy, Default)]
pub(crate) struct Standing<'s> {
    pub(crate) session: Option<&'s Session>,
    pub(crate) track: Option<&'s Track>,
}

/// What an upload comes to.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Broken rules, in the order of their table.
    pub(crate) findings: Vec<Finding>,
    /// What holds after it, where that is something else than before.
    pub(crate) change: Option<Change>,
}

/// The session and the track that an upload's path names, after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) session: Session,
    /// `None` leaves the track as it is.
    pub(crate) track: Option<Track>,
}

/// The rules that path, header and connection break: what is known before the body.
pub(crate) fn judge_alone(path: &ObjectPath, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = Name::of(path);
    let manifest_of = match name {
        Name::DashManifest { .. } | Name::Misplaced(Extension::Mpd) => Some(Interface::Dash),
        Name::Multivariant { .. }
        | Name::MediaPlaylist { .. }
        | Name::Misplaced(Extension::M3u8) => Some(Interface::Hls),
        _ => None,
    };
    if manifest_of.is_some_and(|interface| interface != facts.interface) {
        findings.push(broken(&rules::MANIFEST_KIND, &[]));
    }
    match name {
        Name::Misplaced(Extension::Mpd) => findings.push(broken(&rules::MPD_PATH, &[])),
        Name::Misplaced(Extension::M3u8) => findings.push(broken(&rules::PLAYLIST_PATH, &[])),
        Name::Misplaced(Extension::Init | Extension::M4s) => {
            findings.push(broken(&rules::OBJECT_PATH, &[]));
        }
        Name::Interface1 { .. } if facts.interface != Interface::CmafIngest => {
            let extension = path.extension().unwrap_or_default();
            findings.push(broken(&rules::EXTENSION, &[("extension", extension)]));
        }
        Name::Other(extension) => {
            findings.push(broken(&rules::EXTENSION, &[("extension", extension)]));
        }
        Name::Segment { .. } if facts.interface == Interface::Hls => {
            findings.extend(judge_extinf(facts.extinf.as_deref()));
        }
        _ => {}
    }
    if let Some(expected) = facts.track_name.as_deref()
        && let Some(track) = other_track(name, expected)
    {
        let found = [("track", track), ("expected", expected)];
        findings.push(broken(&rules::TRACK_NAME, &found));
    }
    if !facts.certificate {
        findings.push(broken(&rules::CERTIFICATE, &[]));
    }
    rules::sort(&mut findings);
    findings
}

/// The track that the path names, where that is not the expected one.
fn other_track<'p>(name: Name<'p>, expected: &str) -> Option<&'p str> {
    match name {
        // The source chooses: the track's name is that of its file, or of its segments' directory.
        Name::Interface1 { name, directory } => {
            (name != expected && directory != Some(expected)).then_some(name)
        }
        _ => name.track().filter(|track| *track != expected),
    }
}

/// RFC 8216 section 4.2: decimal-floating-point is digits, perhaps with a point.
fn judge_extinf(value: Option<&str>) -> Option<Finding> {
    let Some(value) = value else {
        return Some(broken(&rules::EXTINF_MISSING, &[]));
    };
    let text = value.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let is_decimal = digits().count() > 0 && digits().all(|b| b.is_ascii_digit());
    let rule = match (is_decimal, digits().any(|b| b != b'0')) {
        (true, true) => return None,
        (true, false) => &rules::EXTINF_ZERO,
        (false, _) => &rules::EXTINF_INVALID,
    };
    Some(broken(rule, &[("value", value)]))
}

/// Judges an upload whose last byte is there.
pub(crate) fn judge(upload: Upload<'_>, standing: Standing<'_>) -> Verdict {
    let name = Name::of(upload.path);
    let mut findings = judge_alone(upload.path, upload.facts);
    let mut order = Order {
        upload,
        session: standing.session,
        track: standing.track,
        findings: &mut findings,
    };
    let change = match (upload.facts.interface, name) {
        (Interface::Dash, Name::DashManifest { .. } | Name::Misplaced(Extension::Mpd)) => {
            order.mpd(name.session().is_some())
        }
        (Interface::Dash, Name::Init { track, .. }) => order.dash_init(track),
        (Interface::Dash, Name::Segment { track, .. }) => order.dash_segment(track),
        (Interface::Hls, Name::Multivariant { .. }) => order.multivariant(),
        (Interface::Hls, Name::MediaPlaylist { track, .. }) => order.media_playlist(track),
        (Interface::Hls, Name::Init { track, .. }) => order.hls_init(track),
        (Interface::Hls, Name::Segment { track, .. }) => order.hls_segment(track),
        _ => None,
    };
    // A playlist that can be told what is wrong with it needs not be told that it is no playlist.
    let told = findings.iter().any(|f| f.rule.looks_at == "manifest");
    if let Some(Manifest::Playlist {
        fault: Some(why), ..
    }) = &upload.facts.manifest
        && !told
    {
        findings.push(broken(&rules::PLAYLIST_MALFORMED, &[("why", why)]));
    }
    rules::sort(&mut findings);
    Verdict {
        change: change.filter(|_| findings.is_empty() && !upload.facts.unfit),
        findings,
    }
}

/// The rules that ask for what came before, or for what a manifest says.
struct Order<'o> {
    upload: Upload<'o>,
    session: Option<&'o Session>,
    track: Option<&'o Track>,
    findings: &'o mut Vec<Finding>,
}

impl<'o> Order<'o> {
    fn break_rule(&mut self, rule: &'static crate::finding::Rule, found: &[(&str, &str)]) {
        self.findings.push(broken(rule, found));
    }

    fn require(&mut self, holds: bool, rule: &'static crate::finding::Rule) {
        if !holds {
            self.break_rule(rule, &[]);
        }
    }

    /// The session, as long as more may be added to it.
    fn open(&self) -> Option<&'o Session> {
        self.session.filter(|session| !session.complete)
    }

    /// Whether a manifest that may open a session begins its next run.
    fn begins_anew(&self) -> bool {
        self.open().is_none_or(|session| {
            let silent = self.upload.at.as_micros() - session.last.as_micros();
            silent >= self.upload.facts.timeout
        })
    }

    fn new_run(&self) -> Session {
        Session {
            run: self.session.map_or(0, |session| session.run) + 1,
            complete: false,
            opened: self.upload.at,
            last: self.upload.at,
            segments: 0,
            expected_tracks: None,
            completed_tracks: 0,
            version: self.session.map_or(0, |session| session.version) + 1,
        }
    }

    /// The session with this upload in it.
    fn next(&self, session: &Session) -> Session {
        let mut next = session.clone();
        next.last = next.last.max(self.upload.at);
        next.version += 1;
        next
    }

    fn mpd(&mut self, in_place: bool) -> Option<Change> {
        let kind = match self.upload.facts.manifest.as_ref()? {
            Manifest::Mpd { kind } => kind,
            Manifest::Malformed(why) => {
                self.break_rule(&rules::MPD_MALFORMED, &[("why", why)]);
                return None;
            }
            Manifest::Playlist { .. } => return None,
        };
        if !in_place {
            return None; // there is no session to judge it in
        }
        let session = match (kind.as_deref(), self.session) {
            (Some("dynamic"), _) if self.begins_anew() => self.new_run(),
            (Some("dynamic"), Some(session)) => {
                self.require(session.segments == 0, &rules::MPD_DYNAMIC_LATE);
                self.next(session)
            }
            (Some("static"), session) => {
                let Some(session) = session.filter(|session| session.segments > 0) else {
                    self.break_rule(&rules::MPD_STATIC_EARLY, &[]);
                    return None;
                };
                // Cameras send it once more when they are switched off.
                let mut next = self.next(session);
                next.complete = true;
                next
            }
            (_, None) => self.new_run(),
            (_, Some(session)) => self.next(session),
        };
        Some(Change {
            session,
            track: None,
        })
    }

    fn dash_init(&mut self, name: &str) -> Option<Change> {
        let session = self.open_for(&rules::DASH_NO_SESSION)?;
        let found = [("track", name)];
        match self.track.map(|track| track.state) {
            None | Some(TrackState::InitialPlaylist) => {}
            Some(TrackState::Init) => self.break_rule(&rules::INIT_AGAIN, &found),
            Some(TrackState::Segments | TrackState::Completed) => {
                self.break_rule(&rules::INIT_LATE, &found);
            }
        }
        Some(self.with_track(session, TrackState::Init))
    }

    fn dash_segment(&mut self, name: &str) -> Option<Change> {
        let session = self.open_for(&rules::DASH_NO_SESSION)?;
        if self.track.is_none() {
            self.break_rule(&rules::SEGMENT_EARLY, &[("track", name)]);
        }
        Some(self.with_segment(session))
    }

    fn multivariant(&mut self) -> Option<Change> {
        let Some(Manifest::Playlist { variants, .. }) = self.upload.facts.manifest else {
            return None;
        };
        let mut session = if self.begins_anew() {
            self.new_run()
        } else {
            let session = self.session?;
            self.require(session.segments == 0, &rules::MULTIVARIANT_LATE);
            self.next(session)
        };
        self.require(variants > 0, &rules::MULTIVARIANT_EMPTY);
        session.expected_tracks = Some(variants);
        Some(Change {
            session,
            track: None,
        })
    }

    fn media_playlist(&mut self, name: &str) -> Option<Change> {
        let state = self.track.map(|track| track.state);
        let session = self
            .session
            .filter(|session| !session.complete || state == Some(TrackState::Completed));
        if session.is_none() {
            self.break_rule(&rules::PLAYLIST_NO_SESSION, &[]);
            self.require(self.session.is_some(), &rules::MULTIVARIANT_MISSING);
        }
        let Some(Manifest::Playlist {
            kind,
            ended,
            durations,
            segments,
            ..
        }) = &self.upload.facts.manifest
        else {
            return None;
        };
        let Some(state) = state else {
            self.require(kind.is_none(), &rules::INITIAL_TYPE);
            self.require(!ended, &rules::INITIAL_ENDLIST);
            self.require(*durations == 0, &rules::INITIAL_EXTINF);
            self.require(*segments == 0, &rules::INITIAL_SEGMENTS);
            return Some(self.with_track(session?, TrackState::InitialPlaylist));
        };
        match kind.as_deref() {
            None => self.break_rule(&rules::FINAL_NO_TYPE, &[]),
            Some(kind) => self.require(kind == "VOD", &rules::FINAL_TYPE),
        }
        self.require(*durations > 0, &rules::FINAL_EXTINF);
        self.require(*segments > 0, &rules::FINAL_SEGMENTS);
        if matches!(state, TrackState::InitialPlaylist | TrackState::Init) {
            self.break_rule(&rules::FINAL_EARLY, &[("track", name)]);
        }
        let mut change = self.with_track(session?, TrackState::Completed);
        if state != TrackState::Completed {
            change.session.completed_tracks += 1;
        }
        change.session.complete =
            change.session.expected_tracks <= Some(change.session.completed_tracks);
        Some(change)
    }

    fn hls_init(&mut self, name: &str) -> Option<Change> {
        let session = self.open_for(&rules::HLS_NO_SESSION)?;
        let found = [("track", name)];
        match self.track.map(|track| track.state) {
            None => self.break_rule(&rules::HLS_INIT_EARLY, &found),
            Some(TrackState::InitialPlaylist) => {}
            Some(TrackState::Init) => self.break_rule(&rules::INIT_AGAIN, &found),
            Some(TrackState::Segments) => self.break_rule(&rules::HLS_INIT_LATE, &found),
            Some(TrackState::Completed) => self.break_rule(&rules::HLS_INIT_COMPLETED, &found),
        }
        Some(self.with_track(session, TrackState::Init))
    }

    fn hls_segment(&mut self, name: &str) -> Option<Change> {
        let session = self.open_for(&rules::HLS_NO_SESSION)?;
        let found = [("track", name)];
        match self.track.map(|track| track.state) {
            None => self.break_rule(&rules::HLS_SEGMENT_EARLY, &found),
            Some(TrackState::InitialPlaylist) => self.break_rule(&rules::SEGMENT_EARLY, &found),
            Some(TrackState::Init | TrackState::Segments) => {}
            Some(TrackState::Completed) => self.break_rule(&rules::HLS_SEGMENT_COMPLETED, &found),
        }
        Some(self.with_segment(session))
    }

    /// The open session; the rule is broken where there is none.
    fn open_for(&mut self, rule: &'static crate::finding::Rule) -> Option<&'o Session> {
        let session = self.open();
        if session.is_none() {
            let path = self.upload.path.as_str();
            self.break_rule(rule, &[("path", path)]);
        }
        session
    }

    fn with_track(&self, session: &Session, state: TrackState) -> Change {
        Change {
            session: self.next(session),
            track: Some(Track {
                state,
                segments: self.track.map_or(0, |track| track.segments),
            }),
        }
    }

    fn with_segment(&self, session: &Session) -> Change {
        let mut change = self.with_track(session, TrackState::Segments);
        change.session.segments += 1;
        if let Some(track) = &mut change.track {
            track.segments += 1;
        }
        change
    }
}

/// What an open session of these tracks waits for.
pub(crate) fn waits_for<'t>(
    interface: Interface,
    session: &Session,
    tracks: impl Iterator<Item = (&'t str, TrackState)> + Clone,
) -> String {
    let in_state = |wanted: TrackState, what: &str| {
        let names: Vec<_> = tracks
            .clone()
            .filter(|(_, state)| *state == wanted)
            .map(|(name, _)| format!("'{name}'"))
            .collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let begun = u64::try_from(tracks.clone().count()).unwrap_or(u64::MAX);
    let mut waits = Vec::new();
    if interface == Interface::Dash {
        if begun == 0 {
            return "the init segment of a track".to_owned();
        }
        waits.extend(in_state(TrackState::Init, "the first segment of track"));
        if session.segments > 0 {
            waits.push("more segments, or the static MPD that ends the session".to_owned());
        }
    } else {
        let missing = session
            .expected_tracks
            .unwrap_or_default()
            .saturating_sub(begun);
        if missing > 0 {
            waits.push(format!("the initial media playlist of {missing} more"));
        }
        waits.extend(in_state(
            TrackState::InitialPlaylist,
            "the init segment of track",
        ));
        waits.extend(in_state(TrackState::Init, "the first segment of track"));
        waits.extend(in_state(
            TrackState::Segments,
            "more segments, or the final media playlist, of track",
        ));
    }
    waits.join("; ")
}
