//! Readers of parameter sets and configurations inside codec boxes.

#![cfg_attr(fuzzing, no_main)]

use pavs_fuzz::fuzz_target;
use pavs_fuzz::cmaf::codec::aac::AudioSpecificConfig;
use pavs_fuzz::cmaf::codec::ac3::Ac3;
use pavs_fuzz::cmaf::codec::{av1, h264, hevc, nals};

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => {
            let mut units = nals(rest, 2);
            if let Some(sps) = units.next().and_then(h264::Sps::read) {
                let order = units.next().and_then(h264::bottom_field_order_present);
                let _ = sps.field_order(units, order.unwrap_or(false));
            }
        }
        1 => drop(hevc::Sps::read(rest)),
        2 => drop(av1::SequenceHeader::find(rest)),
        3 => {
            if let Some(config) = AudioSpecificConfig::read(rest) {
                let _ = config.channels();
            }
        }
        4 => {
            let _ = Ac3::read(rest).map(|ac3| ac3.channels());
            let _ = Ac3::read_enhanced(rest);
        }
        _ => {
            let _ = h264::bottom_field_order_present(rest);
            for nal in nals(rest, kind >> 4) {
                assert!(!nal.is_empty());
            }
        }
    }
});
