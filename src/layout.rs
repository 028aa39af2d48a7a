//! Which names belong together.
//!
//! ```text
//! session_1/index.mpd              session_1: manifest
//! session_1/video/video.init       session_1: header of the track "video"
//! session_1/video/segment_1001.m4s session_1: its media
//! live/init-stream1.m4s            "":        header of the track "live/init-stream1.m4s"
//! live/chunk-stream1-00001.m4s     "":        its media
//! cam/video.cmfv                   "":        a track by itself
//! ```

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

/// Most headers that are compared with a name.
const MAX_CANDIDATES: usize = 500;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// An MPD or a playlist.
    Manifest,
    /// The header of a track, and nothing more.
    Header,
    /// Fragments, and their header with them.
    Track,
    /// Fragments without a header.
    Segment,
    /// Something else.
    Other,
}

/// Everything that belongs to a session. Numbers are places in the list that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Its directory; empty for what is in none.
    pub name: String,
    /// Manifests.
    pub manifests: Vec<usize>,
    /// Tracks.
    pub tracks: Vec<Track>,
    /// The rest.
    pub others: Vec<usize>,
}

/// Everything that belongs to a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// Its directory in the session, if it has one for itself, or else the name of its header.
    pub name: String,
    /// The object with its header.
    pub header: Option<usize>,
    /// Its segments, in the order of their numbers.
    pub media: Vec<usize>,
}

/// Sorts objects into sessions and tracks.
#[must_use]
pub fn layout(objects: &[(&str, Content)]) -> Vec<Session> {
    let mut order: Vec<_> = (0..objects.len()).collect();
    order.sort_by(|a, b| natural(objects[*a].0, objects[*b].0));
    let mut sessions: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut places = HashMap::new();
    for at in order {
        let name = session_of(objects[at].0);
        let place = *places.entry(name).or_insert_with(|| {
            sessions.push((name, Vec::new()));
            sessions.len() - 1
        });
        sessions[place].1.push(at);
    }
    sessions
        .into_iter()
        .map(|(name, members)| session(name, &members, objects))
        .collect()
}

fn session(name: &str, members: &[usize], objects: &[(&str, Content)]) -> Session {
    let mut session = Session {
        name: name.to_owned(),
        ..Session::default()
    };
    let mut headers = BTreeMap::new();
    let mut in_directory: HashMap<&str, usize> = HashMap::new();
    let mut track_of = HashMap::new();
    for at in members {
        let (path, content) = objects[*at];
        match content {
            Content::Manifest => session.manifests.push(*at),
            Content::Other => session.others.push(*at),
            Content::Header | Content::Track => {
                headers.insert(path, *at);
                *in_directory.entry(directory(path)).or_default() += 1;
                track_of.insert(*at, session.tracks.len());
                session.tracks.push(Track {
                    name: path.to_owned(),
                    header: Some(*at),
                    media: Vec::new(),
                });
            }
            Content::Segment => {}
        }
    }
    // Segments whose names differ in their last number only have the same header.
    let mut series: HashMap<String, usize> = HashMap::new();
    for at in members {
        let (path, content) = objects[*at];
        if content != Content::Segment {
            continue;
        }
        let place = *series.entry(series_of(path)).or_insert_with(|| {
            match header_in(path, &headers).and_then(|header| track_of.get(&header)) {
                Some(place) => *place,
                None => {
                    session.tracks.push(Track {
                        name: series_of(path),
                        ..Track::default()
                    });
                    session.tracks.len() - 1
                }
            }
        });
        session.tracks[place].media.push(*at);
    }
    for track in &mut session.tracks {
        let Some(header) = track.header else { continue };
        let (path, content) = objects[header];
        let own = directory(path);
        let alone = in_directory.get(own) == Some(&1);
        let inside = own.strip_prefix(name).unwrap_or(own).trim_matches('/');
        if content == Content::Header && alone && !inside.is_empty() {
            inside.clone_into(&mut track.name);
        } else {
            let inside = path.strip_prefix(name).unwrap_or(path);
            inside.trim_start_matches('/').clone_into(&mut track.name);
        }
    }
    session
}

/// The header of a segment's track: the most similar name in its directory or below it, or else in the
/// nearest above that has any.
fn header_in(path: &str, headers: &BTreeMap<&str, usize>) -> Option<usize> {
    let mut directory = directory(path);
    loop {
        let mut below = headers
            .range(directory..)
            .take_while(|(name, _)| name.starts_with(directory))
            .peekable();
        if below.peek().is_some() {
            let names = below.clone().map(|(name, _)| *name);
            let place = most_similar(path, names)?;
            return below.nth(place).map(|(_, at)| *at);
        }
        if directory.is_empty() {
            return None;
        }
        directory = self::directory(directory.trim_end_matches('/'));
    }
}

