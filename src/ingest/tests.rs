//! What is recorded, judged again from the start, against what the live run gave.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use axum::body::Body;
use proptest::prelude::*;

use super::*;
use crate::catalog::{Content, NewStream, StreamChange};
use crate::matter::{self, Name, Session, Standing, Track};
use crate::names::Interface;

const DYNAMIC: &str = "<MPD type=\"dynamic\"/>";
const STATIC: &str = "<MPD type=\"static\"/>";
const VARIANTS: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/index.m3u8\n";
const INITIAL: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n";
const FINAL: &str =
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:4,\nsegment_1.m4s\n";

/// Stands for what the path promises, with no error in it.
const MEDIA: &str = "media";

/// The body of an upload.
fn bytes(path: &str, body: &'static str) -> &'static [u8] {
    match path.rsplit_once('.') {
        Some((_, "init")) if body == MEDIA => {
            include_bytes!("../../tests/data/media/segments/h264/init.mp4")
        }
        Some((_, "m4s")) if body == MEDIA => {
            include_bytes!("../../tests/data/media/segments/h264/0003.m4s")
        }
        _ => body.as_bytes(),
    }
}

/// The server's inner half, on a directory.
struct Stage {
    workdir: Workdir,
    catalog: Catalog,
    ingest: Arc<Ingest>,
}

impl Stage {
    async fn open(dir: &Path, kept: KeptLimits) -> Self {
        // An upload that was answered may still be putting its things away.
        let mut opened = Workdir::open(Some(dir));
        for _ in 0..5000 {
            if !matches!(&opened, Err(e) if e.kind() == Kind::Conflict) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            opened = Workdir::open(Some(dir));
        }
        let workdir = opened.unwrap();
        let catalog = Catalog::open(&workdir.catalog_file().unwrap()).unwrap();
        let limits = IngestLimits {
            body: Duration::from_secs(10),
            chunked_body: Duration::from_secs(10),
            object_size: 1 << 20,
            manifest_size: 1 << 20,
            free_disk: 0,
            uploads: 64,
            session: Duration::from_secs(120),
            kept,
        };
        let metrics = Arc::new(Metrics::new());
        let ingest = Ingest::open(
            catalog.clone(),
            workdir.clone(),
            Hub::default(),
            metrics,
            limits,
        )
        .await
        .unwrap();
        Self {
            workdir,
            catalog,
            ingest,
        }
    }

    fn close(self) {
        self.catalog.close();
    }

    async fn stream(&self, interface: Interface, strict_mode: bool) -> StreamId {
        self.stream_of(interface, strict_mode, false).await
    }

    async fn stream_of(
        &self,
        interface: Interface,
        strict_mode: bool,
        strict_media: bool,
    ) -> StreamId {
        let new = NewStream {
            interface,
            strict_mode,
            strict_media,
            owner: None,
            by: crate::catalog::By {
                who: "admin".to_owned(),
                from: "192.0.2.1".to_owned(),
            },
        };
        self.catalog.create_stream(new).await.unwrap().id
    }

    /// Uploads, as a camera with a certificate.
    async fn put(&self, stream: StreamId, path: &str, body: impl AsRef<[u8]>) -> Result<Receipt> {
        let body = body.as_ref().to_vec();
        self.send(stream, path, body.len(), Body::from(body)).await
    }

    async fn send(
        &self,
        stream: StreamId,
        path: &str,
        length: usize,
        body: Body,
    ) -> Result<Receipt> {
        let incoming = Incoming {
            stream: self.catalog.stream(stream).unwrap(),
            path: ObjectPath::parse(path).unwrap(),
            length: Some(length as u64),
            injected: None,
            request: request(),
            certificate: Some(Certificate {
                fingerprint: "f".to_owned(),
                name: "cam".to_owned(),
                serial: "1".to_owned(),
                der: Arc::from([0_u8].as_slice()),
            }),
            first_byte: Timestamp::now(),
            extinf: Some("4.0".to_owned()),
        };
        self.ingest.receive(incoming, body).await
    }

    /// Bytes of uploads that are kept in files of their own.
    fn kept(&self, stream: StreamId) -> Vec<i64> {
        let dir = self.workdir.root().join("kept").join(stream.to_string());
        let mut kept: Vec<i64> = std::fs::read_dir(dir)
            .map(|entries| {
                entries
                    .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
                    .collect()
            })
            .unwrap_or_default();
        kept.sort_unstable();
        kept
    }
}

fn request() -> RequestRecord {
    RequestRecord {
        method: "PUT".to_owned(),
        target: String::new(),
        headers: Vec::new(),
        framing: "content-length".to_owned(),
        http_version: "HTTP/2".to_owned(),
        tls_version: "TLSv1.3".to_owned(),
        cipher: "TLS13_AES_128_GCM_SHA256".to_owned(),
        connection: 1,
        remote: "127.0.0.1:5".to_owned(),
        peer: None,
        device: Some("cam".to_owned()),
    }
}

const KEPT: KeptLimits = KeptLimits {
    bytes: 1 << 20,
    uploads: 1000,
};

/// Judges a stream's records from the start; holds verdicts and sessions against what is recorded.
/// Returns what the rules of order say of each upload.
async fn check_replay(stage: &Stage, stream: StreamId) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let (verdicts, live) = stage
        .catalog
        .read(move |tables| Ok((tables.verdicts(stream)?, tables.sessions(stream, 1000)?)))
        .await
        .unwrap();
    let mut sessions: BTreeMap<(u64, i64), Session> = BTreeMap::new();
    let mut tracks: HashMap<(u64, i64, String), Track> = HashMap::new();
    for recorded in verdicts {
        let path = ObjectPath::parse(&recorded.path).unwrap();
        let name = Name::of(&path);
        let number = name.session().unwrap_or_default();
        let newest = sessions.range((number, 0)..=(number, i64::MAX)).next_back();
        let session = newest.map(|(_, session)| session.clone());
        let run = session.as_ref().map_or(0, |session| session.run);
        let track = name.track().unwrap_or_default().to_owned();
        let upload = matter::Upload {
            path: &path,
            at: recorded.at,
            facts: &recorded.facts,
        };
        let standing = Standing {
            session: session.as_ref(),
            track: tracks.get(&(number, run, track.clone())),
        };
        let verdict = matter::judge(upload, standing);
        let errors: Vec<_> = verdict.findings.iter().map(|f| f.message.clone()).collect();
        // Behind them stands what its media were rejected for.
        let behind = recorded.errors.strip_prefix(&errors[..]);
        let behind = behind.unwrap_or_else(|| panic!("{path}: {:?}", recorded.errors));
        assert_eq!(recorded.facts.unfit, !behind.is_empty(), "{path}");
        found.push((recorded.path, errors));
        if let Some(change) = verdict.change {
            let run = change.session.run;
            sessions.insert((number, run), change.session);
            if let Some(changed) = change.track {
                tracks.insert((number, run, track), changed);
            }
        }
    }
    assert_eq!(live.len(), sessions.len());
    for held in live {
        let key = (held.number, held.session.run);
        assert_eq!(sessions[&key], held.session);
        let replayed = tracks
            .iter()
            .filter(|((number, run, _), _)| (*number, *run) == key);
        assert_eq!(replayed.count(), held.tracks.len());
        for (name, track) in held.tracks {
            assert_eq!(tracks[&(key.0, key.1, name)], track);
        }
    }
    found
}

