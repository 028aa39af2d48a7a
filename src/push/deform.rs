//! Right bytes made wrong, for `--misbehave`. Works on what `pack` makes and on nothing else.

use bytes::Bytes;

use super::misbehave::Fault;
use crate::isobmff::boxes::{FileType, Moof, Tfhd, sample_flags};
use crate::isobmff::{BoxRef, Children};

/// The flags of a sample that depends on others.
pub(super) const NOT_SYNC: u32 = 0x0100_0000 | sample_flags::NON_SYNC;

/// The header with those brands left out that say it is CMAF.
pub(super) fn without_cmaf_brands(header: &Bytes) -> Bytes {
    each_box(header, |part| {
        let Some(mut brands) = decoded(part, b"ftyp", FileType::decode) else {
            return part.bytes().to_vec();
        };
        brands
            .compatible_brands
            .retain(|brand| !brand.0.starts_with(b"cmf"));
        brands.encode(b"ftyp")
    })
}

/// A chunk with a fault.
pub(super) fn chunk(chunk: &Bytes, fault: Fault) -> Bytes {
    if fault == Fault::EmptyBody {
        return Bytes::new();
    }
    each_box(chunk, |part| {
        let Some(mut moof) = decoded(part, b"moof", Moof::decode) else {
            return part.bytes().to_vec();
        };
        for traf in &mut moof.trafs {
            match fault {
                Fault::WrongTrackId => traf.tfhd.track_id += 1,
                Fault::NoDefaultBase => traf.tfhd.flags &= !Tfhd::DEFAULT_BASE_IS_MOOF,
                Fault::TrunPastMdat => {
                    if let Some(last) = traf.truns.last_mut().and_then(|trun| trun.sizes.last_mut())
                    {
                        *last = last.saturating_add(100_000);
                    }
                }
                _ => {}
            }
        }
        moof.encode()
    })
}

fn each_box(bytes: &Bytes, change: impl Fn(&BoxRef<'_>) -> Vec<u8>) -> Bytes {
    let parts = Children::top(bytes, 0).filter_map(Result::ok);
    parts.flat_map(|part| change(&part)).collect()
}

fn decoded<T>(
    part: &BoxRef<'_>,
    kind: &[u8; 4],
    decode: fn(&BoxRef<'_>) -> crate::isobmff::Result<T>,
) -> Option<T> {
    if part.kind == kind {
        decode(part).ok()
    } else {
        None
    }
}
