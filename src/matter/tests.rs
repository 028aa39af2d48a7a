//! The rules in action: one table for each interface, and what a replay gives.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::names::{Interface, ObjectPath};

const TIMEOUT: i64 = 120_000_000;

/// Judges uploads one after the other, with nothing but the module itself.
#[derive(Default)]
struct Replay {
    sessions: BTreeMap<u64, Session>,
    tracks: BTreeMap<(u64, String), Track>,
}

impl Replay {
    fn judge(&mut self, path: &ObjectPath, at: Timestamp, facts: &Facts) -> Verdict {
        let name = Name::of(path);
        let session = name.session().unwrap_or_default();
        let key = (session, name.track().unwrap_or_default().to_owned());
        let verdict = judge(
            Upload { path, at, facts },
            Standing {
                session: self.sessions.get(&session),
                track: self.tracks.get(&key),
            },
        );
        if let Some(change) = verdict.change.clone() {
            let run = self.sessions.get(&session).map(|session| session.run);
            if run != Some(change.session.run) {
                self.tracks.retain(|(number, _), _| *number != session);
            }
            self.sessions.insert(session, change.session);
            if let Some(track) = change.track {
                self.tracks.insert(key, track);
            }
        }
        verdict
    }
}

fn facts(interface: Interface) -> Facts {
    Facts {
        interface,
        track_name: None,
        certificate: true,
        extinf: None,
        manifest: None,
        timeout: TIMEOUT,
        unfit: false,
    }
}

const DYNAMIC: &str = "<MPD type=\"dynamic\"/>";
const STATIC: &str = "<MPD type=\"static\"/>";
const VARIANTS: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"a/index.m3u8\"\n";
const INITIAL: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"v.init\"\n";
const FINAL: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4,\nsegment_1.m4s\n#EXT-X-ENDLIST\n";

/// Seconds, path, body (of a manifest) or X-EXTINF-duration, and what is to be told.
type Line = (i64, &'static str, &'static str, &'static [&'static str]);

/// Does the uploads and compares what each is told.
fn check(interface: Interface, lines: &[Line]) -> Replay {
    let mut replay = Replay::default();
    for (number, (seconds, path, given, told)) in lines.iter().enumerate() {
        let path = ObjectPath::parse(path).unwrap();
        let mut facts = facts(interface);
        if path.is_manifest() {
            let of = match path.extension() {
                Some("mpd") => Interface::Dash,
                _ => Interface::Hls,
            };
            facts.manifest = (of == interface).then(|| of_manifest(of, given.as_bytes()));
        } else if !given.is_empty() {
            facts.extinf = Some((*given).to_owned());
        }
        let at = Timestamp::from_micros(seconds * 1_000_000);
        let verdict = replay.judge(&path, at, &facts);
        let found: Vec<_> = verdict
            .findings
            .iter()
            .map(|f| f.message.as_str())
            .collect();
        let same = found.len() == told.len()
            && found.iter().zip(*told).all(|(found, told)| {
                found == told || told.ends_with(": ") && found.starts_with(told)
            });
        assert!(same, "upload {number}, {path}: {found:?}, not {told:?}");
    }
    replay
}