fn any_uploads(dash: bool) -> impl Strategy<Value = Vec<(&'static str, &'static str, bool)>> {
    let paths = if dash {
        vec![
            "session_1/index.mpd",
            "session_1/v/v.init",
            "session_1/v/segment_1.m4s",
            "session_2/index.mpd",
            "session_2/v/v.init",
            "session_1/a/segment_2.m4s",
            "index.mpd",
        ]
    } else {
        vec![
            "session_1/index.m3u8",
            "session_1/v/index.m3u8",
            "session_1/v/v.init",
            "session_1/v/segment_1.m4s",
            "session_1/a/index.m3u8",
            "session_2/index.m3u8",
        ]
    };
    let bodies = if dash {
        vec![DYNAMIC, STATIC, "<", MEDIA]
    } else {
        vec![VARIANTS, INITIAL, FINAL, "#EXTM3U\n", MEDIA]
    };
    let one = (
        prop::sample::select(paths),
        prop::sample::select(bodies),
        prop::bool::weighted(0.2), // start again after it
    );
    prop::collection::vec(one, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_record_alone_gives_the_same_verdicts_also_across_restarts(
        (dash, strict, strict_media, uploads) in prop::array::uniform3(prop::bool::ANY)
            .prop_flat_map(|[dash, strict, strict_media]| {
                (Just(dash), Just(strict), Just(strict_media), any_uploads(dash))
            })
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut stage = Stage::open(dir.path(), KEPT).await;
            let interface = if dash { Interface::Dash } else { Interface::Hls };
            let stream = stage.stream_of(interface, strict, strict_media).await;
            let other = stage.stream_of(interface, !strict, strict_media).await;
            for (path, body, again) in uploads {
                let body = bytes(path, body);
                let (one, two) = (
                    stage.put(stream, path, body).await,
                    stage.put(other, path, body).await,
                );
                let of_lax = if strict { two } else { one };
                prop_assert!(strict_media || of_lax.is_ok());
                if again {
                    stage.close();
                    stage = Stage::open(dir.path(), KEPT).await;
                }
            }
            // Whether rules are enforced makes no difference to what is found.
            let found = check_replay(&stage, stream).await;
            prop_assert_eq!(found, check_replay(&stage, other).await);
            stage.close();
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_is_rejected_for_its_media_moves_no_state_in_a_replay_either() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream_of(Interface::Dash, false, true).await;
    let manifest = "session_1/index.mpd";
    stage.put(stream, manifest, DYNAMIC).await.unwrap();
    let (init, segment) = ("session_1/v/v.init", "session_1/v/segment_1.m4s");
    assert!(stage.put(stream, init, "no header").await.is_err());
    let unfit = async || {
        let verdicts = stage.catalog.read(move |t| t.verdicts(stream)).await;
        let verdicts = verdicts.unwrap().into_iter();
        verdicts.map(|v| v.facts.unfit).collect::<Vec<_>>()
    };
    assert_eq!(unfit().await, [false, true]);
    let sessions = stage.catalog.read(move |t| t.sessions(stream, 10)).await;
    assert!(sessions.unwrap()[0].tracks.is_empty());
    check_replay(&stage, stream).await;
    for path in [init, segment] {
        stage.put(stream, path, bytes(path, MEDIA)).await.unwrap();
    }
    assert!(stage.put(stream, segment, "no segment").await.is_err());
    assert_eq!(unfit().await, [false, true, false, false, true]);
    let found = check_replay(&stage, stream).await;
    assert!(
        found.iter().all(|(_, errors)| errors.is_empty()),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_at_a_time_are_judged_in_the_order_of_their_records() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Arc::new(Stage::open(dir.path(), KEPT).await);
    let stream = stage.stream(Interface::Dash, true).await;
    stage
        .put(stream, "session_1/index.mpd", DYNAMIC)
        .await
        .unwrap();
    let uploads = (0..40).map(|n| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            let (path, body) = match n % 8 {
                0 => ("session_1/index.mpd".to_owned(), STATIC),
                1 => ("session_1/index.mpd".to_owned(), DYNAMIC),
                2 | 3 => ("session_1/v/v.init".to_owned(), "init"),
                _ => (format!("session_1/v/segment_{n}.m4s"), "segment"),
            };
            stage.put(stream, &path, body).await.is_ok()
        })
    });
    let done = futures_util::future::join_all(uploads).await;
    assert!(done.into_iter().any(|done| done.unwrap()));
    check_replay(&stage, stream).await;
    let counts = stage
        .catalog
        .read(move |t| t.uploads(stream, 0, 100))
        .await
        .unwrap();
    assert_eq!(counts.len(), 41);
}

