//! However a body is cut into pieces, the same is found; and a part of one never passes for all.

use proptest::prelude::*;
use proptest::sample::Index;

use super::good::{encrypted, video};
use super::*;
use crate::finding::{Profile, Severity};

/// What is found when `body` comes in these pieces.
fn pieces<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Findings {
    let mut scanner = BodyScanner::checked(context());
    let mut events = Vec::new();
    for piece in pieces {
        scanner.push(piece, &mut events);
    }
    scanner.finish(&mut events);
    scanner.take_findings()
}

fn context() -> Context {
    Context {
        kind: Kind::Track,
        ..Context::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_same_findings(
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        mut cuts in proptest::collection::vec(any::<Index>(), 0..12),
    ) {
        let mut body = encrypted().bytes();
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        cuts.sort_by_key(|cut| cut.index(body.len() + 1));
        let mut at = 0;
        let mut parts = Vec::new();
        for cut in cuts.iter().map(|cut| cut.index(body.len() + 1)) {
            parts.push(&body[at..cut]);
            at = cut;
        }
        parts.push(&body[at..]);
        let whole = pieces([&body[..]]);
        prop_assert_eq!(pieces(parts), whole.clone());
        prop_assert_eq!(pieces(body.chunks(1)), whole);
    }
}

#[test]
fn a_proper_prefix_is_never_without_error() {
    let body = video();
    let bytes = body.bytes();
    // Where a body may end: behind its header, and behind each fragment.
    let ends = ["moov", "mdat[0]", "mdat[1]"].map(|last| {
        let (_, at) = body.at(last);
        at + body.clone().get(last).len()
    });
    for len in 1..bytes.len() {
        let findings = pieces([&bytes[..len]]);
        let whole = ends.contains(&(len as u64));
        let worst = findings.worst(Profile::Cmaf);
        // What only announces a fragment is whole, and useless.
        let (_, moof) = body.at("moof[0]");
        let (_, next) = body.at("moof[1]");
        let announced = (len as u64) <= moof || (ends[1]..=next).contains(&(len as u64));
        match (whole, announced) {
            (true, _) => assert_eq!(worst, None, "{len} bytes"),
            (false, true) => assert!(
                worst >= Some(Severity::Warning),
                "{len} bytes: {findings:?}"
            ),
            (false, false) => assert_eq!(worst, Some(Severity::Error), "{len} bytes"),
        }
    }
}
