//! What a chunk, fragment or segment has to be: `styp`, `prft`, `emsg`, `moof`, `mdat`.

use std::ops::Range;

use crate::isobmff::boxes::{Emsg, FileType, Moof, Prft, Tfhd, Traf, Trun};
use crate::isobmff::{BoxPath, BoxRef, FourCc};

use super::{
    Checker, Defaults, FragmentEnd, Kind, Ticks, TrafSummary, continuity, protection, rules,
};

/// What has come of a fragment so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Number of `moof`.
    moofs: u64,
    /// `prft` before the next `moof`, and where it stands.
    prft: Option<(Prft, BoxPlace)>,
    /// The `moof` whose `mdat` comes next.
    pending: Option<Pending>,
}

impl State {
    /// There was a `moof`.
    pub(super) fn begun(&self) -> bool {
        self.moofs > 0
    }
}

/// Where a box is that has gone by.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxPlace {
    path: BoxPath,
    offset: u64,
}

/// What a `moof` says of its media data.
#[derive(Debug)]
struct Pending {
    /// Where each run's samples are said to be, and where its `trun` stands.
    runs: Vec<(Range<u64>, u64)>,
    /// Path of every `trun`.
    path: BoxPath,
    /// Bytes of all samples; `None` where they cannot be known without the header.
    size: Option<u64>,
}

/// The boxes of one `traf` that rules are about.
#[derive(Clone, Debug)]
pub(super) struct Places<'a> {
    pub(super) traf: BoxRef<'a>,
    pub(super) tfhd: BoxRef<'a>,
    tfdt: Option<BoxRef<'a>>,
    tfdt_again: Option<BoxRef<'a>>,
    truns: Vec<BoxRef<'a>>,
    pub(super) senc: Option<BoxRef<'a>>,
    pub(super) saiz: Option<BoxRef<'a>>,
    pub(super) saio: Option<BoxRef<'a>>,
    /// Samples may be encrypted otherwise than the header says.
    pub(super) groups: Vec<BoxRef<'a>>,
}

/// A box before a `moof` is whole.
pub(super) fn front(checker: &mut Checker, whole: &BoxRef<'_>) {
    match &whole.kind.0 {
        b"styp" => match FileType::decode(whole) {
            Ok(brands) => styp(checker, whole, &brands),
            Err(error) => checker.broken(&error),
        },
        b"prft" => match Prft::decode(whole) {
            Ok(prft) => {
                let (path, offset) = (whole.path, whole.offset);
                checker.segment.prft = Some((prft, BoxPlace { path, offset }));
            }
            Err(error) => checker.broken(&error),
        },
        b"emsg" => match Emsg::decode(whole) {
            Ok(emsg) => event(checker, whole, &emsg),
            Err(error) => checker.note_error(&rules::EVENT, &error),
        },
        _ => {}
    }
}

fn styp(checker: &mut Checker, whole: &BoxRef<'_>, brands: &FileType) {
    const SEGMENTS: [&[u8; 4]; 5] = [b"cmfs", b"cmff", b"cmfl", b"msdh", b"msix"];
    if !SEGMENTS.iter().any(|brand| brands.has(brand)) {
        checker.note_box(&rules::SEGMENT_BRAND, whole, || {
            let major = brands.major_brand;
            format!("expected one of cmfs, cmff, cmfl, msdh, msix, found {major} and others")
        });
    }
    if brands.has(b"lmsg") {
        checker.note_box(&rules::SEGMENT_LAST, whole, || {
            "this is the last segment".to_owned()
        });
    }
    if brands.has(b"slat") {
        checker.note_box(&rules::SEGMENT_FILLER, whole, || {
            "this is filler for lost input".to_owned()
        });
    }
}

