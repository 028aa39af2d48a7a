use proptest::prelude::*;

use super::*;
use crate::cmaf::testing::{header, mdat, moof, prft, progressive_head, styp};
use crate::isobmff::build::{boxed, concat};

/// All events of `pieces`; those of `finish` apart.
fn scan<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<ScanEvent>, Vec<ScanEvent>) {
    let mut scanner = BodyScanner::new();
    let (mut pushed, mut finished) = (Vec::new(), Vec::new());
    for piece in pieces {
        scanner.push(piece, &mut pushed);
    }
    scanner.finish(&mut finished);
    (pushed, finished)
}

/// All events, in short.
fn outline(body: &[u8]) -> Vec<String> {
    let (pushed, finished) = scan([body]);
    pushed
        .iter()
        .chain(&finished)
        .map(|event| match event {
            ScanEvent::Start(start) => format!("{start:?}"),
            ScanEvent::Header(seen) => {
                let tracks = seen.header.as_ref().map(|header| header.tracks.len());
                format!("header {:?} {tracks:?}", seen.range)
            }
            ScanEvent::Fragment(seen) => format!(
                "fragment {:?} media {:?} at {} +{}",
                seen.range,
                seen.media,
                seen.decode_time.unwrap(),
                seen.duration
            ),
            ScanEvent::Trailer(range) => format!("trailer {range:?}"),
            ScanEvent::Broken { offset, message } => format!("broken at {offset}: {message}"),
        })
        .collect()
}

/// The fragments of a body.
fn fragments(body: &[u8]) -> Vec<FragmentSeen> {
    let (pushed, _) = scan([body]);
    pushed
        .into_iter()
        .filter_map(|event| match event {
            ScanEvent::Fragment(seen) => Some(seen),
            _ => None,
        })
        .collect()
}

#[test]
fn an_endless_body_is_header_and_fragments() {
    let head = header(&[1]);
    let first = concat(&[moof(1, &[1], 0, &[30, 30]), mdat(60)]);
    let second = concat(&[moof(2, &[1], 1024, &[40]), mdat(40)]);
    let end = boxed(b"mfra", &[]);
    let a = head.len();
    let b = a + first.len();
    let c = b + second.len();
    let d = c + end.len();
    assert_eq!(
        outline(&concat(&[head, first, second, end])),
        [
            "Header".to_owned(),
            format!("header 0..{a} Some(1)"),
            format!("fragment {a}..{b} media {}..{b} at 0 +1024", b - 60),
            format!("fragment {b}..{c} media {}..{c} at 1024 +512", c - 40),
            format!("trailer {c}..{d}"),
        ]
    );
}

#[test]
fn what_precedes_a_moof_belongs_to_its_fragment() {
    let body = concat(&[
        styp(b"msdhmsixlmsg"),
        boxed(b"sidx", &[0; 44]),
        prft(1_700_000_000),
        boxed(b"emsg", &[0; 40]),
        moof(7, &[1], 90, &[5]),
        mdat(5),
        moof(8, &[1], 602, &[5]),
        boxed(b"free", &[0; 3]),
        mdat(5),
    ]);
    let found = fragments(&body);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].range.start, 0);
    assert_eq!(found[0].wall_clock, Some(1_700_000_000_000_000));
    assert!(found[0].last_segment && found[0].sync);
    assert_eq!(found[0].sequence_number, 7);
    assert_eq!(found[0].range.end, found[1].range.start);
    assert_eq!(found[1].range.end, body.len() as u64);
    assert_eq!((found[1].wall_clock, found[1].last_segment), (None, false));
}

#[test]
fn a_lone_header_and_a_lone_trailer() {
    let head = header(&[1]);
    assert_eq!(
        outline(&head),
        [
            "Header".to_owned(),
            format!("header 0..{} Some(1)", head.len())
        ]
    );
    assert_eq!(outline(&boxed(b"mfra", &[])), ["Media", "trailer 0..8"]);
}