#[tokio::test]
async fn what_is_kept_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let limits = KeptLimits {
        bytes: 100,
        uploads: 5,
    };
    let stage = Stage::open(dir.path(), limits).await;
    let stream = stage.stream(Interface::Dash, true).await;
    let path = "session_1/v/segment_1.m4s";
    for _ in 0..7 {
        assert!(stage.put(stream, path, "0123456789").await.is_err());
    }
    assert_eq!(stage.kept(stream), [3, 4, 5, 6, 7]); // as many as may be
    let forty = "x".repeat(40);
    assert!(stage.put(stream, path, &forty).await.is_err());
    assert!(stage.put(stream, path, &forty).await.is_err());
    assert_eq!(stage.kept(stream), [6, 7, 8, 9]); // as much as may be
    for path in [path, "not/for/matter.mp4"] {
        assert!(stage.put(stream, path, &"y".repeat(101)).await.is_err());
    }
    assert_eq!(stage.kept(stream), [6, 7, 8, 9]); // alone too much
    let records = stage
        .catalog
        .read(move |t| t.uploads(stream, 0, 100))
        .await
        .unwrap();
    let held: Vec<i64> = records.iter().filter(|u| u.content).map(|u| u.id).collect();
    assert_eq!(held, [6, 7, 8, 9]);
    assert_eq!(records[10].note.as_deref(), Some("too large to keep"));
    // What nobody knows of goes at the next start, what is known stays.
    let dir = stage.workdir.root().join("kept");
    for orphan in ["1/77", "1/8000", "5/1"] {
        std::fs::create_dir_all(dir.join(orphan).parent().unwrap()).unwrap();
        std::fs::write(dir.join(orphan), "z").unwrap();
    }
    let root = stage.workdir.root().to_owned();
    stage.close();
    let stage = Stage::open(&root, limits).await;
    assert_eq!(stage.kept(stream), [6, 7, 8, 9]);
    assert_eq!(stage.kept(StreamId(5)), Vec::<i64>::new());
}

