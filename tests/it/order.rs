//! What the Matter profile asks of uploads, sentence by sentence: names, order, manifests.
//!
//! Every row of the tables is an upload and what it is told. Rows of one case go to one stream, one after
//! the other. In strict mode a row with sentences is 400 and those are its `errors`; without it is 202 and
//! the same sentences are in its record. What is told nothing is 202 in both.

use serde_json::json;

use crate::harness::{Client, Server};
use crate::media::Track;

/// What is uploaded.
#[derive(Clone, Copy, Debug)]
enum Body {
    Dynamic,
    Static,
    /// A manifest that does not say which.
    Untyped,
    Text(&'static str),
    Init,
    /// Of this second.
    Segment(u64),
}
use Body::{Dynamic, Init, Segment, Static, Text, Untyped};

impl Body {
    fn bytes(self) -> Vec<u8> {
        let track = Track::video(640, 360);
        let mpd = |kind: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"{kind}><Period/></MPD>\n"
            )
        };
        match self {
            Dynamic => mpd(" type=\"dynamic\"").into_bytes(),
            Static => mpd(" type=\"static\"").into_bytes(),
            Untyped => mpd("").into_bytes(),
            Text(text) => text.into(),
            Init => track.header(),
            Segment(second) => track.second(second, 1),
        }
    }
}

/// An upload and what it is told. A sentence that ends in `…` goes on.
struct Row {
    path: &'static str,
    body: Body,
    /// `X-EXTINF-duration`
    length: Option<&'static str>,
    told: &'static [&'static str],
}

fn row(path: &'static str, body: Body, told: &'static [&'static str]) -> Row {
    Row {
        path,
        body,
        length: None,
        told,
    }
}

fn timed(path: &'static str, length: &'static str, told: &'static [&'static str]) -> Row {
    Row {
        path,
        body: Segment(0),
        length: Some(length),
        told,
    }
}

struct Case {
    name: &'static str,
    track_name: Option<&'static str>,
    rows: Vec<Row>,
}

fn case(name: &'static str, rows: Vec<Row>) -> Case {
    Case {
        name,
        track_name: None,
        rows,
    }
}

/// Runs the cases in streams of the interface, with and without strict mode.
async fn check(interface: &str, cases: &[Case]) {
    let server = Server::start().await;
    let (admin, device) = (server.admin(), server.device("cam").await);
    for strict in [true, false] {
        for case in cases {
            let id = server.stream(&device, interface).await;
            let mut change = json!({"strict_mode": strict});
            if let Some(name) = case.track_name {
                change["track_name"] = json!(name);
            }
            let path = format!("/api/v1/streams/{id}");
            admin.patch_json(&path, &change).await.expect(200);
            for (number, row) in case.rows.iter().enumerate() {
                let what = format!(
                    "{interface}, strict {strict}, {}, row {}: {}",
                    case.name,
                    number + 1,
                    row.path
                );
                upload(&device, id, row, strict, &what).await;
            }
        }
    }
}

async fn upload(client: &Client, id: u64, row: &Row, strict: bool, what: &str) {
    let mut call = client.put(&format!("/streams/{id}/{}", row.path), row.body.bytes());
    if let Some(length) = row.length {
        call = call.header("X-EXTINF-duration", length);
    }
    let answer = call.await;
    let rejected = strict && !row.told.is_empty();
    let records = client
        .get(&format!("/api/v1/streams/{id}/uploads?limit=1000"))
        .await;
    let records = records.expect(200).json();
    let record = records["uploads"]
        .as_array()
        .and_then(|list| list.last())
        .expect("a record");
    let told = |list: &serde_json::Value| {
        let list = list.as_array().cloned().unwrap_or_default();
        let said: Vec<&str> = list
            .iter()
            .filter_map(|sentence| sentence.as_str())
            .collect();
        let same = |said: &str, expected: &str| match expected.strip_suffix('…') {
            Some(start) => said.starts_with(start),
            None => said == expected,
        };
        let all = said.len() == row.told.len()
            && said
                .iter()
                .zip(row.told)
                .all(|(said, expected)| same(said, expected));
        assert!(all, "{what}: told {said:#?}, expected {:#?}", row.told);
    };
    assert_eq!(
        answer.status,
        if rejected { 400 } else { 202 },
        "{what}: {}",
        answer.text()
    );
    told(&record["errors"]);
    if rejected {
        told(&answer.json()["errors"]);
        assert_eq!(record["status"], "rejected", "{what}");
    } else {
        assert_eq!(record["status"], "accepted", "{what}");
    }
}