#[test]
fn a_progressive_file_has_no_fragments() {
    let head = progressive_head();
    let len = head.len();
    let expected = ["Header".to_owned(), format!("header 0..{len} None")];
    assert_eq!(outline(&concat(&[head.clone(), mdat(100)])), expected);
    let open = concat(&[&head[..], b"\0\0\0\0mdat to the end"]);
    assert_eq!(outline(&open), expected);
}

#[test]
fn muxed_tracks_are_counted_and_the_first_described() {
    let body = concat(&[header(&[1, 2]), moof(1, &[2, 1], 77, &[10, 10]), mdat(40)]);
    let found = fragments(&body);
    assert_eq!(
        (found[0].tracks, found[0].track_id, found[0].sample_count),
        (2, 2, 2)
    );
    assert_eq!(found[0].decode_time, Some(77));
}

#[test]
fn a_second_mdat_belongs_to_the_fragment_whose_samples_need_it() {
    let large = concat(&[&b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x1a"[..], &[0; 10]]);
    let body = concat(&[
        moof(1, &[1], 0, &[10, 10]),
        large,
        boxed(b"free", &[]),
        mdat(10),
        mdat(9),
    ]);
    let found = fragments(&body);
    assert_eq!(found[0].range.end, body.len() as u64 - 17);
    assert_eq!(found[0].media.end - found[0].media.start, 10 + 8 + 8 + 10);

    let short = concat(&[
        moof(1, &[1], 0, &[10, 10]),
        mdat(10),
        moof(2, &[1], 0, &[1]),
        mdat(1),
    ]);
    assert_eq!(
        fragments(&short).len(),
        2,
        "the next moof ends a fragment that lacks data"
    );
    let cut = concat(&[moof(1, &[1], 0, &[10, 10]), mdat(10)]);
    assert_eq!(
        outline(&cut),
        [
            "Media",
            "broken at 0: moof at byte 0: its samples need 20 bytes of media data, 10 found"
        ]
    );
}

#[test]
fn a_moof_without_samples_needs_no_mdat() {
    let body = concat(&[moof(1, &[1], 0, &[]), moof(2, &[1], 0, &[4]), mdat(4)]);
    let found = fragments(&body);
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].sample_count, found[0].sync), (0, false));
    assert!(found[0].media.is_empty());
}

#[test]
fn two_moofs_before_their_media_are_one_fragment() {
    let body = concat(&[
        moof(1, &[1], 0, &[4]),
        moof(2, &[2], 0, &[6]),
        mdat(4),
        mdat(6),
    ]);
    let found = fragments(&body);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].tracks, found[0].range.clone()),
        (2, 0..body.len() as u64)
    );
}

#[test]
fn a_header_may_come_again() {
    let one = concat(&[header(&[1]), moof(1, &[1], 0, &[4]), mdat(4)]);
    let seen = outline(&concat(&[one.clone(), one.clone()]));
    assert_eq!(seen.len(), 5, "{seen:#?}");
    assert!(seen[3].starts_with(&format!("header {}..", one.len())));
}

#[test]
fn what_is_no_cmaf_is_not_looked_at() {
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xe0, 0, 0x10];
    jpeg.extend(b"JFIF\0\x01");
    let mut transport = vec![0x47; 188];
    transport[1] = 0;
    for body in [
        &b"#EXTM3U\n#EXT-X-VERSION:7\n"[..],
        b"<?xml version=\"1.0\"?>",
        &jpeg,
        &transport,
        &[0; 64],
        &mdat(4),
        b"\0\0\0\x04ftypisom",
    ] {
        assert_eq!(outline(body), ["Other"], "{body:?}");
    }
    for len in 0..8 {
        assert_eq!(outline(&b"\0\0\0\x18ftyp"[..len]), [""; 0]);
    }
}

#[test]
fn trouble_is_said_with_path_and_offset() {
    let mut bad = moof(1, &[1], 0, &[4]);
    let tfdt = bad.windows(4).position(|w| w == b"tfdt").unwrap() - 4;
    bad[tfdt + 8] = 9;
    let head = header(&[1]);
    let at = head.len() + tfdt + 8;
    let seen = outline(&concat(&[head.clone(), bad, mdat(4)]));
    assert_eq!(
        seen.last().unwrap(),
        &format!("broken at {at}: moof > traf > tfdt at byte {at}: version 9 is not defined")
    );
    let garbage = concat(&[&head[..], &[0; 8]]);
    let at = head.len();
    assert_eq!(
        outline(&garbage).last().unwrap(),
        &format!("broken at {at}: at byte {at}: expected a box, found bytes that are no box type")
    );
    let open = concat(&[head, moof(1, &[1], 0, &[4]), b"\0\0\0\0mdat1234".to_vec()]);
    assert!(outline(&open).last().unwrap().contains("box size 0"));
}