#[test]
fn dash() {
    const NO_SESSION: &str =
        "No active session when uploading session_1/v/segment_1.m4s, segment uploaded before mpd";
    let replay = check(
        Interface::Dash,
        &[
            (0, "session_1/v/segment_1.m4s", "", &[NO_SESSION]),
            (0, "session_1/v/segment_1.m4s", "", &[NO_SESSION]),
            (
                0,
                "session_1/v/v.init",
                "",
                &[
                    "No active session when uploading session_1/v/v.init, segment uploaded before mpd",
                ],
            ),
            (
                0,
                "session_1/index.mpd",
                STATIC,
                &["Static MPD cannot be uploaded before segments have been uploaded"],
            ),
            (
                0,
                "session_1/index.mpd",
                "<MPD>",
                &["DASH manifest cannot be read: "],
            ),
            (0, "session_1/v/segment_1.m4s", "", &[NO_SESSION]),
            (
                0,
                "other.mpd",
                "",
                &[
                    "DASH manifest cannot be read: ",
                    "DASH manifest must be uploaded as session_X/index.mpd",
                ],
            ),
            (
                0,
                "session_1/index.m3u8",
                VARIANTS,
                &["Unsupported manifest object extension"],
            ),
            (0, "session_1/index.mpd", DYNAMIC, &[]),
            (0, "session_1/index.mpd", DYNAMIC, &[]),
            (
                1,
                "session_1/v/segment_1.m4s",
                "",
                &["Media segment for track 'v' uploaded before init segment"],
            ),
            (
                1,
                "session_1/v/segment_1.m4s",
                "",
                &["Media segment for track 'v' uploaded before init segment"],
            ),
            (1, "session_1/v/v.init", "", &[]),
            (
                1,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' already uploaded, duplicate upload not allowed"],
            ),
            (1, "session_1/v/segment_1001.m4s", "", &[]),
            (
                1,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' must be uploaded before any segments"],
            ),
            (1, "session_2/index.mpd", DYNAMIC, &[]), // several may be open
            (1, "session_1/a/a.init", "", &[]),
            (
                2,
                "session_1/index.mpd",
                DYNAMIC,
                &["Dynamic MPD cannot be uploaded after segments have been uploaded"],
            ),
            (2, "session_1/index.mpd", "<MPD/>", &[]),
            (3, "session_1/v/segment_1001.m4s", "", &[]), // again, as it may be
            (4, "session_1/index.mpd", STATIC, &[]),
            (4, "session_1/index.mpd", STATIC, &[]), // once more, at shutdown
            (4, "session_1/v/segment_1.m4s", "", &[NO_SESSION]),
            (5, "session_1/index.mpd", DYNAMIC, &[]), // the next run
            (
                5,
                "session_1/v/segment_1.m4s",
                "",
                &["Media segment for track 'v' uploaded before init segment"],
            ),
            (5, "session_1/v/v.init", "", &[]),
            (5, "session_1/v/segment_1.m4s", "", &[]),
            (
                124,
                "session_1/index.mpd",
                DYNAMIC,
                &["Dynamic MPD cannot be uploaded after segments have been uploaded"],
            ),
            (125, "session_1/index.mpd", DYNAMIC, &[]), // silent for 120 s: the next run
            (
                125,
                "session_1/v/v.mp4",
                "",
                &["Invalid extension: mp4, valid extensions are mpd, m3u8, m4s, init"],
            ),
            (
                125,
                "v.cmfv",
                "",
                &["Invalid extension: cmfv, valid extensions are mpd, m3u8, m4s, init"],
            ),
            (
                125,
                "session_1/segment_1.m4s",
                "",
                &["Path does not adhere to Matter's path format"],
            ),
        ],
    );
    let first = &replay.sessions[&1];
    assert_eq!((first.run, first.complete, first.segments), (3, false, 0));
    let second = &replay.sessions[&2];
    assert_eq!((second.run, second.complete), (1, false));
    assert!(replay.tracks.is_empty());
}

