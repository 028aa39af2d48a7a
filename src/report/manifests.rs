//! What manifests are held against, and what a report says of them.

use super::{Manifest, ManifestKind};
use crate::cmaf::{Ticks, Timescale};
use crate::finding::{Finding, Rule, Severity, rule_table};
use crate::manifest::mpd::{self, Run, SegmentTemplate};
use crate::manifest::playlist::{self, Content};
use crate::manifest::{Fault, resolve};

/// Names that are looked for, of one manifest.
const MAX_NAMES: usize = 100_000;

type Severities = [Option<Severity>; 3];

const WARNING: Option<Severity> = Some(Severity::Warning);
const ERROR: Option<Severity> = Some(Severity::Error);

/// No player reads it; CMAF itself says nothing of manifests.
const BROKEN: Severities = [WARNING, ERROR, ERROR];
/// Players cope.
const WARNED: Severities = [WARNING; 3];

rule_table! {
    MPD_READABLE: "mpd-readable", "manifest", None, BROKEN,
        "an MPD is well-formed XML whose root element is MPD";
    MPD_VALUE: "mpd-value", "manifest", None, WARNED,
        "an attribute of an MPD has a value of its type";
    PLAYLIST_READABLE: "playlist-readable", "manifest", None, BROKEN,
        "a playlist begins with #EXTM3U, and its tags follow the grammar";
    PLAYLIST_VALUE: "playlist-value", "manifest", None, WARNED,
        "a tag of a playlist has the attributes and values that it takes";
    MANIFEST_OBJECT: "manifest-object", "manifest", None, WARNED,
        "what a manifest names is there";
}

/// A manifest that has been looked at.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What it says.
    pub manifest: Manifest,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
    /// Names of objects that it says are encrypted as a whole.
    pub ciphertext: Vec<String>,
    /// What an MPD says of each of its tracks.
    pub described: Vec<Described>,
}

/// A representation of an MPD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Adaptation set that it is in, counted through all periods.
    pub adaptation_set: usize,
    /// Name of the object with its header.
    pub initialization: Option<String>,
    /// Ticks per second of what is listed.
    pub timescale: Timescale,
    /// Segments of its timeline.
    pub segments: Vec<Listed>,
}

/// A segment as a timeline lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name of the object.
    pub name: String,
    /// When it is presented.
    pub start: Ticks,
    /// How long it lasts.
    pub length: Ticks,
}

/// What the manifest at `path` says, and what is wrong with it. `exists` tells whether there is an
/// object of a name; what nobody can tell is left alone.
pub fn judge(path: &str, bytes: &[u8], exists: impl Fn(&str) -> Option<bool>) -> Judged {
    let is_playlist = path.ends_with(".m3u8") || bytes.starts_with(b"#EXTM3U");
    let mut manifest = Manifest {
        path: path.to_owned(),
        kind: ManifestKind::Unreadable,
        presentation_type: None,
        ended: false,
        tracks: 0,
        segments: 0,
    };
    let mut findings = Vec::new();
    let mut names = Vec::new();
    let mut ciphertext = Vec::new();
    let mut described = Vec::new();
    let read = if is_playlist {
        playlist::read(bytes).map(|playlist| {
            findings.extend(faults(&PLAYLIST_VALUE, &playlist.unreadable));
            if let Content::Media(media) = &playlist.content {
                ciphertext = hidden(path, media);
            }
            of_playlist(&mut manifest, playlist.content, &mut names);
        })
    } else {
        mpd::read(bytes).map(|mpd| {
            findings.extend(faults(&MPD_VALUE, &mpd.unreadable));
            described = of_mpd(&mut manifest, &mpd, &mut names);
        })
    };
    if let Err(fault) = read {
        let rule = if is_playlist {
            &PLAYLIST_READABLE
        } else {
            &MPD_READABLE
        };
        findings.push(found(rule, &fault));
    }
    let missing = names
        .iter()
        .take(MAX_NAMES)
        .filter_map(|url| resolve(path, url))
        .find(|name| exists(name) == Some(false));
    if let Some(name) = missing {
        let message = format!("there is no {name:?}, which it names");
        findings.push(Finding::new(&MANIFEST_OBJECT, message));
    }
    Judged {
        manifest,
        findings,
        ciphertext,
        described,
    }
}