#[test]
fn a_prft_that_cannot_be_read_breaks_nothing() {
    let mut odd = prft(1);
    odd[8] = 7;
    let body = concat(&[odd, boxed(b"styp", b"odd"), moof(1, &[1], 0, &[4]), mdat(4)]);
    let found = fragments(&body);
    assert_eq!((found.len(), found[0].wall_clock), (1, None));
}

#[test]
fn media_without_header_uses_the_defaults_given() {
    let header = TrackHeader::parse(&header(&[1])).unwrap();
    let body = concat(&[moof(1, &[1], 0, &[4, 4]), mdat(8)]);
    let mut events = Vec::new();
    BodyScanner::with_defaults(&header).push(&body, &mut events);
    let Some(ScanEvent::Fragment(seen)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!(seen.duration, 1024);
    assert_eq!(fragments(&body)[0].duration, 0);
}

/// A body as a camera, or a bad dream, would send it.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        2 => Just(header(&[1])),
        1 => Just(progressive_head()),
        1 => Just(styp(b"lmsg")),
        1 => Just(prft(1)),
        6 => (0u32..5, 0u32..20, -3i32..4).prop_map(|(n, size, more)| {
            let total = i32::try_from(n * size).unwrap() + if more > 1 { 0 } else { more };
            let sizes = vec![size; n as usize];
            concat(&[moof(1, &[1], 5, &sizes), mdat(total.max(0) as usize)])
        }),
        1 => (0usize..30).prop_map(mdat),
        1 => (0usize..30).prop_map(|len| boxed(b"free", &vec![0; len])),
        1 => Just(boxed(b"mfra", &[])),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| concat(&pieces))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_events(body in body(), mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        cuts.sort_by_key(|cut| cut.index(body.len() + 1));
        let mut pieces = Vec::new();
        let mut at = 0;
        for cut in &cuts {
            let to = cut.index(body.len() + 1);
            pieces.push(&body[at..to]);
            at = to;
        }
        pieces.push(&body[at..]);
        prop_assert_eq!(scan(pieces), scan([&body[..]]));
        prop_assert_eq!(scan(body.chunks(1)), scan([&body[..]]));
    }

    #[test]
    fn a_prefix_says_nothing_the_whole_does_not(body in body()) {
        let (whole, _) = scan([&body[..]]);
        for len in 0..body.len() {
            let (pushed, finished) = scan([&body[..len]]);
            prop_assert!(whole.starts_with(&pushed), "prefix of {} bytes", len);
            let ends = finished.iter().all(|event| matches!(event, ScanEvent::Trailer(_) | ScanEvent::Broken { .. }));
            prop_assert!(ends, "prefix of {} bytes: {:?}", len, finished);
        }
    }

    #[test]
    fn ranges_tile_the_body(body in body()) {
        let (pushed, finished) = scan([&body[..]]);
        let mut end = 0;
        for event in pushed.iter().chain(&finished) {
            let range = match event {
                ScanEvent::Header(seen) => &seen.range,
                ScanEvent::Fragment(seen) => &seen.range,
                ScanEvent::Trailer(range) => range,
                _ => continue,
            };
            prop_assert_eq!(range.start, end);
            prop_assert!(range.end > range.start && range.end <= body.len() as u64);
            end = range.end;
        }
    }

    #[test]
    fn changed_bytes_do_no_harm(body in body(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10)) {
        let mut body = body;
        if !body.is_empty() {
            for (at, value) in changes {
                let at = at.index(body.len());
                body[at] = value;
            }
        }
        let whole = scan([&body[..]]);
        prop_assert_eq!(scan(body.chunks(3)), whole);
    }
}
