//! What encrypted samples need in their fragment: `senc`, `saiz`, `saio`.

use crate::isobmff::BoxRef;
use crate::isobmff::boxes::{Saio, Saiz, Sbgp, Senc, Sgpd, Tenc};

use super::segment::View;
use super::{Checker, rules};

/// Looks at one `traf`, if the header says that its samples are encrypted.
pub(super) fn traf(checker: &mut Checker, view: &View<'_, '_>) {
    let Some(tenc) = track_encryption(checker, view) else {
        return;
    };
    let places = view.places;
    let grouped = places.groups.iter().any(regroups);
    if !tenc.is_protected && !grouped {
        return;
    }
    let senc = match places.senc.map(|source| Senc::decode(&source)) {
        Some(Ok(senc)) => Some(senc),
        Some(Err(error)) => return checker.broken(&error),
        None => None,
    };
    let subsamples = senc.is_some_and(|senc| senc.flags & Senc::SUBSAMPLES != 0);
    // With one vector for all, and whole samples encrypted, there is nothing to say per sample.
    let needed = tenc.iv_size > 0 && !grouped || subsamples;
    if needed && (senc.is_none() || places.saiz.is_none() || places.saio.is_none()) {
        let missing: Vec<_> = [
            ("senc", senc.is_none()),
            ("saiz", places.saiz.is_none()),
            ("saio", places.saio.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        checker.note_box(&rules::SAIZ_SAIO, &places.traf, || {
            format!(
                "the samples are encrypted, but traf has no {}",
                missing.join(", no ")
            )
        });
    }
    let samples = view.sum.sample_count;
    if let (Some(senc), Some(at)) = (senc, &places.senc)
        && u64::from(senc.sample_count) != samples
    {
        checker.note_box(&rules::SENC_COUNT, at, || {
            format!(
                "senc has {} samples, the fragment {samples}",
                senc.sample_count
            )
        });
    }
    if let Some(at) = &places.saio {
        match Saio::decode(at) {
            Ok(saio) => offsets(checker, view, at, &saio),
            Err(error) => checker.broken(&error),
        }
    }
    if let Some(at) = &places.saiz {
        match Saiz::decode(at) {
            Ok(saiz) => {
                if u64::from(saiz.sample_count) != samples {
                    checker.note_box(&rules::SAIZ_COUNT, at, || {
                        format!(
                            "saiz has {} samples, the fragment {samples}",
                            saiz.sample_count
                        )
                    });
                } else if let (Some(senc), Some(source), false) = (senc, &places.senc, grouped)
                    && u64::from(senc.sample_count) == samples
                {
                    sizes(checker, senc, source, tenc.iv_size, &saiz);
                }
            }
            Err(error) => checker.broken(&error),
        }
    }
}

/// What the header says of the samples' encryption.
fn track_encryption(checker: &Checker, view: &View<'_, '_>) -> Option<Tenc> {
    let track = checker.header.as_ref()?.track(view.sum.track_id)?;
    let index = usize::try_from(view.description()?.checked_sub(1)?).ok()?;
    track.entries.get(index)?.protection.as_ref()?.tenc.clone()
}

/// Whether samples are put into groups that are encrypted otherwise.
fn regroups(source: &BoxRef<'_>) -> bool {
    let kind = match &source.kind.0 {
        b"sbgp" => Sbgp::decode(source).map(|group| group.grouping_type),
        _ => Sgpd::decode(source).map(|group| group.grouping_type),
    };
    kind.is_ok_and(|kind| kind == b"seig")
}

/// `saio` has to point behind the header and the count of `senc`.
fn offsets(checker: &mut Checker, view: &View<'_, '_>, at: &BoxRef<'_>, saio: &Saio) {
    let [offset] = saio.offsets.as_slice() else {
        return checker.note_box(&rules::SAIO_ENTRIES, at, || {
            format!("expected one entry, found {}", saio.offsets.len())
        });
    };
    let Some(senc) = &view.places.senc else {
        return;
    };
    let base = view.traf.tfhd.base_data_offset.unwrap_or(view.moof);
    let (found, expected) = (
        base.saturating_add(*offset),
        senc.payload_offset().saturating_add(8),
    );
    if view.traf.tfhd.base_data_offset.is_none() && found != expected {
        checker.note_box(&rules::SAIO_OFFSET, at, || {
            format!("it points at byte {found}, but the first vector is at byte {expected}")
        });
    }
}

/// What `senc` holds for each sample against what `saiz` says of it.
fn sizes(checker: &mut Checker, senc: Senc, source: &BoxRef<'_>, iv_size: u8, saiz: &Saiz) {
    for (index, sample) in senc.samples(source, iv_size).enumerate() {
        let found = match &sample {
            Ok(sample) => {
                let subsamples = match senc.flags & Senc::SUBSAMPLES {
                    0 => 0,
                    _ => sample.subsamples.len().saturating_mul(6).saturating_add(2),
                };
                usize::from(iv_size).saturating_add(subsamples)
            }
            Err(error) => return checker.note_error(&rules::SAIZ_SIZE, error),
        };
        let expected = match saiz.default_size {
            0 => saiz.sizes.get(index).copied().unwrap_or(0),
            all => all,
        };
        if found != usize::from(expected) {
            return checker.note_box(&rules::SAIZ_SIZE, source, || {
                let number = index.saturating_add(1);
                format!("sample {number} has {found} bytes in senc, saiz says {expected}")
            });
        }
    }
}