/// Objects whose boxes cannot be read.
fn hidden(path: &str, media: &playlist::Media) -> Vec<String> {
    let hides = |key: Option<usize>| {
        let key = key.and_then(|place| media.keys.get(place));
        key.is_some_and(playlist::Key::hides_boxes)
    };
    let hidden = media.segments.iter().filter(|segment| hides(segment.key));
    let maps = hidden
        .clone()
        .filter_map(|segment| media.maps.get(segment.map?));
    let maps = maps.map(|map| map.uri.as_str());
    let mut names: Vec<_> = hidden
        .map(|segment| segment.uri.as_str())
        .chain(maps)
        .filter_map(|url| resolve(path, url))
        .collect();
    names.sort();
    names.dedup();
    names
}

fn of_mpd(manifest: &mut Manifest, mpd: &mpd::Mpd, names: &mut Vec<String>) -> Vec<Described> {
    manifest.kind = ManifestKind::Mpd;
    manifest
        .presentation_type
        .clone_from(&mpd.presentation_type);
    manifest.ended = !mpd.is_dynamic();
    let path = manifest.path.clone();
    let mut has_base = !mpd.base_urls.is_empty();
    let mut all = Vec::new();
    let mut adaptation_set: Option<(usize, &mpd::AdaptationSet)> = None;
    for track in mpd.tracks() {
        manifest.tracks += 1;
        has_base |= !track.period.base_urls.is_empty()
            || !track.adaptation_set.base_urls.is_empty()
            || !track.representation.base_urls.is_empty();
        let set = match adaptation_set {
            Some((set, held)) if std::ptr::eq(held, track.adaptation_set) => set,
            Some((set, _)) => set + 1,
            None => 0,
        };
        adaptation_set = Some((set, track.adaptation_set));
        let Some(template) = track.template() else {
            continue;
        };
        let of_run = |run: &Run| run.count.unwrap_or(1);
        let listed = template
            .runs()
            .map(|run| of_run(&run))
            .fold(0, u64::saturating_add);
        manifest.segments = manifest.segments.saturating_add(listed);
        let fill = |template: &str, number, time| {
            SegmentTemplate::fill(template, track.representation, number, time)
        };
        let initialization = template.initialization.as_deref();
        let initialization = initialization.and_then(|it| fill(it, None, None));
        names.extend(initialization.clone());
        let media = template.media.as_deref().unwrap_or_default();
        let segments = template
            .runs()
            .flat_map(|run| (0..of_run(&run)).map_while(move |at| run.segment(at)));
        let mut kept = Vec::new();
        for segment in segments.take(MAX_NAMES.saturating_sub(names.len())) {
            let Some(url) = fill(media, Some(segment.number), Some(segment.time)) else {
                break;
            };
            kept.extend(resolve(&path, &url).map(|name| Listed {
                name,
                start: Ticks(segment.time),
                length: Ticks(segment.duration),
            }));
            names.push(url);
        }
        all.push(Described {
            adaptation_set: set,
            initialization: initialization.and_then(|url| resolve(&path, &url)),
            timescale: Timescale(template.timescale.unwrap_or(1)),
            segments: kept,
        });
    }
    // What a base does to the names is the business of players.
    if has_base {
        names.clear();
        all.clear();
    }
    all
}

