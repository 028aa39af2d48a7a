//! How the Matter project's test server keeps a stream.
//!
//! ```text
//! streams/ID/stream.json                          what it knows of the stream
//! streams/ID/PATH                                 the newest upload to a path
//! streams/ID/PATH.crt                             the client certificate that it came with, as JSON
//! streams/ID/STEM.20261121_075214.EXTENSION       an earlier one, named when it was replaced
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use super::DESCRIPTION;
use crate::catalog::AdoptedSession;
use crate::clock::Timestamp;
use crate::matter::{Name, Session, Track, TrackState};
use crate::names::{Interface, ObjectPath};
use crate::workdir::{Found, FoundFile};

/// Ending of what is known of a client certificate.
pub(super) const EVIDENCE: &str = ".crt";

/// `stream.json`, as far as it is of use.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    pub(super) id: i64,
    #[serde(default)]
    pub(super) strict_mode: bool,
    pub(super) interface: Interface,
    #[serde(default)]
    pub(super) track_name: Option<String>,
    #[serde(default)]
    error_uploads: Vec<WrittenError>,
    #[serde(default)]
    sessions: Vec<WrittenSession>,
}

#[derive(Debug, Deserialize)]
struct WrittenError {
    file_path: String,
    #[serde(default)]
    reasons: Vec<String>,
}

/// A session there is what came from one manifest to the end; the number in the paths is not looked at.
#[derive(Debug, Deserialize)]
struct WrittenSession {
    /// Paths, each with that of its evidence.
    #[serde(default)]
    uploaded_segments: Vec<(String, String)>,
    #[serde(default)]
    uploaded_manifests: Vec<(String, String)>,
    #[serde(default)]
    complete: bool,
    #[serde(default)]
    tracks: BTreeMap<String, WrittenTrack>,
    #[serde(default)]
    hls_expected_track_count: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct WrittenTrack {
    state: String,
    #[serde(default)]
    segment_count: u64,
}

impl Written {
    /// Sessions as they are here, where the number in the paths says which one it is: each of that server's
    /// sessions is a run of every number that was uploaded to in it. `kept` are the files of the stream.
    pub(super) fn sessions(&self, kept: &[Kept]) -> Vec<AdoptedSession> {
        let mut runs: BTreeMap<u64, i64> = BTreeMap::new();
        let mut sessions = Vec::new();
        if self.interface == Interface::CmafIngest {
            return sessions; // which has none
        }
        let times = times_by_number(kept);
        for written in &self.sessions {
            for (number, names) in written.tracks_by_number() {
                let run = runs.entry(number).or_default();
                *run += 1;
                // Where no file is left of it, nobody knows when it was.
                if let Some(times) = times.get(&number) {
                    sessions.push(written.run(number, *run, &names, *times));
                }
            }
        }
        sessions
    }

    /// The sentences against each path.
    pub(super) fn errors(&self) -> HashMap<&str, Vec<String>> {
        let errors = self.error_uploads.iter();
        errors
            .map(|upload| (upload.file_path.as_str(), upload.reasons.clone()))
            .collect()
    }
}

impl WrittenSession {
    /// The session numbers that were uploaded to, each with the tracks that were.
    fn tracks_by_number(&self) -> BTreeMap<u64, BTreeSet<String>> {
        let mut found: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for (path, _) in self
            .uploaded_manifests
            .iter()
            .chain(&self.uploaded_segments)
        {
            let Ok(path) = ObjectPath::parse(path) else {
                continue;
            };
            let name = Name::of(&path);
            if let Some(number) = name.session() {
                let tracks = found.entry(number).or_default();
                tracks.extend(name.track().map(str::to_owned));
            }
        }
        found
    }

    fn run(
        &self,
        number: u64,
        run: i64,
        names: &BTreeSet<String>,
        (opened, last): (Timestamp, Timestamp),
    ) -> AdoptedSession {
        let tracks: Vec<(String, Track)> = self
            .tracks
            .iter()
            .filter(|(name, _)| names.contains(*name))
            .filter_map(|(name, track)| {
                let segments = track.segment_count;
                let state = TrackState::from_text(&track.state)?;
                Some((name.clone(), Track { state, segments }))
            })
            .collect();
        let segments = tracks
            .iter()
            .fold(0_u64, |sum, (_, track)| sum.saturating_add(track.segments));
        let completed = tracks
            .iter()
            .filter(|(_, track)| track.state == TrackState::Completed)
            .count();
        let session = Session {
            run,
            complete: self.complete,
            opened,
            last,
            segments,
            expected_tracks: self.hls_expected_track_count,
            // That server counts uploads; these are tracks.
            completed_tracks: u64::try_from(completed).unwrap_or(u64::MAX),
            version: run,
        };
        AdoptedSession {
            number,
            session,
            tracks,
        }
    }
}

/// When the first and the last file of each session came.
fn times_by_number(kept: &[Kept]) -> HashMap<u64, (Timestamp, Timestamp)> {
    let mut times: HashMap<u64, (Timestamp, Timestamp)> = HashMap::new();
    for Kept { path, at, .. } in kept {
        if let Some(number) = Name::of(path).session() {
            let (first, last) = times.entry(number).or_insert((*at, *at));
            *first = (*first).min(*at);
            *last = (*last).max(*at);
        }
    }
    times
}

/// An upload that lies in the stream's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// The path that it was uploaded to.
    pub(super) path: ObjectPath,
    /// The file that it lies in: another one, if it was replaced since.
    pub(super) file: ObjectPath,
    pub(super) size: u64,
    pub(super) at: Timestamp,
    /// File with the certificate that it came with.
    pub(super) evidence: Option<ObjectPath>,
}

