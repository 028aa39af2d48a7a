//! Which top-level boxes there are, and in which order.

use crate::isobmff::boxes::FileType;
use crate::isobmff::{BoxHeader, BoxPath, BoxSize, FourCc};

use super::{Checker, Kind, rules, segment};

/// What has come of the file so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Brands of the newest `ftyp`.
    pub(super) brands: Option<FileType>,
    /// An `ftyp` came, and no `moov` since.
    ftyp_open: bool,
    /// Number of `moov`.
    moovs: u64,
    /// A `moov` announced fragments, or there was a `moof`.
    pub(super) fragmented: bool,
    /// The box before.
    before: Option<FourCc>,
    /// A `moof` that waits for its `mdat`.
    moof: Option<u64>,
    /// Boxes that wait for a `moof`.
    front: Option<Front>,
}

/// `styp`, `prft` and `emsg` before a `moof`.
#[derive(Clone, Copy, Debug)]
struct Front {
    kind: FourCc,
    offset: u64,
    /// Place of the last of them in their order.
    rank: u8,
}

impl State {
    /// Positions in the body are positions in the file that it is.
    pub(super) fn is_file(&self) -> bool {
        self.moovs > 0
    }
}

pub(super) fn start(checker: &mut Checker, header: &BoxHeader, offset: u64) {
    let kind = header.kind;
    let path = BoxPath::ROOT.child(kind).unwrap_or(BoxPath::ROOT);
    match &kind.0 {
        b"ftyp" => {
            ends_fragment(checker);
            unused(checker);
            if checker.file.ftyp_open {
                checker.note(&rules::FTYP_ONCE, &path, offset, || {
                    "found another ftyp before any moov".to_owned()
                });
            }
            checker.file.ftyp_open = true;
        }
        b"moov" => {
            ends_fragment(checker);
            unused(checker);
            if !checker.file.ftyp_open && checker.file.moovs == 0 {
                checker.note(&rules::FTYP_FIRST, &path, offset, || {
                    "found moov without ftyp before it".to_owned()
                });
            }
            if checker.file.moovs > 0 {
                checker.note(&rules::MOOV_ONCE, &path, offset, || {
                    "found another moov in the same body".to_owned()
                });
            }
            checker.file.ftyp_open = false;
            checker.file.moovs = checker.file.moovs.saturating_add(1);
        }
        b"styp" | b"prft" | b"emsg" => front(checker, kind, &path, offset),
        b"moof" => {
            ends_fragment(checker);
            media(checker, &path, offset);
            checker.file.front = None;
            checker.file.fragmented = true;
            checker.file.moof = Some(offset);
        }
        b"mdat" => mdat(checker, header, &path, offset),
        b"sidx" if checker.file.moovs == 0 || checker.segment.begun() => {
            checker.note(&rules::SEGMENT_INDEX, &path, offset, || {
                "found sidx in a segment".to_owned()
            });
        }
        b"meta" | b"udta" => checker.note(&rules::META_AT_FILE_LEVEL, &path, offset, || {
            format!("found {kind} beside moov")
        }),
        b"mfra" => {
            ends_fragment(checker);
            checker.note(&rules::MFRA, &path, offset, || "found mfra".to_owned());
        }
        _ => {}
    }
    checker.file.before = Some(kind);
}

fn front(checker: &mut Checker, kind: FourCc, path: &BoxPath, offset: u64) {
    let rank = match &kind.0 {
        b"styp" => 0,
        b"prft" => 1,
        _ => 2,
    };
    let Some(before) = &mut checker.file.front else {
        checker.file.front = Some(Front { kind, offset, rank });
        return;
    };
    let in_order = rank >= before.rank;
    before.rank = before.rank.max(rank);
    if !in_order {
        checker.note(&rules::SEGMENT_ORDER, path, offset, || {
            format!("found {kind} too late; expected styp, prft, emsg, moof")
        });
    }
}

fn mdat(checker: &mut Checker, header: &BoxHeader, path: &BoxPath, offset: u64) {
    let directly = checker.file.before == Some(FourCc(*b"moof"));
    if checker.file.moof.take().is_some() {
        if !directly {
            let before = checker.file.before.unwrap_or_default();
            checker.note(&rules::MDAT_AFTER_MOOF, path, offset, || {
                format!("found {before} between moof and mdat")
            });
        }
        if let BoxSize::Bytes(size) = header.size {
            let payload = offset.saturating_add(u64::from(header.header_len));
            segment::mdat(checker, offset, payload..offset.saturating_add(size));
        }
    } else if checker.file.fragmented {
        media(checker, path, offset);
        checker.note(&rules::MDAT_WITHOUT_MOOF, path, offset, || {
            "found mdat without a moof of its own".to_owned()
        });
    } else {
        media(checker, path, offset);
    }
}

/// Media where there should be none.
fn media(checker: &mut Checker, path: &BoxPath, offset: u64) {
    if checker.kind == Kind::Header {
        checker.note(&rules::HEADER_ONLY, path, offset, || {
            "found media in what is named as a header".to_owned()
        });
    }
}

/// No `mdat` comes for the `moof` any more.
fn ends_fragment(checker: &mut Checker) {
    if let Some(offset) = checker.file.moof.take() {
        segment::abandoned(checker);
        let path = BoxPath::ROOT
            .child(FourCc(*b"moof"))
            .unwrap_or(BoxPath::ROOT);
        checker.note(&rules::MOOF_WITHOUT_MDAT, &path, offset, || {
            "expected mdat behind moof, found none".to_owned()
        });
    }
}

/// No `moof` comes for what stands before one any more.
fn unused(checker: &mut Checker) {
    if let Some(Front { kind, offset, .. }) = checker.file.front.take() {
        let path = BoxPath::ROOT.child(kind).unwrap_or(BoxPath::ROOT);
        checker.note(&rules::BOX_UNUSED, &path, offset, || {
            format!("expected moof behind {kind}, found none")
        });
    }
}

pub(super) fn finish(checker: &mut Checker) {
    ends_fragment(checker);
    unused(checker);
    let header_wanted =
        checker.kind == Kind::Header || checker.kind == Kind::Track && checker.file.ftyp_open;
    if header_wanted && checker.file.moovs == 0 {
        checker.note(&rules::MOOV_MISSING, &BoxPath::ROOT, 0, || {
            "expected a moov, found none".to_owned()
        });
    }
}