#[tokio::test]
async fn the_last_ten_versions_of_a_path_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream(Interface::CmafIngest, true).await;
    let path = "session_1/v/segment_1.m4s";
    for n in 0..13 {
        stage
            .put(stream, path, &format!("version {n}"))
            .await
            .unwrap();
    }
    assert_eq!(stage.kept(stream), (3..13).collect::<Vec<_>>());
    let content = |upload| stage.catalog.read(move |t| t.content(stream, upload));
    assert_eq!(content(2).await.unwrap(), None);
    assert_eq!(content(3).await.unwrap(), Some(Content::Kept));
    assert_eq!(content(13).await.unwrap(), Some(Content::Object));
    let file = stage.workdir.open_kept(stream, 3).unwrap().unwrap();
    let bytes = crate::workdir::read_range(&file.file, 0, 100).unwrap();
    assert_eq!(bytes, b"version 2");
    stage.ingest.delete_stream(stream).await.unwrap();
    assert_eq!(stage.kept(stream), Vec::<i64>::new());
}

#[tokio::test]
async fn a_verdict_on_what_was_never_committed_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream(Interface::Dash, true).await;
    stage
        .put(stream, "session_1/index.mpd", DYNAMIC)
        .await
        .unwrap();
    // While an upload holds the session in memory, its row goes on without it.
    let path = ObjectPath::parse("session_1/v/v.init").unwrap();
    let seat = stage.ingest.seat(stream, Interface::Dash, &path);
    stage.put(stream, path.as_str(), "init").await.unwrap();
    forge(&stage, stream).await;
    let first = "session_1/v/segment_1.m4s";
    let failed = stage.put(stream, first, "a").await;
    assert_eq!(failed.unwrap_err().kind(), Kind::Internal);
    let held = |path: &str| {
        let path = ObjectPath::parse(path).unwrap();
        let object = stage.workdir.open_object(stream, &path).unwrap()?;
        Some(crate::workdir::read_range(&object.file, 0, 100).unwrap())
    };
    assert_eq!(held(first), None, "what is not recorded is not served");
    // The session was read again.
    stage.put(stream, first, "b").await.unwrap();
    // The same where something was there before: it is put back.
    forge(&stage, stream).await;
    let failed = stage.put(stream, first, "c").await;
    assert_eq!(failed.unwrap_err().kind(), Kind::Internal);
    assert_eq!(held(first).as_deref(), Some(b"b".as_slice()));
    assert_eq!(stage.kept(stream), Vec::<i64>::new());
    stage.put(stream, first, "d").await.unwrap();
    assert_eq!(held(first).as_deref(), Some(b"d".as_slice()));
    assert_eq!(stage.kept(stream).len(), 1);
    drop(seat);
}

/// Changes session 1 in the catalogue and nowhere else.
async fn forge(stage: &Stage, stream: StreamId) {
    let forged = stage
        .catalog
        .read(move |tables| tables.session(stream, 1))
        .await
        .unwrap()
        .unwrap();
    stage
        .catalog
        .write(move |tables| {
            let change = matter::Change {
                session: Session {
                    version: forged.version + 1,
                    ..forged.clone()
                },
                track: None,
            };
            let judged = crate::catalog::Judged {
                number: Some(1),
                version: Some(forged.version),
                change: Some(change),
                facts: "{}".to_owned(),
                ..Default::default()
            };
            tables.record_judged(stream, 1, &judged)
        })
        .await
        .unwrap();
}

/// What a path serves.
fn served(stage: &Stage, stream: StreamId, path: &ObjectPath) -> Option<Vec<u8>> {
    let object = stage.workdir.open_object(stream, path).unwrap()?;
    Some(crate::workdir::read_range(&object.file, 0, 100).unwrap())
}