const EXTENSION_TXT: &str = "Invalid extension: txt, valid extensions are mpd, m3u8, m4s, init";
const MANIFEST_KIND: &str = "Unsupported manifest object extension";
const MPD_PATH: &str = "DASH manifest must be uploaded as session_X/index.mpd";
const PLAYLIST_PATH: &str = "HLS manifest must be uploaded as session_X/index.m3u8 (multi-variant) or session_X/track_name/index.m3u8 (media playlist)";
const OBJECT_PATH: &str = "Path does not adhere to Matter's path format";
const OTHER_TRACK: &str =
    "Track name mismatch: other != media, must match TrackName provided in ContainerOptions";

#[tokio::test]
async fn every_rule_of_dash() {
    const LATE: &str = "Dynamic MPD cannot be uploaded after segments have been uploaded";
    const EARLY: &str = "Static MPD cannot be uploaded before segments have been uploaded";
    const AGAIN: &str = "Init segment for track 'v' already uploaded, duplicate upload not allowed";
    let cases = [
        case(
            "names",
            vec![
                row("session_1/a.txt", Text("x"), &[EXTENSION_TXT]),
                row(
                    "session_1/v/segment_1.M4S",
                    Segment(0),
                    &["Invalid extension: M4S…"],
                ),
                row("noextension", Text("x"), &["Invalid extension: …"]),
                row("session_1/index.m3u8", Text("#EXTM3U\n"), &[MANIFEST_KIND]),
                row(
                    "index.m3u8",
                    Text("#EXTM3U\n"),
                    &[MANIFEST_KIND, PLAYLIST_PATH],
                ),
                row("index.mpd", Dynamic, &[MPD_PATH]),
                row("session_1/other.mpd", Dynamic, &[MPD_PATH]),
                row("session_x/index.mpd", Dynamic, &[MPD_PATH]),
                // Arabic-Indic digits.
                row("session_%D9%A1/index.mpd", Dynamic, &[MPD_PATH]),
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_1/v/sub/v.init", Init, &[OBJECT_PATH]),
                row("session_1/v/segment_x.m4s", Segment(0), &[OBJECT_PATH]),
                row(
                    "session_1/v/segment_18446744073709551616.m4s",
                    Segment(0),
                    &[OBJECT_PATH],
                ),
                row("a/session_1/v/v.init", Init, &[OBJECT_PATH]),
            ],
        ),
        case(
            "a session to its end",
            vec![
                row(
                    "session_1/v/v.init",
                    Init,
                    &[
                        "No active session when uploading session_1/v/v.init, segment uploaded before mpd",
                    ],
                ),
                row(
                    "session_1/v/segment_1.m4s",
                    Segment(0),
                    &[
                        "No active session when uploading session_1/v/segment_1.m4s, segment uploaded before mpd",
                    ],
                ),
                row("session_1/index.mpd", Static, &[EARLY]),
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_1/index.mpd", Static, &[EARLY]),
                row(
                    "session_1/v/segment_1.m4s",
                    Segment(0),
                    &["Media segment for track 'v' uploaded before init segment"],
                ),
                // It was not stored, and does not count.
                row(
                    "session_1/v/segment_1.m4s",
                    Segment(0),
                    &["Media segment for track 'v' uploaded before init segment"],
                ),
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_1/v/v.init", Init, &[]),
                row("session_1/v/v.init", Init, &[AGAIN]),
                row("session_1/v/segment_1.m4s", Segment(0), &[]),
                row("session_1/v/segment_1.m4s", Segment(0), &[]),
                row(
                    "session_1/v/v.init",
                    Init,
                    &["Init segment for track 'v' must be uploaded before any segments"],
                ),
                row("session_1/index.mpd", Dynamic, &[LATE]),
                row("session_1/index.mpd", Untyped, &[]),
                row("session_1/a/a.init", Init, &[]),
                row("session_1/index.mpd", Static, &[]),
                row("session_1/index.mpd", Static, &[]),
                row(
                    "session_1/v/segment_2.m4s",
                    Segment(1),
                    &[
                        "No active session when uploading session_1/v/segment_2.m4s, segment uploaded before mpd",
                    ],
                ),
                // Started again.
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_1/v/v.init", Init, &[]),
                row("session_1/v/segment_1.m4s", Segment(0), &[]),
            ],
        ),
        case(
            "two sessions at once",
            vec![
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_2/index.mpd", Untyped, &[]),
                row("session_1/v/v.init", Init, &[]),
                row("session_2/v/v.init", Init, &[]),
                row("session_2/v/segment_1.m4s", Segment(0), &[]),
                row("session_1/index.mpd", Static, &[EARLY]),
                row("session_2/index.mpd", Static, &[]),
                row("session_1/v/segment_1.m4s", Segment(0), &[]),
            ],
        ),
        case(
            "manifests that cannot be read",
            vec![
                row(
                    "session_1/index.mpd",
                    Text("x"),
                    &["DASH manifest cannot be read: …"],
                ),
                row(
                    "session_1/index.mpd",
                    Text("<MPD type=\"dynamic\">"),
                    &["DASH manifest cannot be read: …"],
                ),
                row(
                    "session_1/index.mpd",
                    Text("<MPD>&nope;</MPD>"),
                    &["DASH manifest cannot be read: …"],
                ),
                row(
                    "session_1/v/v.init",
                    Init,
                    &[
                        "No active session when uploading session_1/v/v.init, segment uploaded before mpd",
                    ],
                ),
            ],
        ),
        Case {
            name: "a track name",
            track_name: Some("media"),
            rows: vec![
                row("session_1/index.mpd", Dynamic, &[]),
                row("session_1/other/other.init", Init, &[OTHER_TRACK]),
                row("session_1/media/media.init", Init, &[]),
                row(
                    "session_1/other/segment_1.m4s",
                    Segment(0),
                    &[
                        OTHER_TRACK,
                        "Media segment for track 'other' uploaded before init segment",
                    ],
                ),
                row("session_1/media/segment_1.m4s", Segment(0), &[]),
            ],
        },
    ];
    check("dash", &cases).await;
}