/// The place of the name that is most like `path`; of equally similar names the first.
pub fn most_similar<'a>(path: &str, names: impl Iterator<Item = &'a str>) -> Option<usize> {
    let mut best = None;
    for (place, name) in names.take(MAX_CANDIDATES).enumerate() {
        let like = likeness(name, path);
        if best.is_none_or(|(most, _)| like > most) {
            best = Some((like, place));
        }
    }
    best.map(|(_, place)| place)
}

/// Length of the longest text that both names contain, behind the directory that they share: a long one
/// would make all names in it alike.
#[must_use]
pub fn likeness(one: &str, other: &str) -> usize {
    let pairs = one.bytes().zip(other.bytes());
    let shared = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a);
    let shared: Vec<u8> = shared.collect();
    let directory = shared
        .iter()
        .rposition(|b| *b == b'/')
        .map_or(0, |at| at + 1);
    let (one, other) = (&one.as_bytes()[directory..], &other.as_bytes()[directory..]);
    let mut best = 0;
    let mut row = vec![0; other.len() + 1];
    for a in one {
        let mut diagonal = 0;
        for (column, b) in other.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if a == b { diagonal + 1 } else { 0 };
            best = best.max(row[column + 1]);
            diagonal = above;
        }
    }
    best
}

/// The directory of a name, with its slash; empty if it is in none.
#[must_use]
pub fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |slash| &path[..=slash])
}

/// The directory that is a session: up to the first level that is called `session_N`.
#[must_use]
pub fn session_of(path: &str) -> &str {
    let mut end = 0;
    for level in path.split('/') {
        let start = end;
        end += level.len();
        let number = level.strip_prefix("session_").unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        if is_number && path.as_bytes().get(end) == Some(&b'/') {
            return &path[..start + level.len()];
        }
        end += 1;
    }
    ""
}

/// The name with `*` for its last number.
fn series_of(path: &str) -> String {
    let name_at = directory(path).len();
    let (directory, name) = path.split_at(name_at);
    let Some(last) = name.rfind(|c: char| c.is_ascii_digit()) else {
        return path.to_owned();
    };
    // The digit of an extension such as .mp4 is no number of a segment.
    let name_end = name.rfind('.').filter(|dot| *dot < last);
    let last = match name_end {
        Some(dot) => match name[..dot].rfind(|c: char| c.is_ascii_digit()) {
            Some(last) => last,
            None => return path.to_owned(),
        },
        None => last,
    };
    let first = name[..last]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |before| before + 1);
    format!("{directory}{}*{}", &name[..first], &name[last + 1..])
}

/// Compares names so that numbers in them are in order: `2.m4s` before `10.m4s`.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut one, mut other) = (a.as_bytes(), b.as_bytes());
    loop {
        let (x, y) = match (one.first(), other.first()) {
            (Some(x), Some(y)) => (*x, *y),
            _ => return one.len().cmp(&other.len()).then_with(|| a.cmp(b)),
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (first, rest) = digits(one);
            let (second, other_rest) = digits(other);
            let by_value = first
                .len()
                .cmp(&second.len())
                .then_with(|| first.cmp(second));
            if by_value != Ordering::Equal {
                return by_value;
            }
            (one, other) = (rest, other_rest);
        } else if x != y {
            return x.cmp(&y);
        } else {
            (one, other) = (&one[1..], &other[1..]);
        }
    }
}

/// A number without leading zeros, and what follows it.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit());
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let zeros = number.iter().position(|b| *b != b'0');
    (&number[zeros.unwrap_or(number.len())..], rest)
}

#[cfg(test)]
mod tests {
    use super::Content::{Header, Manifest, Other, Segment, Track as Whole};
    use super::*;

    /// Names of what belongs to each track.
    fn tracks(objects: &[(&str, Content)]) -> Vec<(String, String, Vec<String>)> {
        layout(objects)
            .into_iter()
            .flat_map(|session| session.tracks)
            .map(|track| {
                let name = |at: usize| objects[at].0.to_owned();
                let header = track.header.map(name).unwrap_or_default();
                (
                    track.name,
                    header,
                    track.media.into_iter().map(name).collect(),
                )
            })
            .collect()
    }

