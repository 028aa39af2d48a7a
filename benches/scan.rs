//! What parsing costs an upload: `cargo bench --bench scan`.
//!
//! Prints, per shape of body and piece size, gigabytes per second and nanoseconds per MiB of body,
//! on one core: of finding headers and fragments alone, and of holding them against all rules on
//! media at the same time. Times are the best of several rounds, which is what disturbs least.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pavs::cmaf::check::Context;
use pavs::cmaf::{BodyScanner, ScanEvent};
use pavs::isobmff::build::{boxed, concat, full};

fn main() {
    let header = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/media/segments/h264/init.mp4"
    ))
    .expect("the header is in the repository");
    println!(
        "{:<34}{:>10}{:>10}{:>14}{:>16}{:>14}",
        "body", "piece", "GB/s", "ns per MiB", "checked: GB/s", "ns per MiB"
    );
    for (name, samples, sample_len, count) in [
        ("64 segments of 1 MiB, 60 samples", 60, 17_476, 64),
        ("4096 chunks of 16 KiB, 4 samples", 4, 4_096, 4096),
        ("16384 chunks of 1 KiB, 1 sample", 1, 1_024, 16_384),
    ] {
        let body = concat(&[header.clone(), fragments(samples, sample_len, count)]);
        for piece in [4 << 10, 16 << 10, 64 << 10, 1 << 20] {
            let measure = |scanner: fn() -> BodyScanner| {
                let best = (0..9).map(|_| scan(scanner(), &body, piece, count)).min();
                let seconds = best.unwrap_or_default().as_secs_f64();
                let rate = body.len() as f64 / seconds / 1e9;
                let cost = seconds * 1e9 / (body.len() as f64 / f64::from(1 << 20));
                (rate, cost)
            };
            let (rate, cost) = measure(BodyScanner::new);
            let (checked, more) = measure(|| BodyScanner::checked(Context::default()));
            println!(
                "{name:<34}{:>6} KiB{rate:>10.1}{cost:>14.0}{checked:>16.1}{more:>14.0}",
                piece >> 10
            );
        }
    }
}

/// `count` times `prft moof mdat`, as ffmpeg writes them, each in its place on the timeline.
fn fragments(samples: u32, sample_len: u32, count: u32) -> Vec<u8> {
    let numbers =
        |numbers: &[u32]| concat(&numbers.iter().map(|n| n.to_be_bytes()).collect::<Vec<_>>());
    let mdat = boxed(b"mdat", &vec![0; samples as usize * sample_len as usize]);
    let each = (0..count).map(|number| {
        let time = u64::from(number) * u64::from(samples) * 512;
        let moof = |data_offset: u32| {
            let run: Vec<[u8; 4]> = [samples, data_offset, 0x0200_0000]
                .into_iter()
                .chain((0..samples).flat_map(|_| [sample_len, 0]))
                .map(u32::to_be_bytes)
                .collect();
            let traf = concat(&[
                full(b"tfhd", 0, 0x02_002a, &numbers(&[1, 1, 512, 0x0101_0000])),
                full(b"tfdt", 1, 0, &time.to_be_bytes()),
                full(b"trun", 1, 0xa05, &concat(&run)),
            ]);
            let mfhd = full(b"mfhd", 0, 0, &numbers(&[number + 1]));
            boxed(b"moof", &concat(&[mfhd, boxed(b"traf", &traf)]))
        };
        let data_offset = u32::try_from(moof(0).len() + 8).expect("a moof is short");
        let clock = concat(&[numbers(&[1]), vec![0; 8], time.to_be_bytes().to_vec()]);
        let prft = full(b"prft", 1, 24, &clock);
        concat(&[prft, moof(data_offset), mdat.clone()])
    });
    concat(&each.collect::<Vec<_>>())
}

fn scan(mut scanner: BodyScanner, body: &[u8], piece: usize, count: u32) -> Duration {
    let mut events = Vec::new();
    let mut fragments = 0;
    let start = Instant::now();
    for piece in body.chunks(piece) {
        scanner.push(black_box(piece), &mut events);
        for event in events.drain(..) {
            fragments += u32::from(matches!(black_box(event), ScanEvent::Fragment(_)));
        }
    }
    let took = start.elapsed();
    assert_eq!(fragments, count);
    assert!(
        scanner.findings().is_none_or(|found| found.is_empty()),
        "{:?}",
        scanner.findings()
    );
    took
}