fn event(checker: &mut Checker, whole: &BoxRef<'_>, emsg: &Emsg) {
    let tracks = checker
        .header
        .as_ref()
        .map(|header| header.tracks.as_slice());
    let [track] = tracks.unwrap_or_default() else {
        return;
    };
    let (found, expected) = (emsg.timescale, track.timescale);
    if found != expected {
        checker.note_box(&rules::EVENT_TIMESCALE, whole, || {
            format!("timescale {found}, expected {expected} as in mdhd")
        });
    }
}

pub(super) fn moof(
    checker: &mut Checker,
    source: &BoxRef<'_>,
    moof: &Moof,
    sums: &[TrafSummary],
    defaults: &Defaults,
) {
    checker.segment.moofs = checker.segment.moofs.saturating_add(1);
    let first = checker.segment.moofs == 1;
    if first && checker.kind == Kind::Segment && checker.header.is_none() {
        checker.note_box(&rules::HEADER_KNOWN, source, || {
            "expected the header before its segments, found none".to_owned()
        });
    }
    let mut children = source.children().filter_map(Result::ok);
    let mfhd = children.clone().find(|child| child.kind == b"mfhd");
    if children.next().is_some_and(|child| child.kind != b"mfhd") {
        checker.note_box(&rules::MFHD_FIRST, source, || {
            "expected mfhd as the first box of moof".to_owned()
        });
    }
    if sums.len() != 1 {
        checker.note_box(&rules::ONE_TRAF, source, || {
            format!("expected one traf, found {}", sums.len())
        });
    }
    let places: Vec<_> = source
        .children()
        .filter_map(Result::ok)
        .filter(|child| child.kind == b"traf")
        .filter_map(Places::of)
        .collect();
    prft(checker, source, moof, sums, first);

    let mut pending = Pending {
        runs: Vec::new(),
        path: BoxPath::ROOT,
        size: Some(0),
    };
    let mut data_end = source.offset;
    let mut repeated = false;
    for ((traf, sum), places) in moof.trafs.iter().zip(sums).zip(&places) {
        let view = View {
            traf,
            sum,
            places,
            defaults,
            first,
            moof: source.offset,
        };
        header_of(checker, &view);
        times(checker, &view);
        data_end = runs(checker, &view, data_end, &mut pending);
        protection::traf(checker, &view);
        if let (Some(time), Some(tfdt)) = (sum.decode_time, &places.tfdt) {
            let decode_time = Ticks(time);
            let end = FragmentEnd {
                track_id: sum.track_id,
                decode_time,
                end: decode_time.saturating_add(Ticks(sum.duration)),
                sequence_number: Some(moof.mfhd.sequence_number),
            };
            let again = continuity::repeats(checker, &end);
            repeated |= again;
            if !again {
                continuity::fragment(checker, tfdt, end);
            }
        }
    }
    if let Some(mfhd) = mfhd {
        continuity::sequence(checker, &mfhd, moof.mfhd.sequence_number, repeated);
    }
    checker.segment.pending = Some(pending);
}

/// One `traf` and what is known of it.
pub(super) struct View<'v, 'a> {
    pub(super) traf: &'v Traf,
    pub(super) sum: &'v TrafSummary,
    pub(super) places: &'v Places<'a>,
    defaults: &'v Defaults,
    /// It is in the first `moof` of the body.
    first: bool,
    /// Where its `moof` stands.
    pub(super) moof: u64,
}

impl View<'_, '_> {
    /// Whether the fragment itself says how long its samples last.
    fn durations_known(&self, checker: &Checker) -> bool {
        checker.header.is_some()
            || self.traf.tfhd.default_sample_duration.is_some()
            || self.traf.truns.iter().all(|run| !run.durations.is_empty())
    }

    /// Whether it says how many bytes they have.
    fn sizes_known(&self, checker: &Checker) -> bool {
        checker.header.is_some()
            || self.traf.tfhd.default_sample_size.is_some()
            || self.traf.truns.iter().all(|run| !run.sizes.is_empty())
    }