fn of_playlist(manifest: &mut Manifest, content: Content, names: &mut Vec<String>) {
    match content {
        Content::Multivariant(lists) => {
            manifest.kind = ManifestKind::Multivariant;
            let found = lists.variants.len().saturating_add(lists.renditions.len());
            manifest.tracks = u64::try_from(found).unwrap_or(u64::MAX);
            names.extend(lists.variants.into_iter().map(|variant| variant.uri));
            names.extend(lists.renditions.into_iter().filter_map(|it| it.uri));
        }
        Content::Media(media) => {
            manifest.kind = ManifestKind::MediaPlaylist;
            manifest.presentation_type = media.playlist_type;
            manifest.ended = media.ended;
            manifest.tracks = 1;
            manifest.segments = u64::try_from(media.segments.len()).unwrap_or(u64::MAX);
            names.extend(media.maps.into_iter().map(|map| map.uri));
            let segments = media.segments.into_iter().filter(|segment| !segment.gap);
            names.extend(segments.map(|segment| segment.uri));
        }
    }
}

fn faults(rule: &'static Rule, faults: &[Fault]) -> Option<Finding> {
    faults.first().map(|first| found(rule, first))
}

fn found(rule: &'static Rule, fault: &Fault) -> Finding {
    let message = format!("line {}: {}", fault.line, fault.message);
    Finding::new(rule, message).at("", fault.byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of the rules that a manifest breaks.
    fn broken(path: &str, text: &str) -> Vec<&'static str> {
        let there = |name: &str| Some(name.contains("there"));
        let judged = judge(path, text.as_bytes(), there);
        judged
            .findings
            .iter()
            .map(|finding| finding.rule.id)
            .collect()
    }

    #[test]
    fn each_rule_is_broken_by_its_fault_alone() {
        let mut seen = Vec::new();
        for (path, text, rule) in [
            ("a.mpd", "<MPD>", "mpd-readable"),
            ("a.mpd", "<MPD minimumUpdatePeriod='x'/>", "mpd-value"),
            ("a.m3u8", "#EXTINF:1\n", "playlist-readable"),
            (
                "a.m3u8",
                "#EXTM3U\n#EXT-X-STREAM-INF:AUDIO=\"a\"\nthere\n",
                "playlist-value",
            ),
            (
                "a.m3u8",
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngone.m4s\n",
                "manifest-object",
            ),
        ] {
            assert_eq!(broken(path, text), [rule], "{text}");
            seen.push(rule);
        }
        let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(seen, ids, "each rule has its fault");
        for (path, text) in [
            ("a.mpd", "<MPD type='static'/>"),
            (
                "a.m3u8",
                "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nthere.m4s\n",
            ),
        ] {
            assert_eq!(broken(path, text), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_a_key_hides_is_named() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"i\"\n#EXTINF:1,\n1\n\
                    #EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:1,\n2\n#EXT-X-KEY:METHOD=NONE\n\
                    #EXTINF:1,\n3\n";
        let judged = judge("s/a.m3u8", text.as_bytes(), |_| None);
        assert_eq!(judged.ciphertext, ["s/2", "s/i"]);
    }

    #[test]
    fn names_of_a_template_are_looked_for() {
        let mpd = |number| {
            format!(
                "<MPD><Period><AdaptationSet><Representation id='v'><SegmentTemplate \
                 initialization='there-$RepresentationID$.init' media='$Number$.m4s' \
                 startNumber='{number}'><SegmentTimeline><S d='1' r='1'/></SegmentTimeline>\
                 </SegmentTemplate></Representation></AdaptationSet></Period></MPD>"
            )
        };
        let exists = |name: &str| Some(["s/there-v.init", "s/7.m4s", "s/8.m4s"].contains(&name));
        let findings = |number| judge("s/index.mpd", mpd(number).as_bytes(), exists);
        let judged = findings(7);
        assert_eq!(judged.findings, []);
        assert_eq!((judged.manifest.segments, judged.manifest.tracks), (2, 1));
        let found = findings(8).findings;
        assert!(found[0].message.contains("s/9.m4s"), "{found:?}");
    }
}
