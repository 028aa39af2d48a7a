//! Good media are good, and each seeded defect is named.

use super::*;
use crate::cmaf::{BodyScanner, ScanEvent};

/// What is found in `body`, pushed at once.
fn judge(context: Context, body: &[u8]) -> (Findings, BodyScanner) {
    let mut scanner = BodyScanner::checked(context);
    let mut events: Vec<ScanEvent> = Vec::new();
    scanner.push(body, &mut events);
    scanner.finish(&mut events);
    (scanner.take_findings(), scanner)
}

mod fixtures;
mod good;
mod seeds;
mod splits;

#[test]
fn what_an_edit_list_cuts_off_may_be_left_out_of_a_length() {
    let header = include_bytes!("../../../tests/data/media/dash/init-stream2.m4s");
    let segment = include_bytes!("../../../tests/data/media/dash/chunk-stream2-00001.m4s");
    let told = |millis| {
        let context = Context {
            kind: Kind::Segment,
            header: Some(TrackHeader::parse(header).unwrap()),
            expected: Some(Expected::Exactly(Duration::from_millis(millis))),
            ..Context::default()
        };
        let mut scanner = BodyScanner::checked(context);
        let mut events = Vec::new();
        scanner.push(segment, &mut events);
        scanner.finish(&mut events);
        let findings = scanner.take_findings();
        findings.iter().any(|found| found.rule == &rules::DURATION)
    };
    // 91 frames of 1024 samples at 48 kHz, of which the first is priming.
    assert!(!told(1941) && !told(1920));
    assert!(told(1900) && told(1962));
}