    #[test]
    fn matter_sessions() {
        let objects = [
            ("session_2/video/segment_1001.m4s", Segment),
            ("session_10/index.mpd", Manifest),
            ("session_2/index.mpd", Manifest),
            ("session_2/video/video.init", Header),
            ("session_2/audio/audio.init", Header),
            ("session_2/audio/segment_10001.m4s", Segment),
            ("session_2/audio/segment_9999.m4s", Segment),
            ("stray.bin", Other),
        ];
        let sessions = layout(&objects);
        let names: Vec<_> = sessions
            .iter()
            .map(|session| session.name.as_str())
            .collect();
        assert_eq!(names, ["session_2", "session_10", ""]);
        assert_eq!(
            (&sessions[0].manifests[..], &sessions[2].others[..]),
            (&[2][..], &[7][..])
        );
        let found = tracks(&objects);
        assert_eq!(found[0].0, "audio");
        assert_eq!(
            found[0].2,
            [
                "session_2/audio/segment_9999.m4s",
                "session_2/audio/segment_10001.m4s"
            ]
        );
        assert_eq!(
            (found[1].0.as_str(), found[1].1.as_str()),
            ("video", "session_2/video/video.init")
        );
    }

    #[test]
    fn names_of_encoders() {
        let found = tracks(&[
            ("live/init-stream1.m4s", Header),
            ("live/init-stream10.m4s", Header),
            ("live/chunk-stream10-00001.m4s", Segment),
            ("live/chunk-stream1-00010.m4s", Segment),
            ("live/chunk-stream1-00002.m4s", Segment),
            ("all/init.mp4", Header),
            ("all/v/1.m4s", Segment),
            ("cam/video.cmfv", Whole),
            ("shaka/init/v.mp4", Header),
            ("shaka/v/1.m4s", Segment),
        ]);
        let of = |name: &str| &found.iter().find(|track| track.0 == name).unwrap().2[..];
        assert_eq!(of("all"), ["all/v/1.m4s"]);
        let one = [
            "live/chunk-stream1-00002.m4s",
            "live/chunk-stream1-00010.m4s",
        ];
        assert_eq!(of("live/init-stream1.m4s"), one);
        assert_eq!(
            of("live/init-stream10.m4s"),
            ["live/chunk-stream10-00001.m4s"]
        );
        assert_eq!(of("cam/video.cmfv"), [""; 0]);
        assert_eq!(of("shaka/init"), ["shaka/v/1.m4s"]);
        assert_eq!(found.iter().map(|track| track.2.len()).sum::<usize>(), 5);
    }

    #[test]
    fn segments_without_a_header_are_told_apart() {
        let found = tracks(&[
            ("a/seg-1.m4s", Segment),
            ("a/seg-2.m4s", Segment),
            ("b/seg-1.m4s", Segment),
        ]);
        let names: Vec<_> = found.iter().map(|track| track.0.as_str()).collect();
        assert_eq!(names, ["a/seg-*.m4s", "b/seg-*.m4s"]);
        assert_eq!(found[0].2, ["a/seg-1.m4s", "a/seg-2.m4s"]);
    }

    #[test]
    fn the_most_similar_name() {
        let names = ["live/init-stream0.m4s", "live/init-stream1.m4s"];
        let best = most_similar("live/chunk-stream1-00002.m4s", names.into_iter());
        assert_eq!(best, Some(1));
        let segment = "session_1/live/chunk-stream1-00001.m4s";
        assert!(
            likeness("session_1/live/init-stream1.m4s", segment)
                > likeness("session_1/live/init-stream0.m4s", segment)
        );
        assert_eq!(likeness("abc", "xbcx"), 2);
        assert_eq!(likeness("", "x"), 0);
        assert_eq!(most_similar("x", std::iter::empty()), None);
    }

    #[test]
    fn series() {
        for (path, series) in [
            ("a/seg_0012.m4s", "a/seg_*.m4s"),
            ("a/12.mp4", "a/*.mp4"),
            ("a2/v.mp4", "a2/v.mp4"),
            ("a/v1-2-x.m4s", "a/v1-*-x.m4s"),
            ("7", "*"),
            ("v", "v"),
        ] {
            assert_eq!(series_of(path), series);
        }
    }

    #[test]
    fn numbers_are_in_order() {
        let mut names = ["a10", "a9", "a09b", "a", "b1", "a9a", "010", "9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9", "010", "a", "a9", "a9a", "a09b", "a10", "b1"]);
    }
}
