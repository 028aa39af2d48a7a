//! ISO base media file format syntax: bytes to boxes, and nothing of what the boxes mean together.
//!
//! ```text
//! bytes, in pieces of any size -> stream (whole small boxes, ranges of large ones)
//!                                   -> tree (children of a box, with path and offset)
//!                                        -> boxes (typed fields)
//! ```
//!
//! Everything is bounded by the constants in [`limits`], whatever the lengths in the input claim:
//! nothing recurses on input, nothing is allocated for a count that no bytes back, and nothing
//! panics. An [`Error`] says the path of the box, the byte, what was needed and what was found.
//!
//! This module knows no CMAF rule, no file and no clock.

#![deny(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic,
        reason = "tests run on their own small input"
    )
)]

pub mod boxes;
pub mod build;
mod error;
mod fourcc;
mod header;
pub mod limits;
mod path;
mod reader;
mod stream;
mod through_mp4;
mod tree;

pub use error::{Cause, Error, Result};
pub use fourcc::FourCc;
pub use header::{BoxHeader, BoxSize};
pub use path::BoxPath;
pub use reader::Reader;
pub use stream::{Event, Stream};
pub use tree::{BoxRef, Children, check};
