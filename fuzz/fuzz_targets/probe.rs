//! The probe of a whole object, of which only a part may be visible.

#![cfg_attr(fuzzing, no_main)]

use std::io::Cursor;

use pavs_fuzz::fuzz_target;
use pavs_fuzz::probe::probe;

fuzz_target!(|data: &[u8]| {
    let size = data.len() as u64;
    let _ = probe(&mut Cursor::new(data), size, None, "object");
    let _ = probe(&mut Cursor::new(data), size / 2, None, "object");
});