    /// Entry of `stsd` that its samples go by, from 1.
    pub(super) fn description(&self) -> Option<u32> {
        let own = self.traf.tfhd.sample_description_index;
        own.or(self.defaults.description(self.sum.track_id))
    }
}

/// Whether the fragment goes with the header.
fn header_of(checker: &mut Checker, view: &View<'_, '_>) {
    let (tfhd, at) = (&view.traf.tfhd, &view.places.tfhd);
    if view
        .places
        .traf
        .children()
        .next()
        .and_then(Result::ok)
        .is_some_and(|child| child.kind != b"tfhd")
    {
        checker.note_box(&rules::MFHD_FIRST, &view.places.traf, || {
            "expected tfhd as the first box of traf".to_owned()
        });
    }
    let id = tfhd.track_id;
    if let Some(header) = &checker.header {
        let track = header.track(id);
        let entries = track.map_or(0, |track| track.entries.len());
        let index = view.description();
        let known = index.is_some_and(|index| {
            usize::try_from(index).is_ok_and(|index| (1..=entries).contains(&index))
        });
        if track.is_none() {
            checker.note_box(&rules::TFHD_TRACK, at, || {
                format!("track {id} is not in the header")
            });
        } else if !known && entries > 0 && index.is_some() {
            checker.note_box(&rules::SAMPLE_DESCRIPTION, at, || {
                let index = index.unwrap_or(0);
                format!("sample description {index}, but the header has {entries}")
            });
        }
    }
    if tfhd.base_data_offset.is_some() {
        checker.note_box(&rules::TFHD_BASE, at, || {
            "found a base_data_offset".to_owned()
        });
    } else if tfhd.flags & Tfhd::DEFAULT_BASE_IS_MOOF == 0 {
        checker.note_box(&rules::TFHD_BASE_IS_MOOF, at, || {
            format!("expected flag 0x020000, found flags 0x{:06x}", tfhd.flags)
        });
    }
}

/// Decode times, sync, composition times.
fn times(checker: &mut Checker, view: &View<'_, '_>) {
    let View {
        traf, sum, places, ..
    } = view;
    match (&places.tfdt, &places.tfdt_again) {
        (None, _) => checker.note_box(&rules::TFDT_MISSING, &places.traf, || {
            "expected a tfdt, found none".to_owned()
        }),
        (Some(_), Some(again)) => {
            checker.note_box(&rules::TFDT_ONCE, again, || "found another tfdt".to_owned())
        }
        (Some(_), None) => {}
    }
    if let (Some(time), Some(tfdt)) = (sum.decode_time, &places.tfdt)
        && time.checked_add(sum.duration).is_none()
    {
        checker.note_box(&rules::TFDT_RANGE, tfdt, || {
            format!(
                "decode time {time} and {} ticks more are past 2^64",
                sum.duration
            )
        });
    }
    if sum.sample_count == 0 {
        checker.note_box(&rules::TRUN_MISSING, &places.traf, || {
            "expected samples, found none".to_owned()
        });
        return;
    }
    if sum.duration == 0 && view.durations_known(checker) {
        let at = places.truns.first().unwrap_or(&places.traf);
        checker.note_box(&rules::SAMPLE_DURATION, at, || {
            format!("the {} samples last 0 ticks", sum.sample_count)
        });
    }
    let video = checker.handler(sum.track_id) == Some(FourCc(*b"vide"));
    // What is pushed as an endless body may be cut anywhere once it is on its way.
    let begins = view.first
        && match checker.kind {
            Kind::Segment => true,
            _ => checker.file.is_file() && checker.continuity.is_new(),
        };
    if begins && video && !sum.sync {
        let at = &places.traf;
        checker.note_box(&rules::SYNC, at, || {
            let flags = super::super::samples(traf, view.defaults).next();
            let flags = flags.map_or(0, |sample| sample.flags);
            format!("expected a sync sample first, found sample flags 0x{flags:08x}")
        });
    }
    if video
        && checker.has_brand(b"cmf2")
        && let Some((_, at)) = traf
            .truns
            .iter()
            .zip(&places.truns)
            .find(|(run, _)| run.version == 0)
    {
        checker.note_box(&rules::CMF2_RUN, at, || "found version 0".to_owned());
    }
    let edited = checker
        .header
        .as_ref()
        .and_then(|header| header.track(sum.track_id));
    let edited = edited.is_none_or(|track| !track.edits.is_empty());
    if video
        && !edited
        && sum.sync
        && traf.truns.iter().all(|run| run.version == 1)
        && let (Some(shown), Some(at)) = (first_shown(traf, view.defaults), places.truns.first())
        && shown != 0
    {
        checker.note_box(&rules::COMPOSITION, at, || {
            format!("the first sample is shown {shown} ticks after the decode time")
        });
    }
}

