//! What feeds the targets where there is no libFuzzer: inputs made from the seeds by chance, the same
//! ones for the same number in `FUZZ_SEED`. It does not see what an input reached, so it finds less.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Longest input.
const LONGEST: usize = 1 << 17;
/// Longer than this no input may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Numbers that lengths and counts break at.
const EDGES: [u64; 12] = [
    0,
    1,
    7,
    8,
    15,
    16,
    0x7f,
    0xff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 63,
    u64::MAX,
];

/// Calls `target` with inputs until its time (`FUZZ_SECONDS`, 60) is over. An input that makes it panic
/// or hang is written to `artifacts/` and ends the process with an error.
pub fn run(target: impl Fn(&[u8])) {
    let name = env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    let artifact = Path::new("artifacts").join(name).join("found");
    let number = |variable: &str| env::var(variable).ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(60));
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let seeds = seeds(&Path::new("corpus").join(name));

    let running: &'static Mutex<(u64, Vec<u8>)> = Box::leak(Box::default());
    let watched = artifact.clone();
    thread::spawn(move || watch(running, &watched));
    let began = Instant::now();
    let mut chance = Chance(seed | 1);
    let mut runs = 0;
    while began.elapsed() < time {
        let input = mutated(&seeds, &mut chance);
        runs += 1;
        *running.lock().expect("the watcher does not panic") = (runs, input.clone());
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            give_up(&artifact, &input, "the target panicked");
        }
    }
    println!("Done {runs} runs in {} s", time.as_secs());
}

/// Ends the process when one run takes too long.
fn watch(running: &Mutex<(u64, Vec<u8>)>, artifact: &Path) {
    let mut before = 0;
    loop {
        thread::sleep(PATIENCE);
        let (run, input) = &*running.lock().expect("the target does not hold it");
        if *run == before {
            give_up(artifact, input, "the target does not end");
        }
        before = *run;
    }
}

fn give_up(artifact: &Path, input: &[u8], why: &str) -> ! {
    if let Some(directory) = artifact.parent() {
        fs::create_dir_all(directory).expect("artifacts can be made");
    }
    fs::write(artifact, input).expect("an input can be written");
    eprintln!("{why} with the input in fuzz/{}", artifact.display());
    process::exit(1);
}

fn seeds(directory: &Path) -> Vec<Vec<u8>> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    // The order of a directory is nobody's promise.
    names.sort_unstable();
    let mut seeds: Vec<_> = names
        .iter()
        .filter_map(|name| fs::read(name).ok())
        .collect();
    seeds.push(Vec::new());
    seeds
}

/// A seed, changed in one to eight places.
fn mutated(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = seeds[chance.below(seeds.len())].clone();
    for _ in 0..=chance.below(8) {
        let at = chance.below(input.len() + 1);
        match chance.below(7) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] ^= 1 << chance.below(8),
            2 if at < input.len() => input[at] = chance.next() as u8,
            // A length, a count or an offset at its edge, of one to eight bytes.
            3 => {
                let edge = EDGES[chance.below(EDGES.len())].to_be_bytes();
                let edge = &edge[8 - (1 << chance.below(4))..];
                let end = (at + edge.len()).min(input.len());
                input.splice(at..end, edge.iter().copied());
            }
            4 => {
                let end = at + chance.below(input.len() - at + 1).min(64);
                input.drain(at..end);
            }
            5 => {
                let bytes: Vec<u8> = (0..chance.below(16)).map(|_| chance.next() as u8).collect();
                input.splice(at..at, bytes);
            }
            _ => {
                let other = &seeds[chance.below(seeds.len())];
                let from = chance.below(other.len() + 1);
                let piece = &other[from..];
                let piece = &piece[..chance.below(piece.len() + 1).min(4096)];
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}

/// Numbers by chance: xorshift64*, which is small, quick and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}