#[tokio::test]
async fn every_rule_of_hls() {
    const HEAD: Body = Text("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:1\n");
    const VARIANTS: Body = Text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n");
    const TWO: Body = Text(
        "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"a/index.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv/index.m3u8\n",
    );
    const VOD: Body = Text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:1.0,\nsegment_1.m4s\n#EXT-X-ENDLIST\n",
    );
    const EVENT: Body = Text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXTINF:1.0,\nsegment_1.m4s\n#EXT-X-ENDLIST\n",
    );
    const NO_LENGTH: &str = "HLS media segments must include X-EXTINF-duration header";
    const FINAL_EARLY: &str = "Final media playlist uploaded for track 'v' before init segment and segments were uploaded";
    let cases = [
        case(
            "names",
            vec![
                row("session_1/a.txt", Text("x"), &[EXTENSION_TXT]),
                row("session_1/index.mpd", Dynamic, &[MANIFEST_KIND]),
                row("index.mpd", Dynamic, &[MANIFEST_KIND, MPD_PATH]),
                row("index.m3u8", VARIANTS, &[PLAYLIST_PATH]),
                row("session_1/v/sub/index.m3u8", HEAD, &[PLAYLIST_PATH]),
                row("session_1/v/main.m3u8", HEAD, &[PLAYLIST_PATH]),
                row("session_1/v/segment_x.m4s", Segment(0), &[OBJECT_PATH]),
            ],
        ),
        case(
            "before the multi-variant playlist",
            vec![
                row(
                    "session_1/v/index.m3u8",
                    HEAD,
                    &[
                        "No active session when uploading media playlist",
                        "Multi-variant playlist must be uploaded before media playlists",
                    ],
                ),
                row(
                    "session_1/v/v.init",
                    Init,
                    &[
                        "No active session when uploading session_1/v/v.init, segment uploaded before multi-variant playlist",
                    ],
                ),
                timed(
                    "session_1/v/segment_1.m4s",
                    "1.0",
                    &[
                        "No active session when uploading session_1/v/segment_1.m4s, segment uploaded before multi-variant playlist",
                    ],
                ),
                row(
                    "session_1/index.m3u8",
                    HEAD,
                    &[
                        "Multi-variant playlist must contain at least one EXT-X-MEDIA or EXT-X-STREAM-INF tag",
                    ],
                ),
                row(
                    "session_1/index.m3u8",
                    Text("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n"),
                    &[
                        "Multi-variant playlist must contain at least one EXT-X-MEDIA or EXT-X-STREAM-INF tag",
                    ],
                ),
                row("session_1/index.m3u8", VARIANTS, &[]),
            ],
        ),
        case(
            "a session to its end",
            vec![
                row("session_1/index.m3u8", VARIANTS, &[]),
                row("session_1/index.m3u8", VARIANTS, &[]),
                timed(
                    "session_1/v/segment_1.m4s",
                    "1",
                    &["Media segment for track 'v' uploaded before initial media playlist"],
                ),
                row(
                    "session_1/v/v.init",
                    Init,
                    &["Init segment for track 'v' uploaded before initial media playlist"],
                ),
                row(
                    "session_1/v/index.m3u8",
                    VOD,
                    &[
                        "Initial media playlist must NOT contain #EXT-X-PLAYLIST-TYPE",
                        "Initial media playlist must NOT contain #EXT-X-ENDLIST",
                        "Initial media playlist must NOT contain #EXTINF tags",
                        "Initial media playlist must NOT contain segment lines",
                    ],
                ),
                row("session_1/v/index.m3u8", HEAD, &[]),
                timed(
                    "session_1/v/segment_1.m4s",
                    "1.0",
                    &["Media segment for track 'v' uploaded before init segment"],
                ),
                row("session_1/v/index.m3u8", VOD, &[FINAL_EARLY]),
                row("session_1/v/v.init", Init, &[]),
                row(
                    "session_1/v/v.init",
                    Init,
                    &["Init segment for track 'v' already uploaded, duplicate upload not allowed"],
                ),
                row("session_1/v/index.m3u8", VOD, &[FINAL_EARLY]),
                row("session_1/v/segment_1.m4s", Segment(0), &[NO_LENGTH]),
                timed(
                    "session_1/v/segment_1.m4s",
                    "1,5",
                    &[
                        "X-EXTINF-duration header must be a valid decimal floating-point value, got: 1,5",
                    ],
                ),
                timed(
                    "session_1/v/segment_1.m4s",
                    "0.0",
                    &["X-EXTINF-duration header must be greater than 0, got: 0.0"],
                ),
                timed("session_1/v/segment_1.m4s", "1.024", &[]),
                row(
                    "session_1/v/v.init",
                    Init,
                    &["Init segment for track 'v' uploaded after segments started"],
                ),
                row(
                    "session_1/index.m3u8",
                    VARIANTS,
                    &["Multi-variant playlist must be uploaded first, before any tracks"],
                ),
                row(
                    "session_1/v/index.m3u8",
                    HEAD,
                    &[
                        "Final media playlist must contain #EXT-X-PLAYLIST-TYPE:VOD",
                        "Final media playlist must contain #EXTINF tags",
                        "Final media playlist must contain segment lines",
                    ],
                ),
                row(
                    "session_1/v/index.m3u8",
                    EVENT,
                    &["Final media playlist must contain '#EXT-X-PLAYLIST-TYPE:VOD'"],
                ),
                row("session_1/v/index.m3u8", VOD, &[]),
                row("session_1/v/index.m3u8", VOD, &[]),
                row(
                    "session_1/v/v.init",
                    Init,
                    &[
                        "No active session when uploading session_1/v/v.init, segment uploaded before multi-variant playlist",
                    ],
                ),
                // Started again.
                row("session_1/index.m3u8", VARIANTS, &[]),
                row("session_1/v/index.m3u8", HEAD, &[]),
            ],
        ),
        case(
            "one track of two is at its end",
            vec![
                row("session_1/index.m3u8", TWO, &[]),
                row("session_1/v/index.m3u8", HEAD, &[]),
                row("session_1/v/v.init", Init, &[]),
                timed("session_1/v/segment_1.m4s", "1", &[]),
                row("session_1/v/index.m3u8", VOD, &[]),
                // Counts once.
                row("session_1/v/index.m3u8", VOD, &[]),
                timed(
                    "session_1/v/segment_2.m4s",
                    "1",
                    &["Media segment for track 'v' uploaded after track was completed"],
                ),
                row(
                    "session_1/v/v.init",
                    Init,
                    &["Init segment for track 'v' uploaded after track was completed"],
                ),
                row("session_1/a/index.m3u8", HEAD, &[]),
                row("session_1/a/a.init", Init, &[]),
                timed("session_1/a/segment_1.m4s", ".5", &[]),
                row("session_1/a/index.m3u8", VOD, &[]),
            ],
        ),
        Case {
            name: "a track name",
            track_name: Some("media"),
            rows: vec![
                row("session_1/index.m3u8", VARIANTS, &[]),
                row("session_1/other/index.m3u8", HEAD, &[OTHER_TRACK]),
                row("session_1/media/index.m3u8", HEAD, &[]),
                row("session_1/media/media.init", Init, &[]),
                timed("session_1/media/segment_1.m4s", "1", &[]),
            ],
        },
    ];
    check("hls", &cases).await;
}