/// What the files of a stream's directory are.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Oldest first.
    pub(super) kept: Vec<Kept>,
    /// What is none of the server's files, and why.
    pub(super) left: Vec<(String, String)>,
}

impl Layout {
    pub(super) fn of(found: Vec<Found>) -> Self {
        let mut layout = Self::default();
        let mut files: Vec<(ObjectPath, FoundFile)> = Vec::new();
        for Found { path, file } in found {
            let known = match file {
                _ if path == DESCRIPTION => continue,
                Ok(file) => ObjectPath::parse(&path)
                    .map(|path| (path, file))
                    .map_err(|e| e.message().to_owned()),
                Err(why) => Err(why.to_owned()),
            };
            match known {
                Ok(known) => files.push(known),
                Err(why) => layout.left.push((path, why)),
            }
        }
        let names: HashSet<String> = files
            .iter()
            .map(|(path, _)| path.as_str().to_owned())
            .collect();
        for (file, found) in files {
            match role(&file, &names) {
                Ok(Some(path)) => {
                    // Evidence is not versioned: it belongs to what the path has now.
                    let evidence = format!("{path}{EVIDENCE}");
                    let evidence = Some(evidence)
                        .filter(|name| path == file && names.contains(name))
                        .and_then(|name| ObjectPath::parse(&name).ok());
                    layout.kept.push(Kept {
                        path,
                        file,
                        size: found.size,
                        at: found.modified.into(),
                        evidence,
                    });
                }
                Ok(None) => {}
                Err(why) => layout.left.push((file.as_str().to_owned(), why.to_owned())),
            }
        }
        // An earlier upload never comes after the one that has taken its place.
        layout.kept.sort_by(|a, b| {
            (a.at, a.path == a.file, &a.file).cmp(&(b.at, b.path == b.file, &b.file))
        });
        layout
    }
}

/// The path that a file was uploaded to; `None` for evidence, which is no upload.
fn role(file: &ObjectPath, names: &HashSet<String>) -> Result<Option<ObjectPath>, &'static str> {
    let name = file.as_str();
    if let Some(object) = name.strip_suffix(EVIDENCE) {
        let is_evidence = names.contains(object) && !object.ends_with(EVIDENCE);
        return if is_evidence {
            Ok(None)
        } else {
            Err("names ending in .crt are the server's own, and it is no object's evidence")
        };
    }
    let Some(before) = replaced(name) else {
        return Ok(Some(file.clone()));
    };
    if before == DESCRIPTION {
        return Err("it is an earlier description of the stream");
    }
    if !names.contains(&before) {
        return Ok(Some(file.clone()));
    }
    Ok(ObjectPath::parse(&before).ok())
}

/// `a/b.m4s` for `a/b.20261121_075214.m4s`.
fn replaced(name: &str) -> Option<String> {
    let (rest, extension) = name.rsplit_once('.')?;
    let (stem, time) = rest.rsplit_once('.')?;
    let (date, clock) = time.split_once('_')?;
    let digits = |text: &str, number: usize| {
        text.len() == number && text.bytes().all(|b| b.is_ascii_digit())
    };
    let is_time = digits(date, 8) && digits(clock, 6);
    (is_time && !extension.contains('/')).then(|| format!("{stem}.{extension}"))
}

/// Whom the evidence names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    /// Lower-case hexadecimal, without leading zeros.
    pub(super) serial: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evidence {
    subject: Vec<Vec<(String, String)>>,
    serial_number: String,
}

