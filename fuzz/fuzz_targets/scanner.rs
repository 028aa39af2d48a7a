//! The scanner of request bodies: the same events whatever the split, ranges that tile the body,
//! nothing after the last event.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pavs_fuzz::cmaf::{BodyScanner, ScanEvent};
use pavs_fuzz::pieces;

fn events(pieces: &[&[u8]]) -> Vec<ScanEvent> {
    let mut scanner = BodyScanner::new();
    let mut seen = Vec::new();
    for piece in pieces {
        scanner.push(piece, &mut seen);
    }
    scanner.finish(&mut seen);
    seen
}

fuzz_target!(|data: &[u8]| {
    let (body, pieces) = pieces(data);
    let seen = events(&[body]);
    assert_eq!(events(&pieces), seen);
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