#[tokio::test]
async fn every_rule_of_interface_1() {
    let cases = [
        case(
            "names",
            vec![
                row("video.cmfv", Init, &[]),
                row("a/b/audio.cmfa", Text("x"), &[]),
                row("Switching(v)/Streams(v.cmfv)", Init, &[]),
                row("Streams(v)", Init, &[]),
                row(
                    "video.mp4",
                    Init,
                    &["Invalid extension: mp4, valid extensions are mpd, m3u8, m4s, init"],
                ),
                row("session_1/index.mpd", Dynamic, &[MANIFEST_KIND]),
                row("session_1/index.m3u8", Text("#EXTM3U\n"), &[MANIFEST_KIND]),
                row("manifest.mpd", Dynamic, &[MANIFEST_KIND, MPD_PATH]),
                // Matter's names, in any order: there is no session.
                row("session_1/v/segment_2.m4s", Segment(1), &[]),
                row("session_1/v/v.init", Init, &[]),
                row("session_1/v/v.init", Init, &[]),
                row("session_1/v/segment_x.m4s", Segment(0), &[OBJECT_PATH]),
                row("v/segment_1.m4s", Segment(0), &[OBJECT_PATH]),
            ],
        ),
        Case {
            name: "a track name",
            track_name: Some("media"),
            rows: vec![
                row("media.cmfv", Init, &[]),
                row("other.cmfv", Init, &[OTHER_TRACK]),
                row("session_1/media/media.init", Init, &[]),
                row("session_1/other/other.init", Init, &[OTHER_TRACK]),
            ],
        },
    ];
    check("cmaf-ingest", &cases).await;
}

/// The sentence comes last, whatever else is wrong.
#[tokio::test]
async fn uploads_without_a_certificate_are_told_so() {
    const NOBODY: &str = "File upload did not happen with SSL context";
    let server = Server::start().await;
    let admin = server.admin();
    for (strict, interface, manifest, body) in [
        (true, "dash", "session_1/index.mpd", Dynamic),
        (false, "dash", "session_1/index.mpd", Dynamic),
        (true, "cmaf-ingest", "video.cmfv", Init),
        (
            false,
            "hls",
            "session_1/index.m3u8",
            Text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n"),
        ),
    ] {
        let id = server.stream(&admin, interface).await;
        let path = format!("/api/v1/streams/{id}");
        admin
            .patch_json(&path, &json!({"strict_mode": strict}))
            .await
            .expect(200);
        for row in [
            row(manifest, body, &[NOBODY]),
            row("a.txt", Text("x"), &[EXTENSION_TXT, NOBODY]),
        ] {
            upload(
                &admin,
                id,
                &row,
                strict,
                &format!("{interface}, {strict}, {}", row.path),
            )
            .await;
        }
    }
}
