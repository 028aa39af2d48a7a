//! The push parser: the same events whatever the split, ranges that follow each other, no more
//! memory than its limits.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::isobmff::{Event, FourCc, Stream, check};
use pavs_fuzz::pieces;

fn keep(kind: FourCc) -> Option<usize> {
    matches!(&kind.0, b"ftyp" | b"moov" | b"moof").then_some(1 << 16)
}

fn events(pieces: &[&[u8]]) -> Vec<String> {
    let mut stream = Stream::new(keep).keeping_short(|kind| (kind == b"emsg").then_some(1 << 10));
    let mut seen = Vec::new();
    let mut end = 0;
    for piece in pieces {
        let mut piece = *piece;
        loop {
            match stream.next(&mut piece) {
                Ok(Some(event)) => {
                    match &event {
                        Event::Start { offset, .. } => assert_eq!(*offset, end),
                        Event::Whole(whole) => {
                            assert!(whole.bytes().len() <= 1 << 16);
                            let _ = check(whole);
                            end = whole.end();
                        }
                        Event::Passed { range, .. } => end = range.end,
                    }
                    seen.push(format!("{event:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
        assert!(piece.is_empty());
    }
    match stream.finish() {
        Ok(event) => seen.push(format!("{event:?}")),
        Err(error) => seen.push(error.to_string()),
    }
    seen
}

fuzz_target!(|data: &[u8]| {
    let (body, pieces) = pieces(data);
    assert_eq!(events(&pieces), events(&[body]));
});
