//! The modules under test, compiled by themselves: the server around them and its dependencies would
//! only make every fuzz build long.

#![allow(dead_code, reason = "a target uses a part")]

#[cfg(not(fuzzing))]
pub mod generator;

/// Makes a target of a closure over bytes: libFuzzer's where that drives it, else a program of its own.
#[cfg(fuzzing)]
pub use libfuzzer_sys::fuzz_target;
#[cfg(not(fuzzing))]
#[macro_export]
macro_rules! fuzz_target {
    ($target:expr) => {
        fn main() {
            let target: fn(&[u8]) = $target;
            $crate::generator::run(target);
        }
    };
}

#[path = "../../src/cmaf/mod.rs"]
pub mod cmaf;
#[path = "../../src/finding/types.rs"]
pub mod finding;
#[path = "../../src/tls/hello.rs"]
mod hello;
#[path = "../../src/isobmff/mod.rs"]
pub mod isobmff;
#[path = "../../src/layout.rs"]
pub mod layout;
#[path = "../../src/manifest/mod.rs"]
pub mod manifest;
#[path = "../../src/pki/mod.rs"]
pub mod pki;
#[path = "../../src/probe/mod.rs"]
pub mod probe;

/// Splits `data` into a first part, whose bytes are lengths, and the pieces of the rest by these.
pub fn pieces(data: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let Some((count, rest)) = data.split_first() else {
        return (data, Vec::new());
    };
    let (lengths, body) = rest.split_at(usize::from(*count).min(rest.len()));
    let mut pieces = Vec::new();
    let mut left = body;
    for length in lengths {
        let (piece, rest) = left.split_at(usize::from(*length).min(left.len()));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    (body, pieces)
}

/// Reads `data` as the first bytes of a client, and checks what must hold of any.
pub fn check_hello(data: &[u8]) {
    use hello::{ClientHello, MAX_HELLO, version_name};
    if let Some(hello) = ClientHello::read(data) {
        for list in [
            &hello.versions,
            &hello.ciphers,
            &hello.groups,
            &hello.signatures,
        ] {
            assert!(list.len() <= 100);
        }
        assert!(hello.protocols.len() <= 100);
        for name in hello.protocols.iter().chain(&hello.server_name) {
            assert!(name.chars().count() <= 255);
            assert!(!name.chars().any(char::is_control));
        }
        for version in &hello.versions {
            let _ = version_name(*version);
        }
    }
    let mut before = false;
    for end in 0..=data.len().min(400) {
        let now = ClientHello::is_all_there(&data[..end]);
        assert!(now || !before);
        before = now;
    }
    assert!(data.len() < MAX_HELLO || ClientHello::is_all_there(data));
}