#[test]
fn d01_d21_hls() {
    const NO_SESSION: &str = "No active session when uploading session_1/v/segment_1.m4s, segment uploaded before multi-variant playlist";
    const S1: &str = "session_1/v/segment_1.m4s";
    const V: &str = "session_1/v/index.m3u8";
    const A: &str = "session_1/a/index.m3u8";
    let replay = check(
        Interface::Hls,
        &[
            (0, S1, "4.0", &[NO_SESSION]),
            (
                0,
                V,
                INITIAL,
                &[
                    "No active session when uploading media playlist",
                    "Multi-variant playlist must be uploaded before media playlists",
                ],
            ),
            (
                0,
                "session_1/index.mpd",
                DYNAMIC,
                &["Unsupported manifest object extension"],
            ),
            (
                0,
                "v/index.m3u8",
                INITIAL,
                &[
                    "HLS manifest must be uploaded as session_X/index.m3u8 (multi-variant) or session_X/track_name/index.m3u8 (media playlist)",
                ],
            ),
            (
                0,
                "session_1/index.m3u8",
                "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n",
                &[
                    "Multi-variant playlist must contain at least one EXT-X-MEDIA or EXT-X-STREAM-INF tag",
                ],
            ),
            (
                0,
                "session_1/index.m3u8",
                "#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n",
                &["HLS manifest cannot be read: "],
            ),
            (0, S1, "4.0", &[NO_SESSION]),
            (0, "session_1/index.m3u8", VARIANTS, &[]),
            (
                0,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' uploaded before initial media playlist"],
            ),
            (
                0,
                S1,
                "4.0",
                &["Media segment for track 'v' uploaded before initial media playlist"],
            ),
            (
                0,
                V,
                FINAL,
                &[
                    "Initial media playlist must NOT contain #EXT-X-PLAYLIST-TYPE",
                    "Initial media playlist must NOT contain #EXT-X-ENDLIST",
                    "Initial media playlist must NOT contain #EXTINF tags",
                    "Initial media playlist must NOT contain segment lines",
                ],
            ),
            (0, V, INITIAL, &[]),
            (
                0,
                S1,
                "4.0",
                &["Media segment for track 'v' uploaded before init segment"],
            ),
            (
                0,
                V,
                FINAL,
                &[
                    "Final media playlist uploaded for track 'v' before init segment and segments were uploaded",
                ],
            ),
            (0, "session_1/v/v.init", "", &[]),
            (
                0,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' already uploaded, duplicate upload not allowed"],
            ),
            (
                0,
                S1,
                "",
                &["HLS media segments must include X-EXTINF-duration header"],
            ),
            (
                0,
                S1,
                "4,0",
                &[
                    "X-EXTINF-duration header must be a valid decimal floating-point value, got: 4,0",
                ],
            ),
            (
                0,
                S1,
                "-4.0",
                &[
                    "X-EXTINF-duration header must be a valid decimal floating-point value, got: -4.0",
                ],
            ),
            (
                0,
                S1,
                "0.0",
                &["X-EXTINF-duration header must be greater than 0, got: 0.0"],
            ),
            (1, S1, "4.0", &[]),
            (1, S1, "4", &[]),
            (
                1,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' uploaded after segments started"],
            ),
            (
                1,
                "session_1/index.m3u8",
                VARIANTS,
                &["Multi-variant playlist must be uploaded first, before any tracks"],
            ),
            (
                1,
                V,
                INITIAL,
                &[
                    "Final media playlist must contain #EXT-X-PLAYLIST-TYPE:VOD",
                    "Final media playlist must contain #EXTINF tags",
                    "Final media playlist must contain segment lines",
                ],
            ),
            (
                1,
                V,
                "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXTINF:4,\nsegment_1.m4s\n",
                &["Final media playlist must contain '#EXT-X-PLAYLIST-TYPE:VOD'"],
            ),
            (2, V, FINAL, &[]),
            (2, V, FINAL, &[]), // sent again: the track is counted once
            (
                2,
                S1,
                "4.0",
                &["Media segment for track 'v' uploaded after track was completed"],
            ),
            (
                2,
                "session_1/v/v.init",
                "",
                &["Init segment for track 'v' uploaded after track was completed"],
            ),
            (3, A, INITIAL, &[]),
            (3, "session_1/a/a.init", "", &[]),
            (3, "session_1/a/segment_1.m4s", "4.004", &[]),
            (4, A, FINAL, &[]),
            (4, A, FINAL, &[]),
            (4, S1, "4.0", &[NO_SESSION]),
        ],
    );
    let session = &replay.sessions[&1];
    assert_eq!(
        (session.complete, session.completed_tracks, session.segments),
        (true, 2, 3)
    );
}

#[test]
fn cmaf_ingest() {
    const MANIFEST: &[&str] = &["Unsupported manifest object extension"];
    check(
        Interface::CmafIngest,
        &[
            (0, "cmaf/example/video-720p.cmfv", "", &[]),
            (0, "Switching(1)/Streams(video)", "", &[]),
            (0, "Streams(x.cmfm)", "", &[]),
            (0, "session_1/v/segment_1.m4s", "", &[]),
            (0, "session_1/v/v.init", "", &[]),
            (0, "session_1/index.mpd", DYNAMIC, MANIFEST),
            (0, "session_1/index.m3u8", VARIANTS, MANIFEST),
            (
                0,
                "a/segment_1.m4s",
                "",
                &["Path does not adhere to Matter's path format"],
            ),
            (
                0,
                "a.CMFV",
                "",
                &["Invalid extension: CMFV, valid extensions are mpd, m3u8, m4s, init"],
            ),
        ],
    );
}

#[test]
fn track_names_and_certificates() {
    for (interface, path, is_right) in [
        (Interface::Dash, "session_1/media/segment_1.m4s", true),
        (Interface::Dash, "session_1/video/segment_1.m4s", false),
        (Interface::Hls, "session_1/video/index.m3u8", false),
        (Interface::CmafIngest, "session_1/video/video.init", false),
        (Interface::CmafIngest, "Streams(media.cmfv)", true),
        (Interface::CmafIngest, "media/17.cmfv", true),
        (Interface::CmafIngest, "Streams(video.cmfv)", false),
    ] {
        let mut facts = facts(interface);
        facts.track_name = Some("media".to_owned());
        facts.certificate = false;
        let path = ObjectPath::parse(path).unwrap();
        let findings = judge_alone(&path, &facts);
        let mismatch = findings.iter().any(|f| {
            f.message
                == "Track name mismatch: video != media, must match TrackName provided in ContainerOptions"
        });
        assert_eq!(mismatch, !is_right, "{path}");
        let last = findings.last().unwrap();
        assert_eq!(last.message, "File upload did not happen with SSL context");
    }
}