/// Reads what Python's `getpeercert()` says of a certificate.
pub(super) fn peer(text: &str) -> Option<Peer> {
    let evidence: Evidence = serde_json::from_str(text).ok()?;
    let mut parts = evidence.subject.into_iter().flatten().rev();
    let (_, name) = parts.find(|(kind, _)| kind == "commonName")?;
    let serial = evidence.serial_number.to_ascii_lowercase();
    Some(Peer {
        name,
        serial: serial.trim_start_matches('0').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn found(path: &str, second: u64) -> Found {
        Found {
            path: path.to_owned(),
            file: Ok(FoundFile {
                size: 1,
                modified: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            }),
        }
    }

    #[test]
    fn files_are_told_apart() {
        let layout = Layout::of(vec![
            found("stream.json", 9),
            found("stream.20261121_075214.json", 9),
            found("session_1/index.mpd", 8),
            found("session_1/index.mpd.crt", 8),
            found("session_1/index.mpd.crt.crt", 8),
            found("session_1/index.20261121_075214.mpd", 1),
            found("session_1/v/alone.20261121_075214.m4s", 2),
            found("session_1/v/a.2026_07.m4s", 3),
            found("session_1/v/nobody.m4s.crt", 3),
            found("bad\nname", 3),
            Found {
                path: "link".to_owned(),
                file: Err("it is not a file"),
            },
        ]);
        let kept: Vec<_> = layout
            .kept
            .iter()
            .map(|kept| {
                let evidence = kept.evidence.as_ref().map(ObjectPath::as_str);
                (kept.path.as_str(), kept.file.as_str(), evidence)
            })
            .collect();
        assert_eq!(
            kept,
            [
                (
                    "session_1/index.mpd",
                    "session_1/index.20261121_075214.mpd",
                    None
                ),
                (
                    "session_1/v/alone.20261121_075214.m4s",
                    "session_1/v/alone.20261121_075214.m4s",
                    None
                ),
                (
                    "session_1/v/a.2026_07.m4s",
                    "session_1/v/a.2026_07.m4s",
                    None
                ),
                (
                    "session_1/index.mpd",
                    "session_1/index.mpd",
                    Some("session_1/index.mpd.crt")
                ),
            ]
        );
        let left: HashSet<&str> = layout.left.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            left,
            HashSet::from([
                "stream.20261121_075214.json",
                "session_1/index.mpd.crt.crt",
                "session_1/v/nobody.m4s.crt",
                "bad\nname",
                "link"
            ])
        );
    }

    #[test]
    fn its_sessions_are_runs_of_ours() {
        let session = |path: &str, state: &str, complete: bool| {
            format!(
                r#"{{"id": 9, "uploaded_segments": [["{path}/v/v.init", "{path}/v/v.init.crt"]],
                "uploaded_manifests": [["{path}/index.mpd", ""], ["elsewhere.mpd", ""]],
                "complete": {complete}, "tracks": {{
                "v": {{"name": "v", "state": "{state}", "segment_count": 7}},
                "elsewhere": {{"name": "elsewhere", "state": "completed", "segment_count": 1}}}}}}"#
            )
        };
        let text = format!(
            r#"{{"id": 1, "interface": "dash", "sessions": [{}, {}, {}, {}]}}"#,
            session("session_4", "completed", true),
            session("session_5", "not_started", false),
            session("session_4", "init_uploaded", false),
            session("session_6", "completed", true),
        );
        let written: Written = serde_json::from_str(&text).unwrap();
        let layout = Layout::of(vec![
            found("session_4/index.mpd", 3),
            found("session_4/v/v.init", 5),
            found("session_5/index.mpd", 9),
        ]);
        let sessions = written.sessions(&layout.kept);
        let told: Vec<_> = sessions
            .iter()
            .map(|run| {
                let tracks: Vec<_> = run
                    .tracks
                    .iter()
                    .map(|(name, track)| (name.as_str(), track.state.as_str(), track.segments))
                    .collect();
                let (session, seconds) = (&run.session, 1_000_000);
                (
                    (run.number, session.run, session.complete),
                    tracks,
                    session.opened.as_micros() / seconds..session.last.as_micros() / seconds,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ((4, 1, true), vec![("v", "completed", 7)], 3..5),
                ((5, 1, false), vec![], 9..9),
                ((4, 2, false), vec![("v", "init_uploaded", 7)], 3..5),
                // Of the sixth no file is left.
            ]
        );
    }

    #[test]
    fn evidence_names_a_device() {
        let text = r#"{"subject": [[["organizationName", "CSA"]], [["organizationalUnitName", "TC_PAVS"]], [["commonName", "d\u00e9v"]]], "issuer": [], "version": 3, "serialNumber": "00AB17"}"#;
        assert_eq!(
            peer(text),
            Some(Peer {
                name: "dév".to_owned(),
                serial: "ab17".to_owned()
            })
        );
        for bad in ["", "null", "{}", r#"{"subject": [], "serialNumber": "1"}"#] {
            assert_eq!(peer(bad), None, "{bad}");
        }
    }
}
