//! The modules under test, compiled by themselves: the server around them and its dependencies would
//! only make every fuzz build long.

#![allow(dead_code, reason = "a target uses a part")]

#[path = "../../src/cmaf/mod.rs"]
pub mod cmaf;
#[path = "../../src/isobmff/mod.rs"]
pub mod isobmff;
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
