//! The commands that work on files: `pavs probe`, `pavs check`, `pavs rules`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{pavs, run_to_end};
use crate::media::{Track, progressive};

/// A session with a whole track, a segment of another, and a manifest.
fn session(root: &Path) {
    let track = Track::video(320, 180);
    let video = root.join("session_1/video");
    fs::create_dir_all(&video).unwrap();
    fs::write(video.join("video.init"), track.header()).unwrap();
    for n in 0..12u64 {
        // In the order of numbers, not of names: the tenth follows the ninth.
        fs::write(video.join(format!("segment_{n}.m4s")), track.second(n, 1)).unwrap();
    }
    let mpd = "<MPD type='static'><Period><AdaptationSet mimeType='video/mp4'><Representation id='v'>\
               <SegmentTemplate initialization='video/video.init' media='video/segment_$Number$.m4s'/>\
               </Representation></AdaptationSet></Period></MPD>";
    fs::write(root.join("session_1/index.mpd"), mpd).unwrap();
}

/// Runs it; gives its exit code and what it wrote.
#[track_caller]
fn run(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    let (status, out, error) = run_to_end(pavs().args(arguments).args(paths));
    assert!(!error.contains("panicked"), "{error}");
    (status.code().expect("an exit code"), out, error)
}

#[track_caller]
fn json(arguments: &[&str], paths: &[&Path], code: i32) -> Value {
    let (got, out, error) = run(arguments, paths);
    assert_eq!(got, code, "{error}{out}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

#[test]
fn check_reads_a_directory_as_a_stream() {
    let root = tempfile::tempdir().unwrap();
    session(root.path());
    let report = json(
        &["check", "--format", "json", "--profile", "matter"],
        &[root.path()],
        0,
    );
    let session = &report["sessions"][0];
    assert_eq!(session["name"], "session_1", "{report}");
    assert_eq!(session["manifests"][0]["kind"], "mpd");
    let track = &session["tracks"][0];
    assert_eq!(
        (&track["name"], &track["fragments"]),
        (&"video".into(), &12.into())
    );
    assert_eq!(track["samples"], 12);
    assert_eq!(
        track["timeline"].as_array().map(Vec::len),
        Some(1),
        "{track}"
    );
    assert_eq!(track["timeline"][0]["end"], 12.0);

    fs::remove_file(root.path().join("session_1/video/segment_5.m4s")).unwrap();
    let report = json(
        &["check", "--format=json", "--profile=matter"],
        &[root.path()],
        0,
    );
    let timeline = &report["sessions"][0]["tracks"][0]["timeline"];
    assert_eq!(
        (&timeline[1]["start"], &timeline[1]["gap"]),
        (&6.0.into(), &1.0.into())
    );
}

#[test]
fn check_tells_by_its_exit_code() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let track = Track::video(320, 180);
    let good = file("good.cmfv", &[track.header(), track.second(0, 1)].concat());
    let cut = file(
        "cut.cmfv",
        &[track.header(), track.second(0, 1)[..100].to_vec()].concat(),
    );
    let text = file("text.mp4", b"hello, this is no media");
    let unnamed = file("unnamed", b"hello, this is no media");
    let old = file("old.mp4", &progressive());
    let mpd = file("a.mpd", b"<MPD>");
    let nothing = file("nothing.mp4", b"");
    let none = root.path().join("none.mp4");
    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (path, code) in [
        (&good, 0),
        (&cut, 1),
        (&text, 1),
        (&unnamed, 1),
        (&old, 1),
        (&mpd, 1),
        (&nothing, 1),
        (&none, 2),
        (&empty, 2),
    ] {
        let (got, out, error) = run(&["check", "--profile", "matter"], &[path.as_path()]);
        assert_eq!(got, code, "{}: {error}{out}", path.display());
        if code == 2 {
            assert_eq!(error.lines().count(), 1, "one clear line: {error}");
            assert!(out.is_empty(), "{out}");
        } else {
            assert_eq!(out.contains("matter: passed"), code == 0, "{out}");
        }
    }
    let (code, _, error) = run(&["check", "--profile", "mp3"], &[&good]);
    assert_eq!((code, error.lines().count()), (2, 1), "{error}");
}

#[test]
fn check_holds_segments_against_what_manifests_say_they_last() {
    let root = tempfile::tempdir().unwrap();
    session(root.path());
    let mpd = |duration: u32| {
        let timeline =
            format!("<SegmentTimeline><S t='0' d='{duration}' r='11'/></SegmentTimeline>");
        let template = format!(
            "<SegmentTemplate timescale='10' startNumber='0' initialization='video/video.init' \
             media='video/segment_$Number$.m4s'>{timeline}</SegmentTemplate>"
        );
        format!(
            "<MPD type='static'><Period><AdaptationSet><Representation id='video'>{template}\
             </Representation></AdaptationSet></Period></MPD>"
        )
    };
    let playlist = |duration: &str| {
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:{duration},\nsegment_3.m4s\n")
    };
    let found = |name: &str, text: String| {
        let path = root.path().join("session_1").join(name);
        fs::write(&path, text).unwrap();
        let report = json(&["check", "--format=json"], &[root.path()], 0);
        let all = report["sessions"][0]["findings"].as_array().unwrap();
        let group = all.iter().find(|group| group["rule"] == "segment-duration");
        fs::remove_file(&path).unwrap();
        group.map(|group| (group["objects"].as_u64().unwrap(), group["first"].clone()))
    };
    assert_eq!(found("index.mpd", mpd(10)), None);
    let (objects, first) = found("index.mpd", mpd(20)).unwrap();
    assert_eq!(objects, 12);
    assert_eq!(first["message"], "it lasts 1.000 s, expected 2.000 s");
    assert_eq!(found("video/index.m3u8", playlist("1.0")), None);
    let (objects, first) = found("video/index.m3u8", playlist("1.5")).unwrap();
    assert_eq!(
        (objects, &first["object"]),
        (1, &"session_1/video/segment_3.m4s".into())
    );
}

#[test]
fn check_draws_no_timeline_of_what_is_muxed() {
    let media = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/media/tracks");
    let muxed = Path::new(media).join("muxed-h264-aac.mp4");
    let report = json(&["check", "--format=json"], &[&muxed], 1);
    let track = &report["sessions"][0]["tracks"][0];
    assert_eq!(track["muxed"], true, "{track}");
    assert_eq!(track["codecs"].as_array().map(Vec::len), Some(2), "{track}");
    assert_eq!(
        track["timeline"].as_array().map(Vec::len),
        Some(0),
        "{track}"
    );
    assert_eq!(
        (&track["duration"], &track["bit_rate"]),
        (&Value::Null, &Value::Null)
    );
    let (_, text, _) = run(&["check"], &[&muxed]);
    assert!(text.contains("no timeline is drawn"), "{text}");
}

#[test]
fn check_takes_a_header_from_beside_or_by_name() {
    let (root, lone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    session(root.path());
    let video = root.path().join("session_1/video");
    let arguments = ["check", "--format", "json"];
    let duration = |report: &Value| report["sessions"][0]["tracks"][0]["duration"].clone();
    let beside = json(&arguments, &[&video.join("segment_3.m4s")], 0);
    assert_eq!(duration(&beside), 1.0, "{beside}");
    // Where there is nothing beside it, nor in the directory above.
    let directory = lone.path().join("alone");
    fs::create_dir(&directory).unwrap();
    let segment = directory.join("x.m4s");
    fs::copy(video.join("segment_3.m4s"), &segment).unwrap();
    let alone = json(&arguments, &[&segment], 1);
    assert!(alone.to_string().contains("header-known"), "{alone}");
    let init = format!("--init={}", video.join("video.init").display());
    let named = json(&["check", "--format=json", &init], &[&segment], 0);
    assert_eq!(duration(&named), 1.0);
}

#[test]
fn check_writes_junit_and_survives_a_reader_who_leaves() {
    let root = tempfile::tempdir().unwrap();
    session(root.path());
    let (code, out, _) = run(&["check", "--format", "junit"], &[root.path()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("<testsuite name=\"session_1.cmaf\""), "{out}");
    let mut command = pavs();
    command.args(["rules", "--format", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn probe_writes_json_or_a_table() {
    let root = tempfile::tempdir().unwrap();
    session(root.path());
    let video = root.path().join("session_1/video");
    let (init, segment) = (video.join("video.init"), video.join("segment_3.m4s"));
    let mpd = root.path().join("session_1/index.mpd");
    let one = json(&["probe"], &[&segment], 0);
    assert_eq!(one["streams"][0]["nb_frames"], "1", "{one}");
    assert_eq!(one["format"]["filename"], segment.to_str().unwrap());
    let all = json(&["probe", "--format", "json"], &[&init, &mpd], 0);
    assert_eq!(all[0]["streams"][0]["nb_frames"], "0", "{all}");
    assert_eq!(all[1]["streams"][0]["nb_frames"], "12", "{all}");
    assert_eq!(all[1]["format"]["format_name"], "dash");
    let (code, out, _) = run(&["probe", "--format", "table"], &[&segment]);
    assert_eq!(code, 0);
    assert!(out.contains("h264") && out.contains("320x180"), "{out}");
}

#[test]
fn probe_says_what_it_cannot_do() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    fs::create_dir(root.path().join("alone")).unwrap();
    let lone = file("alone/lone.m4s", &Track::video(320, 180).second(0, 1));
    let text = file("text", b"hello, this is no media");
    let mpd = file("a.mpd", b"<MPD>\n<Period>");
    let none = root.path().join("none");
    for (path, says) in [
        (lone.as_path(), "--init"),
        (&text, "no ISO media file"),
        (&mpd, "line 2"),
        (&none, "none"),
        (root.path(), "is a directory"),
    ] {
        let (code, out, error) = run(&["probe"], &[path]);
        assert_eq!((code, out.as_str()), (2, ""), "{error}");
        assert!(
            error.contains(says) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn rules_are_listed_in_three_formats() {
    let list = json(&["rules", "--format", "json"], &[], 0);
    let list = list.as_array().unwrap();
    assert!(list.len() > 50);
    let (_, text, _) = run(&["rules"], &[]);
    let (_, page, _) = run(&["rules", "--format", "markdown"], &[]);
    for rule in list {
        let id = rule["id"].as_str().unwrap();
        assert!(text.contains(&format!("{id}: ")), "{id}");
        assert!(page.contains(&format!("| `{id}` |")), "{id}");
        assert!(rule["severity"]["matter"].is_string() || rule["severity"]["matter"].is_null());
    }
}
