use super::RULES;
use crate::cmaf::TrackHeader;
use crate::cmaf::testing::header;
use crate::report::{Builder, Fragment, manifests};

/// Ticks per second of the header.
const SECOND: u64 = 12_800;

/// A track by its name, and the starts of its segments in seconds; each lasts until the next one, the
/// last a second.
type Track<'a> = (&'a str, &'a [f64]);

fn ticks(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

/// What is found in a session of these tracks, each with the segments `0`, `1`, … beside the header.
fn found(session: &str, tracks: &[Track<'_>], mpd: Option<&str>) -> Vec<(&'static str, String)> {
    let header = TrackHeader::parse(&header(&[1])).unwrap();
    assert_eq!(u64::from(header.tracks[0].timescale), SECOND);
    let mut builder = Builder::default();
    let built = builder.session(session);
    if let Some(mpd) = mpd {
        built.manifest(&manifests::judge("index.mpd", mpd.as_bytes(), |_| None));
    }
    for (name, starts) in tracks {
        let track = built.track(name);
        track.header(Some(&format!("{name}/init")), &header);
        let ends = starts.iter().skip(1).copied();
        let ends = ends.chain(starts.last().map(|last| last + 1.0));
        for ((number, start), end) in starts.iter().enumerate().zip(ends) {
            let fragment = Fragment {
                decode_time: Some(ticks(*start)),
                duration: ticks(end) - ticks(*start),
                sync: true,
                ..Fragment::default()
            };
            track.fragment(&format!("{name}/{number}"), &fragment);
        }
    }
    let report = builder.finish("x");
    let groups = report.sessions.into_iter().flat_map(|it| it.findings);
    groups
        .map(|group| {
            (
                group.rule.id,
                format!("{}: {}", group.first.object, group.first.message),
            )
        })
        .collect()
}

/// An MPD whose adaptation sets have these representations, and this in their template.
fn mpd(kind: &str, sets: &[&[&str]], template: &str) -> String {
    let sets = sets.iter().map(|set| {
        let tracks = set.iter().map(|id| format!("<Representation id='{id}'/>"));
        format!(
            "<AdaptationSet><SegmentTemplate timescale='1000' startNumber='0' \
             initialization='$RepresentationID$/init' media='$RepresentationID$/$Number$'>{template}\
             </SegmentTemplate>{}</AdaptationSet>",
            tracks.collect::<String>()
        )
    });
    let sets = sets.collect::<String>();
    format!("<MPD type='{kind}'><Period>{sets}</Period></MPD>")
}

#[test]
fn tracks_of_a_switching_set_have_the_same_boundaries() {
    let rule = "switching-set-boundaries";
    let three: Track<'_> = ("a", &[0.0, 2.0, 4.0]);
    let both = mpd("static", &[&["a", "b"]], "");
    let live = mpd("dynamic", &[&["a", "b"]], "");
    let apart = mpd("static", &[&["a"], &["b"]], "");
    let wrong: &[(&str, Track<'_>, Option<&str>, &str)] = &[
        (
            "",
            ("b", &[0.0, 2.04, 4.0]),
            Some(&both),
            "b: its segment 2 begins at 2.040 s, that of \"a\" at 2.000 s",
        ),
        (
            "session_1",
            ("b", &[1.0, 3.0, 5.0]),
            None,
            "b: its segment 1 begins at 1.000 s, that of \"a\" at 0.000 s",
        ),
        (
            "",
            ("b", &[0.0, 2.0]),
            Some(&both),
            "b: it has 2 segments, \"a\" has 3",
        ),
        (
            "",
            ("b", &[0.0, 2.0, 4.0, 5.0, 6.0]),
            Some(&live),
            "b: it has 5 segments, \"a\" has 3",
        ),
    ];
    for (session, other, mpd, message) in wrong {
        let found = found(session, &[three, *other], *mpd);
        assert_eq!(found, [(rule, (*message).to_owned())]);
    }
    let right: &[(&str, Track<'_>, Option<&str>)] = &[
        ("session_1", ("b", &[0.0, 2.0, 4.0]), None),
        ("", ("b", &[0.0, 2.0, 4.0]), Some(&both)),
        ("", ("b", &[0.0, 2.0]), Some(&live)), // the third is on its way
        ("session_1", ("b", &[0.5, 2.5, 4.5]), Some(&apart)), // of another set
        ("", ("b", &[0.5, 2.5, 4.5]), None),   // nothing says that they belong together
    ];
    for (session, other, mpd) in right {
        assert_eq!(
            found(session, &[three, *other], *mpd),
            [],
            "{other:?} {mpd:?}"
        );
    }
}

#[test]
fn a_timeline_is_held_against_its_segments() {
    let track: Track<'_> = ("a", &[10.0, 12.0, 14.0]);
    for (timeline, message) in [
        ("<S t='10000' d='2000' r='1'/><S d='1000'/>", None),
        // Presented two frames after it is decoded, and rounded.
        ("<S t='10080' d='2000' r='1'/><S d='1005'/>", None),
        // The first one is listed without its priming.
        ("<S t='10000' d='1960'/><S t='12000' d='2000'/>", None),
        // Some have left it, some are still to come.
        ("<S t='10000' d='2000'/>", None),
        (
            "<S t='10000' d='2000' r='2'/>",
            Some("index.mpd: \"a/2\" lasts 1.000 s, listed are 2.000 s"),
        ),
        (
            "<S t='0' d='2000' r='1'/>",
            Some("index.mpd: \"a/0\" begins at 10.000 s, listed is 0.000 s"),
        ),
    ] {
        let template = format!("<SegmentTimeline>{timeline}</SegmentTimeline>");
        let found = found("", &[track], Some(&mpd("dynamic", &[&["a"]], &template)));
        let expected: Vec<_> = message
            .map(|message| ("mpd-timeline", message.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{timeline}");
    }
}

#[test]
fn every_rule_has_its_defect_above() {
    let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(ids, ["switching-set-boundaries", "mpd-timeline"]);
}