/// When the first sample is shown, in ticks from the decode time; `None` where nothing is reordered.
fn first_shown(traf: &Traf, defaults: &Defaults) -> Option<i128> {
    let listed: usize = traf
        .truns
        .iter()
        .map(|run| run.composition_offsets.len())
        .sum();
    if listed == 0 {
        return None;
    }
    let mut decoded: i128 = 0;
    let mut shown = None;
    // Composition offsets are backed by bytes; that many samples are looked at, and no more.
    for sample in super::super::samples(traf, defaults).take(listed) {
        let at = decoded.saturating_add(i128::from(sample.composition_offset));
        shown = Some(shown.map_or(at, |first: i128| first.min(at)));
        decoded = decoded.saturating_add(i128::from(sample.duration));
    }
    shown
}

/// The runs and where their samples should be; gives the end of the last one.
fn runs(checker: &mut Checker, view: &View<'_, '_>, before: u64, pending: &mut Pending) -> u64 {
    let tfhd = &view.traf.tfhd;
    let base = match tfhd.base_data_offset {
        Some(base) => base,
        None if tfhd.flags & Tfhd::DEFAULT_BASE_IS_MOOF != 0 => view.moof,
        // Without either, a traf goes on where the one before ended.
        None => before,
    };
    // An offset from the front of the file says nothing in a part of one.
    let placed = tfhd.base_data_offset.is_none() || checker.file.is_file();
    let sizes_known = view.sizes_known(checker);
    pending.size = pending
        .size
        .filter(|_| sizes_known)
        .map(|size| size.saturating_add(view.sum.size));
    let mut at = base;
    for (run, place) in view.traf.truns.iter().zip(&view.places.truns) {
        if run.sample_count == 0 {
            continue;
        }
        match run.data_offset {
            Some(offset) => at = base.saturating_add_signed(i64::from(offset)),
            None => checker.note_box(&rules::TRUN_OFFSET, place, || {
                "expected a data_offset, found none".to_owned()
            }),
        }
        let end = at.saturating_add(size_of(run, view));
        if placed && sizes_known && (run.data_offset.is_some() || at != base) {
            pending.path = place.path;
            pending.runs.push((at..end, place.offset));
        }
        at = end;
    }
    at
}

/// Bytes of the samples of one run.
fn size_of(run: &Trun, view: &View<'_, '_>) -> u64 {
    if run.sizes.is_empty() {
        let own = view.traf.tfhd.default_sample_size;
        let each = own.or(view.defaults.size(view.sum.track_id)).unwrap_or(0);
        u64::from(each).saturating_mul(u64::from(run.sample_count))
    } else {
        let sizes = run.sizes.iter().map(|size| u64::from(*size));
        sizes.fold(0, u64::saturating_add)
    }
}

