//! The reader of ClientHellos: bounded answers, and an end that stays the end.

#![cfg_attr(fuzzing, no_main)]

pavs_fuzz::fuzz_target!(|data: &[u8]| pavs_fuzz::check_hello(data));