#[tokio::test]
async fn what_was_not_recorded_takes_no_objects_place_after_a_crash() {
    for renamed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::open(dir.path(), KEPT).await;
        let stream = stage.stream(Interface::Dash, true).await;
        let path = ObjectPath::parse("session_1/index.mpd").unwrap();
        stage.put(stream, path.as_str(), DYNAMIC).await.unwrap();
        // As far as an upload comes before its commit.
        std::mem::forget(stage.ingest.take_hold(stream, &path).await.unwrap());
        if renamed {
            let mut spool = stage.workdir.spool().unwrap();
            spool.write(STATIC.as_bytes()).unwrap();
            stage.workdir.publish(&mut spool, stream, &path).unwrap();
        }
        stage.close();
        let stage = Stage::open(dir.path(), KEPT).await;
        assert_eq!(served(&stage, stream, &path).unwrap(), DYNAMIC.as_bytes());
        assert_eq!(stage.kept(stream), Vec::<i64>::new());
        // From here on as ever.
        stage.put(stream, path.as_str(), DYNAMIC).await.unwrap();
        assert_eq!(stage.kept(stream), [1]);
        stage.close();
    }
}

#[tokio::test]
async fn an_upload_that_fails_after_its_verdict_moves_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream(Interface::Dash, false).await;
    stage
        .put(stream, "session_1/index.mpd/a.m4s", "a")
        .await
        .unwrap();
    let failed = stage.put(stream, "session_1/index.mpd", DYNAMIC).await;
    assert_eq!(failed.unwrap_err().kind(), Kind::Conflict);
    let (sessions, uploads) = stage
        .catalog
        .read(move |t| Ok((t.sessions(stream, 10)?, t.uploads(stream, 0, 10)?)))
        .await
        .unwrap();
    assert!(sessions.is_empty());
    assert_eq!(uploads.len(), 2, "it is recorded");
    check_replay(&stage, stream).await;
}

#[tokio::test]
async fn an_upload_that_was_overtaken_is_an_earlier_version() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Arc::new(Stage::open(dir.path(), KEPT).await);
    let stream = stage.stream(Interface::CmafIngest, false).await;
    let path = "a.cmfv.txt";
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let (begun, began) = tokio::sync::oneshot::channel::<()>();
    let body = futures_util::stream::once(async move {
        begun.send(()).unwrap(); // its place in the order is taken
        receiver.await.unwrap();
        Ok::<_, std::convert::Infallible>("slow")
    });
    let slow = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { stage.send(stream, path, 4, Body::from_stream(body)).await }
    });
    began.await.unwrap();
    stage.put(stream, path, "newer").await.unwrap();
    sender.send(()).unwrap();
    slow.await.unwrap().unwrap();
    let parsed = ObjectPath::parse(path).unwrap();
    assert_eq!(served(&stage, stream, &parsed).unwrap(), b"newer");
    assert_eq!(stage.kept(stream), [2]);
    let content = stage.catalog.read(move |t| t.content(stream, 2)).await;
    assert_eq!(content.unwrap(), Some(Content::Kept));
}

#[tokio::test]
async fn manifests_are_found_by_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream(Interface::Dash, false).await;
    for path in [
        "x.mpd",
        "s/é/b.mpd",
        "s/é/a.mpd",
        "s/é/1.m4s",
        "s/t/u/c.mpd",
    ] {
        stage.put(stream, path, DYNAMIC).await.unwrap();
    }
    for (directory, expected) in [
        ("", &["x.mpd"][..]),
        ("s/", &[]),
        ("s/é/", &["s/é/a.mpd", "s/é/b.mpd"]),
        ("s/t/u/", &["s/t/u/c.mpd"]),
    ] {
        let found = stage
            .catalog
            .read(move |t| t.manifests_in(stream, directory, 8))
            .await;
        assert_eq!(found.unwrap(), expected, "{directory}");
    }
}

#[tokio::test]
async fn rules_may_be_enforced_later() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::open(dir.path(), KEPT).await;
    let stream = stage.stream(Interface::Dash, false).await;
    stage.put(stream, "session_1/v/v.init", "a").await.unwrap();
    let change = StreamChange {
        strict_mode: Some(true),
        ..StreamChange::default()
    };
    stage.catalog.change_stream(stream, change).await.unwrap();
    assert!(stage.put(stream, "session_1/v/v.init", "b").await.is_err());
    check_replay(&stage, stream).await;
}