/// `prft` against the fragment it stands before.
fn prft(
    checker: &mut Checker,
    source: &BoxRef<'_>,
    moof: &Moof,
    sums: &[TrafSummary],
    first: bool,
) {
    let Some((prft, at)) = checker.segment.prft.take() else {
        let handler = sums.first().and_then(|sum| checker.handler(sum.track_id));
        let seen_or_heard = handler.is_none_or(|kind| kind == b"vide" || kind == b"soun");
        if first && seen_or_heard {
            checker.note_box(&rules::PRFT_MISSING, source, || {
                "expected prft before the first moof, found none".to_owned()
            });
        }
        return;
    };
    let described = moof.trafs.iter().zip(sums);
    let own = described
        .into_iter()
        .find(|(_, sum)| sum.track_id == prft.track_id);
    let Some((traf, sum)) = own else {
        if !sums.is_empty() {
            checker.note(&rules::PRFT_TRACK, &at.path, at.offset, || {
                format!(
                    "it is about track {}, which is not in its moof",
                    prft.track_id
                )
            });
        }
        return;
    };
    // Producers give the decode time of the first sample, the time it is shown, or the end.
    let Some(time) = sum.decode_time.filter(|_| sum.duration > 0) else {
        return;
    };
    let first_run = traf.truns.first();
    let first_offset = first_run
        .and_then(|run| run.composition_offsets.first().copied())
        .unwrap_or(0);
    let shown = time.saturating_add_signed(first_offset);
    let end = time.saturating_add(sum.duration);
    if !(time.min(shown)..=end.max(shown)).contains(&prft.media_time) {
        let found = prft.media_time;
        checker.note(&rules::PRFT_TIME, &at.path, at.offset, || {
            format!("media time {found}, but its fragment goes from {time} to {end}")
        });
    }
}

/// The `mdat` of the newest `moof` begins; `payload` is where its media data are.
pub(super) fn mdat(checker: &mut Checker, offset: u64, payload: Range<u64>) {
    let Some(pending) = checker.segment.pending.take() else {
        return;
    };
    let outside = pending
        .runs
        .iter()
        .find(|(run, _)| run.start < payload.start || run.end > payload.end);
    if let Some((run, at)) = outside {
        checker.note(&rules::TRUN_OUTSIDE, &pending.path, *at, || {
            format!(
                "its samples are at bytes {} to {}, but mdat has {} to {}",
                run.start, run.end, payload.start, payload.end
            )
        });
        return;
    }
    let found = payload.end.saturating_sub(payload.start);
    if let Some(size) = pending.size.filter(|size| *size < found) {
        let path = BoxPath::ROOT
            .child(FourCc(*b"mdat"))
            .unwrap_or(BoxPath::ROOT);
        checker.note(&rules::MDAT_UNUSED, &path, offset, || {
            format!("mdat has {found} bytes, its samples {size}")
        });
    }
}

/// No `mdat` comes for the newest `moof`.
pub(super) fn abandoned(checker: &mut Checker) {
    checker.segment.pending = None;
}

pub(super) fn finish(checker: &mut Checker) {
    checker.segment.pending = None;
    checker.segment.prft = None;
}

impl<'a> Places<'a> {
    /// `None` without a `tfhd`.
    fn of(traf: BoxRef<'a>) -> Option<Self> {
        let mut places = Self {
            traf,
            tfhd: traf,
            tfdt: None,
            tfdt_again: None,
            truns: Vec::new(),
            senc: None,
            saiz: None,
            saio: None,
            groups: Vec::new(),
        };
        let mut has_header = false;
        for child in traf.children().filter_map(Result::ok) {
            match &child.kind.0 {
                b"tfhd" => {
                    has_header = true;
                    places.tfhd = child;
                }
                b"tfdt" if places.tfdt.is_some() => places.tfdt_again = Some(child),
                b"tfdt" => places.tfdt = Some(child),
                b"trun" => places.truns.push(child),
                b"senc" => places.senc = Some(child),
                b"saiz" => places.saiz = places.saiz.or(Some(child)),
                b"saio" => places.saio = places.saio.or(Some(child)),
                b"sbgp" | b"sgpd" => places.groups.push(child),
                _ => {}
            }
        }
        has_header.then_some(places)
    }
}
