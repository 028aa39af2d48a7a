//! The scanner of request bodies, with all checks: the same events and the same findings whatever the
//! split, ranges that tile the body, nothing after the last event, each rule told once and within the
//! body.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::cmaf::check::{Context, FragmentEnd, Kind};
use pavs_fuzz::cmaf::{BodyScanner, ScanEvent, Ticks, TrackHeader};
use pavs_fuzz::finding::Findings;
use pavs_fuzz::pieces;

/// What the first byte makes known before the body.
fn context(choice: u8) -> Context {
    let kind = match choice & 3 {
        0 => Kind::Header,
        1 => Kind::Segment,
        2 => Kind::Track,
        _ => Kind::Unknown,
    };
    let header = include_bytes!("../../tests/data/media/encrypted/h264-cenc/video/init.mp4");
    let previous = FragmentEnd {
        track_id: 1,
        decode_time: Ticks(100),
        end: Ticks(200),
        sequence_number: Some(1),
    };
    Context {
        kind,
        header: (choice & 4 != 0).then(|| TrackHeader::parse(header).expect("it is good")),
        previous: (choice & 8 != 0).then_some(previous),
        expected: None,
    }
}

fn scan(choice: u8, pieces: &[&[u8]]) -> (Vec<ScanEvent>, Findings) {
    let mut scanner = BodyScanner::checked(context(choice));
    let mut seen = Vec::new();
    for piece in pieces {
        scanner.push(piece, &mut seen);
    }
    scanner.finish(&mut seen);
    (seen, scanner.take_findings())
}

fuzz_target!(|data: &[u8]| {
    let choice = data.first().copied().unwrap_or(0);
    let (body, pieces) = pieces(data);
    let (seen, findings) = scan(choice, &[body]);
    assert_eq!(scan(choice, &pieces), (seen.clone(), findings.clone()));
    let mut rules: Vec<_> = findings.iter().map(|found| found.rule.id).collect();
    assert!(rules.len() <= Findings::MOST);
    rules.sort_unstable();
    assert!(rules.windows(2).all(|two| two[0] != two[1]));
    for found in &findings {
        assert!(found.count > 0);
        assert!(found.offset.is_none_or(|at| at <= body.len() as u64));
    }
    let mut unchecked = Vec::new();
    let mut plain = match context(choice).header {
        Some(header) => BodyScanner::with_defaults(&header),
        None => BodyScanner::new(),
    };
    plain.push(body, &mut unchecked);
    plain.finish(&mut unchecked);
    assert_eq!(unchecked, seen, "checks change what is seen");
    let mut end = 0;
    for (at, event) in seen.iter().enumerate() {
        let range = match event {
            ScanEvent::Header(header) => &header.range,
            ScanEvent::Fragment(fragment) => &fragment.range,
            ScanEvent::Trailer(range) => range,
            ScanEvent::Start(_) => {
                assert_eq!(at, 0);
                continue;
            }
            ScanEvent::Broken { .. } => {
                assert_eq!(at + 1, seen.len());
                continue;
            }
        };
        assert_eq!(range.start, end);
        assert!(range.end <= body.len() as u64);
        end = range.end;
    }
});
