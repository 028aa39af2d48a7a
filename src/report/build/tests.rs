use super::*;
use crate::cmaf::testing::header;
use crate::finding::{Rule, Severity};

static RULE: Rule = Rule {
    id: "a-rule",
    sentence: "something holds",
    clause: None,
    looks_at: "body",
    severities: [Some(Severity::Error), Some(Severity::Warning), None],
};

fn fragment(decode_time: u64, duration: u64, sync: bool) -> Fragment {
    Fragment {
        decode_time: Some(decode_time),
        duration,
        bytes: 1000,
        sync,
        samples: Some(25),
        wall_clock: Some(1_795_000_000_000_000),
        track_id: None,
    }
}

#[test]
fn stretches_end_at_gaps_and_overlaps() {
    let mut builder = Builder::default();
    let track = builder.session("").track("video");
    let header = TrackHeader::parse(&header(&[1])).unwrap();
    let second = u64::from(header.tracks[0].timescale);
    track.header(None, &header);
    track.object(10);
    for (object, at, sync) in [
        ("1", 0, true),
        ("2", second, false),
        ("3", 3 * second, true),
        ("4", 3 * second + second / 2, true),
    ] {
        track.fragment(object, &fragment(at, second, sync));
    }
    let report = builder.finish("x");
    let track = &report.sessions[0].tracks[0];
    assert_eq!(
        (track.fragments, track.key_frames, track.samples),
        (4, 3, Some(100))
    );
    assert_eq!((track.duration, track.bit_rate), (Some(4.0), Some(8000)));
    let spans: Vec<_> = track
        .timeline
        .iter()
        .map(|span| {
            (
                span.start,
                span.end,
                span.gap,
                span.object.as_str(),
                span.key_frames,
            )
        })
        .collect();
    assert_eq!(
        spans,
        [
            (0.0, 2.0, None, "1", 1),
            (3.0, 4.0, Some(1.0), "3", 1),
            (3.5, 4.5, Some(-0.5), "4", 1)
        ]
    );
    let wall_clock = track.timeline[0].wall_clock.as_deref();
    assert_eq!(wall_clock, Some("2026-11-18T11:06:40Z"));
}

#[test]
fn the_number_of_stretches_is_limited() {
    let mut builder = Builder::default();
    let track = builder.session("").track("video");
    for n in 0..1_500 {
        track.fragment("x", &fragment(n * 10, 1, true));
    }
    let report = builder.finish("x");
    let track = &report.sessions[0].tracks[0];
    assert_eq!((track.timeline.len(), track.fragments), (1_000, 1_500));
    assert!(track.timeline_truncated);
}

#[test]
fn findings_are_grouped_and_judged_by_profile() {
    let mut builder = Builder::default();
    let finding = |count| Finding {
        count,
        ..Finding::new(&RULE, "found b, expected a").at("moof > traf", 8)
    };
    let session = builder.session("session_1");
    session.findings("a.m4s", &[finding(2)]);
    session.findings("b.m4s", &[finding(3)]);
    builder.session("session_2");
    let report = builder.finish("x");
    let group = &report.sessions[0].findings[0];
    assert_eq!((group.count, group.objects), (5, 2));
    assert_eq!(group.first.object, "a.m4s");
    let verdicts = |verdicts: &[Verdict]| {
        verdicts
            .iter()
            .map(|verdict| (verdict.passed, verdict.errors, verdict.warnings))
            .collect::<Vec<_>>()
    };
    let failed = [(false, 5, 0), (true, 0, 5), (true, 0, 0)];
    assert_eq!(verdicts(&report.verdicts), failed);
    assert_eq!(verdicts(&report.sessions[0].verdicts), failed);
    assert_eq!(verdicts(&report.sessions[1].verdicts), [(true, 0, 0); 3]);

    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    let group = &json["sessions"][0]["findings"][0];
    assert_eq!(group["rule"], "a-rule");
    let severity =
        serde_json::json!({"cmaf": "error", "dash-if-ingest": "warning", "matter": null});
    assert_eq!(group["severity"], severity);
    assert_eq!(group["first"]["box"], "moof > traf");

    let text = report.text(&[Profile::Cmaf]);
    assert!(
        text.contains(
            "error   a-rule: 5 times in 2 objects, first in a.m4s, moof > traf at byte 8"
        )
    );
    assert!(
        text.contains("cmaf: failed (5 errors, 0 warnings, 0 notes)"),
        "{text}"
    );
    assert!(!text.contains("matter"), "{text}");
    assert!(!report.text(&[Profile::Matter]).contains("a-rule"));
}

#[test]
fn junit_has_a_case_for_each_rule_that_is_looked_at() {
    let rule = crate::finding::rules()
        .find(|rule| rule.severities == [Some(Severity::Error); 3])
        .unwrap();
    let warned = crate::finding::rules()
        .find(|rule| rule.severities == [Some(Severity::Warning); 3])
        .unwrap();
    let mut builder = Builder::default();
    let message = "found <\u{1}&\"b\"";
    let session = builder.session("");
    session.findings(
        "a.m4s",
        &[Finding::new(rule, message), Finding::new(warned, "w")],
    );
    let written = builder.finish("x").junit(&[Profile::Cmaf]);
    assert!(written.contains("failures=\"1\""), "{written}");
    assert!(
        written.contains("found &lt;&amp;&quot;b&quot;"),
        "{written}"
    );
    assert!(written.contains("<system-out>in a.m4s: w"), "{written}");
    let cases = written.matches("<testcase ").count();
    let looked_at = crate::finding::rules()
        .filter(|rule| rule.severity(Profile::Cmaf).is_some())
        .count();
    assert_eq!(cases, looked_at);
}