#[test]
fn what_a_session_waits_for() {
    let mut replay = Replay::default();
    let mut upload = |path: &str, body: &str| {
        let mut facts = facts(Interface::Dash);
        let path = ObjectPath::parse(path).unwrap();
        facts.manifest = path
            .is_manifest()
            .then(|| of_manifest(Interface::Dash, body.as_bytes()));
        let verdict = replay.judge(&path, Timestamp::from_micros(0), &facts);
        assert!(verdict.findings.is_empty());
        let tracks = replay.tracks.iter();
        waits_for(
            Interface::Dash,
            &replay.sessions[&1],
            tracks.map(|((_, name), track)| (name.as_str(), track.state)),
        )
    };
    assert_eq!(
        upload("session_1/index.mpd", DYNAMIC),
        "the init segment of a track"
    );
    assert_eq!(
        upload("session_1/v/v.init", ""),
        "the first segment of track 'v'"
    );
    assert_eq!(
        upload("session_1/v/segment_1.m4s", ""),
        "more segments, or the static MPD that ends the session"
    );
}

#[test]
fn what_a_session_of_hls_waits_for() {
    let session = Session {
        run: 1,
        complete: false,
        opened: Timestamp::from_micros(0),
        last: Timestamp::from_micros(0),
        segments: 1,
        expected_tracks: Some(5),
        completed_tracks: 1,
        version: 1,
    };
    let tracks = [
        ("a", TrackState::InitialPlaylist),
        ("b", TrackState::Init),
        ("c", TrackState::Segments),
        ("d", TrackState::Completed),
    ];
    assert_eq!(
        waits_for(Interface::Hls, &session, tracks.into_iter()),
        "the initial media playlist of 1 more; the init segment of track 'a'; \
         the first segment of track 'b'; \
         more segments, or the final media playlist, of track 'c'"
    );
}

/// One upload of a random history: of a few sessions and tracks, often in order.
fn any_upload(interface: Interface) -> impl Strategy<Value = (ObjectPath, i64, Facts)> {
    let (manifests, bodies): (&[&str], &[&str]) = match interface {
        Interface::Dash => (
            &["session_1/index.mpd", "session_2/index.mpd", "index.mpd"],
            &[DYNAMIC, STATIC, "<MPD/>", "<"],
        ),
        _ => (
            &[
                "session_1/index.m3u8",
                "session_1/v/index.m3u8",
                "session_2/v/index.m3u8",
            ],
            &[VARIANTS, INITIAL, FINAL, "#EXTM3U\n"],
        ),
    };
    let objects = &[
        "session_1/v/v.init",
        "session_1/v/segment_1.m4s",
        "session_2/v/v.init",
        "session_1/a/segment_1.m4s",
    ];
    let paths: Vec<&str> = manifests.iter().chain(objects).copied().collect();
    let chosen = (
        prop::sample::select(paths),
        prop::sample::select(bodies.to_vec()),
        0..100_i64,
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.1),
    );
    chosen.prop_map(move |(path, body, seconds, certificate, unfit)| {
        let path = ObjectPath::parse(path).unwrap();
        let mut facts = facts(interface);
        facts.certificate = certificate;
        facts.unfit = unfit;
        facts.manifest = path
            .is_manifest()
            .then(|| of_manifest(interface, body.as_bytes()));
        facts.extinf = Some("4.0".to_owned());
        (path, seconds * 1_000_000, facts)
    })
}

proptest! {
    #[test]
    fn d17_what_breaks_a_rule_moves_nothing_and_facts_are_all_that_counts(
        history in prop::bool::ANY.prop_flat_map(|dash| {
            let interface = if dash { Interface::Dash } else { Interface::Hls };
            prop::collection::vec(any_upload(interface), 0..40)
        })
    ) {
        let (mut live, mut replayed) = (Replay::default(), Replay::default());
        let mut at = 0;
        for (path, later, facts) in history {
            at += later;
            let now = Timestamp::from_micros(at);
            let before = live.sessions.clone();
            let verdict = live.judge(&path, now, &facts);
            if !verdict.findings.is_empty() {
                prop_assert!(verdict.change.is_none());
                prop_assert_eq!(&before, &live.sessions);
                // The same wrong upload is as wrong the second time.
                let again = live.judge(&path, now, &facts);
                prop_assert_eq!(&again.findings, &verdict.findings);
            }
            let recorded = serde_json::to_string(&facts).unwrap();
            let read: Facts = serde_json::from_str(&recorded).unwrap();
            let second = replayed.judge(&path, now, &read);
            prop_assert_eq!(second.findings, verdict.findings);
            prop_assert_eq!(&live.sessions, &replayed.sessions);
            prop_assert_eq!(&live.tracks, &replayed.tracks);
        }
    }
}
